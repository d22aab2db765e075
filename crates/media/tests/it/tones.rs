//! What a decoded MP3 sounds like, as numbers.

use std::ops::Range;

use crate::support::Pcm;

impl Pcm {
    /// The samples of one channel, those of that part in milliseconds.
    pub(crate) fn part(&self, channel: usize, milliseconds: Range<usize>) -> Vec<f32> {
        let at = |milliseconds: usize| milliseconds * self.rate_hz as usize / 1000;
        let frames = self.samples.chunks_exact(self.channels);
        let part = frames.skip(at(milliseconds.start)).take(at(milliseconds.len()));
        part.map(|frame| frame[channel]).collect()
    }

    /// How loud a tone is in a part of one channel: its amplitude.
    pub(crate) fn tone(&self, channel: usize, milliseconds: Range<usize>, hz: u16) -> f64 {
        let samples = self.part(channel, milliseconds);
        let step = f64::from(hz) * std::f64::consts::TAU / f64::from(self.rate_hz);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (number, sample) in (0_u32..).zip(&samples) {
            let (sine, cosine) = (step * f64::from(number)).sin_cos();
            real += f64::from(*sample) * cosine;
            imaginary += f64::from(*sample) * sine;
        }
        2.0 * f64::hypot(real, imaginary) / f64::from(u32::try_from(samples.len()).unwrap())
    }

    /// The loudest sample.
    pub(crate) fn loudest(&self) -> f32 {
        self.samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
    }

    /// The mean power of all samples, in decibels of full scale.
    pub(crate) fn decibels(&self) -> f64 {
        let power: f64 = self.samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        10.0 * (power / f64::from(u32::try_from(self.samples.len()).unwrap())).log10()
    }
}
