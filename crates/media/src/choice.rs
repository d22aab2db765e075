//! Which stream of a file is converted.

use std::cmp::Reverse;
use std::fmt;

use ffmpeg_next as ff;
use ffmpeg_next::format::stream::{Disposition, Stream};
use serde::{Deserialize, Serialize};

use crate::decoder;
use crate::input::BELIEVED_PROBE_SCORE;
use crate::planner::MOV;
use crate::{ConvertError, Note, Track, Verdict, allowed, language, protection, raw};

/// What marks a track that plays beside the main one: a commentary, a description of the picture, sound for the hard of
/// hearing, a song without its singer.
const BESIDE: Disposition = Disposition::COMMENT
    .union(Disposition::VISUAL_IMPAIRED)
    .union(Disposition::HEARING_IMPAIRED)
    .union(Disposition::DESCRIPTIONS)
    .union(Disposition::KARAOKE)
    .union(Disposition::CLEAN_EFFECTS);

/// Beginnings of words in the titles of such tracks, in small letters, where nothing else marks them: commentary
/// (English, French, German, Italian and Spanish), audio description (the same).
const BESIDE_TITLES: [&str; 9] = [
    "commenta",
    "comentario",
    "kommentar",
    "audio description",
    "audiodescri",
    "audiodeskription",
    "descriptive",
    "descriptif",
    "described video",
];

/// The audio track that was converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenTrack {
    /// Its number among the audio tracks, in the file's order, from 0.
    pub number: u32,
    /// How many audio tracks the file has.
    pub of: u32,
    /// Why this one.
    pub why: Why,
}

impl ChosenTrack {
    /// The track of a file that has no other.
    pub(crate) const ONLY: Self = Self {
        number: 0,
        of: 1,
        why: Why::Only,
    };

    /// What is said of it, where the file has others and none was asked for by its number.
    pub(crate) fn note(self) -> Option<Note> {
        let Self { number, of, why } = self;
        let is_plain = matches!(why, Why::Only | Why::Asked | Why::Together);
        (!is_plain).then_some(Note::Track { number, of, why })
    }
}

/// What set a track apart from the one that the `ffmpeg` command would take, or where that is the same, from the next
/// best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The file has no other.
    Only,
    /// It was asked for.
    Asked,
    /// Others were converted together with it, see the notes.
    Together,
    /// Another one that would have been taken cannot be decoded.
    Decodable,
    /// No sound of the other was met at the beginning of the file.
    NotEmpty,
    /// The other is a commentary, a description, or the like.
    Main,
    /// The file marks it as the default.
    Default,
    /// It has more channels.
    MostChannels,
    /// It comes first, and nothing else sets it apart.
    First,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Only => "there is no other",
            Self::Asked => "it was asked for",
            Self::Together => "others were converted together with it",
            Self::Decodable => "another one, which would have been taken, cannot be converted",
            Self::NotEmpty => "no sound was met at the beginning of the others",
            Self::Main => "the others are commentaries, descriptions or the like",
            Self::Default => "the file marks it as the one to play",
            Self::MostChannels => "it has the most channels",
            Self::First => "it comes first",
        })
    }
}

/// Whether a stream is sound.
pub(crate) fn is_audio(stream: &Stream<'_>) -> bool {
    stream.parameters().medium() == ff::media::Type::Audio
}

/// An audio track that may be the one. The greatest is the best: the first three are for a listener, the others are how
/// the `ffmpeg` command chooses.
///
/// Source: `open_output_file` in fftools/ffmpeg_opt.c of FFmpeg 5.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    is_open: bool,
    /// Nothing proves that it is empty.
    may_have_sound: bool,
    is_main: bool,
    has_packets: bool,
    is_default: bool,
    channels: u32,
    number: Reverse<u32>,
    index: usize,
}

impl Candidate {
    /// `is_indexed` says that the container's index knows of all packets.
    fn of(number: u32, stream: &Stream<'_>, is_indexed: bool) -> Self {
        Self {
            is_open: !protection::is_protected(stream),
            may_have_sound: has_packets(stream) || !is_indexed,
            is_main: is_main(stream),
            has_packets: has_packets(stream),
            is_default: stream.disposition().contains(Disposition::DEFAULT),
            channels: raw::channels(stream),
            number: Reverse(number),
            index: stream.index(),
        }
    }

    /// What the `ffmpeg` command chooses by.
    fn plain_rank(&self) -> impl Ord + use<> {
        (self.has_packets, self.is_default, self.channels, self.number)
    }

