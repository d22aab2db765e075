//! One file from start to end.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use ffmpeg_next::frame;
use serde::{Deserialize, Serialize};

use crate::choice::ChosenTrack;
use crate::copy::{self, Found};
use crate::cut::Cut;
use crate::encoder::Mp3Format;
use crate::input::Input;
use crate::mixer::{Block, Mixer, Shape};
use crate::mp3::Mp3;
use crate::settings::Gaps;
use crate::silence::Silence;
use crate::watch::{Progress, Watch};
use crate::widening::Widening;
use crate::{ConvertError, Note, Settings, Source, Verdict};

/// A finished MP3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converted {
    /// Replaces as many bytes of what was written, from [`head_at`](Self::head_at) on: the frame with length, seek
    /// places, and how much to cut off at both ends. At most 2 KiB. Without it the MP3 plays, with a little silence at
    /// its ends.
    pub head: Vec<u8>,
    /// Where `head` belongs, in bytes from the MP3's start: behind the tags, 0 where there are none.
    pub head_at: u64,
    /// The MP3's length in bytes, tags and head included: what the sink got.
    pub size_bytes: u64,
    /// Playing time.
    pub duration: Duration,
    /// Samples per channel.
    pub samples: u64,
    /// Sample rate of the MP3 in Hz.
    pub sample_rate_hz: u32,
    /// 1 (mono) or 2 (stereo).
    pub channels: u8,
    /// Bytes taken from the source; bytes read twice count twice.
    pub bytes_read: u64,
    /// The source's length. None for a stream.
    pub source_bytes: Option<u64>,
    /// How many damaged pieces of the source were left out.
    pub errors: u64,
    /// The audio track it was made from.
    pub track: ChosenTrack,
    /// What was done beyond the plain case.
    pub notes: Vec<Note>,
}

impl Converted {
    /// With what only the source's side knows.
    pub(crate) fn completed(mut self, input: Input, watch: &Watch) -> Self {
        let progress = watch.progress();
        self.bytes_read = progress.bytes_read;
        self.source_bytes = progress.source_bytes;
        self.errors = input.errors;
        self.track = input.track;
        self.notes.extend(input.of_tracks());
        self.notes.extend(input.notes);
        if self.errors > 0 {
            self.notes.push(Note::LeftOut { pieces: self.errors });
        }
        self
    }
}

/// Converts the audio of `source` to MP3, written to `sink` in order. The same source and settings give the same bytes;
/// only some music that is made while it plays is played anew each time (a module whose instruments swing at random).
///
/// Audio that is an MP3 already is copied where nothing is asked of the sound, see [`Settings::rate`]. Of several audio
/// tracks it takes the one that a listener wants, see [`Why`](crate::Why). Damaged parts are left out; what remains is
/// converted. Memory does not grow with the source, apart from the container's index.
///
/// Synchronous: reads, decodes and writes on the calling thread until the end, blocked by `source` and `sink`, and
/// encodes on [`Settings::threads`] others, which end before it returns. `progress` is called before every read of the
/// source and after every packet, thousands of times a second, on the calling thread; it must return at once, and ends
/// the conversion by `Break`.
///
/// # Errors
/// Sorted by what to do next, see [`ConvertError`]. What `sink` got by then is of no use.
///
/// # Panics
/// Only when `source`, `sink` or `progress` panic.
pub fn convert(
    source: Source,
    sink: &mut dyn Write,
    settings: &Settings,
    progress: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
) -> Result<Converted, ConvertError> {
    settings.check()?;
    let watch = Watch::new(progress, settings.limits.time);
    let mut input = Input::open(source, settings, &watch)?;
    if settings.allow_copy()
        && let Some(found) = Found::look(&mut input)?
    {
        return copy::copy(input, found, settings, &watch, sink);
    }
    let mut sink = Some(sink);
    let mut encoding: Option<Encoding<'_>> = None;
    let mut frame = frame::Audio::empty();
    while !encoding.as_ref().is_some_and(|encoding| encoding.cut.is_over()) && input.next_frame(&mut frame)? {
        let mut shape = Shape::of(&frame, settings.limits.channels)?;
        let Some(usable) = shape else {
            input.errors += 1;
            continue;
        };
        if let Some(sink) = sink.take() {
            let late = input.begin_at(input.moment(frame.pts()), settings);
            let tag = input.tag(settings, late)?;
            let format = Mp3Format::choose(settings, usable.is_mono(), usable.rate_hz);
            let mut begun = Encoding::begin(format, &tag, settings, &watch, sink)?;
            if input.can_be_read_again() {
                begun.widening = Some(Widening::new(format, settings));
            }
            begun.wait_until(late, true)?;
            if let Some(position) = input.skip_to(settings.start.unwrap_or_default(), late, &mut frame)? {
                begun.cut.jump(position);
                shape = Shape::of(&frame, settings.limits.channels)?;
            }
            encoding = Some(begun);
        }
        if let (Some(encoding), Some(shape)) = (&mut encoding, shape) {
            if let Some(until) = input.gap_before(input.moment(frame.pts()), encoding.cut.position()) {
                encoding.wait_until(until, false)?;
            }
            encoding.push(&mut frame, shape)?;
        }
    }
    let decoded = encoding.as_ref().map_or(Duration::ZERO, |encoding| {
        encoding.cut.position().saturating_sub(encoding.absent)
    });
    if let Some(error) = input.verdict_on(decoded) {
        return Err(error);
    }
    let Some(encoding) = encoding else {
        return Err(Verdict::Damaged.into());
    };
    Ok(encoding.finish()?.completed(input, &watch))
}

