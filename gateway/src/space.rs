//! Turns uploads away before the store is full: a disk that runs out in the middle of things costs everybody more than
//! the upload that would have filled it.

use std::sync::Arc;
use std::time::Duration;

use domain::{BlobStore, PortError, Space};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::metrics::GatewayMetrics;

/// How long an answer of the store is used again.
const FRESH: Duration = Duration::from_secs(5);
/// How long an upload waits for one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches over the space of the blob store.
pub(crate) struct SpaceGuard {
    blobs: Arc<dyn BlobStore>,
    min_free_percent: u8,
    metrics: GatewayMetrics,
    last: Mutex<Option<(Instant, Option<Space>)>>,
}

impl SpaceGuard {
    pub(crate) fn new(blobs: Arc<dyn BlobStore>, min_free_percent: u8, metrics: GatewayMetrics) -> Self {
        Self {
            blobs,
            min_free_percent,
            metrics,
            last: Mutex::default(),
        }
    }

    /// Whether an upload of so many bytes, as far as is known, may begin. Where the space is not known it may.
    ///
    /// # Errors
    /// `Full` when less than a share of the store is free, or less than twice the upload.
    pub(crate) async fn check(&self, upload_bytes: u64) -> Result<(), PortError> {
        match self.space().await {
            Some(space) if !self.has_room(space, upload_bytes) => Err(PortError::Full {
                operation: "begin an upload".into(),
            }),
            _ => Ok(()),
        }
    }

    /// Twice the upload: its MP3 has to go somewhere, and it is not the only one under way.
    fn has_room(&self, space: Space, upload_bytes: u64) -> bool {
        let share_is_free =
            u128::from(space.free_bytes) * 100 >= u128::from(space.total_bytes) * u128::from(self.min_free_percent);
        share_is_free && space.free_bytes >= upload_bytes.saturating_mul(2)
    }

    /// What the store said within the last seconds; it is asked by one at a time.
    async fn space(&self) -> Option<Space> {
        let mut last = self.last.lock().await;
        if let Some((at, space)) = *last
            && at.elapsed() < FRESH
        {
            return space;
        }
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
        }
        *last = Some((Instant::now(), space));
        space
    }
}
