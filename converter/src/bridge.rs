//! Between the stores, which are asynchronous, and the engine's child, which a thread of its own serves.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use domain::{Blob, BlobStore};
use media::{ConvertError, Converted};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::children::Children;
use crate::reader::BlobReader;

/// How many bytes of MP3 are handed over at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// How many pieces may wait for the store.
const PIECES: usize = 8;

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

/// Converts `video` in one of `children`, served by a new thread, which ends soon after `cancelled`, or after the
/// receiver is dropped.
pub(crate) fn start(
    children: Children,
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
    let source = BlobReader::new(blobs, video, cancelled);
    let span = tracing::Span::current();
    std::thread::spawn(move || {
        let _entered = span.enter();
        let mut sink = PieceWriter {
            pieces,
            piece: BytesMut::with_capacity(PIECE_BYTES),
        };
        let watch = move |progress: media::Progress| {
            shared_progress.store(progress.share().to_bits(), Ordering::Relaxed);
            if still_wanted.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let outcome = children
            .take()
            .map_err(|error| ConvertError::Internal {
                operation: "starting a process to convert in",
                source: Some(error.into()),
            })
            .and_then(|child| child.convert(media::Source::ranged(source), &mut sink, &settings, watch));
        let outcome = outcome.and_then(|converted| sink.flush().map(|()| converted).map_err(ConvertError::Write));
        // Nobody listens any more when the attempt was given up.
        let _unheard = ended.send(outcome);
    });
    Conversion { mp3, result, progress }
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
