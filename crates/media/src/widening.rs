//! Sound that begins in mono and is stereo later, or at a low sample rate and at a higher one later: the end of the
//! programme before, a trailer, a recorder that was switched over.

use std::time::Duration;

use crate::encoder::Mp3Format;
use crate::mixer::Shape;
use crate::output::duration_of;
use crate::{Anew, ConvertError, Settings};

/// How long wider sound must last in one piece to be worth another beginning: a damaged packet can look like anything.
const WORTH_BEGINNING_ANEW: Duration = Duration::from_millis(500);

/// Compares the sound that comes with the MP3 that was begun.
pub(crate) struct Widening {
    begun: Mp3Format,
    settings: Settings,
    /// The last shape that this MP3 can hold all of.
    held: Option<Shape>,
    /// For how long the sound has been wider.
    wider: Duration,
}

impl Widening {
    /// `begun` is what the first frame was given, by `settings`.
    pub(crate) fn new(begun: Mp3Format, settings: &Settings) -> Self {
        Self {
            begun,
            settings: settings.clone(),
            held: None,
            wider: Duration::ZERO,
        }
    }

    /// Looks at the next frame that goes into the MP3: its shape, and how many samples it has.
    ///
    /// # Errors
    /// [`ConvertError::BeginAnew`], where the MP3 would have been another if the sound had begun like this.
    pub(crate) fn look(&mut self, shape: Shape, samples: usize) -> Result<(), ConvertError> {
        if self.held == Some(shape) {
            self.wider = Duration::ZERO;
            return Ok(());
        }
        let own = Mp3Format::choose(&self.settings, shape.is_mono(), shape.rate_hz);
        let channels = (self.begun.mono && !own.mono).then_some(2);
        let sample_rate_hz = (own.sample_rate_hz > self.begun.sample_rate_hz).then_some(own.sample_rate_hz);
        if channels.is_none() && sample_rate_hz.is_none() {
            self.held = Some(shape);
            self.wider = Duration::ZERO;
            return Ok(());
        }
        self.wider += duration_of(samples as u64, shape.rate_hz);
        if self.wider < WORTH_BEGINNING_ANEW {
            return Ok(());
        }
        Err(ConvertError::BeginAnew(Anew::Wider {
            channels,
            sample_rate_hz,
        }))
    }
}
