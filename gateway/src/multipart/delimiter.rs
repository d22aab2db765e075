//! The line between two parts, and how it is found.

use axum::http::{HeaderMap, header};

use super::charset::Charset;
use super::parameters;

/// The boundary a body announces: 1 to 70 characters (RFC 2046 section 5.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    text: String,
    /// The charset that is announced beside it.
    pub(super) charset: Option<Charset>,
}

impl Boundary {
    /// The boundary of `Content-Type: multipart/form-data; boundary=...`. None for every other type, for several
    /// headers or boundaries, and for one that the standard does not allow.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_TYPE).iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let (media_type, parameters) = parameters::parse(value)?;
        if !media_type.eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let mut boundaries = parameters.iter().filter(|(name, _)| name == "boundary");
        let (_, boundary) = boundaries.next()?;
        if boundaries.next().is_some() {
            return None;
        }
        let charset = Charset::named_in(&parameters);
        Self::new(boundary).map(|boundary| Self { charset, ..boundary })
    }

    /// The boundary, if the standard allows it.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let valid = (1..=70).contains(&text.len()) && text.bytes().all(allowed);
        (valid && !text.ends_with(' ')).then(|| Self {
            text: text.to_owned(),
            charset: None,
        })
    }
}

/// The most white space behind a delimiter that is read as part of its line.
const MAX_PADDING_BYTES: usize = 64;

/// What the beginning of a buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// `at` bytes of content, then a delimiter line of `len` bytes, without the line break behind it.
    Delimiter { at: usize, len: usize, closing: bool },
    /// So many bytes of content; what follows them may be the beginning of a delimiter.
    Content(usize),
}

/// `CRLF--boundary`, to be searched for.
pub(super) struct Delimiter {
    needle: Vec<u8>,
    /// How far the needle may move when its last byte meets this byte.
    shifts: Box<[u8; 256]>,
}

impl Delimiter {
    pub(super) fn new(boundary: &Boundary) -> Self {
        let needle = format!("\r\n--{}", boundary.text).into_bytes();
        let length = u8::try_from(needle.len()).unwrap_or(u8::MAX);
        let mut shifts = Box::new([length; 256]);
        for (byte, shift) in needle.iter().zip((1..length).rev()) {
            shifts[usize::from(*byte)] = shift;
        }
        Self { needle, shifts }
    }

    /// Looks for the first delimiter line.
    ///
    /// The needle alone does not make one: in a line that goes on behind it, it is content.
    pub(super) fn scan(&self, buffer: &[u8]) -> Scan {
        let mut from = 0;
        while let Some(at) = self.find(buffer, from) {
            let behind = &buffer[at + self.needle.len()..];
            if behind.starts_with(b"--") {
                let len = self.needle.len() + 2;
                return Scan::Delimiter { at, len, closing: true };
            }
            let line_end = behind_padding(behind);
            let padding = behind.len() - line_end.len();
            if padding <= MAX_PADDING_BYTES {
                if line_end.starts_with(b"\r\n") {
                    let len = self.needle.len() + padding;
                    return Scan::Delimiter {
                        at,
                        len,
                        closing: false,
                    };
                }
                if line_end.is_empty() || line_end == b"\r" || behind == b"-" {
                    return Scan::Content(at);
                }
            }
            from = at + 2;
        }
        Scan::Content(self.undecided_from(buffer))
    }

    /// Horspool's search: looks at the byte under the needle's end and mostly moves on by its whole length.
    fn find(&self, buffer: &[u8], from: usize) -> Option<usize> {
        let last = self.needle.len() - 1;
        let mut at = from;
        while let Some(byte) = buffer.get(at + last) {
            if buffer[at..].starts_with(&self.needle) {
                return Some(at);
            }
            at += usize::from(self.shifts[usize::from(*byte)]);
        }
        None
    }

    /// Where the longest end of `buffer` begins that a delimiter may begin with.
    fn undecided_from(&self, buffer: &[u8]) -> usize {
        let earliest = buffer.len().saturating_sub(self.needle.len() - 1);
        (earliest..buffer.len())
            .find(|start| self.needle.starts_with(&buffer[*start..]))
            .unwrap_or(buffer.len())
    }
}

/// What follows the white space that may stand between a delimiter and its line break.
fn behind_padding(line: &[u8]) -> &[u8] {
    let is_padding = |byte: &&u8| matches!(byte, b' ' | b'\t');
    &line[line.iter().take_while(is_padding).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(buffer: &str) -> Scan {
        Delimiter::new(&Boundary::new("aXa").unwrap()).scan(buffer.as_bytes())
    }

    #[test]
    fn a_delimiter_is_found_behind_content_and_beside_look_alikes() {
        let found = |at, len, closing| Scan::Delimiter { at, len, closing };
        assert_eq!(scan("\r\n--aXa\r\nhead"), found(0, 7, false));
        assert_eq!(scan("video\r\n--aXa--"), found(5, 9, true));
        assert_eq!(scan("\r\n--aXab\r\n--aXa \t\r\n"), found(8, 9, false));
        assert_eq!(scan("\r\r\n--aXa--"), found(1, 9, true));
        assert_eq!(scan("\r\n--aX\r\n--aXa\r\n"), found(6, 7, false));
    }

    #[test]
    fn what_may_become_a_delimiter_is_left_in_the_buffer() {
        for (buffer, content) in [
            ("video", 5),
            ("video\r", 5),
            ("video\r\n--aX", 5),
            ("video\r\n--aXa", 5),
            ("video\r\n--aXa-", 5),
            ("video\r\n--aXa \r", 5),
            ("video\r\n--aXb", 12),
        ] {
            assert_eq!(scan(buffer), Scan::Content(content), "{buffer:?}");
        }
    }

    #[test]
    fn endless_padding_is_content() {
        let buffer = format!("\r\n--aXa{}", " ".repeat(MAX_PADDING_BYTES + 1));
        assert_eq!(scan(&buffer), Scan::Content(buffer.len()));
    }

    #[test]
    fn only_a_boundary_of_the_standard_is_taken() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            Boundary::of(&headers).map(|boundary| boundary.text)
        };
        let longest = "a".repeat(70);
        assert_eq!(of("Multipart/Form-Data; boundary=x").as_deref(), Some("x"));
        assert_eq!(
            of(r#"multipart/form-data; charset=utf-8; boundary="a b""#).as_deref(),
            Some("a b")
        );
        assert_eq!(
            of(&format!("multipart/form-data; boundary={longest}")),
            Some(longest.clone())
        );
        for value in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            r#"multipart/form-data; boundary="""#,
            r#"multipart/form-data; boundary="a ""#,
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=<a>",
            &format!("multipart/form-data; boundary={longest}a"),
            "multipart/mixed; boundary=a",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(of(value), None, "{value}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            let value = "multipart/form-data; boundary=a".parse().unwrap();
            twice.append(header::CONTENT_TYPE, value);
        }
        assert_eq!(Boundary::of(&twice), None);
        assert_eq!(Boundary::of(&HeaderMap::new()), None);
    }
}
