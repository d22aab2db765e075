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

/// How much is kept while the source is being opened, and at most ever. Opening reads the start twice in some containers
/// (MPEG-TS reads up to 5 MB of it to find the programmes), and looks at the end in others (Ogg, FLV, MP3).
const MOST_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A [`Source`] that asks before every read whether to go on, keeps the first error, and never lets it look like the end
/// of the file. Its clones are one reader: libav holds one, and the other tells it what is needed.
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

    /// Up to `count` bytes from `position`, which are then read again as if they never had been. Less only where the file
    /// ends; of a stream only its start can be looked at, before anything else was read.
    ///
    /// # Errors
    /// The reason is kept in the watch.
    pub(crate) fn look(&mut self, position: u64, count: usize) -> io::Result<Vec<u8>> {
        self.seek(SeekFrom::Start(position))?;
        let mut bytes = Vec::new();
        Read::by_ref(self).take(count as u64).read_to_end(&mut bytes)?;
        self.seek(SeekFrom::Start(0))?;
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
mod tests {
    use std::ops::ControlFlow;
    use std::time::Duration;

    use super::*;
    use crate::ConvertError;

    struct Failing(io::ErrorKind);

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }

    fn watch() -> Watch {
        Watch::new(|_| ControlFlow::Continue(()), Duration::MAX)
    }

    fn bytes() -> Vec<u8> {
        (0..2_000_000_u32).map(|number| number.to_le_bytes()[1]).collect()
    }

    fn reader_of(bytes: &[u8]) -> (Reader, Watch) {
        let watch = watch();
        let source = Source::seekable(io::Cursor::new(bytes.to_vec()));
        (Reader::new(source, watch.clone()).unwrap(), watch)
    }

    fn read_at(reader: &mut Reader, position: u64, count: usize) -> Vec<u8> {
        let mut buffer = vec![1; count];
        reader.seek(SeekFrom::Start(position)).unwrap();
        reader.read_exact(&mut buffer).unwrap();
        buffer
    }

    #[test]
    fn no_error_of_the_source_looks_like_the_end_of_the_file() {
        for kind in [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::WouldBlock,
            io::ErrorKind::TimedOut,
        ] {
            let watch = watch();
            let mut reader = Reader::new(Source::stream(Failing(kind)), watch.clone()).unwrap();
            let error = reader.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Other);
            match watch.check() {
                Err(ConvertError::Read(source)) => assert_eq!(source.kind(), kind),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_panic_of_the_source_is_kept_until_libav_has_returned() {
        struct Panicking;
        impl Read for Panicking {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("the source broke")
            }
        }
        let watch = watch();
        let mut reader = Reader::new(Source::stream(Panicking), watch.clone()).unwrap();
        reader.read(&mut [0; 8]).unwrap_err();
        let payload = catch_unwind(AssertUnwindSafe(|| watch.check())).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"the source broke"));
    }

    #[test]
    fn a_source_shorter_than_it_told_is_an_error() {
        struct Shrunk(io::Cursor<Vec<u8>>);
        impl Read for Shrunk {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }
        }
        impl Seek for Shrunk {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                match to {
                    SeekFrom::End(_) => Ok(100),
                    other => self.0.seek(other),
                }
            }
        }
        let watch = watch();
        let source = Source::seekable(Shrunk(io::Cursor::new(vec![7; 10])));
        let mut reader = Reader::new(source, watch.clone()).unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(watch.check(), Err(ConvertError::Read(_))));
    }

    #[test]
    fn what_was_looked_at_is_given_again_and_fetched_once() {
        let bytes = bytes();
        for source in [
            Source::seekable(io::Cursor::new(bytes.clone())),
            Source::stream(io::Cursor::new(bytes.clone())),
        ] {
            let watch = watch();
            let mut reader = Reader::new(source, watch.clone()).unwrap();
            assert_eq!(reader.look(0, 64).unwrap(), bytes[..64]);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            assert!(all == bytes);
            assert_eq!(watch.progress().bytes_read, bytes.len() as u64);
        }
    }

    #[test]
    fn fetches_grow_while_it_is_read_in_order_and_begin_small_elsewhere() {
        let bytes = bytes();
        let (mut reader, watch) = reader_of(&bytes);
        assert_eq!(read_at(&mut reader, 1_000_000, 10), bytes[1_000_000..1_000_010]);
        assert_eq!(watch.progress().bytes_read, FIRST_FETCH_BYTES);
        reader.seek(SeekFrom::Start(0)).unwrap();
        let mut fetches = 0;
        let mut fetched = watch.progress().bytes_read;
        let mut all = Vec::new();
        let mut buffer = [0; 1024];
        while all.len() < 900_000 {
            let count = reader.read(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..count]);
            let now = watch.progress().bytes_read;
            fetches += u32::from(now != fetched);
            fetched = now;
        }
        assert!(all == bytes[..all.len()]);
        assert!(fetches < 25, "{fetches}");
    }

    #[test]
    fn useless_bytes_are_zeros_and_never_fetched() {
        let bytes = bytes();
        let (mut reader, watch) = reader_of(&bytes);
        let samples = [(100_000, 1000), (500_000, 1000), (900_000, 1000)];
        reader.follow(Plan::of_samples(samples.into_iter(), bytes.len() as u64));
        reader.seek(SeekFrom::Start(100_000)).unwrap();
        let mut read = vec![1; 801_000];
        reader.read_exact(&mut read).unwrap();
        for (start, length) in samples {
            let at = usize::try_from(start).unwrap();
            assert!(read[at - 100_000..][..length as usize] == bytes[at..][..length as usize]);
        }
        assert!(read[1000..400_000].iter().all(|byte| *byte == 0));
        assert_eq!(watch.progress().bytes_read, 3000);
    }

    #[test]
    fn a_chunk_header_that_contradicts_the_index_ends_the_trust_in_it() {
        let mut bytes = bytes();
        let header = *b"00dc\x20\x4e\0\0";
        bytes[0..8].copy_from_slice(&header);
        bytes[20_008..20_016].copy_from_slice(b"00dc\x20\x4d\0\0");
        let plan = || Plan::of_chunks([].into_iter(), [(0, 20_000), (20_008, 20_000)].into_iter(), 2_000_000);
        let (mut reader, watch) = reader_of(&bytes);
        reader.follow(plan());
        let read = read_at(&mut reader, 0, 50_000);
        assert!(read[..8] == header && read[8..20_008].iter().all(|byte| *byte == 0));
        assert!(read[20_008..] == bytes[20_008..50_000]);
        assert!(watch.progress().bytes_read < 80_000);
        let (mut reader, _) = reader_of(&bytes);
        reader.follow(plan());
        assert!(
            read_at(&mut reader, 100, 30_000) == bytes[100..30_100],
            "nothing proves it in the middle"
        );
    }

    #[test]
    fn the_source_may_be_asked_for_several_ranges_at_once() {
        struct Counting(Vec<u8>, Arc<Mutex<Vec<usize>>>);
        impl crate::ReadRanges for Counting {
            fn length_bytes(&mut self) -> io::Result<u64> {
                Ok(self.0.len() as u64)
            }
            fn read_ranges(&mut self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> io::Result<()> {
                self.1.lock().unwrap().push(ranges.len());
                for range in ranges {
                    let (start, end) = (
                        usize::try_from(range.start).unwrap(),
                        usize::try_from(range.end).unwrap(),
                    );
                    bytes.extend_from_slice(&self.0[start..end]);
                }
                Ok(())
            }
        }
        let bytes = bytes();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let source = Source::ranged(Counting(bytes.clone(), Arc::clone(&asked)));
        let mut reader = Reader::new(source, watch()).unwrap();
        let samples: Vec<(u64, u32)> = (0..100).map(|number| (number * 10_000, 500)).collect();
        reader.follow(Plan::of_samples(samples.iter().copied(), bytes.len() as u64));
        for (start, length) in samples {
            let start_at = usize::try_from(start).unwrap();
            assert!(read_at(&mut reader, start, length as usize) == bytes[start_at..][..length as usize]);
        }
        let asked = asked.lock().unwrap();
        assert!(asked.len() < 10 && asked.iter().sum::<usize>() < 110, "{asked:?}");
    }
}
