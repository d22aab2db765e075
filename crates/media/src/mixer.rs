//! From decoded frames to what LAME takes: planar 32-bit float of one sample rate, one or two channels.

use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling::Context as Resampler;
use ffmpeg_next::{ChannelLayout, Dictionary, Error, frame};

use crate::limiter::Limiter;
use crate::{ConvertError, Note, Verdict, raw};

/// What LAME takes.
pub(crate) const PLANAR_FLOAT: Sample = Sample::F32(Type::Planar);

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

impl Block<'_> {
    /// The first `count` samples, or all if there are fewer, and the others.
    pub(crate) fn split_at(self, count: usize) -> (Self, Self) {
        let count = count.min(self.left.len());
        let (first_left, left) = self.left.split_at(count);
        let (first_right, right) = self.right.map(|right| right.split_at(count)).unzip();
        let first = Self {
            left: first_left,
            right: first_right,
        };
        (first, Self { left, right })
    }
}

/// What a decoded frame looks like.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    format: Sample,
    /// Empty where no order of so many channels is known.
    layout: ChannelLayout,
    channels: u16,
    /// The channels are a sound field, and those of these loudspeakers behind it.
    sound_field: Option<ChannelLayout>,
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
        let mut layout = raw::layout(frame);
        if u32::try_from(layout.channels()) != Ok(channels) {
            layout = raw::usual_layout(frame.channels());
        }
        let usable = SOURCE_RATES_HZ.contains(&frame.rate()) && frame.format() != Sample::None && channels > 0;
        Ok(usable.then(|| Self {
            format: frame.format(),
            layout,
            channels: frame.channels(),
            sound_field: raw::sound_field(frame),
            rate_hz: frame.rate(),
        }))
    }

    pub(crate) fn is_mono(&self) -> bool {
        self.channels == 1
    }
}

/// A resampler, and what it was made for.
struct Prepared {
    /// Of the frames it is for.
    shape: Shape,
    /// What they are said to be: their own layout, or the usual one of that many channels; empty where they are mixed
    /// by a rule of our own.
    layout: ChannelLayout,
    resampler: Resampler,
}

