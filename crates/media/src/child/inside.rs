//! The child's own side: gets ready, waits for its job, converts, says how it ended.

use std::io::{self, Read, Write};
use std::ops::{ControlFlow, Range};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::lock_down;
use super::protocol::{self, End, Job, Kind, MP3_BYTES, Position, READ_BYTES, Ranges, Ready};
use crate::{ConvertError, Progress, ReadRanges, Source};

/// How often the parent is told where the child is.
const TELL: Duration = Duration::from_millis(50);

/// The first panic, wherever in the process it was.
static PANIC: OnceLock<String> = OnceLock::new();

/// Serves one conversion and ends the process.
pub(super) fn run() -> ! {
    // Whatever fails here has nobody to be told to: the parent sees the socket close.
    process::exit(if serve().is_ok() { 0 } else { 1 })
}

fn serve() -> io::Result<()> {
    panic::set_hook(Box::new(|panic| {
        PANIC.get_or_init(|| protocol::text(panic));
    }));
    let locked = lock_down()?;
    let line = Line(Arc::new(Mutex::new(locked.input.into())));
    let ready = Ready {
        version: protocol::PROTOCOL_VERSION,
        missing: locked.missing,
    };
    line.send(Kind::Ready, &protocol::encode(&ready)?)?;
    let job: Job = line.receive_job()?;
    let end = panic::catch_unwind(AssertUnwindSafe(|| convert(&line, job)))
        .unwrap_or_else(|_| End::Crashed(PANIC.get().cloned().unwrap_or_default()));
    line.send(Kind::End, &protocol::encode(&end)?)
}

fn convert(line: &Line, job: Job) -> End {
    let source = match job.source_bytes {
        Some(length_bytes) => Source::ranged(Store {
            line: line.clone(),
            length_bytes,
        }),
        None => Source::stream(Pipe(line.clone())),
    };
    let mut sink = Pieces {
        line: line.clone(),
        piece: Vec::with_capacity(MP3_BYTES),
    };
    let mut settings = job.settings;
    // The parent's clock counts, which knows what the source and the sink took.
    settings.limits.time = Duration::MAX;
    let outcome = crate::convert(source, &mut sink, &settings, tell(line.clone()));
    let outcome = outcome.and_then(|converted| sink.flush().map(|()| converted).map_err(ConvertError::Write));
    match outcome {
        Ok(converted) => End::Converted(converted),
        Err(ConvertError::Verdict(verdict)) => End::Verdict(verdict),
        Err(ConvertError::NeedsSeeking) => End::NeedsSeeking,
        Err(ConvertError::BeginAnew(why)) => End::BeginAnew(why),
        Err(error) if is_out_of_memory(&error) => End::Crashed("out of the memory it may have".to_owned()),
        Err(error) => End::Failed(chain(&error)),
    }
}

/// Tells the parent where the conversion is, now and then.
fn tell(line: Line) -> impl FnMut(Progress) -> ControlFlow<()> + Send + 'static {
    let mut told: Option<(Instant, Option<Duration>)> = None;
    move |progress| {
        let is_news = |(at, duration): (Instant, _)| at.elapsed() >= TELL || duration != progress.duration;
        if told.is_none_or(is_news) {
            told = Some((Instant::now(), progress.duration));
            let position = Position {
                position: progress.position,
                duration: progress.duration,
            };
            if line.send(Kind::Progress, &position.encode()).is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// The bytes of memory that a child may have are the same every time: what needs more needs it again.
fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    let out_of_memory = ffmpeg_next::Error::Other {
        errno: ffmpeg_next::error::ENOMEM,
    };
    error.downcast_ref() == Some(&out_of_memory) || error.source().is_some_and(is_out_of_memory)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    protocol::text(text)
}

/// The socket. Whoever holds the lock may say one thing and hear the answer.
#[derive(Clone)]
struct Line(Arc<Mutex<UnixStream>>);

impl Line {
    fn lock(&self) -> MutexGuard<'_, UnixStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        protocol::send(&mut *self.lock(), kind, payload)
    }

    fn receive_job(&self) -> io::Result<Job> {
        let mut socket = self.lock();
        let length = protocol::receive_header(&mut *socket, Kind::Job)?;
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload)?;
        protocol::decode(&payload).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Asks for ranges of the source, and appends them to `bytes`; of a stream nothing is its end.
    fn ask(&self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut socket = self.lock();
        protocol::send(&mut *socket, Kind::Read, &Ranges::encode(ranges))?;
        let length = protocol::receive_header(&mut *socket, Kind::Data)?;
        let begin = bytes.len();
        bytes.resize(begin + length, 0);
        socket.read_exact(&mut bytes[begin..])
    }
}

/// A source that can be read from any position, which the parent has.
struct Store {
    line: Line,
    length_bytes: u64,
}

impl ReadRanges for Store {
    fn length_bytes(&mut self) -> io::Result<u64> {
        Ok(self.length_bytes)
    }

    fn read_ranges(&mut self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> io::Result<()> {
        ranges
            .chunks(Ranges::MOST)
            .try_for_each(|ranges| self.line.ask(ranges, bytes))
    }
}

/// A source that can be read once, which the parent has.
struct Pipe(Line);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(READ_BYTES);
        if length == 0 {
            return Ok(0);
        }
        let mut bytes = Vec::with_capacity(length);
        let range = 0..length as u64;
        self.0.ask(std::slice::from_ref(&range), &mut bytes)?;
        let answer = buffer.get_mut(..bytes.len()).ok_or(io::ErrorKind::InvalidData)?;
        answer.copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

/// The sink, which the parent has.
struct Pieces {
    line: Line,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(MP3_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == MP3_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.line.send(Kind::Mp3, &self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }
}
