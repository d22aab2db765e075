//! The bytes of an upload: counted, at a tolerable pace, and only while somebody wants them.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::UploadError;
use crate::GatewayState;

/// The slowest upload that is put up with: a floor averaged over a window, and no total limit.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes a second.
    pub floor_bytes_per_second: u32,
    /// Over how much time spent waiting for the client.
    pub window: Duration,
}

impl Default for Pace {
    /// 8 KiB/s over a minute.
    fn default() -> Self {
        Self {
            floor_bytes_per_second: 8 * 1024,
            window: Duration::from_secs(60),
        }
    }
}

/// How a client keeps to a [`Pace`]. Only time spent waiting for it counts: a slow store is not its fault.
struct Patience {
    pace: Pace,
    waited: Duration,
    arrived_bytes: u64,
}

impl Patience {
    fn left(&self) -> Duration {
        self.pace.window.saturating_sub(self.waited)
    }

    /// Counts a wait and what it brought; false when a whole window brought too little.
    fn lasts(&mut self, waited: Duration, arrived_bytes: usize) -> bool {
        self.waited += waited;
        self.arrived_bytes += arrived_bytes as u64;
        if self.waited < self.pace.window {
            return true;
        }
        let floor = f64::from(self.pace.floor_bytes_per_second) * self.waited.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a pace, not an account")]
        let enough = self.arrived_bytes as f64 >= floor;
        (self.waited, self.arrived_bytes) = (Duration::ZERO, 0);
        enough
    }
}

/// Where the bytes of one upload come from.
pub(super) struct Source {
    body: BodyDataStream,
    max_bytes: u64,
    left_bytes: u64,
    patience: Patience,
    aborting: CancellationToken,
    given_up: CancellationToken,
}

impl Source {
    pub(super) fn new(state: &GatewayState, body: Body, given_up: CancellationToken) -> Self {
        Self {
            body: body.into_data_stream(),
            max_bytes: state.settings.max_upload_bytes,
            left_bytes: state.settings.max_upload_bytes,
            patience: Patience {
                pace: state.pace,
                waited: Duration::ZERO,
                arrived_bytes: 0,
            },
            aborting: state.life.aborting(),
            given_up,
        }
    }

    /// The next bytes, or None at the body's end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        loop {
            let began = Instant::now();
            let arrived = tokio::select! {
                biased;
                () = self.aborting.cancelled() => return Err(UploadError::Stopping),
                () = self.given_up.cancelled() => return Err(UploadError::GivenUp),
                arrived = timeout(self.patience.left(), self.body.next()) => arrived,
            };
            let bytes = match arrived {
                Ok(Some(bytes)) => bytes.map_err(UploadError::ClientGone)?,
                Ok(None) => return Ok(None),
                Err(_nothing_came) => Bytes::new(),
            };
            if !self.patience.lasts(began.elapsed(), bytes.len()) {
                return Err(UploadError::Stalled);
            }
            let left = self.left_bytes.checked_sub(bytes.len() as u64);
            self.left_bytes = left.ok_or(UploadError::TooLarge(self.max_bytes))?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience {
            pace: Pace {
                floor_bytes_per_second: 100,
                window: Duration::from_secs(10),
            },
            waited: Duration::ZERO,
            arrived_bytes: 0,
        }
    }

    #[test]
    fn a_pause_is_put_up_with_as_long_as_the_average_holds() {
        let mut patience = patience();
        assert!(patience.lasts(Duration::from_secs(9), 0));
        assert_eq!(patience.left(), Duration::from_secs(1));
        assert!(patience.lasts(Duration::from_secs(1), 1000));
        assert_eq!(patience.left(), Duration::from_secs(10));
    }

    #[test]
    fn a_window_that_brought_too_little_ends_it() {
        let mut patience = patience();
        assert!(patience.lasts(Duration::from_secs(5), 500));
        assert!(!patience.lasts(Duration::from_secs(5), 499));
    }

    #[test]
    fn what_came_in_one_window_does_not_count_in_the_next() {
        let mut patience = patience();
        assert!(patience.lasts(Duration::from_secs(10), 1_000_000));
        assert!(!patience.lasts(Duration::from_secs(10), 10));
    }
}
