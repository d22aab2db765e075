//! The name a download is saved under.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 8187 lets stand in an extended value (`attr-char`).
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `attachment; filename="..."; filename*=UTF-8''...` for that name.
///
/// The plain form holds only characters that every client reads alike; `_` stands for the others.
///
/// Source: RFC 6266, RFC 8187.
pub(super) fn attachment(name: &str) -> String {
    let plain = |character: char| {
        let safe = character.is_ascii_graphic() || character == ' ';
        if safe && !matches!(character, '"' | '\\' | '%' | '/') {
            character
        } else {
            '_'
        }
    };
    let fallback: String = name.chars().map(plain).collect();
    let extended = utf8_percent_encode(name, ATTRIBUTE);
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{extended}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sent_in_both_forms() {
        assert_eq!(
            attachment("summer 1.mp3"),
            "attachment; filename=\"summer 1.mp3\"; filename*=UTF-8''summer%201.mp3"
        );
        assert_eq!(
            attachment("naïve ☂.mp3"),
            "attachment; filename=\"na_ve _.mp3\"; filename*=UTF-8''na%C3%AFve%20%E2%98%82.mp3"
        );
    }

    #[test]
    fn no_name_can_leave_its_quotes() {
        assert_eq!(
            attachment("a\"\\\r\n%41;.mp3"),
            "attachment; filename=\"a_____41;.mp3\"; filename*=UTF-8''a%22%5C%0D%0A%2541%3B.mp3"
        );
    }
}
