//! The nouns of the suite, what goes over the wire, and the ports the services stand on.
//!
//! A [`Job`] is one upload and everything that became of it. Its id is the [`Fid`] of its video, so one value names
//! it in the HTTP header, the message, the record and the store. The record in the [`JobStore`] is the truth; a
//! [`JobMessage`] on a [`Queue`] only wakes somebody up.
//!
//! ```text
//! upload -> Job receiving -> BlobStore (videos) -> Job queued -> Queue "video"
//!        -> Claim(Convert) -> BlobStore (mp3s)  -> Job done   -> Queue "mp3"   -> Claim(Tell) -> mail
//! ```
//!
//! This crate does no I/O. The traits in [`ports`] say what an adapter must do; `testkit` holds the suites that
//! pin it.

mod address;
mod backend;
mod error;
mod fid;
pub mod filename;
mod gaps;
mod idempotency;
mod identity;
mod job;
mod message;
mod options;
pub mod ports;
mod position;
#[cfg(feature = "seeded-bugs")]
pub mod seeded_bugs;
mod timestamp;
mod trace_parent;
mod track;

pub use address::{Address, InvalidAddress};
pub use backend::{BackendUrl, InvalidBackendUrl};
pub use error::{Chain, PortError, Source};
pub use fid::{Fid, InvalidFid, JobId};
pub use gaps::{Gaps, InvalidGaps};
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey, MAX_IDEMPOTENCY_KEY_CHARACTERS};
pub use identity::{Claims, Credentials, User};
pub use job::{InvalidState, Job, JobState, Mp3, Note, Reason, ReasonCode, VerdictKind};
pub use message::{JobMessage, MP3_QUEUE, VIDEO_QUEUE, dead_letter_queue};
pub use options::{BITRATES_KBPS, InvalidOption, OptionName, Options, Rate, SAMPLE_RATES_HZ};
pub use ports::*;
pub use position::{InvalidPosition, Position};
pub use timestamp::Timestamp;
pub use trace_parent::{InvalidTraceParent, TraceParent};
pub use track::{InvalidTrack, Track};
