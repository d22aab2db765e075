//! An MP3 that is already in the source becomes the MP3, frame by frame as it is.
//!
//! Only where the MP3 is to begin later than the source's does a frame come before them that was not there: it is
//! silent, and its slot holds what the next frames need of the bit reservoir before it. It and what else is too much at
//! the ends is for the decoder to cut off, by the head frame.

use std::io::Write;
use std::time::Duration;

use ffmpeg_next::Packet;
use ffmpeg_next::packet::side_data;

use crate::choice::ChosenTrack;
use crate::clock::Moment;
use crate::frame::{Frame, Header};
use crate::head::{DECODER_DELAY_SAMPLES, Head, MOST_DELAY_SAMPLES, Told, Trim, read_head};
use crate::input::{ALMOST_NOTHING, Input};
use crate::output::{Output, duration_of};
use crate::settings::Gaps;
use crate::silence::Silence;
use crate::splitter::Splitter;
use crate::watch::Watch;
use crate::{Anew, ConvertError, Converted, Settings, Verdict, cut, raw};

/// How many packets are looked at before anything is written. What is wrong in the first second is usually so
/// throughout.
const LOOK_AHEAD_PACKETS: usize = 32;

/// How much MP3 is collected before it is written.
const WRITE_BYTES: usize = 32 * 1024;

/// What a head can tell the decoder to cut off at the end, apart from the decoder's own delay.
const MOST_DISCARD_SAMPLES: u64 = MOST_DELAY_SAMPLES - DECODER_DELAY_SAMPLES;

/// An MP3 in the source, which can be copied.
pub(crate) struct Found {
    first: Header,
    /// When the first packet's sound begins, what is dropped included.
    begins: Option<Moment>,
    /// What the container has the decoder drop at the start, in samples; or else what the MP3's own head tells.
    skip: u64,
    /// What the MP3's own head has the decoder drop at the end, in samples, and how many frames it counts up to there.
    discard: u64,
    frames: Option<u64>,
}

impl Found {
    /// Looks whether the source's audio is an MP3, all of one kind as far as can be seen: a little junk is no
    /// hindrance.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn look(input: &mut Input) -> Result<Option<Self>, ConvertError> {
        if !input.is_mp3() {
            return Ok(None);
        }
        let packets = input.look_ahead(LOOK_AHEAD_PACKETS)?;
        let (mut all_bytes, mut frame_bytes) = (0, 0);
        let mut splitter = Splitter::default();
        let mut found: Option<Self> = None;
        let mut own = Told::default();
        for packet in packets {
            if raw::is_encrypted(packet) {
                return Ok(None);
            }
            splitter.push(packet.data().unwrap_or_default());
            all_bytes += packet.size();
            while let Some(frame) = splitter.next_frame() {
                frame_bytes += frame.len();
                match (Header::at_start(frame), read_head(frame)) {
                    (_, Some(told)) if found.is_none() => own = told,
                    (Some(first), _) if found.is_none() => {
                        found = Some(Self {
                            first,
                            begins: None,
                            skip: 0,
                            discard: 0,
                            frames: None,
                        });
                    }
                    _ => {}
                }
            }
        }
        if splitter.other_kind > ALMOST_NOTHING || frame_bytes * 2 < all_bytes {
            tracing::debug!("the MP3 in the source cannot be copied");
            return Ok(None);
        }
        let timestamp = packets.front().and_then(Packet::pts);
        if let Some(found) = &mut found {
            found.skip = skipped(packets, found.first.samples());
            if let (0, Some(trim)) = (found.skip, own.trim) {
                found.frames = own.frames;
                found.skip = trim.delay + DECODER_DELAY_SAMPLES;
                found.discard = trim.padding.saturating_sub(DECODER_DELAY_SAMPLES);
            }
            found.begins = input.moment(timestamp);
        }
        Ok(found)
    }
}

