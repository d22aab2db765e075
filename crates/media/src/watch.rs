//! What watches a conversion from inside: progress out, cancel and time limit in, and the source's own error kept.

use std::any::Any;
use std::io;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{ConvertError, Verdict};

/// How far a conversion has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How much of the audio is converted.
    pub position: Duration,
    /// How long the audio is, as far as the file tells. It can be wrong.
    pub duration: Option<Duration>,
    /// Bytes taken from the source so far; bytes read twice count twice.
    pub bytes_read: u64,
    /// Where in the source the conversion is. It jumps while the source is opened.
    pub source_position: u64,
    /// The source's length. None for a stream.
    pub source_bytes: Option<u64>,
}

impl Progress {
    /// The share that is done, 0 to 1: of the playing time where it is known, else of the way through the source, else
    /// 0.
    pub fn share(&self) -> f32 {
        let share = match (self.duration, self.source_bytes) {
            (Some(duration), _) if !duration.is_zero() => self.position.as_secs_f32() / duration.as_secs_f32(),
            #[expect(clippy::cast_precision_loss, reason = "a share needs two digits")]
            (_, Some(bytes)) if bytes > 0 => self.source_position as f32 / bytes as f32,
            _ => 0.0,
        };
        share.clamp(0.0, 1.0)
    }
}

/// Why the source gives no more bytes.
pub(crate) enum Stop {
    Read(io::Error),
    Cancelled,
    TimeLimit(Duration),
    /// The source or the callback panicked below libav, whose frames a panic must not cross.
    Panicked(Box<dyn Any + Send>),
}

/// Shared between the conversion and the reader below libav, which run on one thread, never at the same time.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Watched>>);

struct Watched {
    progress: Progress,
    callback: Box<dyn FnMut(Progress) -> ControlFlow<()> + Send>,
    started: Instant,
    time_limit: Duration,
    stop: Option<Stop>,
}

impl Watch {
    pub(crate) fn new(
        callback: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
        time_limit: Duration,
    ) -> Self {
        Self(Arc::new(Mutex::new(Watched {
            progress: Progress::default(),
            callback: Box::new(callback),
            started: Instant::now(),
            time_limit,
            stop: None,
        })))
    }

    /// Tells the progress, and notes whether to stop. False when the conversion is to end.
    pub(crate) fn goes_on(&self) -> bool {
        let mut watched = self.lock();
        if watched.stop.is_some() {
            return false;
        }
        let progress = watched.progress;
        if (watched.callback)(progress).is_break() {
            watched.stop = Some(Stop::Cancelled);
        } else if watched.started.elapsed() > watched.time_limit {
            watched.stop = Some(Stop::TimeLimit(watched.time_limit));
        }
        watched.stop.is_none()
    }

    /// Ends the conversion for `stop`, unless it already ends for something else.
    pub(crate) fn stop(&self, stop: Stop) {
        self.lock().stop.get_or_insert(stop);
    }

    /// Changes what the callback is told next.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().progress);
    }

    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress
    }

    /// Fails when the conversion is to end. To be asked after every call into libav, which mistakes our own trouble for
    /// the end of the file or for damage.
    pub(crate) fn check(&self) -> Result<(), ConvertError> {
        let stop = self.lock().stop.take();
        Err(match stop {
            None => return Ok(()),
            Some(Stop::Read(error)) => ConvertError::Read(error),
            Some(Stop::Cancelled) => ConvertError::Cancelled,
            Some(Stop::TimeLimit(limit)) => Verdict::TimeLimit { limit }.into(),
            Some(Stop::Panicked(payload)) => resume_unwind(payload),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // A panic of the callback is kept as the reason to stop; what it left behind is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_follows_the_playing_time_then_the_bytes() {
        let mut progress = Progress {
            position: Duration::from_secs(30),
            duration: Some(Duration::from_secs(120)),
            bytes_read: 10,
            source_position: 50,
            source_bytes: Some(100),
        };
        assert!((progress.share() - 0.25).abs() < f32::EPSILON);
        progress.duration = None;
        assert!((progress.share() - 0.5).abs() < f32::EPSILON);
        progress.source_bytes = None;
        assert!(progress.share().abs() < f32::EPSILON);
        progress.duration = Some(Duration::from_secs(10));
        assert!((progress.share() - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn the_first_reason_to_stop_is_the_one_told() {
        let watch = Watch::new(|_| ControlFlow::Break(()), Duration::MAX);
        watch.stop(Stop::Read(io::ErrorKind::ConnectionReset.into()));
        assert!(!watch.goes_on());
        assert!(matches!(watch.check(), Err(ConvertError::Read(_))));
    }

    #[test]
    fn time_runs_out() {
        let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::ZERO);
        while watch.goes_on() {}
        assert!(matches!(
            watch.check(),
            Err(ConvertError::Verdict(Verdict::TimeLimit { .. }))
        ));
    }
}
