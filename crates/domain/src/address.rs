//! An account's e-mail address.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The e-mail address that names an account: `username` in claims and messages, `owner` of jobs and files.
///
/// Keeps the spelling it was given. Two addresses are equal when they differ in ASCII case only. 1 to 255 bytes
/// without control characters or white space at either end; whether mail can be sent there is the mailer's
/// business. `Debug` is masked, so an address does not end up in a log by accident.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

/// The text cannot be an account's address.
#[derive(Debug, thiserror::Error)]
#[error("not an address: expected 1 to 255 bytes without control characters or white space at the ends")]
pub struct InvalidAddress;

impl Address {
    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that equal addresses share: ASCII lower case. For lookups and unique indexes.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        let fits = !text.is_empty() && text.len() <= 255;
        if fits && text.trim() == text && !text.chars().any(char::is_control) {
            Ok(Self(text))
        } else {
            Err(InvalidAddress)
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, host) = self.0.split_once('@').unwrap_or((&self.0, ""));
        let initial = |part: &str| part.chars().next().map_or(String::new(), String::from);
        write!(f, "{}***@{}***", initial(local), initial(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_kept_and_ascii_case_does_not_matter() {
        let address: Address = "Ada@Example.com".parse().unwrap();
        assert_eq!(address.as_str(), "Ada@Example.com");
        assert_eq!(address, "ada@example.COM".parse().unwrap());
        assert_ne!(address, "adá@example.com".parse().unwrap());
    }

    #[test]
    fn line_breaks_and_empty_text_are_refused() {
        for text in ["", " ", "a@b\r\nBcc: c@d", "a@b ", "a\0b@c"] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn debug_output_is_masked() {
        let address: Address = "ada@example.com".parse().unwrap();
        assert_eq!(format!("{address:?}"), "a***@e***");
    }
}
