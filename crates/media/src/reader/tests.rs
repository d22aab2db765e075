//! Fetching: how much, once, and nothing useless.

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
    let plan = || {
        Plan::of_chunks(
            vec![1],
            [].into_iter(),
            [(0, 20_000), (20_008, 20_000)].into_iter(),
            2_000_000,
        )
    };
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
