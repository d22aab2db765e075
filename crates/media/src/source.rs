//! Where the bytes come from, and the reader that stands between them and libav.

use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::watch::{Stop, Watch};

/// Bytes that can be read from any position.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// The media to convert. It is only ever used by one thread at a time, and not after `convert` has returned.
pub enum Source {
    /// Can be read from any position: a file, or ranged reads of a store.
    Seekable(Box<dyn ReadSeek>),
    /// Can be read once, from the start: a pipe.
    Stream(Box<dyn Read + Send>),
}

impl Source {
    /// A source that can be read from any position. Its length is asked once, and must not change.
    ///
    /// Reads come in small pieces (16 KiB) and mostly in order; where a read is expensive, `reader` reads ahead.
    pub fn seekable(reader: impl Read + Seek + Send + 'static) -> Self {
        Self::Seekable(Box::new(reader))
    }

    /// A source that can be read once. Files with their index at the end cannot be converted this way and end in
    /// [`NeedsSeeking`](crate::ConvertError::NeedsSeeking).
    pub fn stream(reader: impl Read + Send + 'static) -> Self {
        Self::Stream(Box::new(reader))
    }
}

/// How many bytes of the file's start are kept.
const START_BYTES: usize = 64;

/// A [`Source`] that asks before every read whether to go on, keeps the first error, and never lets it look like the end
/// of the file.
pub(crate) struct Reader {
    source: Source,
    watch: Watch,
    /// Where libav reads next.
    position: u64,
    /// Where the source itself stands.
    source_position: u64,
    length: Option<u64>,
}

impl Reader {
    /// # Errors
    /// The source cannot tell its length.
    pub(crate) fn new(mut source: Source, watch: Watch) -> io::Result<Self> {
        let length = match &mut source {
            Source::Seekable(reader) => Some(reader.seek(SeekFrom::End(0))?),
            Source::Stream(_) => None,
        };
        watch.update(|progress| progress.source_bytes = length);
        Ok(Self {
            source,
            watch,
            position: 0,
            source_position: length.unwrap_or(0),
            length,
        })
    }

    pub(crate) fn is_seekable(&self) -> bool {
        self.length.is_some()
    }

    /// Reads the file's first bytes and makes them readable again. Shorter only where the file is.
    pub(crate) fn start(mut self) -> io::Result<(Vec<u8>, Self)> {
        let mut start = Vec::new();
        Read::by_ref(&mut self)
            .take(START_BYTES as u64)
            .read_to_end(&mut start)?;
        if self.is_seekable() {
            self.position = 0;
        } else {
            let kept = io::Cursor::new(start.clone());
            self.source = match self.source {
                Source::Stream(rest) => Source::stream(kept.chain(rest)),
                seekable @ Source::Seekable(_) => seekable,
            };
            self.watch.update(|progress| progress.bytes_read = 0);
        }
        Ok((start, self))
    }

    fn read_source(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Source::Seekable(reader) = &mut self.source
            && self.source_position != self.position
        {
            self.source_position = reader.seek(SeekFrom::Start(self.position))?;
        }
        let count = match &mut self.source {
            Source::Seekable(reader) => reader.read(buffer)?,
            Source::Stream(reader) => reader.read(buffer)?,
        };
        if count == 0 && self.length.is_some_and(|length| self.position < length) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the source ended before the length it told",
            ));
        }
        Ok(count)
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        loop {
            if !self.watch.goes_on() {
                return Err(Stop::Cancelled);
            }
            match self.read_source(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    self.source_position = self.position;
                    self.watch.update(|progress| progress.bytes_read += count as u64);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Read(error)),
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.next(buffer)));
        outcome
            .unwrap_or_else(|payload| Err(Stop::Panicked(payload)))
            .map_err(|stop| {
                self.watch.stop(stop);
                // libav reads some kinds of errors as the end of the file or as "again"; this one it takes as it is.
                io::Error::other("the source has stopped")
            })
    }
}

impl Seek for Reader {
    /// Only notes the position; the source seeks when it is read from there.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.and_then(|length| length.checked_add_signed(offset)),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
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
    fn the_start_is_read_and_given_again() {
        let bytes: Vec<u8> = (0..=255).collect();
        for source in [
            Source::seekable(io::Cursor::new(bytes.clone())),
            Source::stream(io::Cursor::new(bytes.clone())),
        ] {
            let reader = Reader::new(source, watch()).unwrap();
            let (start, mut reader) = reader.start().unwrap();
            assert_eq!(start, bytes[..START_BYTES]);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            assert_eq!(all, bytes);
        }
    }
}
