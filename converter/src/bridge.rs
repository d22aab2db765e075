//! Between the stores, which are asynchronous, and the engine, which runs on a thread of its own.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use domain::{Blob, BlobStore, BlobStream, Bucket, Fid, PortError};
use futures_util::StreamExt as _;
use media::{ConvertError, Converted};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How many bytes of MP3 are handed over at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// How many pieces may wait for the store.
const PIECES: usize = 8;
/// A seek forward of at most this many bytes reads on instead of asking the store again.
const SKIP_BYTES: u64 = 256 * 1024;

/// A conversion that runs.
pub(crate) struct Conversion {
    /// The MP3's bytes, in order; ends when the thread does.
    pub(crate) mp3: mpsc::Receiver<Bytes>,
    /// How it ended.
    pub(crate) result: oneshot::Receiver<Result<Converted, ConvertError>>,
    progress: Arc<AtomicU32>,
}

impl Conversion {
    /// The share that is done, 0 to 1.
    pub(crate) fn progress(&self) -> f32 {
        f32::from_bits(self.progress.load(Ordering::Relaxed))
    }
}

/// Converts `video` on a new thread, which ends soon after `cancelled`, or after the receiver is dropped.
pub(crate) fn start(
    blobs: Arc<dyn BlobStore>,
    video: &Blob,
    settings: media::Settings,
    cancelled: CancellationToken,
) -> Conversion {
    let (pieces, mp3) = mpsc::channel(PIECES);
    let (ended, result) = oneshot::channel();
    let progress = Arc::new(AtomicU32::new(0));
    let shared_progress = Arc::clone(&progress);
    let still_wanted = cancelled.clone();
    let source = BlobReader {
        handle: Handle::current(),
        blobs,
        id: video.id,
        len_bytes: video.len_bytes,
        position: 0,
        stream: None,
        piece: Bytes::new(),
        cancelled,
    };
    let span = tracing::Span::current();
    std::thread::spawn(move || {
        let _entered = span.enter();
        let mut sink = PieceWriter {
            pieces,
            piece: BytesMut::with_capacity(PIECE_BYTES),
        };
        let outcome = media::convert(
            media::Source::seekable(source),
            &mut sink,
            &settings,
            move |progress: media::Progress| {
                shared_progress.store(progress.share().to_bits(), Ordering::Relaxed);
                if still_wanted.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        let outcome = outcome.and_then(|converted| sink.flush().map(|()| converted).map_err(ConvertError::Write));
        // Nobody listens any more when the attempt was given up.
        let _unheard = ended.send(outcome);
    });
    Conversion { mp3, result, progress }
}

/// A stored file as the engine reads it: bytes in order, and seeks.
struct BlobReader {
    handle: Handle,
    blobs: Arc<dyn BlobStore>,
    id: Fid,
    len_bytes: u64,
    position: u64,
    /// What follows `piece` in the store.
    stream: Option<BlobStream>,
    /// Bytes that were fetched and not yet read; the first is at `position`.
    piece: Bytes,
    cancelled: CancellationToken,
}

impl BlobReader {
    /// Makes `piece` hold at least one byte, unless the file ends here.
    fn fill(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() || self.position >= self.len_bytes {
            return Ok(());
        }
        let Self {
            handle,
            blobs,
            id,
            len_bytes,
            position,
            stream,
            cancelled,
            ..
        } = self;
        let next = async {
            if stream.is_none() {
                *stream = blobs.read(Bucket::Videos, *id, *position..*len_bytes).await?;
            }
            let bytes = match stream {
                Some(stream) => stream.next().await.transpose()?,
                None => None,
            };
            bytes.ok_or_else(|| PortError::corrupt("read video", "it ends before its length"))
        };
        let piece = handle.block_on(async {
            tokio::select! {
                piece = next => piece.map_err(io::Error::other),
                () = cancelled.cancelled() => Err(io::Error::other("cancelled")),
            }
        })?;
        self.piece = piece;
        Ok(())
    }

    fn jump(&mut self, position: u64) -> io::Result<()> {
        let mut ahead = position.checked_sub(self.position).filter(|ahead| *ahead <= SKIP_BYTES);
        while let Some(distance) = ahead.filter(|distance| *distance > 0) {
            if self.stream.is_none() && self.piece.is_empty() {
                ahead = None;
                break;
            }
            self.fill()?;
            let step = usize::try_from(distance).unwrap_or(usize::MAX).min(self.piece.len());
            if step == 0 {
                break;
            }
            self.piece.advance(step);
            self.position += step as u64;
            ahead = Some(distance - step as u64);
        }
        if ahead.is_none() {
            self.piece.clear();
            self.stream = None;
        }
        self.position = position;
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.len_bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.jump(position)?;
        Ok(position)
    }
}

/// Gathers the engine's small writes into pieces and hands them over; waits while the store is busy.
struct PieceWriter {
    pieces: mpsc::Sender<Bytes>,
    piece: BytesMut,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces
            .blocking_send(piece)
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
