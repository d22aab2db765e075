//! A child as its parent holds it.

use std::io::{self, ErrorKind, Read as _, Write};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use super::conversation::{Broken, Conversation, TICK};
use super::limits::Allowance;
use super::protocol::{self, HEADER_BYTES, Kind, Ready};
use super::{ARGUMENT, Layer, starter};
use crate::mp3::MOST_THREADS;
use crate::{ConvertError, Converted, Progress, Settings, Source, Verdict};

/// How long a child may take to get ready, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a child may take to end when its socket is closed: the system closes it when all but the last of a process
/// is gone.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a child executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(PathBuf);

impl Program {
    /// The program that asks, even when its file was replaced or deleted meanwhile. Its `main` must begin with
    /// [`run_if_child`](super::run_if_child).
    pub fn this() -> Self {
        Self(PathBuf::from("/proc/self/exe"))
    }

    /// Another program of the same build whose `main` begins so.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Default for Program {
    fn default() -> Self {
        Self::this()
    }
}

/// A process that is locked down and waits for its one conversion. It is killed when this is dropped, and dies with its
/// parent.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    socket: UnixStream,
    /// What its kernel lacks, once it has said that it is ready.
    missing: Option<Vec<Layer>>,
}

impl Child {
    /// Starts a child, which gets ready by itself meanwhile.
    ///
    /// # Errors
    /// The system gives no process or no socket.
    pub fn start(program: &Program) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        let mut command = Command::new(&program.0);
        command
            .arg0("mp3-conversion")
            .arg(ARGUMENT)
            .env_clear()
            // Signals from a terminal are for the parent, which ends the child when it is time.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            process: starter::spawn(command)?,
            socket,
            missing: None,
        })
    }

    /// Waits until the child is locked down: milliseconds, mostly for its libraries. Gives the layers of the lock-down
    /// that its kernel lacks.
    ///
    /// # Errors
    /// It ended, or said something else, or nothing for half a minute.
    pub fn wait_until_ready(&mut self) -> io::Result<&[Layer]> {
        let missing = match self.missing.take() {
            Some(missing) => missing,
            None => self.hear_ready(&mut || true)?,
        };
        Ok(self.missing.insert(missing))
    }

    /// Asks `goes_on` ten times a second.
    fn hear_ready(&self, goes_on: &mut dyn FnMut() -> bool) -> io::Result<Vec<Layer>> {
        let until = Instant::now() + PATIENCE;
        let mut waits = || Instant::now() <= until && goes_on();
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header, &mut waits)?;
        let nonsense = || io::Error::new(ErrorKind::InvalidData, "the child is not of this program");
        let (kind, length) = protocol::parse_header(header).ok_or_else(nonsense)?;
        if kind != Kind::Ready {
            return Err(nonsense());
        }
        let mut payload = vec![0; length];
        self.fill(&mut payload, &mut waits)?;
        let ready: Ready = protocol::decode(&payload).ok_or_else(nonsense)?;
        if ready.version != protocol::PROTOCOL_VERSION {
            return Err(nonsense());
        }
        Ok(ready.missing)
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether the child still waits, as far as is known.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// [`convert`](crate::convert), inside this child, which is gone afterwards.
    ///
    /// `source`, `sink` and `progress` stay in this process and are used by this thread. `progress` is called whenever
    /// the child says something, and at least every 100 ms; `Break` kills the child. While `source` or `sink` block,
    /// nothing else is looked at.
    ///
    /// # Errors
    /// As [`convert`](crate::convert). A child that crashes, or needs more memory than it may have, ends in
    /// [`Verdict::Crashed`]: the same file would do the same again. One that could not be started, or was killed from
    /// outside, is trouble of ours: [`ConvertError::Internal`].
    ///
    /// # Panics
    /// Only when `source`, `sink` or `progress` panic; the child is killed then.
    pub fn convert(
        mut self,
        source: Source,
        sink: &mut dyn Write,
        settings: &Settings,
        mut progress: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Converted, ConvertError> {
        settings.check()?;
        if self.missing.is_none() {
            let mut cancelled = false;
            let ready = self.hear_ready(&mut || {
                cancelled = progress(Progress::default()).is_break();
                !cancelled
            });
            if cancelled {
                return Err(ConvertError::Cancelled);
            }
            ready.map_err(|error| ConvertError::internal("starting the child", error))?;
        }
        let threads = settings.threads.or_else(|| available_parallelism().ok());
        let threads = threads.unwrap_or(NonZeroUsize::MIN).min(MOST_THREADS);
        let allowance = Allowance::for_job(self.process.id(), threads, settings.limits.time)
            .map_err(|error| ConvertError::internal("limiting the child", error))?;
        let conversation = Conversation::new(&self.socket, source, sink, settings, allowance, progress);
        let conversation = conversation.map_err(ConvertError::Read)?;
        // The child cannot see what its control group allows.
        let settings = Settings {
            threads: Some(threads),
            ..settings.clone()
        };
        match conversation.run(settings) {
            Ok(converted) => Ok(converted),
            Err(Broken::Known(error)) => Err(error),
            Err(Broken::Nonsense(what)) => {
                tracing::warn!(what, "the child broke the protocol");
                Err(Verdict::Crashed.into())
            }
            Err(Broken::Gone { allowed }) => Err(self.epitaph(allowed)),
        }
    }

    /// What it means that the child is gone, or at least its socket.
    fn epitaph(&mut self, allowed: Duration) -> ConvertError {
        let until = Instant::now() + FAREWELL;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return verdict_on(status, allowed),
                Ok(None) if Instant::now() > until => {
                    tracing::warn!("the child closed its socket and lives on");
                    return Verdict::Crashed.into();
                }
                // Nothing tells the end of a process on every kernel.
                Ok(None) => thread::park_timeout(TICK / 10),
                Err(error) => return ConvertError::internal("waiting for the child", error),
            }
        }
    }

    /// Kills the child, if it lives, and waits for its end. How it had ended before stays known.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.process.kill()?;
        self.process.wait()
    }

    fn fill(&self, buffer: &mut [u8], waits: &mut dyn FnMut() -> bool) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match (&self.socket).read(&mut buffer[filled..]) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the child ended before it was ready",
                    ));
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if !waits() {
                        return Err(io::Error::new(ErrorKind::TimedOut, "the child does not get ready"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "cannot end a child");
        }
    }
}