/// Resamples and mixes down with libswresample; its input may change shape at any frame, its output never does.
pub(crate) struct Mixer {
    output_layout: ChannelLayout,
    output_rate_hz: u32,
    resampler: Option<Prepared>,
    /// From the first frame on that is mixed down: a sum of channels can exceed full scale where none of them does.
    limiter: Option<Limiter>,
    /// The most channels that were mixed down, or 0.
    mixed_down: u32,
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
            limiter: None,
            mixed_down: 0,
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
        let changed = |prepared: &Prepared| prepared.shape != shape;
        if self.resampler.as_ref().is_some_and(changed) {
            self.drain(consume)?;
        }
        let samples = frame.samples() as u64 * u64::from(self.output_rate_hz);
        let expected = usize::try_from(samples / u64::from(shape.rate_hz)).unwrap_or(usize::MAX);
        self.reserve(expected.saturating_add(256));
        let mut prepared = match self.resampler.take() {
            Some(prepared) => prepared,
            None => self.prepare(shape)?,
        };
        if i32::from(shape.channels) > self.output_layout.channels() {
            self.mixed_down = self.mixed_down.max(u32::from(shape.channels));
            let rate_hz = self.output_rate_hz;
            self.limiter.get_or_insert_with(|| Limiter::new(rate_hz));
        }
        // The resampler compares each frame with what it was made for, and mixes no unordered channels by a rule of its
        // own.
        if prepared.layout.is_empty() {
            raw::forget_layout(frame);
        } else {
            frame.set_channel_layout(prepared.layout);
        }
        prepared
            .resampler
            .run(frame, &mut self.mixed)
            .map_err(|error| ConvertError::internal("resampling", error))?;
        self.resampler = Some(prepared);
        self.hand_on(consume)
    }

    /// Hands on all that is still held back.
    ///
    /// # Errors
    /// Of `consume`.
    pub(crate) fn finish(
        &mut self,
        consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        self.drain(consume)?;
        match &mut self.limiter {
            Some(limiter) => limiter.finish(consume),
            None => Ok(()),
        }
    }

    /// What was done beyond the plain case.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Note> + use<> {
        let from = self.mixed_down;
        let to = u32::try_from(self.output_layout.channels()).unwrap_or(0);
        let mixed_down = (from > 0).then_some(Note::MixedDown { from, to });
        let is_limited = self.limiter.as_ref().is_some_and(|limiter| limiter.has_limited);
        mixed_down.into_iter().chain(is_limited.then_some(Note::TurnedDown))
    }

    /// Takes out what the resampler still holds. Afterwards it can begin anew.
    fn drain(&mut self, consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>) -> Result<(), ConvertError> {
        let Some(Prepared { mut resampler, .. }) = self.resampler.take() else {
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

    /// # Errors
    /// Nothing can be made of such samples.
    fn prepare(&self, shape: Shape) -> Result<Prepared, Verdict> {
        let resampler_of = |layout| {
            Resampler::get_with(
                shape.format,
                layout,
                shape.rate_hz,
                PLANAR_FLOAT,
                self.output_layout,
                self.output_rate_hz,
                mixing_options(shape.format),
            )
        };
        let by_layout = |layout: ChannelLayout| {
            let is_known = !layout.is_empty() && shape.sound_field.is_none();
            let resampler = is_known.then(|| resampler_of(layout).ok()).flatten()?;
            Some((layout, resampler))
        };
        let by_matrix = || -> Result<_, Error> {
            let mut resampler = resampler_of(ChannelLayout::STEREO)?;
            let matrix = mixing_matrix(shape, self.output_layout.channels() == 1);
            raw::mix_by_matrix(&mut resampler, shape.channels, shape.sound_field, &matrix)?;
            Ok((ChannelLayout::empty(), resampler))
        };
        // Some orders of channels have no rule for mixing down, such as a lone subwoofer, and most numbers of channels
        // above eight have no usual order.
        let made = by_layout(shape.layout).or_else(|| by_layout(raw::usual_layout(shape.channels)));
        let (layout, resampler) = made.map_or_else(by_matrix, Ok).map_err(|error| {
            tracing::debug!(%error, "these samples cannot be mixed");
            Verdict::Damaged
        })?;
        Ok(Prepared {
            shape,
            layout,
            resampler,
        })
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
        let block = Block {
            left: &self.left,
            right: stereo.then_some(self.right.as_slice()),
        };
        match &mut self.limiter {
            Some(limiter) => limiter.push(block, consume),
            None => consume(block),
        }
    }
}

/// How much of each channel goes to the left and then to the right, or to the only one: where libswresample knows no
/// rule.
///
/// A sound field is heard by two microphones with the characteristic of a cardioid, turned to the left and to the
/// right; what they make of it follows from its first two channels, W (all around) and Y (left less right).
/// Source: J. Daniel, "Spatial Sound Encoding Including Near Field Effect" (AmbiX order and SN3D weights, as libav has
/// them).
///
/// What is stored behind the field, most often a narrator in stereo, is heard as it is.
///
/// Channels in no known order are heard on both sides, all of them as loud as fits.
fn mixing_matrix(shape: Shape, mono: bool) -> Vec<f64> {
    // Of the first two channels of a field, and of the last two if they are its stereo.
    let rows: &[[[f64; 2]; 2]] = match mono {
        true => &[[[1.0, 0.0], [0.5, 0.5]]],
        false => &[[[0.5, 0.5], [1.0, 0.0]], [[0.5, -0.5], [0.0, 1.0]]],
    };
    let channels = usize::from(shape.channels);
    let evenly = 1.0 / f64::from(shape.channels);
    let loudspeakers = shape.sound_field.unwrap_or(ChannelLayout::empty());
    let behind = usize::try_from(loudspeakers.channels()).unwrap_or(0).min(channels);
    let of_field = |[first, last]: &[[f64; 2]; 2], channel: usize| match channel.checked_sub(channels - behind) {
        None => first.get(channel).copied().unwrap_or(0.0),
        Some(place) if loudspeakers == ChannelLayout::STEREO => last[place],
        Some(_) => evenly,
    };
    rows.iter()
        .flat_map(|row| (0..channels).map(move |channel| (row, channel)))
        .map(|(row, channel)| shape.sound_field.map_or(evenly, |_| of_field(row, channel)))
        .collect()
}

/// Integer sources are mixed down without exceeding full scale, float ones at full loudness, as in the `ffmpeg`
/// command, where it follows from the sample format between decoder and encoder. What exceeds full scale then, the
/// limiter mends.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(layout: ChannelLayout, rate_hz: u32, value: f32) -> frame::Audio {
        let mut frame = frame::Audio::new(PLANAR_FLOAT, 4800, layout);
        frame.set_rate(rate_hz);
        for plane in 0..frame.planes() {
            frame.plane_mut::<f32>(plane).fill(value);
        }
        frame
    }

    /// Mixes frames to 48 kHz stereo, and gives the left samples.
    fn mixed(frames: impl IntoIterator<Item = frame::Audio>) -> Vec<f32> {
        let mut mixer = Mixer::new(false, 48_000);
        let mut left = Vec::new();
        let mut collect = |block: Block<'_>| {
            assert_eq!(block.right.map(<[f32]>::len), Some(block.left.len()));
            left.extend_from_slice(block.left);
            Ok(())
        };
        for mut frame in frames {
            let shape = Shape::of(&frame, 8).unwrap().unwrap();
            mixer.push(&mut frame, shape, &mut collect).unwrap();
        }
        mixer.finish(&mut collect).unwrap();
        left
    }

    #[test]
    fn a_change_of_rate_and_channels_midway_loses_no_time() {
        let left = mixed([
            frame_of(ChannelLayout::STEREO, 48_000, 0.5),
            frame_of(ChannelLayout::MONO, 24_000, 0.5),
            frame_of(ChannelLayout::_5POINT1, 96_000, 0.1),
            frame_of(ChannelLayout::STEREO, 48_000, 0.5),
        ]);
        let expected = 4800 + 9600 + 2400 + 4800;
        assert!(left.len().abs_diff(expected) <= 4, "{}", left.len());
        assert!((left[2400] - 0.5).abs() < 1e-3 && (left[left.len() - 100] - 0.5).abs() < 1e-3);
    }

    #[test]
    fn channels_in_an_order_without_a_rule_are_all_heard_on_both_sides() {
        // Nothing in front, and places that the binding has no name for.
        let above = ChannelLayout::TOP_CENTER | ChannelLayout::TOP_BACK_LEFT | ChannelLayout::TOP_BACK_CENTER;
        for unnamed in [0, 0x3f << 36] {
            let layout = ChannelLayout::from_bits_retain(above.bits() | unnamed);
            let channels = u32::try_from(layout.channels()).unwrap();
            let mut frame = frame_of(layout, 48_000, 0.5);
            let shape = Shape::of(&frame, channels).unwrap().unwrap();
            let mut mixer = Mixer::new(false, 48_000);
            let mut heard = 0;
            let mut check = |block: Block<'_>| {
                heard += block.left.len();
                assert!(block.left.iter().all(|sample| *sample > 0.1), "{channels}");
                assert_eq!(block.right, Some(block.left), "{channels}");
                Ok(())
            };
            mixer.push(&mut frame, shape, &mut check).unwrap();
            mixer.finish(&mut check).unwrap();
            assert_eq!(heard, 4800, "{channels}");
        }
    }

    #[test]
    fn a_sound_field_is_heard_from_the_side_it_comes_from() {
        // From the left: as much in Y as in W. Or a narrator on the left, who is alone.
        let field = (4, ChannelLayout::empty(), 0..2);
        let narrator = (6, ChannelLayout::STEREO, 4..5);
        for ((channels, loudspeakers, loud), mono, level) in [
            (field.clone(), false, 0.5),
            (field, true, 0.5),
            (narrator.clone(), false, 0.5),
            (narrator, true, 0.25),
        ] {
            let mut frame = frame_of(ChannelLayout::default(channels), 48_000, 0.0);
            raw::make_sound_field(&mut frame, loudspeakers);
            for plane in loud {
                frame.plane_mut::<f32>(plane).fill(0.5);
            }
            let mut mixer = Mixer::new(mono, 48_000);
            let shape = Shape::of(&frame, 6).unwrap().unwrap();
            let mut heard = 0;
            let mut check = |block: Block<'_>| {
                heard += block.left.len();
                assert!(block.left.iter().all(|sample| *sample == level));
                assert_eq!(block.right.is_none(), mono);
                assert!(block.right.unwrap_or_default().iter().all(|sample| *sample == 0.0));
                Ok(())
            };
            mixer.push(&mut frame, shape, &mut check).unwrap();
            mixer.finish(&mut check).unwrap();
            assert_eq!(heard, 4800);
        }
    }

    #[test]
    fn what_is_no_sound_is_replaced() {
        for (value, expected) in [
            (f32::NAN, 0.0),
            (f32::INFINITY, LOUDEST),
            (f32::NEG_INFINITY, -LOUDEST),
            (0.25, 0.25),
        ] {
            let left = mixed([frame_of(ChannelLayout::STEREO, 48_000, value)]);
            assert!(left.iter().all(|sample| *sample == expected), "{value}");
        }
    }

    #[test]
    fn too_many_channels_are_refused_and_an_impossible_rate_is_skipped() {
        let surround = frame_of(ChannelLayout::_5POINT1, 48_000, 0.0);
        assert_eq!(
            Shape::of(&surround, 5).err(),
            Some(Verdict::TooManyChannels { channels: 6, limit: 5 })
        );
        for rate_hz in [0, 1, 999, 2_000_000_000] {
            let frame = frame_of(ChannelLayout::STEREO, rate_hz, 0.0);
            assert!(Shape::of(&frame, 8).unwrap().is_none(), "{rate_hz}");
        }
    }
}