/// The chosen audio on its way from decoded frames to the sink.
struct Encoding<'a> {
    mixer: Mixer,
    cut: Cut,
    mp3: Mp3<'a>,
    silence: Silence,
    /// For how long the source had no sound so far, whatever part of it the MP3 is of.
    absent: Duration,
    /// Where the source can be read again.
    widening: Option<Widening>,
}

impl<'a> Encoding<'a> {
    fn begin(
        format: Mp3Format,
        tag: &[u8],
        settings: &Settings,
        watch: &Watch,
        sink: &'a mut dyn Write,
    ) -> Result<Self, ConvertError> {
        Ok(Self {
            mixer: Mixer::new(format.mono, format.sample_rate_hz),
            cut: Cut::new(settings, format.sample_rate_hz),
            mp3: Mp3::begin(format, tag, settings, watch, sink)?,
            silence: Silence::new(settings),
            absent: Duration::ZERO,
            widening: None,
        })
    }

    /// The source has no sound up to that position.
    fn wait_until(&mut self, position: Duration, is_first: bool) -> Result<(), ConvertError> {
        const SILENCE: [f32; 4096] = [0.0; 4096];
        let Self { mixer, cut, mp3, .. } = self;
        mixer.finish(&mut |block| mp3.push(cut.pass(block)))?;
        let before = cut.position();
        let samples = cut.go_to(position);
        self.absent += cut.position() - before;
        self.silence.add(samples, is_first);
        let mut left = if self.silence.gaps == Gaps::Drop { 0 } else { samples };
        while left > 0 {
            let count = SILENCE.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let silence = &SILENCE[..count];
            let right = (!mp3.is_mono()).then_some(silence);
            mp3.push(Block { left: silence, right })?;
            left -= count as u64;
        }
        Ok(())
    }

    fn push(&mut self, frame: &mut frame::Audio, shape: Shape) -> Result<(), ConvertError> {
        let Self {
            mixer,
            cut,
            mp3,
            widening,
            ..
        } = self;
        if let Some(widening) = widening.as_mut().filter(|_| cut.has_begun()) {
            widening.look(shape, frame.samples())?;
        }
        mixer.push(frame, shape, &mut |block| mp3.push(cut.pass(block)))
    }

    fn finish(self) -> Result<Converted, ConvertError> {
        let Self {
            mut mixer,
            mut cut,
            mut mp3,
            silence,
            ..
        } = self;
        mixer.finish(&mut |block| mp3.push(cut.pass(block)))?;
        let notes = mixer.notes();
        if mp3.position().is_zero() {
            return Err(Verdict::NothingThere { start: cut.start() }.into());
        }
        let mut converted = mp3.finish()?;
        converted.notes.extend(silence.notes(converted.sample_rate_hz));
        converted.notes.extend(notes);
        Ok(converted)
    }
}
