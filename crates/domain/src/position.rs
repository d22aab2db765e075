//! A place in a file, as options name it.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A place in a file, in whole milliseconds from where the first of its pictures and sounds begins; at most 1000 hours.
///
/// As text it is seconds (`90`, `90.5`), `MM:SS` or `HH:MM:SS`, each with up to nine decimals, of which three count.
/// What stands before the first colon may be any number, what follows one has two digits and is below 60. As JSON it is
/// the number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Position {
    ms: u32,
}

/// What was given is no position.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected seconds such as 90.5, MM:SS or HH:MM:SS, at most 1000 hours")]
pub struct InvalidPosition;

impl Position {
    const LAST_MS: u32 = 1000 * 3600 * 1000;

    /// The time from the beginning to here.
    pub const fn from_beginning(self) -> Duration {
        Duration::from_millis(self.ms as u64)
    }

    /// Whether this is the beginning.
    pub const fn is_beginning(self) -> bool {
        self.ms == 0
    }

    fn from_ms(ms: u64) -> Result<Self, InvalidPosition> {
        let ms = u32::try_from(ms).ok().filter(|ms| *ms <= Self::LAST_MS);
        ms.map(|ms| Self { ms }).ok_or(InvalidPosition)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let mut seconds = 0;
        for (place, field) in whole.split(':').enumerate() {
            let lengths = if place == 0 { 1..=9 } else { 2..=2 };
            let value = digits(field, lengths).ok_or(InvalidPosition)?;
            if place > 2 || (place > 0 && value > 59) {
                return Err(InvalidPosition);
            }
            seconds = seconds * 60 + value;
        }
        digits(fraction, 1..=9).ok_or(InvalidPosition)?;
        let thousandths = format!("{fraction:0<3}");
        let ms = digits(&thousandths[..3], 3..=3).ok_or(InvalidPosition)?;
        Self::from_ms(seconds * 1000 + ms)
    }
}

/// The value of a text of so many digits and nothing else.
fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let plain = lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl TryFrom<f64> for Position {
    type Error = InvalidPosition;

    fn try_from(seconds: f64) -> Result<Self, InvalidPosition> {
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| InvalidPosition)?;
        // A number of thousandths that binary fractions cannot hold may lie just below it.
        let nearest = time.saturating_add(Duration::from_micros(500));
        Self::from_ms(u64::try_from(nearest.as_millis()).map_err(|_| InvalidPosition)?)
    }
}

impl From<Position> for f64 {
    fn from(position: Position) -> Self {
        Self::from(position.ms) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Result<u32, InvalidPosition> {
        text.parse().map(|position: Position| position.ms)
    }

    #[test]
    fn every_spelling_of_a_position_is_read() {
        for (text, expected) in [
            ("0", 0),
            ("90", 90_000),
            ("90.5", 90_500),
            ("0.0019", 1),
            ("3725.25", 3_725_250),
            ("1:30", 90_000),
            ("75:00", 4_500_000),
            ("01:02:03", 3_723_000),
            ("1:02:03.004", 3_723_004),
            ("1000:00:00.000", 3_600_000_000),
        ] {
            assert_eq!(ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_position() {
        for text in [
            "",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "NaN",
            "1:2",
            "1:60",
            "1:00:60",
            "1:60:00",
            "1:00:00:00",
            ":30",
            "1:",
            "1 2",
            "1.2.3",
            "1.:2",
            "1.0000000000",
            "٣",
            "1000:00:00.001",
            "999999999",
            "99999999999999999999",
        ] {
            assert_eq!(ms(text), Err(InvalidPosition), "{text:?}");
        }
    }

    #[test]
    fn in_json_a_position_is_its_seconds() {
        for (json, expected) in [
            ("0.0", 0),
            ("62.5", 62_500),
            ("0.001", 1),
            ("90.123", 90_123),
            ("3600000.0", 3_600_000_000),
        ] {
            let position: Position = serde_json::from_str(json).unwrap();
            assert_eq!(position.ms, expected, "{json}");
            assert_eq!(serde_json::to_string(&position).unwrap(), json);
        }
        let whole: Position = serde_json::from_str("90").unwrap();
        assert_eq!(whole.from_beginning(), Duration::from_secs(90));
        for json in ["-1", "3600000.001", "1e300", "\"90\"", "null"] {
            assert!(serde_json::from_str::<Position>(json).is_err(), "{json}");
        }
    }
}
