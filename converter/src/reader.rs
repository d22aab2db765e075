//! A stored video as the engine reads it: the ranges it asks for, and hardly more.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use domain::{Blob, BlobStore, BlobStream, Bucket, Fid, PortError};
use futures_util::StreamExt as _;
use media::ReadRanges;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// A gap of at most this is read and thrown away rather than asked around: half a chunk, so that no chunk of GridFS is
/// fetched for the gap alone.
const SKIP_BYTES: u64 = 128 * 1024;
/// After so many questions without a gap, each of which went on where the last one ended, the rest of the file is
/// fetched ahead.
const IN_A_ROW: u32 = 3;

/// The bytes of one video, for a thread that waits for them.
pub(crate) struct BlobReader {
    handle: Handle,
    blobs: Arc<dyn BlobStore>,
    id: Fid,
    len_bytes: u64,
    cancelled: CancellationToken,
    open: Option<Open>,
    /// Where the last question ended, and how many in a row went on like that.
    asked_until: u64,
    in_a_row: u32,
}

/// What is being fetched.
struct Open {
    stream: BlobStream,
    /// Fetched and not yet given; its first byte is at `position`.
    piece: Bytes,
    position: u64,
    end: u64,
}

impl BlobReader {
    /// Must be called within the runtime that the store needs.
    pub(crate) fn new(blobs: Arc<dyn BlobStore>, video: &Blob, cancelled: CancellationToken) -> Self {
        Self {
            handle: Handle::current(),
            blobs,
            id: video.id,
            len_bytes: video.len_bytes,
            cancelled,
            open: None,
            asked_until: 0,
            in_a_row: 0,
        }
    }

    async fn read(&mut self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> Result<(), PortError> {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
            return Ok(());
        };
        let goes_on = first.start == self.asked_until && ranges.windows(2).all(|pair| pair[0].end == pair[1].start);
        self.in_a_row = if goes_on { self.in_a_row + 1 } else { 0 };
        self.asked_until = last.end;
        for (number, range) in ranges.iter().enumerate() {
            self.go_to(&ranges[number..]).await?;
            let mut wanted = range.end - range.start;
            while wanted > 0 {
                let piece = self.next(wanted).await?;
                bytes.extend_from_slice(&piece);
                wanted -= piece.len() as u64;
            }
        }
        Ok(())
    }

    /// Stands at the first of `ranges`: by skipping a little, or by a new question for it and all that is near.
    async fn go_to(&mut self, ranges: &[Range<u64>]) -> Result<(), PortError> {
        let Range { start, end } = ranges[0];
        let is_near = |open: &Open| {
            let gap = start.checked_sub(open.position);
            gap.is_some_and(|gap| gap <= SKIP_BYTES) && end <= open.end
        };
        if let Some(open) = self.open.take_if(|open| !is_near(open)) {
            drop(open);
        }
        if let Some(open) = &self.open {
            let mut gap = start - open.position;
            while gap > 0 {
                gap -= self.next(gap).await?.len() as u64;
            }
            return Ok(());
        }
        let end = if self.in_a_row >= IN_A_ROW {
            self.len_bytes
        } else {
            let near = ranges
                .windows(2)
                .take_while(|pair| pair[1].start - pair[0].end <= SKIP_BYTES);
            near.last().map_or(end, |pair| pair[1].end)
        };
        let stream = self.blobs.read(Bucket::Videos, self.id, start..end).await?;
        self.open = Some(Open {
            stream: stream.ok_or_else(ends_early)?,
            piece: Bytes::new(),
            position: start,
            end,
        });
        Ok(())
    }

    /// What follows, at most `most` bytes, at least one.
    async fn next(&mut self, most: u64) -> Result<Bytes, PortError> {
        let open = self.open.as_mut().ok_or_else(ends_early)?;
        while !open.piece.has_remaining() {
            match open.stream.next().await {
                Some(Ok(piece)) => open.piece = piece,
                Some(Err(error)) => {
                    self.open = None;
                    return Err(error);
                }
                None => {
                    self.open = None;
                    return Err(ends_early());
                }
            }
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(open.piece.len());
        open.position += length as u64;
        Ok(open.piece.split_to(length))
    }
}

fn ends_early() -> PortError {
    PortError::corrupt("read video", "it ends before its length")
}

impl ReadRanges for BlobReader {
    fn length_bytes(&mut self) -> io::Result<u64> {
        Ok(self.len_bytes)
    }

    fn read_ranges(&mut self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> io::Result<()> {
        let (handle, cancelled) = (self.handle.clone(), self.cancelled.clone());
        handle.block_on(async {
            tokio::select! {
                read = self.read(ranges, bytes) => read.map_err(io::Error::other),
                () = cancelled.cancelled() => Err(io::Error::other("cancelled")),
            }
        })
    }
}
