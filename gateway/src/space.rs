//! Turns uploads away before the store is full: a disk that runs out in the middle of things costs everybody more than
//! the upload that would have filled it.
//!
//! What uploads under way have announced and not yet sent is taken, and what arrived since the store was last asked is
//! gone: as far as this process knows. Several gateways do not know of each other's; the share that stays free is for
//! that.

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{BlobStore, PortError, Space};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::metrics::GatewayMetrics;

/// How long an answer of the store is used again.
const FRESH: Duration = Duration::from_secs(5);
/// How long an upload waits for one.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many bytes of an upload arrive before its space is looked at again.
const STRIDE_BYTES: u64 = 64 * 1024 * 1024;

/// Watches over the space of the blob store.
pub(crate) struct SpaceGuard {
    blobs: Arc<dyn BlobStore>,
    min_free_percent: u8,
    metrics: GatewayMetrics,
    last: Mutex<Option<(Instant, Option<Space>)>>,
    underway: StdMutex<Underway>,
}

/// What all uploads of this process make of the space that the store spoke of.
#[derive(Default)]
struct Underway {
    /// Announced, and not yet here.
    announced_bytes: u64,
    /// Here since the store was asked.
    arrived_bytes: u64,
}

/// An upload's share of the space, for as long as it lives.
pub(crate) struct Reservation {
    guard: Arc<SpaceGuard>,
    is_announced: bool,
    /// Announced, and not yet here.
    left_bytes: u64,
    unasked_bytes: u64,
}

impl SpaceGuard {
    pub(crate) fn new(blobs: Arc<dyn BlobStore>, min_free_percent: u8, metrics: GatewayMetrics) -> Self {
        Self {
            blobs,
            min_free_percent,
            metrics,
            last: Mutex::default(),
            underway: StdMutex::default(),
        }
    }

    /// Whether an upload may begin of which nothing is known.
    ///
    /// # Errors
    /// `Full` when less than a share of the store is free.
    pub(crate) async fn check(&self) -> Result<(), PortError> {
        match self.space().await {
            Some(space) if !self.has_room(space, &self.underway(), 0) => Err(full()),
            _ => Ok(()),
        }
    }

    /// Keeps room for an upload of so many bytes, 0 where it does not say. Where the space is not known it may begin.
    ///
    /// # Errors
    /// `Full` when less than a share of the store is free, or less than twice the upload.
    pub(crate) async fn reserve(self: &Arc<Self>, upload_bytes: u64) -> Result<Reservation, PortError> {
        let space = self.space().await;
        let mut underway = self.underway();
        if space.is_some_and(|space| !self.has_room(space, &underway, upload_bytes)) {
            return Err(full());
        }
        underway.announced_bytes = underway.announced_bytes.saturating_add(upload_bytes);
        Ok(Reservation {
            guard: Arc::clone(self),
            is_announced: upload_bytes > 0,
            left_bytes: upload_bytes,
            unasked_bytes: 0,
        })
    }

    /// Twice the upload, for its MP3 has to go somewhere.
    fn has_room(&self, space: Space, underway: &Underway, upload_bytes: u64) -> bool {
        let free_bytes = space.free_bytes.saturating_sub(underway.arrived_bytes);
        let share_is_free =
            u128::from(free_bytes) * 100 >= u128::from(space.total_bytes) * u128::from(self.min_free_percent);
        share_is_free && free_bytes.saturating_sub(underway.announced_bytes) >= upload_bytes.saturating_mul(2)
    }

    fn underway(&self) -> MutexGuard<'_, Underway> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store said within the last seconds; it is asked by one at a time.
    async fn space(&self) -> Option<Space> {
        let mut last = self.last.lock().await;
        if let Some((at, space)) = *last
            && at.elapsed() < FRESH
        {
            return space;
        }
        let arrived_before = self.underway().arrived_bytes;
        let space = match timeout(PATIENCE, self.blobs.space()).await {
            Ok(Ok(space)) => space,
            Ok(Err(error)) => {
                tracing::debug!(error = %domain::Chain(&error), "the blob store does not say how full it is");
                None
            }
            Err(_late) => None,
        };
        if let Some(space) = space {
            self.metrics.space(space);
            // What arrives while it is asked counts, though the answer may hold it already.
            self.underway().arrived_bytes -= arrived_before;
        }
        *last = Some((Instant::now(), space));
        space
    }
}

impl Reservation {
    /// Counts bytes that arrived, and looks now and then whether there is still room.
    ///
    /// # Errors
    /// `Full` when an upload of unknown length could not begin now, or what is left of one that announced its length
    /// would not fit.
    pub(crate) async fn arrived(&mut self, bytes: u64) -> Result<(), PortError> {
        let announced_bytes = bytes.min(self.left_bytes);
        self.left_bytes -= announced_bytes;
        {
            let mut underway = self.guard.underway();
            underway.announced_bytes -= announced_bytes;
            underway.arrived_bytes = underway.arrived_bytes.saturating_add(bytes);
        }
        self.unasked_bytes += bytes;
        if self.unasked_bytes < STRIDE_BYTES {
            return Ok(());
        }
        self.unasked_bytes = 0;
        let Some(space) = self.guard.space().await else {
            return Ok(());
        };
        let underway = self.guard.underway();
        let has_room = if self.is_announced {
            space.free_bytes.saturating_sub(underway.arrived_bytes) >= self.left_bytes
        } else {
            self.guard.has_room(space, &underway, STRIDE_BYTES)
        };
        if has_room { Ok(()) } else { Err(full()) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.guard.underway().announced_bytes -= self.left_bytes;
    }
}

fn full() -> PortError {
    PortError::Full {
        operation: "make room for an upload".into(),
    }
}