/// How many samples libav's decoder would drop at the start of these packets.
fn skipped<'a>(packets: impl IntoIterator<Item = &'a Packet>, frame_samples: u64) -> u64 {
    let (mut skipped, mut asked) = (0, 0);
    for packet in packets {
        if let Some((skip, _)) = trims(packet) {
            asked = skip;
        }
        if !raw::is_discarded(packet) && asked < frame_samples {
            return skipped + asked;
        }
        skipped += frame_samples;
        asked = asked.saturating_sub(frame_samples);
    }
    skipped
}

/// How many samples of a packet's sound are to be dropped at its start and at its end.
fn trims(packet: &Packet) -> Option<(u64, u64)> {
    let mut all = packet.side_data();
    let trims = all.find(|data| data.kind() == side_data::Type::SkipSamples)?;
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(*trims.data().get(at..)?.first_chunk()?)));
    Some((number(0)?, number(4)?))
}

/// Copies the MP3 that was found in `input`, from where to where `settings` say.
///
/// # Errors
/// It becomes too long or too large; it begins behind its end; it turns out to be of several kinds
/// ([`ConvertError::BeginAnew`]); the source cannot be read, the sink does not take it, or a cancel.
pub(crate) fn copy(
    mut input: Input,
    found: Found,
    settings: &Settings,
    watch: &Watch,
    sink: &mut dyn Write,
) -> Result<Converted, ConvertError> {
    let mut splitter = Splitter::default();
    let skipped = duration_of(found.skip, found.first.sample_rate_hz());
    let late = input.begin_at(found.begins.map(|begins| begins.after(skipped)), settings);
    let tag = input.tag(settings, late)?;
    let mut copying = Copying::begin(&found, late, &tag, settings, sink)?;
    let mut discard = 0;
    while !copying.is_over() {
        let Some(packet) = input.next_packet()? else {
            // What the MP3's own head tells of its end is not true of any earlier one, as of a file that is cut off.
            if found.frames.is_none_or(|frames| copying.index >= frames) {
                discard = discard.max(found.discard);
            }
            break;
        };
        if let Some(until) = input.gap_before(input.moment(packet.pts()), copying.clock_position()) {
            copying.wait_until(until)?;
        }
        discard = trims(&packet).map_or(0, |(_, end)| end);
        splitter.push(packet.data().unwrap_or_default());
        while let Some(frame) = splitter.next_frame() {
            if copying.index > 0 || read_head(frame).is_none() {
                copying.push_first()?;
                copying.push(frame)?;
            }
        }
        if splitter.other_kind > ALMOST_NOTHING {
            return Err(ConvertError::BeginAnew(Anew::Encoded));
        }
        let position = copying.position();
        if position > settings.limits.duration {
            let limit = settings.limits.duration;
            return Err(Verdict::TooLong { limit }.into());
        }
        watch.update(|progress| progress.position = position);
    }
    input.errors += splitter.left_out;
    if let Some(error) = input.verdict_on(duration_of(copying.end(), copying.rate_hz)) {
        return Err(error);
    }
    Ok(copying.finish(discard, settings)?.completed(input, watch))
}

/// The copy being made. Positions are samples from the start of the first frame, be it the source's or one of the
/// silence before it.
struct Copying<'a> {
    first: Header,
    rate_hz: u32,
    /// Where position zero of the source's clock is.
    zero: u64,
    /// From where to where the MP3 is to play.
    from: u64,
    to: u64,
    is_part: bool,
    /// The number of the first frame that is copied.
    first_index: u64,
    /// The number of the next frame.
    index: u64,
    /// How many frames of silence come before the source's first one.
    silent_frames: u64,
    /// How many samples of silence were left out.
    dropped: u64,
    silence: Silence,
    /// The end of the slots before the next frame.
    reservoir: Vec<u8>,
    /// Whether all frames so far are of one bitrate.
    is_constant: bool,
    head: Head,
    ready: Vec<u8>,
    output: Output<'a>,
}

