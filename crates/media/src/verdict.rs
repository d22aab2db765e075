//! What can be wrong with a file, told to its owner.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The media is at fault: trying again gives the same answer. The text is one or two sentences for the owner, with what
/// is wrong and the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Media without any audio.
    NoAudio,
    /// Media with audio, and without the track that was asked for.
    NoSuchTrack {
        /// The tracks it has, for people: "0 (deu), 1 (eng)", by their numbers as in `Track::Index`.
        present: String,
    },
    /// Media whose audio ends before the position where the MP3 was to begin.
    NothingThere {
        /// Where it was to begin.
        start: Duration,
    },
    /// Media that announces a track of audio and holds nothing of it.
    EmptyAudio,
    /// Media whose audio is of a kind that is not decoded.
    UnsupportedAudio {
        /// What people call it.
        kind: String,
    },
    /// Media whose audio is encrypted, and the key is elsewhere.
    Protected,
    /// Media of which nothing, or almost nothing, can be decoded.
    Damaged,
    /// Media that breaks the process it is converted in: by a crash, or by needing more memory than a conversion may
    /// have.
    Crashed,
    /// Not a kind of file that holds audio or video.
    NotMedia,
    /// No bytes at all.
    Empty,
    /// Plays longer than allowed.
    TooLong {
        /// The longest that is allowed.
        limit: Duration,
    },
    /// Holds more audio tracks than allowed.
    TooManyStreams {
        /// How many it holds.
        streams: u32,
        /// How many are allowed.
        limit: u32,
    },
    /// Its audio has more channels than allowed.
    TooManyChannels {
        /// How many it has.
        channels: u32,
        /// How many are allowed.
        limit: u32,
    },
    /// The MP3 would be larger than allowed.
    OutputTooLarge {
        /// The largest that is allowed, in bytes.
        limit_bytes: u64,
    },
    /// The conversion took longer than allowed.
    TimeLimit {
        /// The time that is allowed.
        limit: Duration,
    },
}

impl Verdict {
    /// The stable name of this kind of verdict; several variants can share one.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAudio | Self::NoSuchTrack { .. } | Self::NothingThere { .. } => "no_audio",
            Self::EmptyAudio => "empty_audio",
            Self::UnsupportedAudio { .. } => "unsupported_audio",
            Self::Protected => "protected",
            Self::Damaged | Self::Crashed => "damaged",
            Self::NotMedia | Self::Empty => "not_media",
            Self::TooLong { .. } => "too_long",
            Self::TooManyStreams { .. } => "too_many_streams",
            Self::TooManyChannels { .. } => "too_many_channels",
            Self::OutputTooLarge { .. } => "output_too_large",
            Self::TimeLimit { .. } => "time_limit",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAudio => f.write_str(
                "The file has no sound. Check that the right file was sent, and that the sound was not \
                 switched off when it was recorded or exported.",
            ),
            Self::NoSuchTrack { present } => write!(
                f,
                "The file has no such sound track. It has these: {present}. Choose one of them, or leave the choice out."
            ),
            Self::NothingThere { start } => write!(
                f,
                "The sound ends before the start that was chosen ({} s). Choose an earlier one.",
                start.as_secs_f64()
            ),
            Self::EmptyAudio => f.write_str(
                "The file has a sound track with nothing in it, and so no sound. Check that the microphone or the \
                 sound was switched on when it was recorded or exported.",
            ),
            Self::UnsupportedAudio { kind } => write!(
                f,
                "The sound is of a kind that cannot be converted: {kind}. The file is whole; export it again with AAC, \
                 MP3 or Opus sound."
            ),
            Self::Protected => f.write_str(
                "The file is protected against copying (DRM), and its sound cannot be converted. Only whoever sold or \
                 lent it can give it without the protection.",
            ),
            Self::Damaged => f.write_str(
                "The file is damaged or incomplete: no sound could be read from it. Check that it plays, and send it \
                 again from the original.",
            ),
            Self::Crashed => f.write_str(
                "The file is damaged or made in an unusual way: converting it had to be broken off. Check that it plays, \
                 save or export it once more with another program, and send that.",
            ),
            Self::NotMedia => f.write_str(
                "The file is not a video or audio file. Send the video itself, not a link, a playlist or an archive.",
            ),
            Self::Empty => f.write_str("The file is empty. Check that it was saved completely, and send it again."),
            Self::TooLong { limit } => write!(
                f,
                "The file plays longer than {} allowed. Cut it into shorter parts and send each.",
                Hours(*limit)
            ),
            Self::TooManyStreams { streams, limit } => write!(
                f,
                "The file holds {streams} audio tracks; {limit} are allowed. Export it again with fewer of them."
            ),
            Self::TooManyChannels { channels, limit } => write!(
                f,
                "The sound has {channels} channels; {limit} are allowed. Mix it down to stereo or 5.1 and send it again."
            ),
            Self::OutputTooLarge { limit_bytes } => write!(
                f,
                "The MP3 would be larger than the {} MiB allowed. Choose a lower bitrate, or send a shorter file.",
                limit_bytes >> 20
            ),
            Self::TimeLimit { limit } => write!(
                f,
                "The conversion took longer than {} allowed. Send a shorter file, or one without its video.",
                Hours(*limit)
            ),
        }
    }
}

/// A limit as people say it: hours where it is whole hours, else minutes or seconds.
struct Hours(Duration);

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            _ if seconds >= 3600 && seconds.is_multiple_of(3600) => (seconds / 3600, "hours"),
            _ if seconds >= 60 && seconds.is_multiple_of(60) => (seconds / 60, "minutes"),
            _ => (seconds, "seconds"),
        };
        write!(f, "the {count} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_tells_the_owner_what_is_wrong_and_the_way_out() {
        let verdicts = [
            Verdict::NoAudio,
            Verdict::NoSuchTrack {
                present: "0 (deu), 1".to_owned(),
            },
            Verdict::NothingThere {
                start: Duration::from_millis(1_500),
            },
            Verdict::EmptyAudio,
            Verdict::UnsupportedAudio {
                kind: "xHE-AAC".to_owned(),
            },
            Verdict::Protected,
            Verdict::Damaged,
            Verdict::Crashed,
            Verdict::NotMedia,
            Verdict::Empty,
            Verdict::TooLong {
                limit: Duration::from_secs(12 * 3600),
            },
            Verdict::TooManyStreams { streams: 65, limit: 64 },
            Verdict::TooManyChannels {
                channels: 65,
                limit: 64,
            },
            Verdict::OutputTooLarge { limit_bytes: 2 << 30 },
            Verdict::TimeLimit {
                limit: Duration::from_secs(90),
            },
        ];
        for verdict in &verdicts {
            let text = verdict.to_string();
            assert!(text.ends_with('.') && text.contains(". "), "{text}");
            for jargon in ["libav", "ffmpeg", "demux", "codec", "stream", "error"] {
                assert!(!text.contains(jargon), "{text}");
            }
        }
        assert!(verdicts[2].to_string().contains("(1.5 s)"));
        assert!(verdicts[10].to_string().contains("12 hours"));
        assert!(verdicts[14].to_string().contains("90 seconds"));
    }
}
