//! An MP3 that is already in the source becomes the MP3, frame by frame as it is.
//!
//! Only where the MP3 is to begin later than the source's does a frame come before them that was not there: it is silent, and its
//! slot holds what the next frames need of the bit reservoir before it. It and what else is too much at the ends is for
//! the decoder to cut off, by the head frame.

use std::io::Write;

use ffmpeg_next::Packet;
use ffmpeg_next::packet::side_data;

use crate::frame::{Frame, Header};
use crate::head::{DECODER_DELAY_SAMPLES, Head, MOST_DELAY_SAMPLES, Trim, read_head};
use crate::input::{ALMOST_NOTHING, Input};
use crate::output::{Output, duration_of};
use crate::splitter::Splitter;
use crate::watch::Watch;
use crate::{ConvertError, Converted, Settings, Verdict, cut, raw};

/// How many packets are looked at before anything is written. What is wrong in the first second is usually so throughout.
const LOOK_AHEAD_PACKETS: usize = 32;

/// How much MP3 is collected before it is written.
const WRITE_BYTES: usize = 32 * 1024;

/// What a head can tell the decoder to cut off at the end, apart from the decoder's own delay.
const MOST_DISCARD_SAMPLES: u64 = MOST_DELAY_SAMPLES - DECODER_DELAY_SAMPLES;

/// An MP3 in the source, which can be copied.
pub(crate) struct Found {
    first: Header,
    /// What the container has the decoder drop at the start, in samples; or else what the MP3's own head tells.
    skip: u64,
    /// What the MP3's own head has the decoder drop at the end, in samples.
    discard: u64,
}

impl Found {
    /// Looks whether the source's audio is an MP3, all of one kind as far as can be seen.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn look(input: &mut Input) -> Result<Option<Self>, ConvertError> {
        if !input.is_mp3() {
            return Ok(None);
        }
        let packets = input.look_ahead(LOOK_AHEAD_PACKETS)?;
        let mut splitter = Splitter::default();
        let mut found: Option<Self> = None;
        let mut own = None;
        for packet in packets {
            splitter.push(packet.data().unwrap_or_default());
            while let Some(frame) = splitter.next_frame() {
                match (Header::at_start(frame), read_head(frame)) {
                    (_, Some(trim)) if found.is_none() => own = trim,
                    (Some(first), _) if found.is_none() => {
                        let (skip, discard) = (0, 0);
                        found = Some(Self { first, skip, discard });
                    }
                    _ => {}
                }
            }
        }
        if splitter.left_out > 0 {
            tracing::debug!("the MP3 in the source cannot be copied");
            return Ok(None);
        }
        if let Some(found) = &mut found {
            found.skip = skipped(packets, found.first.samples());
            if let (0, Some(trim)) = (found.skip, own) {
                found.skip = trim.delay + DECODER_DELAY_SAMPLES;
                found.discard = trim.padding.saturating_sub(DECODER_DELAY_SAMPLES);
            }
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
/// ([`ConvertError::CannotCopy`]); the source cannot be read, the sink does not take it, or a cancel.
pub(crate) fn copy(
    mut input: Input,
    found: Found,
    settings: &Settings,
    watch: &Watch,
    sink: &mut dyn Write,
) -> Result<Converted, ConvertError> {
    let mut splitter = Splitter::default();
    let mut copying = Copying::begin(&found, &input.tag(settings.title.as_deref())?, settings, sink)?;
    let mut discard = 0;
    while !copying.is_over() {
        let Some(packet) = input.next_packet()? else {
            // What the MP3's own head tells of its end is not true of any earlier one.
            discard = discard.max(found.discard);
            break;
        };
        discard = trims(&packet).map_or(0, |(_, end)| end);
        splitter.push(packet.data().unwrap_or_default());
        while let Some(frame) = splitter.next_frame() {
            if copying.index > 0 || read_head(frame).is_none() {
                copying.push(frame)?;
            }
        }
        if splitter.other_kind > ALMOST_NOTHING {
            return Err(ConvertError::CannotCopy);
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
    let mut converted = copying.finish(discard, settings)?;
    let progress = watch.progress();
    converted.bytes_read = progress.bytes_read;
    converted.source_bytes = progress.source_bytes;
    converted.errors = input.errors;
    Ok(converted)
}

/// The copy being made. Positions are samples from the start of the source's first frame.
struct Copying<'a> {
    first: Header,
    rate_hz: u32,
    /// From where to where the MP3 is to play.
    from: u64,
    to: u64,
    /// The number of the first frame that is copied.
    first_index: u64,
    /// The number of the next frame.
    index: u64,
    /// The end of the slots before the first frame that is copied.
    reservoir: Vec<u8>,
    /// Whether all frames so far are of one bitrate.
    is_constant: bool,
    head: Head,
    ready: Vec<u8>,
    output: Output<'a>,
}

impl<'a> Copying<'a> {
    fn begin(found: &Found, tag: &[u8], settings: &Settings, sink: &'a mut dyn Write) -> Result<Self, ConvertError> {
        let first = found.first;
        let rate_hz = first.sample_rate_hz();
        let behind_skip = |position| cut::samples(position, rate_hz).saturating_add(found.skip);
        let from = settings.start.map_or(found.skip, behind_skip);
        let to = settings
            .end
            .map_or(u64::MAX, |end| found.skip + cut::samples(end, rate_hz));
        let first_index = if settings.start.is_none() && from <= MOST_DELAY_SAMPLES + DECODER_DELAY_SAMPLES {
            0
        } else {
            // A decoder's memory of 1056 samples has to be filled before.
            let lead_in = 1152 / first.samples();
            (from / first.samples()).saturating_sub(lead_in)
        };
        let head = Head::like(first);
        Ok(Self {
            first,
            rate_hz,
            from,
            to,
            first_index,
            index: 0,
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

    /// How much of the MP3 there is so far.
    fn position(&self) -> std::time::Duration {
        duration_of(self.end().min(self.to).saturating_sub(self.from), self.rate_hz)
    }

    /// Takes the next frame.
    fn push(&mut self, frame: &[u8]) -> Result<(), ConvertError> {
        let header = Header::at_start(frame).unwrap_or(self.first);
        if self.is_over() {
            return Ok(());
        }
        if self.index < self.first_index {
            let slot = frame.get(header.slot_at()..).unwrap_or_default();
            self.reservoir.extend_from_slice(slot);
            let too_much = self.reservoir.len().saturating_sub(header.longest_reach());
            self.reservoir.drain(..too_much);
        } else {
            if self.index == self.first_index && self.index > 0 {
                self.write_reservoir(header);
            }
            self.is_constant &= header.kbps() == self.first.kbps();
            self.ready.extend_from_slice(frame);
            if self.ready.len() >= WRITE_BYTES {
                self.output.write(&self.ready)?;
                self.ready.clear();
            }
        }
        self.index += 1;
        Ok(())
    }

    /// Writes a frame of silence that ends with the reservoir for a frame like `next`.
    fn write_reservoir(&mut self, next: Header) {
        let mut longer = std::iter::successors(Some(next), |header| header.raised());
        let header = longer.find(|header| header.slot_bytes() >= self.reservoir.len());
        let header = header.unwrap_or(next);
        self.is_constant &= header.kbps() == self.first.kbps();
        Frame::silent(header).write_to(&mut self.ready);
        let unused = header.slot_bytes().saturating_sub(self.reservoir.len());
        self.ready.resize(self.ready.len() + unused, 0);
        let kept = self.reservoir.len().saturating_sub(header.slot_bytes());
        self.ready.extend_from_slice(&self.reservoir[kept..]);
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
        })
    }
}