impl<'a> Copying<'a> {
    fn begin(
        found: &Found,
        late: Duration,
        tag: &[u8],
        settings: &Settings,
        sink: &'a mut dyn Write,
    ) -> Result<Self, ConvertError> {
        let first = found.first;
        let rate_hz = first.sample_rate_hz();
        let late = cut::samples(late, rate_hz);
        let mut silence = Silence::new(settings);
        // Frames of silence that end where the source's begin; what is too much of the first, the decoder cuts off.
        let silent_frames = match (late, silence.gaps) {
            (0, _) | (_, Gaps::Drop) => 0,
            _ => (late + DECODER_DELAY_SAMPLES)
                .saturating_sub(found.skip)
                .div_ceil(first.samples()),
        };
        let dropped = if silent_frames == 0 { late } else { 0 };
        let zero = silent_frames * first.samples() + found.skip + dropped - late;
        let behind_zero = |position| cut::samples(position, rate_hz).saturating_add(zero);
        let from = settings.start.map_or(zero, behind_zero);
        let to = settings.end.map_or(u64::MAX, behind_zero);
        let first_index = if settings.start.is_none() && from <= MOST_DELAY_SAMPLES + DECODER_DELAY_SAMPLES {
            0
        } else {
            // A decoder's memory of 1056 samples has to be filled before.
            let lead_in = 1152 / first.samples();
            (from / first.samples()).saturating_sub(lead_in)
        };
        let is_part = settings.start.is_some() || settings.end.is_some();
        if is_part && dropped > 0 {
            return Err(ConvertError::BeginAnew(Anew::Encoded));
        }
        silence.add((zero + late).clamp(from, to) - zero.clamp(from, to), true);
        let head = Head::like(first);
        Ok(Self {
            first,
            rate_hz,
            zero,
            from,
            to,
            is_part,
            first_index,
            index: 0,
            silent_frames,
            dropped,
            silence,
            reservoir: Vec::new(),
            is_constant: true,
            output: Output::begin(tag, head.placeholder(), settings.limits, sink)?,
            head,
            ready: Vec::new(),
        })
    }

    /// Whether nothing that follows belongs to the MP3.
    fn is_over(&self) -> bool {
        self.end() >= self.to
    }

    /// Where the last frame ends.
    fn end(&self) -> u64 {
        self.index * self.first.samples()
    }

    /// Where on the source's clock its next frame is to begin.
    fn clock_position(&self) -> Duration {
        let next = self.end() + self.silent_frames * self.first.samples() + self.dropped;
        duration_of(next.saturating_sub(self.zero), self.rate_hz)
    }

    /// How much of the MP3 there is so far.
    fn position(&self) -> Duration {
        duration_of(self.end().min(self.to).saturating_sub(self.from), self.rate_hz)
    }

    /// The source has no sound up to that position on its clock.
    ///
    /// # Errors
    /// The silence is to be left out of a part, whose place can then not be told by counting frames; or as for
    /// [`push`](Self::push).
    fn wait_until(&mut self, position: Duration) -> Result<(), ConvertError> {
        let missing = cut::samples(position.saturating_sub(self.clock_position()), self.rate_hz);
        if self.silence.gaps == Gaps::Drop {
            if self.is_part {
                return Err(ConvertError::BeginAnew(Anew::Encoded));
            }
            self.dropped += missing;
            self.silence.add(missing, false);
            return Ok(());
        }
        let frame_samples = self.first.samples();
        let before = self.end().clamp(self.from, self.to);
        // To the nearest frame.
        let count = (missing + frame_samples / 2) / frame_samples;
        // The frame behind them may need what the one before them has in its slot.
        let reservoir = std::mem::take(&mut self.reservoir);
        let silent = silent_frame(self.silent_header(), &[]);
        for _ in 1..count {
            self.push(&silent)?;
        }
        self.push(&silent_frame(self.silent_header(), &reservoir))?;
        self.silence.add(self.end().clamp(self.from, self.to) - before, false);
        Ok(())
    }

