//! How long a child may work, and what it may use meanwhile.

use std::io;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::{ConvertError, Limits, Verdict};

/// What every conversion may take, before the file has told anything.
const OPENING: Duration = Duration::from_secs(60);
/// The slowest conversion that is waited for: so many times the speed of listening.
const SLOWEST_SPEED: u32 = 3;
/// The slowest demuxing that is waited for, in bytes a second.
const SLOWEST_BYTES: u64 = 16 * 1024 * 1024;
/// How long a child may work without asking for a byte, giving one, or getting on in the audio: one packet is never
/// that much work.
const SILENCE: Duration = Duration::from_secs(60);
/// The most that counts of the time between two looks at the clock, which are a tenth of a second apart: a machine that
/// stood still is not the file's fault.
const LONGEST_LAP: Duration = Duration::from_secs(1);

/// The time of one conversion. What the source and the sink take is not the child's work: only
/// [`Limits::time`] bounds it.
pub(super) struct Clock {
    limits: Limits,
    source_bytes: u64,
    started: Instant,
    mark: Instant,
    worked: Duration,
    heard: Duration,
}

impl Clock {
    pub(super) fn new(limits: Limits, source_bytes: u64) -> Self {
        let now = Instant::now();
        Self {
            limits,
            source_bytes,
            started: now,
            mark: now,
            worked: Duration::ZERO,
            heard: Duration::ZERO,
        }
    }

    /// Counts the time since the last call as the child's work.
    pub(super) fn lap(&mut self) {
        let now = Instant::now();
        self.worked += (now - self.mark).min(LONGEST_LAP);
        self.mark = now;
    }

    /// Forgets the time since the last call: the source or the sink took it.
    pub(super) fn skip(&mut self) {
        self.mark = Instant::now();
    }

    /// The child got on with its work.
    pub(super) fn heard(&mut self) {
        self.heard = self.worked;
    }

    /// How long the child may work on `audio`, as declared or reached: a minute, a third of the playing time, and what
    /// the file's size takes.
    pub(super) fn allowed(&self, audio: Duration) -> Duration {
        let audio = audio.min(self.limits.duration);
        let for_bytes = Duration::from_secs(self.source_bytes / SLOWEST_BYTES);
        (OPENING + audio / SLOWEST_SPEED + for_bytes).min(self.limits.time)
    }

    /// Fails when it takes too long.
    ///
    /// # Errors
    /// The verdict, or trouble where the source and the sink took the time.
    pub(super) fn check(&self, audio: Duration) -> Result<(), ConvertError> {
        let allowed = self.allowed(audio);
        let limit = if self.worked > allowed {
            allowed
        } else if self.worked - self.heard > SILENCE {
            SILENCE
        } else if self.started.elapsed().saturating_sub(self.worked) > self.limits.time {
            let error = format!("they took longer than {} s", self.limits.time.as_secs());
            return Err(ConvertError::internal("waiting for the source and the sink", error));
        } else {
            return Ok(());
        };
        Err(Verdict::TimeLimit { limit }.into())
    }
}

/// What a child may have of the machine. The parent sets it, from outside, and the child cannot change it.
pub(super) struct Allowance {
    child: Pid,
    threads: u64,
    /// What it was granted so far.
    cpu_seconds: u64,
    /// Where it ends even if it ignores the signal that tells it so.
    cpu_most: u64,
}

/// Memory without a thread that encodes: the program's own, a container's index of ten hours, and decoders.
const DATA_BYTES: u64 = 448 * 1024 * 1024;
/// Memory for each of these threads: stack, encoder, samples, and what the allocator keeps.
const THREAD_DATA_BYTES: u64 = 24 * 1024 * 1024;
/// How many threads it may have beside those that encode: the one that decodes, and some that have ended and are not
/// yet gone.
const OTHER_THREADS: u64 = 8;
/// The step in which processor time is granted.
const CPU_STEP_SECONDS: u64 = 30;

