//! What the notification does with a claimed mail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{BlobStore, Bucket, Claim, Job, Mp3, PortError, Settlement, Step, Work};
use runtime::worker::{Context, Ending, Handler, Outcome};

use crate::{Letterhead, Mailer, SendError};

/// The waits after a mail server did not take a mail: about a day in all.
const RETRY_DELAYS: [Duration; 7] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(8 * 60 * 60),
    Duration::from_secs(8 * 60 * 60),
];

/// Tells owners.
pub struct NotifyHandler {
    blobs: Arc<dyn BlobStore>,
    mailer: Mailer,
    letterhead: Letterhead,
}

impl NotifyHandler {
    /// A handler that sends through `mailer`, and asks `blobs` for sizes that a record does not know.
    pub fn new(blobs: Arc<dyn BlobStore>, mailer: Mailer, letterhead: Letterhead) -> Self {
        Self {
            blobs,
            mailer,
            letterhead,
        }
    }

    /// The job with the size of its MP3, which a foreign converter did not write down.
    async fn completed(&self, job: &Job) -> Result<Job, PortError> {
        let mut job = job.clone();
        if let Some(Mp3 {
            fid,
            size_bytes: size_bytes @ None,
            ..
        }) = &mut job.mp3
        {
            *size_bytes = self.blobs.stat(Bucket::Mp3s, *fid).await?.map(|blob| blob.len_bytes);
        }
        Ok(job)
    }
}

#[async_trait]
impl Handler for NotifyHandler {
    fn step(&self) -> Step {
        Step::Tell
    }

    fn retry_delays(&self) -> &'static [Duration] {
        &RETRY_DELAYS
    }

    fn give_up(&self) -> Settlement {
        Settlement::Told
    }

    async fn handle(&self, claim: &Claim, context: &Context) -> Outcome {
        let Work::Tell(kind) = claim.work else {
            return Outcome::Trouble("not a mail".into());
        };
        let job = match self.completed(&claim.job).await {
            Ok(job) => job,
            Err(error) => return error.into(),
        };
        let message = match self.letterhead.compose(&job, kind) {
            Ok(message) => message,
            Err(undeliverable) => {
                tracing::error!(
                    error = &undeliverable as &dyn std::error::Error,
                    "the owner cannot be told"
                );
                return Outcome::Settle(Settlement::Told);
            }
        };
        let name = format!("{}.{}", job.id, kind.as_str());
        let cancelled = context.cancelled();
        let sent = tokio::select! {
            sent = self.mailer.send(&name, message) => sent,
            () = cancelled.cancelled() => return Outcome::Stopped,
        };
        match sent {
            Ok(()) => Outcome::Settle(Settlement::Told),
            Err(refused @ SendError::Refused(_)) => {
                tracing::error!(error = &refused as &dyn std::error::Error, "the owner cannot be told");
                Outcome::Settle(Settlement::Told)
            }
            Err(error) => Outcome::Trouble(error.into()),
        }
    }

    async fn settled(&self, _: &Claim, _: &Settlement, _: Ending) {}
}
