//! Text of strangers, made fit to be shown.

use unicode_segmentation::UnicodeSegmentation as _;

/// UTF-8, or else Latin-1, as old containers have it. A last letter that is not whole is left out.
pub(super) fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned()
        }
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// One line of at most so many characters; None where nothing is left.
pub(super) fn line(text: &str, most_characters: usize) -> Option<String> {
    let visible = |letter: char| if letter.is_whitespace() { ' ' } else { letter };
    let letters = text.chars().map(visible).filter(|letter| !letter.is_control());
    // One character more shows whether the last letter goes on.
    let line: String = letters
        .skip_while(|letter| *letter == ' ')
        .take(most_characters + 1)
        .collect();
    whole_letters(&line, most_characters)
}

/// Lines, of at most so many characters together, each ended by a line feed but the last; None where nothing is left.
pub(super) fn lines(text: &str, most_characters: usize) -> Option<String> {
    let unified = text.replace("\r\n", "\n");
    let visible = |letter: char| {
        if "\r\u{85}\u{2028}\u{2029}".contains(letter) {
            '\n'
        } else {
            letter
        }
    };
    let letters = unified.chars().map(visible);
    let letters = letters.filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'));
    let lines: String = letters
        .skip_while(|letter| letter.is_whitespace())
        .take(most_characters + 1)
        .collect();
    whole_letters(&lines, most_characters)
}

/// The beginning of a text, of at most so many characters: whole letters as people see them, without white space
/// behind.
///
/// Source: UAX 29, extended grapheme clusters.
fn whole_letters(text: &str, most_characters: usize) -> Option<String> {
    if text.chars().nth(most_characters).is_none() {
        let text = text.trim_end();
        return (!text.is_empty()).then(|| text.to_owned());
    }
    let mut characters = 0;
    let letters = text.grapheme_indices(true).take_while(|(_, letter)| {
        characters += letter.chars().count();
        characters <= most_characters
    });
    let end = letters.last().map_or(0, |(at, letter)| at + letter.len());
    let kept = text[..end].trim_end();
    (!kept.is_empty()).then(|| kept.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_utf_8_or_latin_1() {
        assert_eq!(text("流れ".as_bytes()), "流れ");
        assert_eq!(text(b"caf\xe9 noir"), "café noir");
        assert_eq!(text(&"流れ".as_bytes()[..5]), "流");
    }

    #[test]
    fn text_is_cut_between_letters() {
        for letter in ["a", "e\u{301}", "👩‍👩‍👧", "🇩🇪"] {
            for cut in [line(&letter.repeat(400), 500), lines(&letter.repeat(400), 500)] {
                let cut = cut.unwrap();
                assert!(
                    cut.chars().count() > 380 && cut.len().is_multiple_of(letter.len()),
                    "{cut}"
                );
            }
        }
        assert_eq!(line("abc", 3).as_deref(), Some("abc"));
        assert_eq!(line("abc", 2).as_deref(), Some("ab"));
        assert_eq!(line(&format!("a{}", "\u{301}".repeat(1000)), 10), None);
    }

    #[test]
    fn line_breaks_of_every_system_are_kept_where_there_may_be_some() {
        let text = "\n one\r\ntwo\rthree\n\nfive\u{2028}six\ttab\u{7} \n";
        assert_eq!(lines(text, 100).as_deref(), Some("one\ntwo\nthree\n\nfive\nsix\ttab"));
        assert_eq!(line(text, 100).as_deref(), Some("one  two three  five six tab"));
        assert_eq!(lines(" \r\n\0", 100), None);
    }
}
