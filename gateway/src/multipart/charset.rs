//! In which charset the names of a form are written.
//!
//! Browsers write them in the charset of the page, old programs in that of their system, and few say in which. Where
//! none is declared, what is UTF-8 is that; everything else is read as Windows-1252, which holds Latin-1.
//!
//! Source: WHATWG Encoding (the labels), RFC 7578 section 4.6 (`_charset_`), RFC 2047 (encoded words).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, WINDOWS_1252};

/// A charset that was declared, in which ASCII is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charset(&'static Encoding);

impl Charset {
    /// The charset of that name. None for unknown ones, and for UTF-16, in which no form can be written.
    pub(crate) fn of(label: &str) -> Option<Self> {
        let encoding = Encoding::for_label(label.as_bytes())?;
        (encoding.is_ascii_compatible() || encoding == ISO_2022_JP).then_some(Self(encoding))
    }

    /// The charset that the parameters of a `Content-Type` name.
    pub(super) fn named_in(parameters: &[(String, String)]) -> Option<Self> {
        let (_, label) = parameters.iter().find(|(name, _)| name == "charset")?;
        Self::of(label)
    }

    /// The text of these bytes. None where they are not of this charset.
    fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        self.0.decode_without_bom_handling_and_without_replacement(bytes)
    }
}

/// The text of these bytes, in the declared charset where they are of it.
pub(super) fn decode(bytes: &[u8], declared: Option<Charset>) -> Cow<'_, str> {
    let declared = declared.and_then(|charset| charset.decode(bytes));
    let decoded = declared.or_else(|| Charset(UTF_8).decode(bytes));
    decoded.unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0)
}

/// The text of a value made of encoded words and white space between them: `=?utf-8?B?Y2Fmw6k=?=`. None for every other
/// value. Mail writes names so, and so do HTTP clients that took their code from there.
pub(super) fn decode_words(value: &str) -> Option<String> {
    let words = value.split_ascii_whitespace().map(decode_word);
    words.collect::<Option<String>>().filter(|text| !text.is_empty())
}

fn decode_word(word: &str) -> Option<String> {
    let mut fields = word.strip_prefix("=?")?.strip_suffix("?=")?.split('?');
    let (charset, encoding, text) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(text).ok()?,
        "Q" | "q" => decode_quoted(text.as_bytes())?,
        _ => return None,
    };
    // A language may follow the charset (RFC 2231 section 5).
    let label = charset.split('*').next()?;
    Some(decode(&bytes, Some(Charset::of(label)?)).into_owned())
}

/// `_` for a space and `=` before two hexadecimal digits (RFC 2047 section 4.2).
fn decode_quoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            other => *other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_charset_is_believed_where_the_bytes_are_of_it() {
        for (label, bytes, expected) in [
            (None, &b"plain"[..], "plain"),
            (None, b"caf\xc3\xa9", "café"),
            (None, b"caf\xe9", "café"),
            (None, b"\x96 \x80", "– €"),
            (Some("ISO-8859-1"), b"caf\xe9", "café"),
            (Some("utf-8"), b"caf\xc3\xa9", "café"),
            (Some("utf-8"), b"caf\xe9", "café"),
            (Some(" Shift_JIS "), b"\x83\\\x83t\x83g", "ソフト"),
            (Some("windows-1251"), b"\xcf\xf0\xe8", "При"),
            (Some("iso-8859-2"), b"\xb3\xf3d\xbc", "łódź"),
            (Some("GBK"), b"\xc1\xaa\xcd\xa8", "联通"),
            (Some("iso-2022-jp"), b"\x1b$B%U\x1b(B.mp4", "フ.mp4"),
            (Some("utf-16"), b"caf\xe9", "café"),
            (Some("nonsense"), b"caf\xe9", "café"),
        ] {
            let declared = label.and_then(Charset::of);
            assert_eq!(decode(bytes, declared), expected, "{label:?}");
        }
    }

    #[test]
    fn encoded_words_are_decoded_and_nothing_else() {
        for (value, expected) in [
            ("=?utf-8?B?Y2Fmw6kud2F2?=", Some("café.wav")),
            ("=?ISO-8859-1?q?caf=E9_noir.wav?=", Some("café noir.wav")),
            ("=?utf-8*fr?Q?caf=C3=A9?= =?utf-8?B?LndhdiA=?=", Some("café.wav ")),
            ("clip.mp4", None),
            ("", None),
            ("=?utf-8?B?Y2Fmw6kud2F2?= (1).wav", None),
            ("=?utf-8?B?Y2F?x?=", None),
            ("=?utf-8?X?caf?=", None),
            ("=?nonsense?Q?caf?=", None),
            ("=?utf-8?Q?caf=E?=", None),
            ("=?utf-8?Q?caf=+9?=", None),
            ("=?utf-8?Q?", None),
            ("=??=", None),
        ] {
            assert_eq!(decode_words(value).as_deref(), expected, "{value}");
        }
    }
}
