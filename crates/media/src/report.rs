//! What a conversion did beyond the plain case, told to the file's owner.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Why;

/// One thing that was done beyond decoding all of the only audio track. The text is a sentence for the owner; as JSON
/// it is an object of the code and the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Note {
    /// Pieces of the source were damaged: packets the decoder refused, frames it could not make, an end that cannot be
    /// read.
    LeftOut {
        /// How many.
        pieces: u64,
    },
    /// The file has several audio tracks, and this one was taken without having been asked for.
    Track {
        /// Its number among them, from 0.
        number: u32,
        /// How many there are.
        of: u32,
        /// What set it apart.
        why: Why,
    },
    /// Tags, pictures or chapters are not in the MP3, since they are too large or too many.
    TagsLeftOut {
        /// How many.
        count: u32,
    },
    /// The sound begins after the picture, and the MP3 with silence.
    LateStart {
        /// How long the silence is, in milliseconds.
        ms: u64,
    },
    /// The same, where the silence was left out as asked.
    LateStartDropped {
        /// How long it would be, in milliseconds.
        ms: u64,
    },
    /// The sound has gaps, and the MP3 silence in them.
    Gaps {
        /// How many.
        count: u64,
        /// How long they are together, in milliseconds.
        ms: u64,
    },
    /// The same, where the silence was left out as asked.
    GapsDropped {
        /// How many gaps.
        count: u64,
        /// How long they are together, in milliseconds.
        ms: u64,
    },
    /// Two mono tracks of a camera are the left and the right side of the MP3.
    LeftAndRight {
        /// The number of the left one, as in `Track::Index`.
        left: u32,
        /// The number of the right one.
        right: u32,
    },
    /// Several tracks were mixed together, as asked.
    TracksMixed {
        /// How many.
        count: u32,
    },
    /// Of the tracks that are wanted together, some cannot be decoded or are stored too far apart, and are not in the
    /// MP3.
    TracksLeftOut {
        /// How many.
        count: u32,
    },
    /// Channels were mixed down to those of the MP3.
    MixedDown {
        /// How many the source has, at most.
        from: u32,
        /// How many the MP3 has.
        to: u32,
    },
    /// A mix would have exceeded full scale, and was turned down around those places.
    TurnedDown,
}

