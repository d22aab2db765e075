//! How long a file is beside its sound: where its other streams begin, and up to where its container and they reach.
//!
//! It decides whether a jump of the timestamps is silence, or only another clock. A container that states its length is
//! believed. Where none does, as in broadcasts, the picture's packets are watched: silence lasts as long as it moves.
//! Up to the first sound they are watched everywhere but in MP4 and AVI: what libav calls the start of a picture that
//! it cannot decode may be that of the sound.

use std::time::Duration;

use ffmpeg_next as ff;
use ffmpeg_next::format::context::Input as Demuxer;
use ffmpeg_next::format::stream::{Disposition, Stream};

use crate::choice::is_audio;
use crate::clock::{Clock, Moment, nanoseconds};
use crate::planner::MOV;
use crate::{length, raw};

/// Containers that hold a timestamp for every packet, or at least for every page of them, as libav calls them.
/// Elsewhere timestamps are counted from the sound itself, and know of no gaps.
const WITH_TIMESTAMPS: [&str; 12] = [
    MOV,
    "matroska,webm",
    "flv",
    "live_flv",
    "kux",
    "mpegts",
    "mpeg",
    "asf",
    "nut",
    "ogg",
    "rm",
    "wtv",
];

/// A container that counts its timestamps, but from a start that it states.
const WITH_A_START: &str = "avi";

/// Pictures farther apart do not belong together: FFmpeg takes as much for a new beginning (`dts_delta_threshold`).
const MOST_BETWEEN_PICTURES: i128 = 10_000_000_000;

/// The picture goes back by more than it is reordered: it begins anew.
const PICTURES_GO_BACK: i128 = 1_000_000_000;

/// By how much sound may be ahead of the picture it was stored with, and a stated length be rounded down.
const SLACK: Duration = Duration::from_secs(2);

/// How long a file is beside its sound.
pub(crate) struct Extent {
    sound: usize,
    has_timestamps: bool,
    has_start: bool,
    picture: Option<Picture>,
}

/// A stream whose packets show how far the file has come.
struct Picture {
    index: usize,
    first: Option<Moment>,
    latest: Option<Moment>,
    /// For how long pictures have followed one another, in nanoseconds.
    shown: i128,
}

impl Extent {
    /// Of a file whose sound is that stream.
    pub(crate) fn of(demuxer: &Demuxer, sound: usize) -> Self {
        let format = demuxer.format();
        let has_timestamps = WITH_TIMESTAMPS.contains(&format.name());
        let mut extent = Self {
            sound,
            has_timestamps,
            has_start: has_timestamps || format.name() == WITH_A_START,
            picture: None,
        };
        // Its index tells of the picture without it being read.
        if has_timestamps && format.name() != MOV {
            let mut pictures = extent.others(demuxer).filter(is_picture);
            extent.picture = pictures.next().map(|picture| Picture {
                index: picture.index(),
                first: None,
                latest: None,
                shown: 0,
            });
        }
        extent
    }

    /// Whether a jump of the timestamps means something.
    pub(crate) const fn has_timestamps(&self) -> bool {
        self.has_timestamps
    }

    /// Whether packets of this stream are to be [`seen`](Self::seen).
    pub(crate) fn watches(&self, stream_index: usize) -> bool {
        self.picture
            .as_ref()
            .is_some_and(|picture| picture.index == stream_index)
    }

    /// A packet of the stream that is watched.
    pub(crate) fn seen(&mut self, packet: &ff::Packet, time_base: ff::Rational) {
        let Some(picture) = &mut self.picture else {
            return;
        };
        let moment = |timestamp: Option<i64>| Moment::of(timestamp?, time_base);
        let (shown, decoded) = (moment(packet.pts()), moment(packet.dts()));
        picture.first = picture.first.or(shown).or(decoded);
        if let Some(moment) = decoded.or(shown) {
            picture.moved(moment);
        }
    }

