//! What parent and child say to each other: frames of a kind, a length and a payload, over one stream socket.
//!
//! Both are the same program, so nothing here is negotiated; the version only tells a mix-up of binaries apart from a
//! crash. Every kind has a largest payload, and a frame above it ends the conversation before anything is allocated.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::{Anew, Converted, Settings, Verdict};

/// The version of the conversation that a child names in its first frame. It changes with every change of this file.
pub const PROTOCOL_VERSION: u32 = 4;

/// The most of the source that one [`Kind::Read`] gives.
pub(super) const READ_BYTES: usize = 1024 * 1024;
/// The most of the MP3 that one [`Kind::Mp3`] carries.
pub(super) const MP3_BYTES: usize = 64 * 1024;
/// How long a name or a text from the child may be.
const TEXT_BYTES: usize = 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// From the child: it is locked down and waits. [`Ready`].
    Ready,
    /// From the child: it wants bytes of the source. [`Ranges`].
    Read,
    /// From the child: the next bytes of the MP3.
    Mp3,
    /// From the child: how far it is. [`Position`].
    Progress,
    /// From the child: how it ended. [`End`].
    End,
    /// From the parent: what to do. [`Job`].
    Job,
    /// From the parent: bytes of the source, none at its end.
    Data,
}

impl Kind {
    /// The kind of this number and its largest payload in bytes.
    fn of(number: u8) -> Option<(Self, usize)> {
        Some(match number {
            1 => (Self::Ready, 4096),
            2 => (Self::Read, Ranges::MOST * Ranges::RANGE_BYTES),
            3 => (Self::Mp3, MP3_BYTES),
            4 => (Self::Progress, Position::BYTES),
            5 => (Self::End, 64 * 1024),
            6 => (Self::Job, 256 * 1024),
            7 => (Self::Data, READ_BYTES),
            _ => return None,
        })
    }

    const fn number(self) -> u8 {
        match self {
            Self::Ready => 1,
            Self::Read => 2,
            Self::Mp3 => 3,
            Self::Progress => 4,
            Self::End => 5,
            Self::Job => 6,
            Self::Data => 7,
        }
    }
}

/// The beginning of a frame: the kind, then the payload's length, little-endian.
pub(super) const HEADER_BYTES: usize = 5;

/// A frame's beginning.
pub(super) fn header(kind: Kind, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX).to_le_bytes();
    [kind.number(), length[0], length[1], length[2], length[3]]
}

/// The kind and the payload's length, if there is such a frame.
pub(super) fn parse_header(header: [u8; HEADER_BYTES]) -> Option<(Kind, usize)> {
    let [number, length @ ..] = header;
    let (kind, largest) = Kind::of(number)?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    (length <= largest).then_some((kind, length))
}

/// What a child says when it is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) version: u32,
    /// What its kernel lacks.
    pub(super) missing: Vec<Layer>,
}

/// A conversion to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) settings: Settings,
    /// None where the source can be read only once, from its start.
    pub(super) source_bytes: Option<u64>,
}

/// Ranges of the source, in order, as [`ReadRanges`](crate::ReadRanges) has them. Of a source without seeking only the
/// length counts, and there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(pub(super) Vec<Range<u64>>);

impl Ranges {
    const RANGE_BYTES: usize = 12;
    /// How many one frame holds.
    pub(super) const MOST: usize = 4096;

    pub(super) fn encode(ranges: &[Range<u64>]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ranges.len() * Self::RANGE_BYTES);
        for range in ranges {
            let length = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&range.start.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes
    }

    /// None unless the ranges are in order, do not overlap, hold a byte each, and at most [`READ_BYTES`] together.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut ranges = Vec::with_capacity(payload.len() / Self::RANGE_BYTES);
        let (mut end, mut total) = (0, 0);
        let (encoded, []) = payload.as_chunks::<{ Self::RANGE_BYTES }>() else {
            return None;
        };
        for encoded in encoded {
            let (start, length) = encoded.split_first_chunk()?;
            let start = u64::from_le_bytes(*start);
            let length = u64::from(u32::from_le_bytes(length.try_into().ok()?));
            if length == 0 || start < end {
                return None;
            }
            end = start.checked_add(length)?;
            total += length;
            ranges.push(start..end);
        }
        (!ranges.is_empty() && total <= READ_BYTES as u64).then_some(Self(ranges))
    }

    /// How many bytes they are together.
    pub(super) fn total_bytes(&self) -> usize {
        let total: u64 = self.0.iter().map(|range| range.end - range.start).sum();
        usize::try_from(total).unwrap_or(usize::MAX)
    }
}

