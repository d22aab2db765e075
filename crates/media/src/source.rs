//! Where the bytes come from.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Bytes that can be read from any position.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// Bytes of which several stretches can be asked for at once: for a store behind a network or another process, where
/// every question costs a round trip.
pub trait ReadRanges: Send {
    /// The source's length. Asked once, and must not change.
    ///
    /// # Errors
    /// The length cannot be told.
    fn length_bytes(&mut self) -> io::Result<u64>;

    /// Appends the bytes of all `ranges` to `bytes`, in that order.
    ///
    /// The ranges are in order, do not overlap, end within the length, and hold at most 512 KiB together. They are all
    /// that is wanted for now: what follows them may never be.
    ///
    /// # Errors
    /// Not every byte can be read.
    fn read_ranges(&mut self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> io::Result<()>;
}

/// The media to convert. It is only ever used by one thread at a time, and not after `convert` has returned.
pub enum Source {
    /// Can be read from any position: a file.
    Seekable(Box<dyn ReadSeek>),
    /// Can be read from any position, several stretches at once: a store.
    Ranged(Box<dyn ReadRanges>),
    /// Can be read once, from the start: a pipe.
    Stream(Box<dyn Read + Send>),
}

impl Source {
    /// A source that can be read from any position. Its length is asked once, and must not change.
    ///
    /// Each read asks for exactly the bytes that are wanted next, at most 512 KiB: what follows may never be. Reading
    /// ahead is done here, and nothing is gained by another buffer.
    pub fn seekable(reader: impl Read + Seek + Send + 'static) -> Self {
        Self::Seekable(Box::new(reader))
    }

    /// A source that can be read from any position, several stretches at once.
    pub fn ranged(reader: impl ReadRanges + 'static) -> Self {
        Self::Ranged(Box::new(reader))
    }

    /// A source that can be read once. Files with their index at the end cannot be converted this way and end in
    /// [`NeedsSeeking`](crate::ConvertError::NeedsSeeking).
    pub fn stream(reader: impl Read + Send + 'static) -> Self {
        Self::Stream(Box::new(reader))
    }

    /// The source's length. None for a stream.
    ///
    /// # Errors
    /// The source cannot tell it.
    pub(crate) fn length_bytes(&mut self) -> io::Result<Option<u64>> {
        match self {
            Self::Seekable(reader) => reader.seek(SeekFrom::End(0)).map(Some),
            Self::Ranged(reader) => reader.length_bytes().map(Some),
            Self::Stream(_) => Ok(None),
        }
    }

    /// Appends the bytes of all `ranges` to `bytes`; for a stream the next bytes, some of the first range's. Asks
    /// `goes_on` before every read, and gives up with nothing more read when it says no.
    ///
    /// # Errors
    /// Of the source, or it ends before the last range does.
    pub(crate) fn read_ranges(
        &mut self,
        ranges: &[Range<u64>],
        bytes: &mut Vec<u8>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        match self {
            Self::Seekable(reader) => {
                for range in ranges {
                    reader.seek(SeekFrom::Start(range.start))?;
                    let end = bytes.len() + width(range);
                    while bytes.len() < end && goes_on() {
                        if read_once(reader, bytes, end)? == 0 {
                            return Err(ended_early());
                        }
                    }
                }
            }
            Self::Ranged(reader) => {
                let end = bytes.len() + ranges.iter().map(width).sum::<usize>();
                if goes_on() {
                    reader.read_ranges(ranges, bytes)?;
                    if bytes.len() != end {
                        return Err(ended_early());
                    }
                }
            }
            Self::Stream(reader) => {
                let end = bytes.len() + ranges.first().map_or(0, width);
                if goes_on() {
                    read_once(reader, bytes, end)?;
                }
            }
        }
        Ok(())
    }
}

/// One read of whatever comes, up to `end` in `bytes`.
fn read_once(reader: &mut dyn Read, bytes: &mut Vec<u8>, end: usize) -> io::Result<usize> {
    let start = bytes.len();
    bytes.resize(end, 0);
    let count = loop {
        match reader.read(&mut bytes[start..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    bytes.truncate(start + count.as_ref().map_or(0, |count| *count));
    count
}

fn width(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

fn ended_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the source ended before the length it told",
    )
}
