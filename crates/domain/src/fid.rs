//! The id of a stored file, and of the job that belongs to it.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

/// The id of one stored file: a MongoDB ObjectId, written as 24 lower-case hexadecimal digits.
///
/// Ids made by one process ascend in the order they were made; across processes they ascend by the second.
/// They are unique, not secret.
///
/// Source: BSON ObjectId specification (4 bytes of seconds, 5 random bytes, 3 bytes of counter, big-endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fid([u8; 12]);

/// The id of a job: the fid of its video.
pub type JobId = Fid;

/// The text is not 24 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not an id: expected 24 hexadecimal digits")]
pub struct InvalidFid;

impl Fid {
    /// Makes a new id, different from every other.
    #[expect(clippy::new_without_default, reason = "each call gives another value")]
    pub fn new() -> Self {
        static PROCESS: LazyLock<[u8; 5]> = LazyLock::new(rand::random);
        static COUNTER: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::random::<u32>() >> 8));

        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes()[4..]);
        bytes[4..9].copy_from_slice(&*PROCESS);
        bytes[9..].copy_from_slice(&counter.to_be_bytes()[1..]);
        Self(bytes)
    }

    /// The twelve bytes of the ObjectId.
    pub const fn bytes(self) -> [u8; 12] {
        self.0
    }

    /// When the id was made, in seconds since 1970, by the clock of whoever made it.
    pub fn created_unix_seconds(self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

impl From<[u8; 12]> for Fid {
    fn from(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Fid {
    type Err = InvalidFid;

    fn from_str(text: &str) -> Result<Self, InvalidFid> {
        if text.len() != 24 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidFid);
        }
        let mut bytes = [0; 12];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidFid)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidFid)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fid {
    type Error = InvalidFid;

    fn try_from(text: String) -> Result<Self, InvalidFid> {
        text.parse()
    }
}

impl From<Fid> for String {
    fn from(fid: Fid) -> Self {
        fid.to_string()
    }
}

impl fmt::Display for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let fid = Fid::new();
        assert_eq!(fid.to_string().parse::<Fid>().unwrap(), fid);
    }

    #[test]
    fn ids_of_one_process_ascend_and_never_repeat() {
        let ids: Vec<Fid> = (0..1000).map(|_| Fid::new()).collect();
        let mut distinct = ids.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn anything_but_24_hexadecimal_digits_is_refused() {
        for text in [
            "",
            "0123456789abcdef0123456",
            "0123456789abcdef012345678",
            "0123456789abcdef0123456g",
            "+123456789abcdef01234567",
            "ééééééééééé01",
        ] {
            assert!(text.parse::<Fid>().is_err(), "{text:?}");
        }
    }
}
