//! The SHA-256 of a file, as its metadata states it.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 under way.
pub(super) struct Sha256(Context);

impl Sha256 {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// 64 lower-case hexadecimal digits.
    pub(super) fn hex(self) -> String {
        use std::fmt::Write;

        let mut text = String::with_capacity(64);
        for byte in self.0.finish().as_ref() {
            write!(text, "{byte:02x}").expect("a String takes any text");
        }
        text
    }
}

/// `text` when it is the SHA-256 of something, else None: foreign metadata may hold anything.
pub(super) fn well_formed(text: &str) -> Option<String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == 64 && text.bytes().all(hex)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_file_has_the_known_digest() {
        let hex = Sha256::new().hex();
        assert_eq!(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(well_formed(&hex), Some(hex));
        assert_eq!(well_formed("E3"), None);
    }
}
