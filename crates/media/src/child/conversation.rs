//! The parent's side of one conversion: it answers what the child asks, and believes nothing.

use std::io::{self, ErrorKind, Read, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::limits::{Allowance, Clock};
use super::protocol::{self, End, HEADER_BYTES, Job, Kind, Position, Ranges};
use crate::{ConvertError, Converted, Limits, Note, Progress, Settings, Source, Verdict, decoder};

/// How often cancel and time are looked at while the child says nothing.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How often the child's threads are counted, at most.
const COUNT: Duration = TICK;

/// How many bytes the child may ask for, in times the source's length and beside that: an engine reads hardly one of
/// them twice. A question for less than a page counts as one.
const MOST_TIMES: u64 = 4;
const MOST_BESIDE_BYTES: u64 = 64 * 1024 * 1024;
const PAGE_BYTES: u64 = 4096;

/// How many notes a conversion may bring home: there are fewer kinds of them.
const MOST_NOTES: usize = 16;

/// Why a conversation ended without a result.
pub(super) enum Broken {
    /// For a reason that is known.
    Known(ConvertError),
    /// The child closed the socket: how it ended tells why. It might have worked for so long.
    Gone { allowed: Duration },
    /// The child said what it never says.
    Nonsense(&'static str),
}

impl From<Verdict> for Broken {
    fn from(verdict: Verdict) -> Self {
        Self::Known(verdict.into())
    }
}

/// One conversion, seen from the parent.
pub(super) struct Conversation<'a, P> {
    socket: &'a UnixStream,
    source: Source,
    /// Where a source that can seek stands, if that is known.
    source_position: Option<u64>,
    sink: &'a mut dyn Write,
    written_bytes: u64,
    limits: Limits,
    /// Audio before this is decoded too where the container cannot be entered in the middle.
    start: Duration,
    callback: P,
    progress: Progress,
    /// What the child asked for so far, in bytes.
    asked_bytes: u64,
    clock: Clock,
    allowance: Allowance,
    counted: Instant,
    /// A frame on its way, in or out.
    frame: Vec<u8>,
}

impl<'a, P: FnMut(Progress) -> ControlFlow<()>> Conversation<'a, P> {
    /// `socket` must have timeouts of [`TICK`].
    ///
    /// # Errors
    /// The source cannot tell its length.
    pub(super) fn new(
        socket: &'a UnixStream,
        mut source: Source,
        sink: &'a mut dyn Write,
        settings: &Settings,
        allowance: Allowance,
        callback: P,
    ) -> io::Result<Self> {
        let limits = settings.limits;
        let source_bytes = source.length_bytes()?;
        Ok(Self {
            socket,
            source,
            source_position: None,
            sink,
            written_bytes: 0,
            limits,
            start: settings.start.unwrap_or_default(),
            callback,
            progress: Progress {
                source_bytes,
                ..Progress::default()
            },
            asked_bytes: 0,
            clock: Clock::new(limits, source_bytes.unwrap_or(0)),
            allowance,
            counted: Instant::now(),
            frame: Vec::new(),
        })
    }

    /// How long the child may work, as far as is known now.
    fn allowed(&self) -> Duration {
        self.clock.allowed(self.audio())
    }

    /// Gives the child its job and serves it to the end.
    pub(super) fn run(mut self, settings: Settings) -> Result<Converted, Broken> {
        self.allow()?;
        let job = Job {
            settings,
            source_bytes: self.progress.source_bytes,
        };
        let payload = protocol::encode(&job).map_err(|error| known("describing the job", error))?;
        self.frame.clear();
        self.frame
            .extend_from_slice(&protocol::header(Kind::Job, payload.len()));
        self.frame.extend_from_slice(&payload);
        self.send()?;
        loop {
            let kind = self.receive()?;
            match kind {
                Kind::Read => {
                    let ranges = Ranges::decode(&self.frame).ok_or(Broken::Nonsense("ranges that make no sense"))?;
                    self.clock.heard();
                    self.give(&ranges)?;
                }
                Kind::Mp3 => {
                    self.clock.heard();
                    self.take()?;
                }
                Kind::Progress => {
                    let position = Position::decode(&self.frame).ok_or(Broken::Nonsense("half a position"))?;
                    if position.position > self.progress.position {
                        self.clock.heard();
                    }
                    self.progress.position = position.position;
                    self.progress.duration = position.duration;
                    self.allow()?;
                }
                Kind::End => return self.end(),
                Kind::Ready | Kind::Job | Kind::Data => return Err(Broken::Nonsense("a frame out of its turn")),
            }
        }
    }

    /// Gives the child the processor time that belongs to what is known now.
    fn allow(&mut self) -> Result<(), Broken> {
        let allowed = self.allowed();
        self.allowance
            .work(allowed)
            .map_err(|error| known("limiting the child", error))
    }

    fn gone(&self) -> Broken {
        Broken::Gone {
            allowed: self.allowed(),
        }
    }

    fn audio(&self) -> Duration {
        let converted = self.progress.position.max(self.progress.duration.unwrap_or_default());
        self.start.saturating_add(converted)
    }

    /// Tells the progress, and fails when the conversion is to end.
    fn tick(&mut self) -> Result<(), Broken> {
        self.clock.lap();
        if (self.callback)(self.progress).is_break() {
            return Err(Broken::Known(ConvertError::Cancelled));
        }
        if self.counted.elapsed() >= COUNT {
            self.counted = Instant::now();
            if !self.allowance.is_kept() {
                return Err(Broken::Nonsense("more threads than a conversion needs"));
            }
        }
        self.clock.check(self.audio()).map_err(Broken::Known)
    }

    /// Waits for the next frame; its payload is then `self.frame`.
    fn receive(&mut self) -> Result<Kind, Broken> {
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header)?;
        let (kind, length) = protocol::parse_header(header).ok_or(Broken::Nonsense("no such frame"))?;
        let mut frame = std::mem::take(&mut self.frame);
        frame.resize(length, 0);
        let filled = self.fill(&mut frame);
        self.frame = frame;
        filled.map(|()| kind)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Broken> {
        let mut filled = 0;
        while filled < buffer.len() {
            let received = (&*self.socket).read(&mut buffer[filled..]);
            filled += self.moved(received)?;
        }
        Ok(())
    }

    /// Sends `self.frame`, header included.
    fn send(&mut self) -> Result<(), Broken> {
        let mut sent = 0;
        while sent < self.frame.len() {
            let moved = (&*self.socket).write(&self.frame[sent..]);
            sent += self.moved(moved)?;
        }
        Ok(())
    }

    /// How many bytes went through the socket, if it goes on.
    fn moved(&mut self, moved: io::Result<usize>) -> Result<usize, Broken> {
        self.tick()?;
        match moved {
            Ok(0) => Err(self.gone()),
            Ok(count) => Ok(count),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(0),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(self.gone()),
                _ => Err(known("talking to the child", error)),
            },
        }
    }

    /// Answers with ranges of the source: all of them, or of a stream what there is next.
    fn give(&mut self, ranges: &Ranges) -> Result<(), Broken> {
        let total = ranges.total_bytes();
        let outside = |source_bytes| ranges.0.last().is_some_and(|last| last.end > source_bytes);
        if self.progress.source_bytes.is_some_and(outside) {
            return Err(Broken::Nonsense("a range outside the file"));
        }
        let asked = ranges.0.iter().map(|range| (range.end - range.start).max(PAGE_BYTES));
        self.asked_bytes += asked.sum::<u64>();
        let is_too_much = |source_bytes: u64| {
            self.asked_bytes
                > source_bytes
                    .saturating_mul(MOST_TIMES)
                    .saturating_add(MOST_BESIDE_BYTES)
        };
        if self.progress.source_bytes.is_some_and(is_too_much) {
            return Err(Broken::Nonsense("the file again and again"));
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.reserve(HEADER_BYTES + total);
        frame.extend_from_slice(&[0; HEADER_BYTES]);
        let read = self.read_source(ranges, total, &mut frame);
        self.frame = frame;
        read?;
        let count = self.frame.len() - HEADER_BYTES;
        self.frame[..HEADER_BYTES].copy_from_slice(&protocol::header(Kind::Data, count));
        self.progress.bytes_read += count as u64;
        if let Some(last) = ranges.0.last() {
            self.progress.source_position = last.end;
        }
        self.send()
    }

    /// Appends what is asked for to `frame`.
    fn read_source(&mut self, ranges: &Ranges, total: usize, frame: &mut Vec<u8>) -> Result<(), Broken> {
        self.tick()?;
        let read = match &mut self.source {
            Source::Ranged(reader) => reader.read_ranges(&ranges.0, frame),
            Source::Stream(reader) => {
                frame.resize(HEADER_BYTES + total, 0);
                read_some(&mut **reader, &mut frame[HEADER_BYTES..]).map(|count| frame.truncate(HEADER_BYTES + count))
            }
            Source::Seekable(reader) => ranges.0.iter().try_for_each(|range| {
                let begin = frame.len();
                frame.resize(begin + Ranges(vec![range.clone()]).total_bytes(), 0);
                if self.source_position != Some(range.start) {
                    reader.seek(SeekFrom::Start(range.start))?;
                }
                self.source_position = None;
                read_all(&mut **reader, &mut frame[begin..])?;
                self.source_position = Some(range.end);
                Ok(())
            }),
        };
        self.clock.skip();
        let short = self.progress.source_bytes.is_some() && frame.len() != HEADER_BYTES + total;
        let read = read.and_then(|()| if short { Err(ended_early()) } else { Ok(()) });
        read.map_err(|error| Broken::Known(ConvertError::Read(error)))
    }

    /// Passes the MP3's next bytes on.
    fn take(&mut self) -> Result<(), Broken> {
        self.written_bytes += self.frame.len() as u64;
        if self.written_bytes > self.limits.output_bytes {
            let limit_bytes = self.limits.output_bytes;
            return Err(Verdict::OutputTooLarge { limit_bytes }.into());
        }
        let written = self.sink.write_all(&self.frame);
        self.clock.skip();
        written.map_err(|error| Broken::Known(ConvertError::Write(error)))
    }

    fn end(self) -> Result<Converted, Broken> {
        match protocol::decode(&self.frame).ok_or(Broken::Nonsense("an end that cannot be read"))? {
            End::Converted(converted) => {
                let fits = converted.size_bytes == self.written_bytes
                    && converted.head_at.saturating_add(converted.head.len() as u64) <= self.written_bytes;
                if !fits {
                    return Err(Broken::Nonsense("a result that does not fit the MP3"));
                }
                let notes = converted.notes.into_iter().filter(Note::is_presentable);
                Ok(Converted {
                    bytes_read: self.progress.bytes_read,
                    source_bytes: self.progress.source_bytes,
                    notes: notes.take(MOST_NOTES).collect(),
                    ..converted
                })
            }
            End::Verdict(verdict) => Err(presentable(verdict).into()),
            End::NeedsSeeking => Err(Broken::Known(ConvertError::NeedsSeeking)),
            End::BeginAnew(why) => Err(Broken::Known(ConvertError::BeginAnew(why))),
            End::Failed(what) => Err(known("converting in the child", protocol::text(what))),
            End::Crashed(what) => {
                tracing::warn!(what = protocol::text(what), "the conversion broke inside the child");
                Err(Verdict::Crashed.into())
            }
        }
    }
}

/// A verdict whose text may go to the file's owner: a child that is no longer ours must not write it.
fn presentable(verdict: Verdict) -> Verdict {
    let fits = match &verdict {
        Verdict::UnsupportedAudio { kind } => decoder::is_kind(kind),
        Verdict::NoSuchTrack { present } => present.len() <= 1024 && present.split(", ").all(is_track),
        _ => true,
    };
    if fits { verdict } else { Verdict::Damaged }
}

/// Whether it reads "N" or "N (LLL)".
fn is_track(text: &str) -> bool {
    let (number, language) = match text.split_once(' ') {
        Some((number, rest)) => (number, rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'))),
        None => (text, Some("und")),
    };
    let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && language.is_some_and(|name| name.len() == 3 && name.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// One read, however often it is interrupted.
fn read_some(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Fills the buffer.
fn read_all(reader: &mut dyn Read, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_some(reader, buffer)? {
            0 => return Err(ended_early()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}

fn ended_early() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the source ended before the length it told")
}

fn known(operation: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Broken {
    Broken::Known(ConvertError::internal(operation, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_cannot_write_to_the_files_owner() {
        let of = |kind: &str| presentable(Verdict::UnsupportedAudio { kind: kind.to_owned() });
        assert_ne!(of("adpcm_ima_qt"), Verdict::Damaged);
        assert_ne!(of("Apple Positional Audio (APAC)"), Verdict::Damaged);
        assert_eq!(of("Apple Positional Audio. Your account is closed"), Verdict::Damaged);
        assert_eq!(of("none). Send your password to x@example.com"), Verdict::Damaged);
        assert_eq!(of(&"x".repeat(33)), Verdict::Damaged);
        let tracks = |present: &str| {
            presentable(Verdict::NoSuchTrack {
                present: present.to_owned(),
            })
        };
        assert_ne!(tracks("0 (deu), 1 (eng)"), Verdict::Damaged);
        assert_eq!(tracks("none, write to x@example.com"), Verdict::Damaged);
        assert_ne!(tracks("0, 1 (eng), 12"), Verdict::Damaged);
        assert_eq!(tracks("none, your account is closed"), Verdict::Damaged);
        assert_eq!(tracks("pay 9 BTC to 1abc, or all of it is gone"), Verdict::Damaged);
        assert_eq!(tracks("0 (deu), pay (now)"), Verdict::Damaged);
    }
}
