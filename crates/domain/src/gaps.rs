//! What becomes of stretches without sound.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What becomes of stretches in which a file has no sound: before it, where it begins after the picture, and within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gaps {
    /// They are silence, so that the MP3 runs with its video.
    Silence,
    /// They are left out: sound follows sound.
    Drop,
}

/// The text is neither `silence` nor `drop`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected silence or drop")]
pub struct InvalidGaps;

impl FromStr for Gaps {
    type Err = InvalidGaps;

    fn from_str(text: &str) -> Result<Self, InvalidGaps> {
        match text {
            "silence" => Ok(Self::Silence),
            "drop" => Ok(Self::Drop),
            _ => Err(InvalidGaps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_what_the_text_said() {
        for (text, gaps) in [("silence", Gaps::Silence), ("drop", Gaps::Drop)] {
            assert_eq!(text.parse(), Ok(gaps));
            assert_eq!(serde_json::to_string(&gaps).unwrap(), format!("\"{text}\""));
        }
        assert_eq!("Drop".parse::<Gaps>(), Err(InvalidGaps));
    }
}
