//! LAME, and what it is told.

use std::sync::Once;

use mp3lame_encoder::{
    Builder, DualPcm, Encoder as Lame, FlushGap, FlushNoGap, Mode, MonoPcm, Quality, VbrMode, max_required_buffer_size,
};

use crate::frame::highest_kbps;
use crate::mixer::Block;
use crate::settings::{Rate, SAMPLE_RATES_HZ};
use crate::{ConvertError, Settings, raw};

/// Samples LAME puts before the first one it is given.
pub(crate) const ENCODER_DELAY_SAMPLES: u64 = 576;

/// How many samples LAME is given at once: what it answers then fits a small buffer.
const SAMPLES_AT_ONCE: usize = 4 * 1152;

/// What the end of a stream can hold, by LAME's documentation of `lame_encode_flush`.
const FLUSH_BYTES: usize = 7200;

/// The MP3 to make: settings with everything that was left open decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mp3Format {
    pub(crate) rate: Rate,
    pub(crate) quality: Option<u8>,
    pub(crate) mono: bool,
    pub(crate) sample_rate_hz: u32,
}

impl Mp3Format {
    /// Decides what `settings` leave open by the source's first frame.
    pub(crate) fn choose(settings: &Settings, source_mono: bool, source_rate_hz: u32) -> Self {
        let sample_rate_hz = settings.sample_rate_hz.unwrap_or_else(|| {
            let distance = |hz: &u32| hz.abs_diff(source_rate_hz);
            let nearest = SAMPLE_RATES_HZ.into_iter().min_by_key(distance);
            nearest.unwrap_or(48_000)
        });
        let rate = match settings.rate.unwrap_or_default() {
            Rate::Cbr(kbps) => Rate::Cbr(kbps.min(highest_kbps(sample_rate_hz))),
            vbr @ Rate::Vbr(_) => vbr,
        };
        Self {
            rate,
            quality: settings.quality,
            mono: settings.channels.map_or(source_mono, |count| count == 1),
            sample_rate_hz,
        }
    }

    /// Samples per channel in one frame: 1152 from 32 kHz on, else 576.
    pub(crate) fn frame_samples(&self) -> u64 {
        if self.sample_rate_hz >= 32_000 { 1152 } else { 576 }
    }
}

/// One LAME. It writes frames of audio only; the head frame is made elsewhere.
pub(crate) struct Encoder {
    lame: Lame,
}

impl Encoder {
    /// # Errors
    /// LAME does not take the format, or has no memory.
    pub(crate) fn new(format: &Mp3Format) -> Result<Self, ConvertError> {
        // The first LAME of a process fills tables that all share, without a lock.
        static TABLES: Once = Once::new();
        TABLES.call_once(|| drop(lame(format, false)));
        let lame = lame(format, false).map_err(|error| ConvertError::internal("preparing the encoder", error))?;
        Ok(Self { lame })
    }

    /// Encodes a block and appends what is ready to `mp3`, which need not end at a frame's end.
    ///
    /// # Errors
    /// LAME fails.
    pub(crate) fn encode(&mut self, block: Block<'_>, mp3: &mut Vec<u8>) -> Result<(), ConvertError> {
        let mut start = 0;
        while start < block.left.len() {
            let end = block.left.len().min(start + SAMPLES_AT_ONCE);
            mp3.reserve(max_required_buffer_size(end - start));
            let left = &block.left[start..end];
            let encoded = match block.right {
                Some(right) => {
                    let right = &right[start..end];
                    self.lame.encode_to_vec(DualPcm { left, right }, mp3)
                }
                None => self.lame.encode_to_vec(MonoPcm(left), mp3),
            };
            encoded.map_err(|error| ConvertError::internal("encoding", error))?;
            start = end;
        }
        Ok(())
    }

    /// Appends the frames that are ready to `mp3`, the last one whole, and begins anew with an empty bit reservoir. One
    /// frame of samples stays behind: LAME looks ahead.
    ///
    /// # Errors
    /// LAME fails.
    pub(crate) fn pause(&mut self, mp3: &mut Vec<u8>) -> Result<(), ConvertError> {
        mp3.reserve(FLUSH_BYTES);
        let flushed = self.lame.flush_to_vec::<FlushNoGap>(mp3);
        flushed.map_err(|error| ConvertError::internal("encoding the end of a segment", error))?;
        Ok(())
    }

