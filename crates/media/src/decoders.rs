//! The decoder of the wanted track, or one for several.

use std::time::Duration;

use ffmpeg_next::format::context::Input as Demuxer;
use ffmpeg_next::{Packet, codec, decoder, frame};

use crate::choice::is_audio;
use crate::clock::Clock;
use crate::decoding::{Decoding, Faults, Received};
use crate::together::{Side, Together};
use crate::{Anew, ConvertError, Note, Settings, Track, camera, raw};

/// Makes one sound of the packets of the wanted tracks.
pub(crate) enum Decoders {
    One(Decoding),
    Several(Box<Together>),
}

/// The streams that are wanted where `chosen` is the one that would be taken alone, and where each is heard; how many
/// more belong to it, but cannot be read together with it.
fn wanted(demuxer: &Demuxer, chosen: usize, settings: &Settings) -> (Vec<(usize, Side)>, u32) {
    let alone = vec![(chosen, Side::Both)];
    match &settings.track {
        Some(Track::All) => {
            let all = demuxer.streams().filter(is_audio);
            (all.map(|stream| (stream.index(), Side::Both)).collect(), 0)
        }
        Some(Track::Index(_) | Track::Language(_)) => (alone, 0),
        None => match camera::pair(demuxer, chosen) {
            Some(_) if settings.one_track => (alone, 1),
            Some([left, right]) => (vec![(left, Side::Left), (right, Side::Right)], 0),
            None => (alone, 0),
        },
    }
}

impl Decoders {
    /// Decoders for the chosen stream, whose decoder is open, and for those that belong to it. Gives the streams as
    /// well, and what to say of those that cannot be decoded, which are left out.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn open(
        demuxer: &Demuxer,
        chosen: usize,
        decoder: decoder::Audio,
        settings: &Settings,
        can_begin_anew: bool,
    ) -> Result<(Self, Vec<usize>, Option<Note>), ConvertError> {
        let mut chosen_one = Some(decoder);
        let mut opened = Vec::new();
        let (wanted, mut left_out) = wanted(demuxer, chosen, settings);
        for (index, side) in wanted {
            let Some(stream) = demuxer.stream(index) else {
                continue;
            };
            let own = chosen_one.take_if(|_| index == chosen);
            match own.map_or_else(|| crate::decoder::open(&stream), Ok) {
                Ok(decoder) => opened.push((stream, Decoding::new(decoder), side)),
                Err(ConvertError::Verdict(verdict)) => {
                    tracing::debug!(%verdict, index, "a track is left out");
                    left_out += 1;
                }
                Err(other) => return Err(other),
            }
        }
        let left_out = (left_out > 0).then_some(Note::TracksLeftOut { count: left_out });
        let indexes = opened.iter().map(|(stream, _, _)| stream.index()).collect();
        if opened.len() < 2 {
            let decoding = opened.pop().map(|(_, decoding, _)| decoding);
            let decoding = decoding.ok_or(ConvertError::Internal {
                operation: "choosing the audio stream",
                source: None,
            });
            return Ok((Self::One(decoding?), indexes, left_out));
        }
        let streams = || opened.iter().map(|(stream, _, _)| stream);
        let rate_hz = streams()
            .map(raw::sample_rate_hz)
            .chain(settings.sample_rate_hz)
            .max()
            .unwrap_or(0)
            .clamp(8_000, 192_000);
        let is_pair = opened.iter().any(|(_, _, side)| *side != Side::Both);
        let is_mono = !is_pair && settings.channels != Some(2) && streams().all(|stream| raw::channels(stream) == 1);
        let otherwise = (is_pair && can_begin_anew).then_some(Anew::OneTrack);
        let widens = (!is_pair && can_begin_anew).then_some(settings);
        let mut together = Together::new(rate_hz, is_mono, settings.limits.channels, otherwise);
        for (stream, decoding, side) in opened {
            together.add(&stream, decoding, side, widens);
        }
        Ok((Self::Several(Box::new(together)), indexes, left_out))
    }

    /// Decodes the next samples into `frame`.
    ///
    /// # Errors
    /// libav fails; or what to begin anew with.
    pub(crate) fn receive(&mut self, frame: &mut frame::Audio) -> Result<Received, ConvertError> {
        match self {
            Self::One(decoding) => decoding.receive(frame),
            Self::Several(together) => together.receive(frame),
        }
    }

    /// Takes the next packet of the wanted tracks, or at the end none. `reach` tells up to where on a clock the file
    /// may have sound.
    ///
    /// # Errors
    /// Too many channels; libav fails.
    pub(crate) fn send(
        &mut self,
        packet: Option<&Packet>,
        reach: &dyn Fn(Clock) -> Duration,
    ) -> Result<(), ConvertError> {
        match self {
            Self::One(decoding) => decoding.send(packet),
            Self::Several(together) => together.send(packet, reach),
        }
    }

    /// Forgets what came before: the next packets come from another place.
    pub(crate) fn jump(&mut self) {
        match self {
            Self::One(decoding) => decoding.jump(),
            Self::Several(together) => together.jump(),
        }
    }

    /// What was wrong since this was last asked.
    pub(crate) fn take_faults(&mut self) -> Faults {
        match self {
            Self::One(decoding) => decoding.take_faults(),
            Self::Several(together) => together.take_faults(),
        }
    }

    /// What several tracks became.
    pub(crate) fn notes(&self, demuxer: &Demuxer) -> Vec<Note> {
        let Self::Several(together) = self else {
            return Vec::new();
        };
        let number = |index: &usize| number(demuxer, *index);
        let tracks = match together.sides() {
            Some([left, right]) => Note::LeftAndRight {
                left: number(&left),
                right: number(&right),
            },
            None => Note::TracksMixed {
                count: together.count(),
            },
        };
        std::iter::once(tracks).chain(together.notes()).collect()
    }

    /// How the sound is coded, where it is that of one track.
    pub(crate) fn codec(&self) -> Option<codec::Id> {
        match self {
            Self::One(decoding) => Some(decoding.codec()),
            Self::Several(_) => None,
        }
    }
}

/// The number of a stream among the tracks of sound.
fn number(demuxer: &Demuxer, stream_index: usize) -> u32 {
    let before = demuxer
        .streams()
        .filter(is_audio)
        .take_while(|stream| stream.index() != stream_index);
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}
