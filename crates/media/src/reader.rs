//! The reader between the source and libav: decides what is fetched, and how much at once.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Source;
use crate::kept::Kept;
use crate::sparse::{At, Plan};
use crate::watch::{Stop, Watch};

/// The first fetch at a new place. Boxes and headers are smaller; a page costs no disk more than a byte.
const FIRST_FETCH_BYTES: u64 = 4 * 1024;

/// The largest fetch. At 1 MB/s it takes half a second, within which a cancel must wait.
const LARGEST_FETCH_BYTES: u64 = 512 * 1024;

/// How many ranges are asked for at once.
const RANGES_AT_ONCE: usize = 256;

/// How much of what was read is kept for going back, once the source is open.
const KEPT_BYTES: usize = 256 * 1024;

/// How much is kept while the source is being opened, and at most ever. Opening reads the start twice in some
/// containers (MPEG-TS reads up to 5 MB of it to find the programmes), and looks at the end in others (Ogg, FLV, MP3).
const MOST_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A [`Source`] that asks before every read whether to go on, keeps the first error, and never lets it look like the
/// end of the file. Its clones are one reader: libav holds one, and the other tells it what is needed.
#[derive(Clone)]
pub(crate) struct Reader(Arc<Mutex<State>>);

struct State {
    source: Source,
    watch: Watch,
    length: Option<u64>,
    /// Where libav reads next.
    position: u64,
    /// Where its last read ended.
    read_until: u64,
    /// How much it has read in one go up to there.
    run_bytes: u64,
    kept: Kept,
    /// How much of what was passed is kept.
    soft_kept_bytes: usize,
    plan: Option<Plan>,
    /// How much was fetched because the plan says so.
    planned_bytes: u64,
}

impl Reader {
    /// # Errors
    /// The source cannot tell its length.
    pub(crate) fn new(mut source: Source, watch: Watch) -> io::Result<Self> {
        let length = source.length_bytes()?;
        watch.update(|progress| progress.source_bytes = length);
        Ok(Self(Arc::new(Mutex::new(State {
            source,
            watch,
            length,
            position: 0,
            read_until: 0,
            run_bytes: 0,
            kept: Kept::default(),
            soft_kept_bytes: MOST_KEPT_BYTES,
            plan: None,
            planned_bytes: 0,
        }))))
    }

    /// The source's length, where it can be read from any position.
    pub(crate) fn length_bytes(&self) -> Option<u64> {
        self.state().length
    }

    /// Up to `count` bytes from `position`, which are then read again as if they never had been. Less only where the
    /// file ends; of a stream only what follows its start without a gap can be looked at, while it is being opened.
    ///
    /// # Errors
    /// The reason is kept in the watch.
    pub(crate) fn look(&mut self, position: u64, count: usize) -> io::Result<Vec<u8>> {
        let before = self.stream_position()?;
        self.seek(SeekFrom::Start(position))?;
        let mut bytes = Vec::new();
        Read::by_ref(self).take(count as u64).read_to_end(&mut bytes)?;
        self.seek(SeekFrom::Start(before))?;
        Ok(bytes)
    }

    /// Replaces what is known of the file's useless parts.
    pub(crate) fn follow(&self, plan: Option<Plan>) {
        self.state().plan = plan;
    }

    /// The source is open: from now on it is read once, in order.
    pub(crate) fn opened(&self) {
        self.state().soft_kept_bytes = KEPT_BYTES;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the source is kept as the reason to stop, and nothing is read after it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        let outcome = catch_unwind(AssertUnwindSafe(|| state.read(buffer)));
        outcome
            .unwrap_or_else(|payload| Err(Stop::Panicked(payload)))
            .map_err(|stop| {
                state.watch.stop(stop);
                // libav reads some kinds of errors as the end of the file or as "again"; this one it takes as it is.
                io::Error::other("the source has stopped")
            })
    }
}

impl Seek for Reader {
    /// Only notes the position; the source is asked when it is read from there.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut state = self.state();
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => state.position.checked_add_signed(offset),
            SeekFrom::End(offset) => state.length.and_then(|length| length.checked_add_signed(offset)),
        };
        state.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(state.position)
    }
}