    /// The header of a frame of silence: of the bitrate that all frames have, else of the lowest.
    fn silent_header(&self) -> Header {
        let bare = self.first.bare();
        if self.is_constant { bare } else { bare.lowest() }
    }

    /// Puts the silence before the source's first frame.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    fn push_first(&mut self) -> Result<(), ConvertError> {
        let silent = silent_frame(self.silent_header(), &[]);
        while self.silent_frames > 0 {
            self.silent_frames -= 1;
            self.push(&silent)?;
        }
        Ok(())
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// The MP3 becomes too large, or the sink does not take it.
    fn push(&mut self, frame: &[u8]) -> Result<(), ConvertError> {
        if self.is_over() {
            return Ok(());
        }
        let header = Header::at_start(frame).unwrap_or(self.first);
        if self.index >= self.first_index {
            if self.index == self.first_index && self.index > 0 {
                let silent = silent_frame(header, &self.reservoir);
                self.append(&silent);
            }
            self.append(frame);
            if self.ready.len() >= WRITE_BYTES {
                self.output.write(&self.ready)?;
                self.ready.clear();
            }
        }
        let slot = frame.get(header.slot_at()..).unwrap_or_default();
        self.reservoir.extend_from_slice(slot);
        let too_much = self.reservoir.len().saturating_sub(header.longest_reach());
        self.reservoir.drain(..too_much);
        self.index += 1;
        Ok(())
    }

    fn append(&mut self, frame: &[u8]) {
        let header = Header::at_start(frame).unwrap_or(self.first);
        self.is_constant &= header.kbps() == self.first.kbps();
        self.ready.extend_from_slice(frame);
    }

    /// Ends the MP3. Of the source's last frame, the decoder is to drop the last `discard` samples.
    fn finish(mut self, discard: u64, settings: &Settings) -> Result<Converted, ConvertError> {
        let end = self
            .end()
            .saturating_sub(discard.min(MOST_DISCARD_SAMPLES))
            .min(self.to);
        if end <= self.from {
            let verdict = match settings.start {
                Some(start) => Verdict::NothingThere { start },
                None => Verdict::Damaged,
            };
            return Err(verdict.into());
        }
        self.output.write(&self.ready)?;
        let log = self.output.finish()?;
        let frame_samples = self.first.samples();
        // The reservoir's frame, where there is one, stands for the one before.
        let begin = self.first_index.saturating_sub(1) * frame_samples;
        let skip = self.from - begin;
        let trim = skip.checked_sub(DECODER_DELAY_SAMPLES).map(|delay| Trim {
            delay,
            padding: self.end() - end + DECODER_DELAY_SAMPLES,
        });
        let samples = trim.map_or(log.frames * frame_samples, |_| end - self.from);
        Ok(Converted {
            size_bytes: self.output.size_bytes(),
            duration: duration_of(samples, self.rate_hz),
            samples,
            sample_rate_hz: self.rate_hz,
            channels: if self.first.is_mono() { 1 } else { 2 },
            head: self.head.finish_copy(self.is_constant, &log, trim),
            head_at: self.output.head_at(),
            bytes_read: 0,
            source_bytes: None,
            errors: 0,
            track: ChosenTrack::ONLY,
            notes: self.silence.notes(self.rate_hz).collect(),
        })
    }
}

/// A frame of silence whose slot ends with the reservoir for a frame behind it: of that kind, and longer if need be.
fn silent_frame(kind: Header, reservoir: &[u8]) -> Vec<u8> {
    let mut longer = std::iter::successors(Some(kind), |header| header.raised());
    let header = longer.find(|header| header.slot_bytes() >= reservoir.len());
    let header = header.unwrap_or(kind);
    let mut frame = Vec::with_capacity(header.frame_bytes());
    Frame::silent(header).write_to(&mut frame);
    let kept = reservoir.len().min(header.slot_bytes());
    frame.resize(header.frame_bytes() - kept, 0);
    frame.extend_from_slice(&reservoir[reservoir.len() - kept..]);
    frame
}
