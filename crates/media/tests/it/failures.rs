//! Our own trouble, and a cancel, are never taken for the file's fault.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use media::{ConvertError, Settings, Source};
use testkit::media::{sample, samples};

use crate::support::{go_on, settings_for};

/// A file whose store goes away at some byte.
struct Failing {
    bytes: Cursor<Vec<u8>>,
    from_byte: u64,
    kind: io::ErrorKind,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.position() >= self.from_byte {
            return Err(self.kind.into());
        }
        let until = usize::try_from(self.from_byte - self.bytes.position()).unwrap();
        let count = buffer.len().min(until);
        self.bytes.read(&mut buffer[..count])
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[test]
fn a_source_that_fails_midway_is_a_read_error_in_every_container() {
    for sample in samples() {
        let bytes = fs::read(&sample.path).unwrap();
        let length = bytes.len() as u64;
        for (share, kind) in [
            (0, io::ErrorKind::UnexpectedEof),
            (30, io::ErrorKind::ConnectionReset),
            (60, io::ErrorKind::UnexpectedEof),
            (95, io::ErrorKind::TimedOut),
        ] {
            let source = Source::seekable(Failing {
                bytes: Cursor::new(bytes.clone()),
                from_byte: length * share / 100,
                kind,
            });
            let outcome = media::convert(source, &mut io::sink(), &settings_for(&sample.path), go_on);
            match outcome {
                Err(ConvertError::Read(error)) => assert_eq!(error.kind(), kind, "{}", sample.name),
                other => panic!("{} failing at {share} %: {other:?}", sample.name),
            }
        }
    }
}

#[test]
fn a_pipe_that_breaks_is_a_read_error() {
    let bytes = fs::read(sample("mkv-h264-opus")).unwrap();
    let half = bytes.len() as u64 / 2;
    let broken = Failing {
        bytes: Cursor::new(bytes),
        from_byte: half,
        kind: io::ErrorKind::BrokenPipe,
    };
    let outcome = media::convert(Source::stream(broken), &mut io::sink(), &Settings::default(), go_on);
    assert!(matches!(outcome, Err(ConvertError::Read(_))), "{outcome:?}");
}

#[test]
fn a_sink_that_is_full_is_a_write_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let path = sample("wav-44100");
    for room in [0, 1000, 20_000] {
        let source = Source::seekable(File::open(&path).unwrap());
        let outcome = media::convert(source, &mut Full(room), &settings_for(&path), go_on);
        match outcome {
            Err(ConvertError::Write(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_cancel_ends_the_conversion_before_another_read() {
    let path = sample("wav-96000");
    for calls in [1, 2, 10, 50] {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        let source = Source::seekable(File::open(&path).unwrap());
        let outcome = media::convert(source, &mut io::sink(), &settings_for(&path), move |_| {
            if counted.fetch_add(1, Ordering::Relaxed) + 1 >= calls {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert!(matches!(outcome, Err(ConvertError::Cancelled)), "{outcome:?}");
        assert_eq!(asked.load(Ordering::Relaxed), calls, "it asked again after the cancel");
    }
}

#[test]
fn progress_only_grows_and_ends_at_the_end() {
    let path = sample("mp4-h264-aac");
    let last = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&last);
    let source = Source::seekable(File::open(&path).unwrap());
    media::convert(source, &mut io::sink(), &settings_for(&path), move |progress| {
        let permille = (f64::from(progress.share()) * 1000.0).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        let permille = permille as u64;
        if progress.duration.is_some() {
            assert!(seen.fetch_max(permille, Ordering::Relaxed) <= permille);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(last.load(Ordering::Relaxed) > 950);
}
