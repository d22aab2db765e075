//! The stretches in which the source has no sound, counted.

use crate::output::duration_of;
use crate::settings::Gaps;
use crate::{Note, Settings};

/// What there was of silence, in samples of the MP3.
#[derive(Debug)]
pub(crate) struct Silence {
    pub(crate) gaps: Gaps,
    late: u64,
    count: u64,
    between: u64,
}

impl Silence {
    pub(crate) const fn new(settings: &Settings) -> Self {
        Self {
            gaps: settings.gaps,
            late: 0,
            count: 0,
            between: 0,
        }
    }

    /// So many samples are missing before the first sound, or else between two.
    pub(crate) const fn add(&mut self, samples: u64, is_first: bool) {
        if is_first {
            self.late += samples;
        } else if samples > 0 {
            self.count += 1;
            self.between += samples;
        }
    }

    /// What is to be told of it.
    pub(crate) fn notes(&self, rate_hz: u32) -> impl Iterator<Item = Note> + use<> {
        let ms = |samples| u64::try_from(duration_of(samples, rate_hz).as_millis()).unwrap_or(u64::MAX);
        let (late_ms, gaps_ms, count) = (ms(self.late), ms(self.between), self.count);
        let is_dropped = self.gaps == Gaps::Drop;
        let late = (late_ms > 0).then_some(if is_dropped {
            Note::LateStartDropped { ms: late_ms }
        } else {
            Note::LateStart { ms: late_ms }
        });
        let gaps = (count > 0).then_some(if is_dropped {
            Note::GapsDropped { count, ms: gaps_ms }
        } else {
            Note::Gaps { count, ms: gaps_ms }
        });
        late.into_iter().chain(gaps)
    }
}
