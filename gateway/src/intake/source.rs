//! The bytes of an upload: counted, at a tolerable pace, and only while somebody wants them.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use runtime::Lifecycle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::UploadError;
use crate::{GatewaySettings, Pace};

/// How a client keeps to a [`Pace`]. Only time spent waiting for it counts: a slow store is not its fault.
struct Patience {
    floor_bytes_per_second: u32,
    window: Duration,
    waited: Duration,
    arrived_bytes: u64,
}

impl Patience {
    fn new(pace: Pace) -> Self {
        Self {
            floor_bytes_per_second: pace.upload_floor_bytes_per_second,
            window: Duration::from_secs(pace.upload_floor_window.get().into()),
            waited: Duration::ZERO,
            arrived_bytes: 0,
        }
    }

    fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Counts a wait and what it brought; false when a whole window brought too little.
    fn lasts(&mut self, waited: Duration, arrived_bytes: usize) -> bool {
        self.waited += waited;
        self.arrived_bytes += arrived_bytes as u64;
        if self.waited < self.window {
            return true;
        }
        let floor = f64::from(self.floor_bytes_per_second) * self.waited.as_secs_f64();
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
    pub(super) fn new(settings: &GatewaySettings, life: &Lifecycle, body: Body, given_up: CancellationToken) -> Self {
        Self {
            body: body.into_data_stream(),
            max_bytes: settings.max_upload_bytes,
            left_bytes: settings.max_upload_bytes,
            patience: Patience::new(settings.pace),
            aborting: life.aborting(),
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
    use clap::Parser;
    use futures_util::stream;

    use super::*;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        gateway: GatewaySettings,
    }

    /// Reads, under the settings nobody changed, a body that brings each piece after so many seconds; how it ended,
    /// after how many bytes and seconds.
    async fn read(pieces: Vec<(u64, usize)>) -> (Result<(), UploadError>, usize, u64) {
        let settings = Settings::parse_from(["gateway"]).gateway;
        let body = stream::iter(pieces).then(|(seconds, bytes)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![7; bytes]))
        });
        let body = Body::from_stream(body);
        let mut source = Source::new(&settings, &Lifecycle::new(), body, CancellationToken::new());
        let (began, mut read_bytes) = (Instant::now(), 0);
        let ended = loop {
            match source.next().await {
                Ok(Some(bytes)) => read_bytes += bytes.len(),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        (ended, read_bytes, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_sending_is_given_up_after_a_minute() {
        let (ended, bytes, seconds) = read(vec![(0, 400_000), (1_000_000, 1)]).await;
        assert!(matches!(ended, Err(UploadError::Stalled)), "{ended:?}");
        assert_eq!((bytes, seconds), (400_000, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_just_below_the_floor_is_given_up_and_one_at_it_may_take_all_day() {
        let (ended, _, seconds) = read(vec![(1, 8 * 1024 - 1); 1000]).await;
        assert!(matches!(ended, Err(UploadError::Stalled)), "{ended:?}");
        assert_eq!(seconds, 60);
        let day = 24 * 60 * 60;
        let (ended, bytes, seconds) = read(vec![(30, 30 * 8 * 1024); day / 30]).await;
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!((bytes, seconds), (day * 8 * 1024, day as u64));
    }

    fn patience() -> Patience {
        Patience {
            floor_bytes_per_second: 100,
            window: Duration::from_secs(10),
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
