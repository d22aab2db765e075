//! Several tracks as one sound: two mono tracks of a camera as left and right, or any number of tracks as their sum.
//!
//! Packets come in the container's order, and each goes to the decoder of its track. What is decoded waits in its
//! track's queue, at its place on the source's clock, until every other track has come as far or has ended. A track of
//! which nothing comes for long, because it begins late, pauses or has ended, must not make the others wait for ever:
//! once [`MOST_WAITING_BYTES`] wait in all queues together, it counts as silent there. docs/adr/0020 says why there is
//! one reader.

use std::collections::VecDeque;
use std::time::Duration;

use ffmpeg_next::format::stream::Stream;
use ffmpeg_next::{ChannelLayout, Packet, Rational, frame};

use crate::clock::{Clock, Moment, nanoseconds};
use crate::decoding::{Decoding, Faults, Received};
use crate::encoder::Mp3Format;
use crate::limiter::Limiter;
use crate::mixer::{Block, Mixer, PLANAR_FLOAT, Shape};
use crate::output::duration_of;
use crate::timeline::Timeline;
use crate::widening::Widening;
use crate::{Anew, ConvertError, Note, Settings, cut};

/// How much decoded sound may wait, of all tracks together: 21 s of two stereo tracks.
const MOST_WAITING_BYTES: usize = 16 << 20;

/// Packets of the same time may be stored so far apart that a track is ahead of all others by as much. What is further
/// ahead, and beyond the file's end, is another clock.
const MOST_AHEAD: Duration = Duration::from_secs(10);

/// How many samples per channel are handed on at once.
const BLOCK_SAMPLES: i64 = 4096;

/// Where a track is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
    /// Where it is in its own stereo; mono in the middle.
    Both,
}

/// Samples in one piece. `right` is as long as `left`, or empty for mono.
#[derive(Default)]
struct Piece {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Piece {
    fn samples(&self) -> i64 {
        i64::try_from(self.left.len()).unwrap_or(i64::MAX)
    }

    fn bytes(&self) -> usize {
        (self.left.len() + self.right.len()) * size_of::<f32>()
    }

    fn append(&mut self, block: Block<'_>) {
        self.left.extend_from_slice(block.left);
        self.right.extend_from_slice(block.right.unwrap_or_default());
    }
}

/// One of the tracks.
struct Track {
    stream_index: usize,
    time_base: Rational,
    decoding: Decoding,
    side: Side,
    mixer: Mixer,
    widening: Option<Widening>,
    timeline: Timeline,
    /// Where its first sound is on the source's clock. None before there was any.
    begin: Option<Moment>,
    /// Where its next sound belongs, in samples from there.
    next: i64,
    /// What waits, each with its place in samples from there, in order.
    waiting: VecDeque<(i64, Piece)>,
    is_over: bool,
}

/// A decoder for several tracks at once.
pub(crate) struct Together {
    tracks: Vec<Track>,
    rate_hz: u32,
    is_mono: bool,
    most_channels: u32,
    /// Where the first of the tracks begins. None before anything was taken.
    begin: Option<Moment>,
    /// How many samples since then have been taken out of the queues.
    taken: i64,
    /// How many have been handed on.
    handed_on: u64,
    waiting_bytes: usize,
    /// A sum can exceed full scale where none of the tracks does.
    limiter: Option<Limiter>,
    /// What comes next.
    ready: Piece,
    is_over: bool,
    /// Sound that could not be used: of an impossible rate, or come too late.
    faults: Faults,
    /// What to begin anew with, should one of the tracks not have begun when the queues are full.
    otherwise: Option<Anew>,
    frame: frame::Audio,
}

impl Together {
    /// A decoder without tracks yet. What comes out has that rate, and one or two channels; tracks of more channels
    /// than `most_channels` end the conversion. `otherwise` is what to begin anew with, should one of the tracks not
    /// have begun when the queues are full.
    pub(crate) fn new(rate_hz: u32, is_mono: bool, most_channels: u32, otherwise: Option<Anew>) -> Self {
        Self {
            tracks: Vec::new(),
            rate_hz,
            is_mono,
            most_channels,
            begin: None,
            taken: 0,
            handed_on: 0,
            waiting_bytes: 0,
            limiter: None,
            ready: Piece::default(),
            is_over: false,
            faults: Faults::default(),
            otherwise,
            frame: frame::Audio::empty(),
        }
    }