    /// Appends the last frames to `mp3`. Nothing is to be encoded afterwards.
    ///
    /// # Errors
    /// LAME fails.
    pub(crate) fn finish(&mut self, mp3: &mut Vec<u8>) -> Result<(), ConvertError> {
        mp3.reserve(FLUSH_BYTES);
        let flushed = self.lame.flush_to_vec::<FlushGap>(mp3);
        flushed.map_err(|error| ConvertError::internal("encoding the end", error))?;
        Ok(())
    }
}

/// The head frame LAME itself would write at this format, of some silence. None where LAME has no room for one.
pub(crate) fn lames_head_frame(format: &Mp3Format) -> Option<Vec<u8>> {
    let mut lame = lame(format, true).ok()?;
    let silence = [0.0_f32; SAMPLES_AT_ONCE];
    let mut mp3 = Vec::with_capacity(max_required_buffer_size(silence.len()) + FLUSH_BYTES);
    let encoded = if format.mono {
        lame.encode_to_vec(MonoPcm(&silence), &mut mp3)
    } else {
        lame.encode_to_vec(
            DualPcm {
                left: &silence,
                right: &silence,
            },
            &mut mp3,
        )
    };
    encoded.ok()?;
    lame.flush_to_vec::<FlushGap>(&mut mp3).ok()?;
    let mut head = Vec::with_capacity(lame.lame_tag_size());
    lame.lame_tag_encode_to_vec(&mut head)?;
    Some(head)
}

fn lame(format: &Mp3Format, with_head: bool) -> Result<Lame, mp3lame_encoder::BuildError> {
    let mut builder = Builder::new().ok_or(mp3lame_encoder::BuildError::NoMem)?;
    builder.set_num_channels(if format.mono { 1 } else { 2 })?;
    builder.set_mode(if format.mono { Mode::Mono } else { Mode::JointStereo })?;
    builder.set_sample_rate(format.sample_rate_hz)?;
    // Left to itself, LAME resamples where it finds the bitrate low; that is the mixer's work.
    builder.set_output_sample_rate(std::num::NonZeroU32::new(format.sample_rate_hz))?;
    match format.rate {
        Rate::Vbr(quality) => {
            builder.set_vbr_mode(VbrMode::Mtrh)?;
            builder.set_vbr_quality(level(quality))?;
        }
        Rate::Cbr(kbps) => raw::set_bitrate(&mut builder, kbps)?,
    }
    if let Some(quality) = format.quality {
        builder.set_quality(level(quality))?;
    }
    builder.set_to_write_vbr_tag(with_head)?;
    builder.build()
}

fn level(number: u8) -> Quality {
    match number {
        0 => Quality::Best,
        1 => Quality::SecondBest,
        2 => Quality::NearBest,
        3 => Quality::VeryNice,
        4 => Quality::Nice,
        5 => Quality::Good,
        6 => Quality::Decent,
        7 => Quality::Ok,
        8 => Quality::SecondWorst,
        _ => Quality::Worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(rate: Rate, source_rate_hz: u32) -> Mp3Format {
        let settings = Settings {
            rate: Some(rate),
            ..Settings::default()
        };
        Mp3Format::choose(&settings, false, source_rate_hz)
    }

    #[test]
    fn the_sample_rate_is_the_one_nearest_to_the_sources() {
        for (source, expected) in [
            (7_350, 8_000),
            (8_000, 8_000),
            (44_100, 44_100),
            (88_200, 48_000),
            (96_000, 48_000),
        ] {
            assert_eq!(chosen(Rate::Vbr(2), source).sample_rate_hz, expected);
        }
    }

    #[test]
    fn a_bitrate_the_sample_rate_does_not_allow_is_lowered_to_the_highest_it_allows() {
        for (asked, source, expected) in [
            (320, 48_000, 320),
            (320, 22_050, 160),
            (192, 8_000, 64),
            (48, 8_000, 48),
        ] {
            assert_eq!(chosen(Rate::Cbr(asked), source).rate, Rate::Cbr(expected));
        }
    }
}