/// What it means that a child ended like this in the middle of a conversion.
fn verdict_on(status: ExitStatus, allowed: Duration) -> ConvertError {
    /// Signals that the child's own doing does not send: from the kernel for want of memory on the machine, from an
    /// operator.
    const FROM_OUTSIDE: [i32; 4] = [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    match status.signal() {
        Some(signal) if FROM_OUTSIDE.contains(&signal) => {
            ConvertError::internal("converting in the child", format!("it ended from outside: {status}"))
        }
        Some(libc::SIGXCPU) => Verdict::TimeLimit { limit: allowed }.into(),
        _ => {
            tracing::warn!(%status, "the child crashed");
            Verdict::Crashed.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_the_files_fault_and_a_kill_is_not() {
        let of = |raw| verdict_on(ExitStatus::from_raw(raw), TICK);
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGABRT,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGSYS,
        ] {
            assert!(
                matches!(of(signal), ConvertError::Verdict(Verdict::Crashed)),
                "{signal}"
            );
        }
        for code in [0, 101] {
            assert!(matches!(of(code << 8), ConvertError::Verdict(Verdict::Crashed)));
        }
        for signal in [libc::SIGKILL, libc::SIGTERM] {
            assert!(matches!(of(signal), ConvertError::Internal { .. }), "{signal}");
        }
        let limit = Verdict::TimeLimit { limit: TICK };
        assert!(matches!(of(libc::SIGXCPU), ConvertError::Verdict(verdict) if verdict == limit));
    }
}
