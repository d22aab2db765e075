//! Keeps a mix within full scale, by turning it down around what would exceed it, and nowhere else.
//!
//! Turned down is before the peak comes (the look-ahead), held for a while, and turned up again slowly, so that neither
//! the wave is bent nor the level heard to move. What never exceeds full scale passes bit by bit as it is. There are
//! only additions, multiplications and divisions here, in one order: the result does not depend on the processor or on
//! how the samples come in blocks. docs/adr/0017 says why it is this way.

use std::collections::VecDeque;

use crate::ConvertError;
use crate::mixer::Block;

/// What a peak above full scale is brought to: 1 dB below, since coding to MP3 and the wave between the samples add to
/// it.
///
/// Source: EBU R 128 s2, which allows -1 dBTP in programmes that are coded for distribution.
pub(crate) const CEILING: f32 = 0.891_250_94;

/// The gain is decided so many times a second, and is a straight line in between.
const STEPS_PER_SECOND: u32 = 750;

/// How many steps before a peak turning down begins: 10.7 ms.
const LOOK_AHEAD_STEPS: usize = 8;

/// What one of these steps is of their mean.
const SHARE_OF_MEAN: f32 = 0.125;

/// How many steps the gain is held after a peak: 100 ms, two periods of the lowest tone that is heard.
const HOLD_STEPS: u32 = 75;

/// The share of the way back to 1 that the gain takes in a step: two thirds of it in two seconds, so that the level
/// rises by less than 1 dB between two beats of music.
const RELEASE: f32 = 1.0 / 1500.0;

/// A gain as close to 1 as this is 1: a hundredth of a decibel.
const ALMOST_ONE: f32 = 0.999;

/// One limiter, for one stretch of sound. Its output is as long as its input, and later by at most 13 ms.
pub(crate) struct Limiter {
    step_samples: usize,
    left: Vec<f32>,
    /// As long as `left`, or empty for mono.
    right: Vec<f32>,
    is_stereo: bool,
    /// The gain that the whole steps among the samples need, in order.
    needed: VecDeque<f32>,
    /// The gain after the last peak.
    held: f32,
    /// For how many steps more it stays.
    hold_steps: u32,
    /// The gains of the last steps, whose mean is the gain at the end of the last of them. None before the first step.
    recent: Option<[f32; LOOK_AHEAD_STEPS]>,
    /// Where in `recent` the oldest is.
    oldest: usize,
    /// Whether anything has been turned down.
    pub(crate) has_limited: bool,
}

impl Limiter {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Self {
            step_samples: usize::try_from(rate_hz / STEPS_PER_SECOND).unwrap_or(1).max(1),
            left: Vec::new(),
            right: Vec::new(),
            is_stereo: false,
            needed: VecDeque::new(),
            held: 1.0,
            hold_steps: 0,
            recent: None,
            oldest: 0,
            has_limited: false,
        }
    }

    /// Takes a block, and hands on what comes out, all blocks of one number of channels.
    ///
    /// # Errors
    /// Of `consume`.
    pub(crate) fn push(
        &mut self,
        block: Block<'_>,
        consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        self.is_stereo = block.right.is_some();
        self.left.extend_from_slice(block.left);
        self.right.extend_from_slice(block.right.unwrap_or_default());
        let whole_steps = self.left.len() / self.step_samples;
        for step in self.needed.len()..whole_steps {
            let range = step * self.step_samples..(step + 1) * self.step_samples;
            let left = needed_gain(&self.left[range.clone()]);
            let right = self.right.get(range).map_or(1.0, needed_gain);
            self.needed.push_back(left.min(right));
        }
        let ready = whole_steps.saturating_sub(LOOK_AHEAD_STEPS);
        for step in 0..ready {
            self.limit(step * self.step_samples..(step + 1) * self.step_samples);
        }
        self.hand_on(ready * self.step_samples, consume)
    }

    /// Hands on what is still held back. Afterwards another stretch can begin.
    ///
    /// # Errors
    /// Of `consume`.
    pub(crate) fn finish(
        &mut self,
        consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        let length = self.left.len();
        let rest = length - length % self.step_samples;
        let left = needed_gain(&self.left[rest..]);
        let right = self.right.get(rest..).map_or(1.0, needed_gain);
        self.needed.push_back(left.min(right));
        for start in (0..length).step_by(self.step_samples) {
            self.limit(start..length.min(start + self.step_samples));
        }
        self.needed.clear();
        self.hand_on(length, consume)
    }

    /// Brings the next step to its gain.
    fn limit(&mut self, step: std::ops::Range<usize>) {
        let ahead = self.needed.iter().take(LOOK_AHEAD_STEPS + 1);
        let needed = ahead.fold(1.0_f32, |least, gain| least.min(*gain));
        self.needed.pop_front();
        if needed <= self.held && needed < 1.0 {
            self.held = needed;
            self.hold_steps = HOLD_STEPS;
        } else if self.hold_steps > 0 {
            self.hold_steps -= 1;
        } else {
            let released = self.held + (1.0 - self.held) * RELEASE;
            let settled = if released > ALMOST_ONE { 1.0 } else { released };
            self.held = settled.min(needed);
        }
        // Each of them looked as far as this step, so that none is above what it needs.
        let recent = self.recent.get_or_insert([self.held; LOOK_AHEAD_STEPS]);
        let before = mean(recent);
        recent[self.oldest] = self.held;
        let after = mean(recent);
        self.oldest = (self.oldest + 1) % LOOK_AHEAD_STEPS;
        if before < 1.0 || after < 1.0 {
            self.has_limited = true;
            scale(&mut self.left[step.clone()], before, after);
            if self.is_stereo {
                scale(&mut self.right[step], before, after);
            }
        }
    }

    fn hand_on(
        &mut self,
        count: usize,
        consume: &mut dyn FnMut(Block<'_>) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        if count == 0 {
            return Ok(());
        }
        consume(Block {
            left: &self.left[..count],
            right: self.is_stereo.then(|| &self.right[..count]),
        })?;
        self.left.drain(..count);
        self.right.drain(..count.min(self.right.len()));
        Ok(())
    }
}

fn mean(gains: &[f32; LOOK_AHEAD_STEPS]) -> f32 {
    gains.iter().sum::<f32>() * SHARE_OF_MEAN
}

/// The gain that brings these samples to the ceiling, if they exceed full scale, else 1.
fn needed_gain(samples: &[f32]) -> f32 {
    // Two passes, because this one is fast, and nearly always the only one.
    let exceeds = samples
        .iter()
        .fold(false, |exceeds, sample| exceeds | (sample.abs() > 1.0));
    if !exceeds {
        return 1.0;
    }
    let peak = samples.iter().fold(1.0_f32, |peak, sample| peak.max(sample.abs()));
    CEILING / peak
}

/// Multiplies samples by a gain that goes in a straight line from one value to another.
fn scale(samples: &mut [f32], from: f32, to: f32) {
    #[expect(clippy::cast_precision_loss, reason = "a step has 64 samples at most")]
    let slope = (to - from) / samples.len() as f32;
    for (number, sample) in (1_u16..).zip(samples) {
        *sample *= from + f32::from(number) * slope;
    }
}

#[cfg(test)]
mod tests;
