//! Which audio of a file is meant.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How all tracks are written.
const ALL: &str = "all";

/// One of a file's audio tracks, or all of them. As text and as JSON a number, `all`, or a language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Track {
    /// By its place among the audio tracks, the first being 0.
    Index(u32),
    /// All of them, mixed together. As a language the word would be Allar, which no film has been seen in.
    All,
    /// By its language: an ISO 639 code of two or three letters in lower case, such as `de` or `deu`.
    Language(String),
}

/// The text names no track.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a track: expected a number, `all`, or a language of two or three letters")]
pub struct InvalidTrack;

impl FromStr for Track {
    type Err = InvalidTrack;

    fn from_str(text: &str) -> Result<Self, InvalidTrack> {
        let all = |class: fn(&u8) -> bool| text.bytes().all(|byte| class(&byte));
        match text.len() {
            1.. if all(u8::is_ascii_digit) => text.parse().map(Self::Index).map_err(|_| InvalidTrack),
            _ if text.eq_ignore_ascii_case(ALL) => Ok(Self::All),
            2 | 3 if all(u8::is_ascii_alphabetic) => Ok(Self::Language(text.to_ascii_lowercase())),
            _ => Err(InvalidTrack),
        }
    }
}

/// A track in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Word(String),
}

impl From<Written> for Track {
    fn from(written: Written) -> Self {
        match written {
            Written::Number(number) => Self::Index(number),
            Written::Word(word) if word == ALL => Self::All,
            Written::Word(word) => Self::Language(word),
        }
    }
}

impl From<Track> for Written {
    fn from(track: Track) -> Self {
        match track {
            Track::Index(number) => Self::Number(number),
            Track::All => Self::Word(ALL.to_owned()),
            Track::Language(code) => Self::Word(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_a_number_or_all_or_a_language() {
        let language = |code: &str| Ok(Track::Language(code.to_owned()));
        for (text, expected) in [
            ("0", Ok(Track::Index(0))),
            ("12", Ok(Track::Index(12))),
            ("all", Ok(Track::All)),
            ("ALL", Ok(Track::All)),
            ("de", language("de")),
            ("DEU", language("deu")),
            ("", Err(InvalidTrack)),
            ("d", Err(InvalidTrack)),
            ("german", Err(InvalidTrack)),
            ("d1", Err(InvalidTrack)),
            ("-1", Err(InvalidTrack)),
            ("1.0", Err(InvalidTrack)),
            ("4294967296", Err(InvalidTrack)),
            ("dé", Err(InvalidTrack)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }

    #[test]
    fn json_says_what_the_text_said() {
        for (text, json) in [("1", "1"), ("all", "\"all\""), ("deu", "\"deu\"")] {
            let track: Track = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&track).unwrap(), json);
            assert_eq!(serde_json::from_str::<Track>(json).unwrap(), track);
        }
    }
}
