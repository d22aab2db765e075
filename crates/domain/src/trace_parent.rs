//! Which trace something belongs to.

use std::str::FromStr;

/// The field's length in version 00.
const LENGTH: usize = 55;

/// A trace and the span in it that caused this, as the header `traceparent` says it:
/// `{version}-{trace id}-{span id}-{flags}`, in lower-case hexadecimal digits.
///
/// Source: W3C Trace Context, section 3.2, <https://www.w3.org/TR/trace-context/>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(String);

/// The text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of W3C Trace Context")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The header's name, in HTTP and among a message's headers.
    pub const HEADER: &str = "traceparent";

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Reads version 00; of a later one those fields that it shares, as the specification asks.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let known = text.get(..LENGTH).ok_or(InvalidTraceParent)?;
        let rest = &text[LENGTH..];
        let fields: Vec<&str> = known.split('-').collect();
        let [version, trace, span, flags] = fields[..] else {
            return Err(InvalidTraceParent);
        };
        let is_hexadecimal = |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let lengths = [version, trace, span, flags].map(str::len);
        let is_valid = lengths == [2, 32, 16, 2]
            && fields.iter().all(|field| is_hexadecimal(field))
            && version != "ff"
            && (rest.is_empty() || (version != "00" && rest.starts_with('-')))
            && [trace, span].iter().all(|id| id.bytes().any(|digit| digit != b'0'));
        if is_valid {
            Ok(Self(format!("00{}", &known[2..])))
        } else {
            Err(InvalidTraceParent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_specifications_example_is_kept_as_it_is() {
        assert_eq!(EXAMPLE.parse::<TraceParent>().unwrap().as_str(), EXAMPLE);
    }

    #[test]
    fn of_a_later_version_the_known_fields_are_taken() {
        let later = format!("cc{}-what-comes-later", &EXAMPLE[2..]);
        assert_eq!(later.parse::<TraceParent>().unwrap().as_str(), EXAMPLE);
    }

    #[test]
    fn nothing_else_is_a_traceparent() {
        for text in [
            "",
            "00",
            &EXAMPLE[..54],
            &format!("{EXAMPLE}-01"),
            &format!("{EXAMPLE}\n"),
            &format!("cc{}x", &EXAMPLE[2..]),
            &format!("ff{}", &EXAMPLE[2..]),
            &EXAMPLE.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "ü0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
    }
}
