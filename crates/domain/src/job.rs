//! One upload and everything that became of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Address, Fid, JobId, JobMessage, Options, Timestamp, TraceParent, filename};

/// The record of one upload.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The job's id, which is the fid of its video.
    pub id: JobId,
    /// Whose upload it is.
    pub owner: Address,
    /// How far it has come.
    pub state: JobState,
    /// The share of the audio that is converted, 0 to 1.
    pub progress: f32,
    /// The upload's file name, without directories. None where a foreign gateway took the upload.
    pub filename: Option<String>,
    /// The video's length in bytes, known from the commit on.
    pub size_bytes: Option<u64>,
    /// What the owner asked for.
    pub options: Options,
    /// The finished MP3.
    pub mp3: Option<Mp3>,
    /// Why there is no MP3: set with `failed`, `dead` and `cancelled`.
    pub reason: Option<Reason>,
    /// How often a conversion was begun, since the upload or the last replay.
    pub attempts: u32,
    /// When the upload began.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
    /// The upload's place in a trace, where it is known: what is done about the job belongs below it.
    pub trace: Option<TraceParent>,
}

impl Job {
    /// What is put on a queue about this job.
    pub fn message(&self) -> JobMessage {
        JobMessage {
            video_fid: self.id,
            mp3_fid: self.mp3.as_ref().map(|mp3| mp3.fid),
            username: self.owner.clone(),
            trace: self.trace.clone(),
        }
    }

    /// The name of the MP3 that comes of it, see [`filename::mp3_name`].
    pub fn mp3_filename(&self) -> String {
        filename::mp3_name(self.filename.as_deref().unwrap_or("audio"))
    }
}

/// A finished MP3. The sizes are unknown where a foreign converter made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mp3 {
    /// Its file in the bucket `mp3s`.
    pub fid: Fid,
    /// Its length in bytes.
    pub size_bytes: Option<u64>,
    /// Its playing time in milliseconds.
    pub duration_ms: Option<u64>,
    /// What was done beyond the plain case.
    pub notes: Vec<Note>,
}

/// One thing that was done beyond converting all of a file's only sound, for its owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Stable, for programs.
    pub code: String,
    /// One sentence, for people.
    pub message: String,
    /// Whether something of the file is missing in the MP3.
    pub loss: bool,
    /// What else there is to tell by this code, such as `count` and `ms`.
    #[serde(flatten)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Bytes are arriving.
    Receiving,
    /// The video is safe and waits for a converter: the commit point.
    Queued,
    /// A converter holds it.
    Converting,
    /// The MP3 is there. Final.
    Done,
    /// The upload is at fault; the owner is told why. Final.
    Failed,
    /// We could not do it; the owner is told, and an operator can replay it. Final until then.
    Dead,
    /// The owner took it back. Final.
    Cancelled,
}

impl JobState {
    /// Every state, in the order a job passes through them.
    pub const ALL: [Self; 7] = [
        Self::Receiving,
        Self::Queued,
        Self::Converting,
        Self::Done,
        Self::Failed,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The state's name in records, in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Queued => "queued",
            Self::Converting => "converting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// No worker will change it any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Dead | Self::Cancelled)
    }
}

/// The text names no state.
#[derive(Debug, thiserror::Error)]
#[error("no such state: expected receiving, queued, converting, done, failed, dead or cancelled")]
pub struct InvalidState;

impl FromStr for JobState {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(InvalidState)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job has no MP3, for its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable, for programs.
    pub code: ReasonCode,
    /// One sentence with the way out, for people.
    pub message: String,
}

/// The stable names of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The file has no audio stream.
    NoAudio,
    /// The file has an audio stream with nothing in it.
    EmptyAudio,
    /// The file's audio is of a kind that cannot be converted.
    UnsupportedAudio,
    /// The file's audio is encrypted, and the key is elsewhere.
    Protected,
    /// The file is media, and broken beyond use.
    Damaged,
    /// The file is not media.
    NotMedia,
    /// It plays longer than allowed.
    TooLong,
    /// It holds more audio tracks than allowed.
    TooManyStreams,
    /// Its audio has more channels than allowed.
    TooManyChannels,
    /// The MP3 would be larger than allowed.
    OutputTooLarge,
    /// The conversion took longer than allowed.
    TimeLimit,
    /// The upload stopped before its end, or was refused after it began.
    UploadInterrupted,
    /// The owner took it back.
    Cancelled,
    /// Our own trouble did not end.
    Dead,
}

impl ReasonCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::NoAudio,
        Self::EmptyAudio,
        Self::UnsupportedAudio,
        Self::Protected,
        Self::Damaged,
        Self::NotMedia,
        Self::TooLong,
        Self::TooManyStreams,
        Self::TooManyChannels,
        Self::OutputTooLarge,
        Self::TimeLimit,
        Self::UploadInterrupted,
        Self::Cancelled,
        Self::Dead,
    ];

    /// The code as records and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAudio => "no_audio",
            Self::EmptyAudio => "empty_audio",
            Self::UnsupportedAudio => "unsupported_audio",
            Self::Protected => "protected",
            Self::Damaged => "damaged",
            Self::NotMedia => "not_media",
            Self::TooLong => "too_long",
            Self::TooManyStreams => "too_many_streams",
            Self::TooManyChannels => "too_many_channels",
            Self::OutputTooLarge => "output_too_large",
            Self::TimeLimit => "time_limit",
            Self::UploadInterrupted => "upload_interrupted",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// The code of that spelling, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// What the owner is told about a job, one mail each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerdictKind {
    /// The MP3 is ready.
    Done,
    /// The upload is at fault.
    Failed,
    /// It was our fault.
    Dead,
}

impl VerdictKind {
    /// What a job in `state` has to tell its owner, if anything.
    pub const fn of(state: JobState) -> Option<Self> {
        match state {
            JobState::Done => Some(Self::Done),
            JobState::Failed => Some(Self::Failed),
            JobState::Dead => Some(Self::Dead),
            _ => None,
        }
    }

    /// The kind's name in a Message-ID, which is that of the state it is about.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_records_and_in_json_are_the_same() {
        for state in JobState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
            assert_eq!(state.as_str().parse::<JobState>().unwrap(), state);
        }
        for code in ReasonCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
            assert_eq!(ReasonCode::parse(code.as_str()), Some(code));
        }
    }
}