    /// Adds a track. The timestamps of the first one's stream are those of what comes out.
    ///
    /// With `widens` the conversion begins anew where the track gets wider than what comes out.
    pub(crate) fn add(&mut self, stream: &Stream<'_>, decoding: Decoding, side: Side, widens: Option<&Settings>) {
        let format = |settings| Mp3Format::choose(settings, self.is_mono, self.rate_hz);
        if side == Side::Both {
            self.limiter = Some(Limiter::new(self.rate_hz));
        }
        self.tracks.push(Track {
            stream_index: stream.index(),
            time_base: stream.time_base(),
            decoding,
            side,
            mixer: self.mixer(side),
            widening: widens.map(|settings| Widening::new(format(settings), settings)),
            timeline: Timeline::default(),
            begin: None,
            next: 0,
            waiting: VecDeque::new(),
            is_over: false,
        });
    }

    fn mixer(&self, side: Side) -> Mixer {
        Mixer::new(self.is_mono || side != Side::Both, self.rate_hz)
    }

    /// The streams on the left and on the right, if it is two sides.
    pub(crate) fn sides(&self) -> Option<[usize; 2]> {
        let on = |side| {
            self.tracks
                .iter()
                .find(|track| track.side == side)
                .map(|track| track.stream_index)
        };
        Some([on(Side::Left)?, on(Side::Right)?])
    }

    /// How many tracks there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.tracks.len()).unwrap_or(u32::MAX)
    }