impl State {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        if !self.watch.goes_on() {
            return Err(Stop::Cancelled);
        }
        if buffer.is_empty() || self.length.is_some_and(|length| self.position >= length) {
            return Ok(0);
        }
        if self.position != self.read_until {
            self.run_bytes = 0;
        }
        self.prove()?;
        let within = |until: u64| usize::try_from(until - self.position).unwrap_or(usize::MAX);
        let count = match self.at() {
            At::Useless(until) => {
                let count = buffer.len().min(within(until));
                buffer[..count].fill(0);
                count
            }
            // Every stretch is entered at its start, where it may be proven useless.
            At::Needed(until) | At::Unproven(until) => {
                let most = buffer.len().min(within(until));
                self.copy(&mut buffer[..most])?
            }
            At::Unknown => self.copy(buffer)?,
        };
        self.position += count as u64;
        self.read_until = self.position;
        self.run_bytes += count as u64;
        self.watch.update(|progress| progress.source_position = self.position);
        Ok(count)
    }

    /// Copies what is kept at the position, having fetched it if need be.
    fn copy(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        if self.kept.at(self.position).is_none() {
            self.fetch()?;
        }
        // Nothing is there at the end of a stream.
        let kept = self.kept.at(self.position).unwrap_or_default();
        let count = buffer.len().min(kept.len());
        buffer[..count].copy_from_slice(&kept[..count]);
        Ok(count)
    }

    fn at(&self) -> At {
        self.plan.as_ref().map_or(At::Unknown, |plan| plan.at(self.position))
    }

    /// Compares the index with the file, where a useless stretch begins.
    fn prove(&mut self) -> Result<(), Stop> {
        let to_prove = self.plan.as_ref().and_then(|plan| plan.to_prove(self.position));
        let Some((useless, header_at)) = to_prove else {
            return Ok(());
        };
        let position = std::mem::replace(&mut self.position, header_at);
        let header = self.chunk_header();
        self.position = position;
        let header = header?;
        if let Some(plan) = &mut self.plan
            && !plan.prove(useless, header)
        {
            tracing::debug!(position, "the file is not what its index says");
            self.plan = None;
        }
        Ok(())
    }

    /// The eight bytes at the position, which is left behind them.
    fn chunk_header(&mut self) -> Result<[u8; 8], Stop> {
        let mut header = [0; 8];
        let mut done = 0;
        while done < header.len() {
            let count = self.copy(&mut header[done..])?;
            if count == 0 {
                break;
            }
            done += count;
            self.position += count as u64;
        }
        Ok(header)
    }

    /// Fetches what is missing at the position, and what is likely wanted after it.
    fn fetch(&mut self) -> Result<(), Stop> {
        let mut wanted = Vec::new();
        let at = self.at();
        let planned = matches!(at, At::Needed(_));
        if let Some(plan) = self.plan.as_ref().filter(|_| planned) {
            // It is known to be wanted, unless an end is set: so this grows as well.
            let most = self.planned_bytes.clamp(4 * FIRST_FETCH_BYTES, LARGEST_FETCH_BYTES);
            plan.ahead(self.position, most, RANGES_AT_ONCE, &mut wanted);
        } else {
            let grown = (self.run_bytes / 2).clamp(FIRST_FETCH_BYTES, LARGEST_FETCH_BYTES);
            let end = self.position.saturating_add(grown);
            wanted.push(match at {
                At::Unproven(until) => self.position..end.min(until),
                _ => self.position..end,
            });
        }
        let mut missing = Vec::new();
        for range in wanted {
            let end = self.length.map_or(range.end, |length| range.end.min(length));
            self.kept.missing(range.start..end, &mut missing);
        }
        let fetched = self.fetch_ranges(&missing)?;
        if planned {
            self.planned_bytes += fetched;
        }
        Ok(())
    }

    fn fetch_ranges(&mut self, ranges: &[Range<u64>]) -> Result<u64, Stop> {
        let mut bytes = Vec::new();
        let mut stopped = false;
        let watch = &self.watch;
        let outcome = self.source.read_ranges(ranges, &mut bytes, &mut || {
            stopped = !watch.goes_on();
            !stopped
        });
        let fetched = bytes.len() as u64;
        watch.update(|progress| progress.bytes_read += fetched);
        outcome.map_err(Stop::Read)?;
        if stopped {
            return Err(Stop::Cancelled);
        }
        let mut rest = bytes.as_slice();
        for range in ranges {
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let (piece, others) = rest.split_at(length.min(rest.len()));
            self.kept.keep(range.start, piece.to_vec());
            rest = others;
        }
        let passed = self.position.saturating_sub(KEPT_BYTES as u64);
        self.kept.forget(passed, self.soft_kept_bytes, MOST_KEPT_BYTES);
        Ok(fetched)
    }
}

#[cfg(test)]
mod tests;