impl Allowance {
    /// Gives the child the memory for a job on so many encoding threads, which may take as long as `longest`.
    ///
    /// # Errors
    /// The child is gone, or the system does not let its parent do that.
    pub(super) fn for_job(child: u32, threads: NonZeroUsize, longest: Duration) -> io::Result<Self> {
        let child = i32::try_from(child).ok().and_then(Pid::from_raw);
        let threads = threads.get() as u64;
        let mut allowance = Self {
            child: child.ok_or(io::ErrorKind::InvalidInput)?,
            threads,
            cpu_seconds: 0,
            cpu_most: 0,
        };
        let most = allowance.cpu_of(longest).saturating_add(CPU_STEP_SECONDS);
        let own = getrlimit(Resource::Cpu).maximum;
        allowance.cpu_most = own.map_or(most, |own| own.min(most));
        let data_bytes = THREAD_DATA_BYTES.saturating_mul(threads).saturating_add(DATA_BYTES);
        // The child has this process's own upper limit, and only root could raise that.
        allowance.set(Resource::Data, data_bytes, getrlimit(Resource::Data).maximum)?;
        Ok(allowance)
    }

    /// Gives it the processor time that belongs to so much time of work.
    ///
    /// # Errors
    /// As with [`for_job`](Self::for_job).
    pub(super) fn work(&mut self, work: Duration) -> io::Result<()> {
        let seconds = self.cpu_of(work);
        if seconds < self.cpu_seconds.saturating_add(CPU_STEP_SECONDS) {
            return Ok(());
        }
        self.set(Resource::Cpu, seconds, Some(self.cpu_most))?;
        self.cpu_seconds = seconds;
        Ok(())
    }

    /// The processor time, in seconds, that so much time of work can take.
    fn cpu_of(&self, work: Duration) -> u64 {
        // One thread decodes beside those that encode.
        work.as_secs().saturating_mul(self.threads.saturating_add(1))
    }

    /// Whether it has no more threads than a conversion needs, as far as the system tells.
    pub(super) fn is_kept(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.as_raw_nonzero()));
        let most = self.threads.saturating_add(OTHER_THREADS);
        tasks.map_or(true, |tasks| tasks.count() as u64 <= most)
    }

    fn set(&self, resource: Resource, most: u64, maximum: Option<u64>) -> io::Result<()> {
        let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
        prlimit(Some(self.child), resource, Rlimit { current, maximum })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn more_audio_and_more_bytes_may_take_longer_up_to_the_limit() {
        let clock = Clock::new(Limits::default(), 0);
        assert_eq!(clock.allowed(Duration::ZERO), OPENING);
        assert_eq!(clock.allowed(3 * HOUR), OPENING + HOUR);
        assert_eq!(clock.allowed(12 * HOUR), Limits::default().time);
        assert_eq!(clock.allowed(Duration::MAX), Limits::default().time);
        let large = Clock::new(Limits::default(), 10 << 30);
        assert_eq!(large.allowed(Duration::ZERO), OPENING + Duration::from_secs(640));
    }

    #[test]
    fn a_child_that_does_nothing_for_a_minute_is_given_up() {
        let mut clock = Clock::new(Limits::default(), 10 << 30);
        clock.worked = OPENING;
        clock.check(HOUR).unwrap();
        clock.worked += Duration::from_secs(1);
        let expected = Verdict::TimeLimit { limit: SILENCE };
        assert!(matches!(clock.check(HOUR), Err(ConvertError::Verdict(verdict)) if verdict == expected));
        clock.heard();
        clock.check(HOUR).unwrap();
    }

    #[test]
    fn time_that_the_child_did_not_have_is_not_held_against_the_file() {
        let limits = Limits {
            time: Duration::from_secs(10),
            ..Limits::default()
        };
        let mut clock = Clock::new(limits, 0);
        clock.check(HOUR).unwrap();
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(11)) else {
            return;
        };
        clock.started = long_ago;
        assert!(matches!(clock.check(HOUR), Err(ConvertError::Internal { .. })));
        // What took long was the work, with a little waiting beside it.
        clock.worked = Duration::from_secs(10);
        clock.heard();
        clock.check(HOUR).unwrap();
        clock.worked = Duration::from_secs(11);
        assert!(matches!(
            clock.check(HOUR),
            Err(ConvertError::Verdict(Verdict::TimeLimit { .. }))
        ));
    }

    #[test]
    fn a_machine_that_stood_still_is_not_counted() {
        let mut clock = Clock::new(Limits::default(), 0);
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(5)) else {
            return;
        };
        clock.mark = long_ago;
        clock.lap();
        assert_eq!(clock.worked, LONGEST_LAP);
    }
}