/// How far the child is in the audio, and how long it takes the audio to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) position: Duration,
    pub(super) duration: Option<Duration>,
}

impl Position {
    const BYTES: usize = 16;
    const UNKNOWN: u64 = u64::MAX;

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(Self::UNKNOWN - 1);
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&microseconds(self.position).to_le_bytes());
        bytes[8..].copy_from_slice(&self.duration.map_or(Self::UNKNOWN, microseconds).to_le_bytes());
        bytes
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (position, duration) = payload.split_first_chunk()?;
        let duration = u64::from_le_bytes(duration.try_into().ok()?);
        Some(Self {
            position: Duration::from_micros(u64::from_le_bytes(*position)),
            duration: (duration != Self::UNKNOWN).then(|| Duration::from_micros(duration)),
        })
    }
}

/// How a conversion ended inside the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum End {
    Converted(Converted),
    Verdict(Verdict),
    NeedsSeeking,
    BeginAnew(Anew),
    /// The engine failed by a fault of ours.
    Failed(String),
    /// It panicked, or the memory that a child may have did not suffice.
    Crashed(String),
}

/// A text of bounded length that moves no terminal and begins no line of a log.
pub(super) fn text(text: impl ToString) -> String {
    let mut text = text.to_string().replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    text
}

/// A value as a payload.
pub(super) fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::from)
}

/// A payload as a value.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// Writes a whole frame to a socket that waits for as long as it takes: the child's side.
pub(super) fn send(socket: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    socket.write_all(&header(kind, payload.len()))?;
    socket.write_all(payload)
}

/// Reads a frame's header from such a socket.
pub(super) fn receive_header(socket: &mut impl Read, expected: Kind) -> io::Result<usize> {
    let mut header = [0; HEADER_BYTES];
    socket.read_exact(&mut header)?;
    match parse_header(header) {
        Some((kind, length)) if kind == expected => Ok(length),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_above_the_bound_of_its_kind_is_refused() {
        for number in 0..=u8::MAX {
            let Some((kind, largest)) = Kind::of(number) else {
                assert!(parse_header([number, 0, 0, 0, 0]).is_none());
                continue;
            };
            assert_eq!(parse_header(header(kind, largest)), Some((kind, largest)));
            assert_eq!(parse_header(header(kind, largest + 1)), None);
            assert_eq!(parse_header(header(kind, usize::MAX)), None);
        }
    }

    #[test]
    fn ranges_and_positions_survive_the_way() {
        let ranges = vec![0..1, 1..7, u64::MAX - 9..u64::MAX];
        assert_eq!(Ranges::decode(&Ranges::encode(&ranges)), Some(Ranges(ranges)));
        for duration in [None, Some(Duration::from_millis(1234))] {
            let position = Position {
                position: Duration::from_secs(5),
                duration,
            };
            assert_eq!(Position::decode(&position.encode()), Some(position));
        }
        for length in [0, 7, 11, 13] {
            assert_eq!(Ranges::decode(&vec![0; length]), None);
            assert_eq!(Position::decode(&vec![0; length]), None);
        }
    }

    #[test]
    fn ranges_that_no_engine_asks_for_are_refused() {
        let most = READ_BYTES as u64;
        let (largest, empty) = (0..most, 5..5);
        assert!(Ranges::decode(&Ranges::encode(std::slice::from_ref(&largest))).is_some());
        for wrong in [
            vec![],
            vec![empty],
            vec![0..5, 4..6],
            vec![5..6, 0..1],
            vec![0..most, most..most + 1],
        ] {
            assert_eq!(Ranges::decode(&Ranges::encode(&wrong)), None, "{wrong:?}");
        }
        let beyond = [u64::MAX.to_le_bytes().as_slice(), &1_u32.to_le_bytes()].concat();
        assert_eq!(Ranges::decode(&beyond), None);
    }
}