    /// The stream that need not be watched any more, now that the first sound is known.
    pub(crate) fn done_with(&mut self, demuxer: &Demuxer) -> Option<usize> {
        let states_length = length::of_container(demuxer).is_some();
        self.picture.take_if(|_| states_length).map(|picture| picture.index)
    }

    /// Where the first of the other streams begins, as far as the container tells of starts at all.
    pub(crate) fn first_of_others(&self, demuxer: &Demuxer) -> Option<Moment> {
        let others = self.others(demuxer).filter(|_| self.has_start);
        others.filter_map(|other| self.start(&other)).min()
    }

    /// The last position on that clock where the file may have sound.
    pub(crate) fn reach(&self, demuxer: &Demuxer, clock: Clock) -> Duration {
        self.end(demuxer, clock).saturating_add(SLACK)
    }

    /// Where on that clock the container and the other streams end, as far as is known; zero where nothing is.
    pub(crate) fn end(&self, demuxer: &Demuxer, clock: Clock) -> Duration {
        let position = |moment: Option<Moment>| moment.map(|moment| clock.position(moment));
        let ends = self.others(demuxer).flat_map(|other| {
            let stated = length::of_stream(demuxer, &other);
            let end = stated.and_then(|length| Some(self.start(&other)?.after(length)));
            let last = raw::index_length(&other).checked_sub(1);
            let last = last.and_then(|last| Moment::of(raw::index_timestamp(&other, last)?, other.time_base()));
            [position(end), position(last)].into_iter().flatten()
        });
        let shown = self
            .picture
            .as_ref()
            .and_then(|picture| Some(clock.position(picture.first?) + nanoseconds(picture.shown)));
        ends.chain(shown)
            .chain(length::of_container(demuxer))
            .max()
            .unwrap_or_default()
    }

    /// Where a stream begins, where that is known.
    fn start(&self, stream: &Stream<'_>) -> Option<Moment> {
        let watched = self.picture.as_ref().filter(|picture| picture.index == stream.index());
        if let Some(first) = watched.and_then(|picture| picture.first) {
            return Some(first);
        }
        let told = Some(stream.start_time()).filter(|start| *start != ff::ffi::AV_NOPTS_VALUE);
        // What lies before zero is decoded and not shown.
        let first = || raw::index_timestamp(stream, 0).map(|first| first.max(0));
        Moment::of(told.or_else(first)?, stream.time_base())
    }

    /// The pictures and the other tracks of sound that play together with this one.
    fn others<'a>(&self, demuxer: &'a Demuxer) -> impl Iterator<Item = Stream<'a>> + use<'a> {
        let sound = self.sound;
        let programmes = raw::programmes(demuxer);
        demuxer.streams().filter(move |stream| {
            let plays = is_picture(stream) || is_audio(stream);
            plays && stream.index() != sound && are_together(&programmes, stream.index(), sound)
        })
    }
}

impl Picture {
    fn moved(&mut self, moment: Moment) {
        let since = self.latest.map_or(0, |latest| moment.since(latest));
        if (1..=MOST_BETWEEN_PICTURES).contains(&since) {
            self.shown += since;
        }
        if self.latest.is_none() || !(-PICTURES_GO_BACK..=0).contains(&since) {
            self.latest = Some(moment);
        }
    }
}

/// Whether two streams belong to one programme. Several of them in one broadcast have clocks of their own.
fn are_together(programmes: &[Vec<usize>], one: usize, other: usize) -> bool {
    let mut of_one = programmes.iter().filter(|streams| streams.contains(&one)).peekable();
    of_one.peek().is_none() || of_one.any(|streams| streams.contains(&other))
}

/// Whether it moves: a cover is a stream too.
fn is_picture(stream: &Stream<'_>) -> bool {
    let is_attached = stream.disposition().contains(Disposition::ATTACHED_PIC);
    stream.parameters().medium() == ff::media::Type::Video && !is_attached
}