    /// What was done to the tracks and to their sum.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Note> + use<> {
        let of_tracks: Vec<Note> = self.tracks.iter().flat_map(|track| track.mixer.notes()).collect();
        let is_limited = self.limiter.as_ref().is_some_and(|limiter| limiter.has_limited);
        let turned_down = (is_limited || of_tracks.contains(&Note::TurnedDown)).then_some(Note::TurnedDown);
        let from = |note: &Note| match note {
            Note::MixedDown { from, .. } => Some(*from),
            _ => None,
        };
        let most = of_tracks
            .into_iter()
            .filter(|note| from(note).is_some())
            .max_by_key(from);
        most.into_iter().chain(turned_down)
    }

    /// What was wrong since this was last asked.
    pub(crate) fn take_faults(&mut self) -> Faults {
        let mut faults = std::mem::take(&mut self.faults);
        for track in &mut self.tracks {
            faults.add(track.decoding.take_faults());
        }
        faults
    }

    /// Forgets what came before: the next packets come from another place.
    pub(crate) fn jump(&mut self) {
        for at in 0..self.tracks.len() {
            let mixer = self.mixer(self.tracks[at].side);
            let track = &mut self.tracks[at];
            track.decoding.jump();
            track.mixer = mixer;
            track.timeline = Timeline::default();
            track.begin = None;
            track.next = 0;
            track.waiting.clear();
            track.is_over = false;
        }
        self.limiter = self.limiter.take().map(|_| Limiter::new(self.rate_hz));
        self.begin = None;
        (self.taken, self.handed_on, self.waiting_bytes) = (0, 0, 0);
        self.ready = Piece::default();
        self.is_over = false;
    }

    /// The next samples of all tracks.
    ///
    /// # Errors
    /// libav fails; or what to begin anew with.
    pub(crate) fn receive(&mut self, frame: &mut frame::Audio) -> Result<Received, ConvertError> {
        loop {
            if !self.ready.left.is_empty() {
                self.hand_on(frame);
                return Ok(Received::Frame);
            }
            if self.is_over {
                return Ok(Received::End);
            }
            let count = self.available()?;
            if count > 0 {
                self.mix(count)?;
            } else if self.tracks.iter().all(|track| track.is_over) {
                self.finish()?;
            } else {
                return Ok(Received::Hungry);
            }
        }
    }

    /// Decodes a packet of one of the tracks, or at the end what all decoders still hold. `reach` tells up to where on
    /// a clock the file may have sound.
    ///
    /// # Errors
    /// Too many channels; libav fails.
    pub(crate) fn send(
        &mut self,
        packet: Option<&Packet>,
        reach: &dyn Fn(Clock) -> Duration,
    ) -> Result<(), ConvertError> {
        let meant = |track: &Track| packet.is_none_or(|packet| packet.stream() == track.stream_index);
        let rate_hz = self.rate_hz;
        let furthest = self.tracks.iter().filter_map(|track| track.reached(rate_hz)).max();
        let earliest = self.tracks.iter().filter_map(|track| track.begin).min();
        let reach = |clock: Clock| {
            let so_far = furthest.map(|furthest| clock.position(furthest).saturating_add(MOST_AHEAD));
            so_far.unwrap_or_default().max(reach(clock))
        };
        for track in self.tracks.iter_mut().filter(|track| meant(track)) {
            track.decoding.send(packet)?;
            while track.decoding.receive(&mut self.frame)? == Received::Frame {
                let Some(shape) = Shape::of(&self.frame, self.most_channels)? else {
                    self.faults.errors += 1;
                    continue;
                };
                if let Some(widening) = &mut track.widening {
                    widening.look(shape, self.frame.samples())?;
                }
                track.place(&self.frame, earliest, furthest, rate_hz, &reach);
                self.waiting_bytes += track.queue(&mut self.frame, shape)?;
            }
            if packet.is_none() {
                self.waiting_bytes += track.queue_the_end()?;
            }
        }
        Ok(())
    }

    /// How many samples can be taken out of the queues now.
    fn available(&mut self) -> Result<i64, ConvertError> {
        let Some(first) = self.tracks.iter().filter_map(|track| track.begin).min() else {
            return Ok(0);
        };
        let begin = self.begin.unwrap_or(first);
        let reached = |track: &Track| {
            track
                .offset(begin, self.rate_hz)
                .map_or(0, |offset| offset + track.next)
        };
        let still_open = self.tracks.iter().filter(|track| !track.is_over);
        let all = self.tracks.iter().map(reached).max().unwrap_or(0) - self.taken;
        let count = match still_open.map(reached).min() {
            None => all.min(BLOCK_SAMPLES),
            Some(reached) if reached - self.taken >= BLOCK_SAMPLES => BLOCK_SAMPLES,
            Some(_) if self.waiting_bytes > MOST_WAITING_BYTES => {
                if let Some(why) = self
                    .otherwise
                    .filter(|_| self.tracks.iter().any(|track| track.begin.is_none()))
                {
                    return Err(ConvertError::BeginAnew(why));
                }
                all.min(BLOCK_SAMPLES)
            }
            Some(_) => 0,
        };
        if count > 0 {
            self.begin = Some(begin);
        }
        Ok(count)
    }

    /// Takes the next samples out of all queues.
    fn mix(&mut self, count: i64) -> Result<(), ConvertError> {
        let length = usize::try_from(count).unwrap_or(0);
        let mut left = vec![0.0; length];
        let mut right = vec![0.0; if self.is_mono { 0 } else { length }];
        for track in &mut self.tracks {
            let Some(offset) = self.begin.and_then(|begin| track.offset(begin, self.rate_hz)) else {
                continue;
            };
            while let Some((place, piece)) = track.waiting.front() {
                let from = offset + place - self.taken;
                if from >= count {
                    break;
                }
                if from + piece.samples() <= 0 {
                    self.faults.errors += 1;
                }
                if track.side != Side::Right {
                    add(&mut left, &piece.left, from);
                }
                match track.side {
                    Side::Right => add(&mut right, &piece.left, from),
                    Side::Both => add(&mut right, &piece.right, from),
                    Side::Left => {}
                }
                if from + piece.samples() > count {
                    break;
                }
                self.waiting_bytes -= piece.bytes();
                track.waiting.pop_front();
            }
        }
        self.taken += count;
        let block = Block {
            left: &left,
            right: (!self.is_mono).then_some(right.as_slice()),
        };
        match &mut self.limiter {
            Some(limiter) => limiter.push(block, &mut |block| {
                self.ready.append(block);
                Ok(())
            }),
            None => {
                self.ready.append(block);
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> Result<(), ConvertError> {
        self.is_over = true;
        match &mut self.limiter {
            Some(limiter) => limiter.finish(&mut |block| {
                self.ready.append(block);
                Ok(())
            }),
            None => Ok(()),
        }
    }

    /// Makes a frame of what is ready.
    fn hand_on(&mut self, frame: &mut frame::Audio) {
        let layout = if self.is_mono {
            ChannelLayout::MONO
        } else {
            ChannelLayout::STEREO
        };
        *frame = frame::Audio::new(PLANAR_FLOAT, self.ready.left.len(), layout);
        frame.set_rate(self.rate_hz);
        frame.plane_mut(0).copy_from_slice(&self.ready.left);
        if !self.is_mono {
            frame.plane_mut(1).copy_from_slice(&self.ready.right);
        }
        let moment = self
            .begin
            .map(|begin| begin.after(duration_of(self.handed_on, self.rate_hz)));
        let time_base = self.tracks.first().map(|track| track.time_base);
        frame.set_pts(moment.zip(time_base).and_then(|(moment, base)| moment.timestamp(base)));
        self.handed_on += self.ready.left.len() as u64;
        self.ready.left.clear();
        self.ready.right.clear();
    }
}

impl Track {
    /// Where the track begins, in samples from where all of them do. None before it begins.
    fn offset(&self, begin: Moment, rate_hz: u32) -> Option<i64> {
        let nanoseconds = self.begin?.since(begin);
        let samples = (nanoseconds * i128::from(rate_hz)).div_euclid(1_000_000_000);
        Some(i64::try_from(samples).unwrap_or(i64::MAX / 2))
    }

    /// Up to where on the source's clock it has come. None before it begins.
    fn reached(&self, rate_hz: u32) -> Option<Moment> {
        let position = duration_of(u64::try_from(self.next).unwrap_or(0), rate_hz);
        self.begin.map(|begin| begin.after(position))
    }

    /// Finds out where a decoded frame belongs. `earliest` is where the first of the tracks begins so far, `furthest`
    /// up to where any of them has come.
    fn place(
        &mut self,
        frame: &frame::Audio,
        earliest: Option<Moment>,
        furthest: Option<Moment>,
        rate_hz: u32,
        reach: &dyn Fn(Clock) -> Duration,
    ) {
        let moment = frame.pts().and_then(|timestamp| Moment::of(timestamp, self.time_base));
        if self.begin.is_some() {
            let position = duration_of(u64::try_from(self.next).unwrap_or(0), rate_hz);
            let gap = moment.and_then(|moment| self.timeline.gap_before(moment, position, reach));
            if let Some(until) = gap {
                self.next = i64::try_from(cut::samples(until, rate_hz)).unwrap_or(i64::MAX / 2);
            }
            return;
        }
        // A track that is said to begin where nothing can be begins where the others are.
        let is_within = |first: &Moment| {
            let is_early = earliest.is_some_and(|earliest| nanoseconds(earliest.since(*first)) > MOST_AHEAD);
            let is_late = furthest.is_some_and(|furthest| {
                let clock = Clock::from_zero(furthest);
                clock.position(*first) > reach(clock)
            });
            !is_early && !is_late
        };
        let zero = Moment::of(0, self.time_base);
        self.begin = moment.filter(is_within).or(furthest).or(zero);
        if let Some(first) = moment.or(zero) {
            self.timeline.begin(first, None, reach);
        }
    }

    /// Puts a decoded frame into the queue. Gives how many bytes the queue grew by.
    fn queue(&mut self, frame: &mut frame::Audio, shape: Shape) -> Result<usize, ConvertError> {
        let mut piece = Piece::default();
        self.mixer.push(frame, shape, &mut |block| {
            piece.append(block);
            Ok(())
        })?;
        Ok(self.append(piece))
    }

    /// The track ends: puts what the mixer still holds into the queue. Gives how many bytes that is.
    fn queue_the_end(&mut self) -> Result<usize, ConvertError> {
        self.is_over = true;
        let mut piece = Piece::default();
        self.mixer.finish(&mut |block| {
            piece.append(block);
            Ok(())
        })?;
        Ok(self.append(piece))
    }

    fn append(&mut self, piece: Piece) -> usize {
        let bytes = piece.bytes();
        if bytes > 0 {
            let place = self.next;
            self.next += piece.samples();
            self.waiting.push_back((place, piece));
        }
        bytes
    }
}

/// Adds samples to `sum`, the first one at that place, as far as they lie within.
fn add(sum: &mut [f32], samples: &[f32], at: i64) {
    let skipped = usize::try_from(-at).unwrap_or(0).min(samples.len());
    let from = usize::try_from(at).unwrap_or(0).min(sum.len());
    for (sum, sample) in sum[from..].iter_mut().zip(&samples[skipped..]) {
        *sum += sample;
    }
}