    /// Why this one comes before another.
    fn why_before(&self, other: &Self) -> Why {
        match () {
            () if self.is_open != other.is_open => Why::Decodable,
            () if self.may_have_sound != other.may_have_sound => Why::NotEmpty,
            () if self.is_main != other.is_main => Why::Main,
            () if self.has_packets != other.has_packets => Why::NotEmpty,
            () if self.is_default != other.is_default => Why::Default,
            () if self.channels != other.channels => Why::MostChannels,
            () => Why::First,
        }
    }
}

/// Chooses the audio stream, and opens its decoder: of those that are meant, the best that can be decoded.
///
/// # Errors
/// None is meant; or none can be decoded, and what is wrong with the best of them.
pub(crate) fn choose(
    demuxer: &ff::format::context::Input,
    track: Option<&Track>,
) -> Result<(ChosenTrack, usize, ff::decoder::Audio), ConvertError> {
    let is_indexed = demuxer.format().name() == MOV && demuxer.streams().any(|stream| raw::index_length(&stream) > 0);
    let mut candidates = Vec::new();
    let mut of = 0;
    for (number, stream) in (0..).zip(demuxer.streams().filter(is_audio)) {
        of = number + 1;
        if is_meant(&stream, number, track) {
            candidates.push(Candidate::of(number, &stream, is_indexed));
        }
    }
    candidates.sort_unstable_by(|one, other| other.cmp(one));
    let mut refused = None;
    for (rank, candidate) in candidates.iter().enumerate() {
        let Some(stream) = demuxer.stream(candidate.index) else {
            continue;
        };
        match decoder::open(&stream) {
            Ok(decoder) => {
                let plain = candidates.iter().max_by_key(|candidate| candidate.plain_rank());
                let other = plain.filter(|plain| plain.index != candidate.index);
                let why = match other.or_else(|| candidates.get(rank + 1)) {
                    _ if rank > 0 => Why::Decodable,
                    Some(other) => candidate.why_before(other),
                    None if track.is_some() => Why::Asked,
                    None => Why::Only,
                };
                let number = candidate.number.0;
                return Ok((ChosenTrack { number, of, why }, candidate.index, decoder));
            }
            Err(ConvertError::Verdict(verdict)) => refused = refused.or(Some(verdict)),
            Err(other) => return Err(other),
        }
    }
    let present = || audio_tracks(demuxer);
    Err(refused
        .unwrap_or_else(|| Verdict::NoSuchTrack { present: present() })
        .into())
}

fn is_meant(stream: &Stream<'_>, number: u32, track: Option<&Track>) -> bool {
    match track {
        None | Some(Track::All) => true,
        Some(Track::Index(wanted)) => number == *wanted,
        Some(Track::Language(wanted)) => language::code(wanted).is_some_and(|code| language_of(stream) == Some(code)),
    }
}

/// Whether a track is not one of those beside the main one, as far as the file tells.
fn is_main(stream: &Stream<'_>) -> bool {
    let title = raw::stream_description(stream)
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(b"title"))
        .map(|(_, title)| String::from_utf8_lossy(&title).to_lowercase())
        .unwrap_or_default();
    let is_beside_by_title = BESIDE_TITLES.iter().any(|words| title.contains(words));
    !stream.disposition().intersects(BESIDE) && !raw::is_dependent(stream) && !is_beside_by_title
}

/// The audio tracks of a file, for people.
pub(crate) fn audio_tracks(demuxer: &ff::format::context::Input) -> String {
    let tracks = demuxer.streams().filter(is_audio).enumerate();
    let names = tracks.map(|(number, stream)| match language_of(&stream) {
        Some(code) => format!("{number} ({})", String::from_utf8_lossy(&code)),
        None => number.to_string(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The language of a stream, where the container tells it.
pub(crate) fn language_of(stream: &Stream<'_>) -> Option<[u8; 3]> {
    let description = raw::stream_description(stream);
    let (_, name) = description
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(b"language"))?;
    language::code(str::from_utf8(name).ok()?)
}

/// Whether the probe met packets of this stream, or the index knows of some.
pub(crate) fn has_packets(stream: &Stream<'_>) -> bool {
    raw::had_packets(stream) || raw::index_length(stream) > 0
}

/// What a file is that opens and has no audio stream.
pub(crate) fn verdict_without_audio(demuxer: &ff::format::context::Input, start: &[u8]) -> Verdict {
    if demuxer.probe_score() < BELIEVED_PROBE_SCORE && !allowed::begins_like_media(start) {
        Verdict::NotMedia
    } else if demuxer.streams().any(|stream| has_packets(&stream)) {
        Verdict::NoAudio
    } else {
        // It ends before its data, so the audio may only not have been announced yet.
        Verdict::Damaged
    }
}