impl Note {
    /// The stable name of this kind of note.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LeftOut { .. } => "left_out",
            Self::Track { .. } => "track",
            Self::TagsLeftOut { .. } => "tags_left_out",
            Self::LateStart { .. } => "late_start",
            Self::LateStartDropped { .. } => "late_start_dropped",
            Self::Gaps { .. } => "gaps",
            Self::GapsDropped { .. } => "gaps_dropped",
            Self::LeftAndRight { .. } => "left_and_right",
            Self::TracksMixed { .. } => "tracks_mixed",
            Self::TracksLeftOut { .. } => "tracks_left_out",
            Self::MixedDown { .. } => "mixed_down",
            Self::TurnedDown => "turned_down",
        }
    }

    /// Whether something of the source is missing in the MP3, so that its owner is told without having asked.
    pub const fn is_loss(&self) -> bool {
        match self {
            Self::LeftOut { .. } | Self::TagsLeftOut { .. } | Self::TracksLeftOut { .. } | Self::Gaps { .. } => true,
            Self::Track { .. }
            | Self::LateStart { .. }
            | Self::LateStartDropped { .. }
            | Self::GapsDropped { .. }
            | Self::LeftAndRight { .. }
            | Self::TracksMixed { .. }
            | Self::MixedDown { .. }
            | Self::TurnedDown => false,
        }
    }

    /// Whether its text may go to the file's owner, whoever wrote it: a note that holds text of a child that is no
    /// longer ours must not. To be false where a text is not of the form that the engine writes.
    pub(crate) const fn is_presentable(&self) -> bool {
        match self {
            Self::LeftOut { .. }
            | Self::Track { .. }
            | Self::TagsLeftOut { .. }
            | Self::LateStart { .. }
            | Self::LateStartDropped { .. }
            | Self::Gaps { .. }
            | Self::GapsDropped { .. }
            | Self::LeftAndRight { .. }
            | Self::TracksMixed { .. }
            | Self::TracksLeftOut { .. }
            | Self::MixedDown { .. }
            | Self::TurnedDown => true,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut { pieces: 1 } => f.write_str("One damaged piece of the file was left out."),
            Self::LeftOut { pieces } => write!(f, "{pieces} damaged pieces of the file were left out."),
            Self::Track { number, of, why } => {
                write!(
                    f,
                    "Of the {of} sound tracks, number {number} was taken (from 0): {why}."
                )
            }
            Self::TagsLeftOut { count: 1 } => {
                f.write_str("One tag, picture or chapter is not in the MP3: it is too large, or there are too many.")
            }
            Self::TagsLeftOut { count } => write!(
                f,
                "{count} tags, pictures or chapters are not in the MP3: they are too large or too many."
            ),
            Self::LateStart { ms } => write!(
                f,
                "The sound begins {} after the picture; the MP3 begins with as much silence.",
                Seconds(*ms)
            ),
            Self::LateStartDropped { ms } => write!(
                f,
                "The sound begins {} after the picture; the MP3 begins with the sound.",
                Seconds(*ms)
            ),
            Self::Gaps { count: 1, ms } => write!(
                f,
                "The file has no sound for {}; there is silence instead.",
                Seconds(*ms)
            ),
            Self::Gaps { count, ms } => write!(
                f,
                "The file has no sound in {count} places, {} together; there is silence instead.",
                Seconds(*ms)
            ),
            Self::GapsDropped { count: 1, ms } => {
                write!(f, "The file has no sound for {}, which were left out.", Seconds(*ms))
            }
            Self::GapsDropped { count, ms } => write!(
                f,
                "The file has no sound in {count} places, {} together, which were left out.",
                Seconds(*ms)
            ),
            Self::LeftAndRight { left, right } => {
                write!(f, "The mono tracks {left} and {right} are the left and the right side.")
            }
            Self::TracksMixed { count } => write!(f, "{count} tracks were mixed together."),
            Self::TracksLeftOut { count: 1 } => {
                f.write_str("One sound track could not be converted together with the rest, and was left out.")
            }
            Self::TracksLeftOut { count } => write!(
                f,
                "{count} sound tracks could not be converted together with the rest, and were left out."
            ),
            Self::MixedDown { from, to: 1 } => write!(f, "{from} channels were mixed down to one."),
            Self::MixedDown { from, to } => write!(f, "{from} channels were mixed down to {to}."),
            Self::TurnedDown => f.write_str("The mix was turned down where it would have been too loud."),
        }
    }
}

/// Milliseconds as people read them: to the tenth of a second.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 + 50) / 100;
        write!(f, "{}.{} s", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_has_one_code_and_reads_as_a_sentence() {
        let notes = [
            Note::LeftOut { pieces: 1 },
            Note::LeftOut { pieces: 7 },
            Note::Track {
                number: 1,
                of: 3,
                why: Why::Main,
            },
            Note::TagsLeftOut { count: 1 },
            Note::TagsLeftOut { count: 7 },
            Note::LateStart { ms: 3_000 },
            Note::LateStartDropped { ms: 3_000 },
            Note::Gaps { count: 1, ms: 5_013 },
            Note::Gaps { count: 3, ms: 5_013 },
            Note::GapsDropped { count: 1, ms: 5_013 },
            Note::GapsDropped { count: 3, ms: 5_013 },
            Note::LeftAndRight { left: 0, right: 1 },
            Note::TracksMixed { count: 3 },
            Note::TracksLeftOut { count: 1 },
            Note::TracksLeftOut { count: 2 },
            Note::MixedDown { from: 2, to: 1 },
            Note::MixedDown { from: 6, to: 2 },
            Note::TurnedDown,
        ];
        for note in notes {
            let json = serde_json::to_value(&note).unwrap();
            assert_eq!(json["code"], note.code());
            assert_eq!(serde_json::from_value::<Note>(json).unwrap(), note);
            let text = note.to_string();
            assert!(text.ends_with('.') && !text.contains("packet"), "{text}");
            assert!(note.is_presentable());
        }
    }
}
