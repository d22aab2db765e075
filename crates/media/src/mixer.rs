//! From decoded frames to what LAME takes: planar 32-bit float of one sample rate, one or two channels.

use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling::Context as Resampler;
use ffmpeg_next::{ChannelLayout, Dictionary, frame};

use crate::{ConvertError, Verdict};

/// What LAME takes.
const PLANAR_FLOAT: Sample = Sample::F32(Type::Planar);

/// The sample rates a source may have. Below, one packet would become gigabytes; above, the filter would.
const SOURCE_RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=3_100_000;

/// Samples beyond this are the decoder's errors, not sound: full scale is 1.
const LOUDEST: f32 = 8.0;

/// Planes of samples, full scale 1, finite. `right` is None for mono, and as long as `left`.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) left: &'a [f32],
    pub(crate) right: Option<&'a [f32]>,
}

/// What a decoded frame looks like.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    format: Sample,
    layout: ChannelLayout,
    pub(crate) rate_hz: u32,
}

impl Shape {
    /// Reads a frame's shape; where the file gives no order of channels, the usual one of that many.
    ///
    /// # Errors
    /// More channels than `limit`; None where the frame cannot be used at all.
    pub(crate) fn of(frame: &frame::Audio, limit: u32) -> Result<Option<Self>, Verdict> {
        let channels = u32::from(frame.channels());
        if channels > limit {
            return Err(Verdict::TooManyChannels { channels, limit });
        }
        let mut layout = frame.channel_layout();
        if layout.is_empty() || u32::try_from(layout.channels()) != Ok(channels) {
            layout = ChannelLayout::default(i32::from(frame.channels()));
        }
        let usable = SOURCE_RATES_HZ.contains(&frame.rate()) && frame.format() != Sample::None && !layout.is_empty();
        Ok(usable.then(|| Self {
            format: frame.format(),
            layout,
            rate_hz: frame.rate(),
        }))
    }

    pub(crate) fn is_mono(&self) -> bool {
        self.layout.channels() == 1
    }
}

/// Resamples and mixes down with libswresample; its input may change shape at any frame, its output never does.
pub(crate) struct Mixer {
    output_layout: ChannelLayout,
    output_rate_hz: u32,
    resampler: Option<(Shape, Resampler)>,
    mixed: frame::Audio,
    capacity: usize,
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Mixer {
    pub(crate) fn new(mono: bool, output_rate_hz: u32) -> Self {
        Self {
            output_layout: if mono {
                ChannelLayout::MONO
            } else {
                ChannelLayout::STEREO
            },
            output_rate_hz,
            resampler: None,
            mixed: frame::Audio::empty(),
            capacity: 0,
            left: Vec::new(),
            right: Vec::new(),
        }
    }

    /// Takes a frame of that shape and hands on what comes out, in one or more blocks.
    ///
    /// # Errors
    /// Of `consume`, or a resampler that cannot be made.
    pub(crate) fn push(
        &mut self,
        frame: &mut frame::Audio,
        shape: Shape,
        consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        if self.resampler.as_ref().is_none_or(|(current, _)| *current != shape) {
            self.finish(consume)?;
            self.resampler = Some((shape, self.resampler_for(shape)?));
        }
        // The resampler compares each frame with what it was made for, and knows no unordered channels.
        frame.set_channel_layout(shape.layout);
        let samples = frame.samples() as u64 * u64::from(self.output_rate_hz);
        let expected = usize::try_from(samples / u64::from(shape.rate_hz)).unwrap_or(usize::MAX);
        self.reserve(expected.saturating_add(256));
        if let Some((_, resampler)) = &mut self.resampler {
            resampler
                .run(frame, &mut self.mixed)
                .map_err(|error| ConvertError::internal("resampling", error))?;
        }
        self.hand_on(consume)
    }

    /// Hands on what the resampler still holds. Afterwards it can begin anew.
    ///
    /// # Errors
    /// Of `consume`.
    pub(crate) fn finish(
        &mut self,
        consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        let Some((_, mut resampler)) = self.resampler.take() else {
            return Ok(());
        };
        loop {
            self.reserve(8192);
            resampler
                .flush(&mut self.mixed)
                .map_err(|error| ConvertError::internal("resampling the end", error))?;
            if self.mixed.samples() == 0 {
                return Ok(());
            }
            self.hand_on(consume)?;
        }
    }

    fn resampler_for(&self, shape: Shape) -> Result<Resampler, ConvertError> {
        Resampler::get_with(
            shape.format,
            shape.layout,
            shape.rate_hz,
            PLANAR_FLOAT,
            self.output_layout,
            self.output_rate_hz,
            mixing_options(shape.format),
        )
        .map_err(|error| ConvertError::internal("preparing the resampler", error))
    }

    /// Makes room for that many samples in `mixed`.
    fn reserve(&mut self, samples: usize) {
        if samples > self.capacity {
            self.mixed = frame::Audio::new(PLANAR_FLOAT, samples, self.output_layout);
            self.capacity = samples;
        }
        self.mixed.set_samples(self.capacity);
    }

    fn hand_on(&mut self, consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>) -> Result<(), ConvertError> {
        if self.mixed.samples() == 0 {
            return Ok(());
        }
        copy_finite(self.mixed.plane(0), &mut self.left);
        let stereo = self.output_layout.channels() == 2;
        if stereo {
            copy_finite(self.mixed.plane(1), &mut self.right);
        }
        consume(Block {
            left: &self.left,
            right: stereo.then_some(self.right.as_slice()),
        })
    }
}

/// Integer sources are mixed down without exceeding full scale, float ones at full loudness, as in the `ffmpeg` command,
/// where it follows from the sample format between decoder and encoder.
fn mixing_options(source: Sample) -> Dictionary<'static> {
    let is_float = matches!(source, Sample::F32(_) | Sample::F64(_));
    let highest = (!is_float).then_some(("rematrix_maxval", "1"));
    highest.into_iter().collect()
}

/// Copies samples, with those that are no sound replaced: LAME does not survive every one of them.
fn copy_finite(samples: &[f32], into: &mut Vec<f32>) {
    into.clear();
    into.extend(samples.iter().map(|sample| {
        if sample.is_nan() {
            0.0
        } else {
            sample.clamp(-LOUDEST, LOUDEST)
        }
    }));
}
