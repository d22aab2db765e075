//! The key under which a client sends an upload again.

use std::fmt;
use std::str::FromStr;

/// The most characters of a key; a UUID has 36.
pub const MAX_IDEMPOTENCY_KEY_CHARACTERS: u8 = 255;

/// What a client calls one upload, to send it again without making a second job: 1 to 255 visible ASCII characters.
/// Keys of different owners have nothing to do with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text is no key.
#[derive(Debug, thiserror::Error)]
#[error("expected 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} visible ASCII characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// The key as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let is_bounded = (1..=usize::from(MAX_IDEMPOTENCY_KEY_CHARACTERS)).contains(&text.len());
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (is_bounded && is_visible)
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidIdempotencyKey)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_visible() {
        let longest = "k".repeat(MAX_IDEMPOTENCY_KEY_CHARACTERS.into());
        for key in ["a", "01HF7YAT31VYH3NN4X6Z4V3WQK", "\"quoted\"", "$key", &longest] {
            assert_eq!(key.parse::<IdempotencyKey>().unwrap().as_str(), key);
        }
        for text in ["", " ", "two words", "caf\u{e9}", "tab\t", &format!("{longest}k")] {
            assert!(text.parse::<IdempotencyKey>().is_err(), "{text:?}");
        }
    }
}
