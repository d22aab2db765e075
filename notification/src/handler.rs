//! What the notification does with a claimed mail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{BlobStore, Bucket, Claim, Job, Settlement, Step, VerdictKind, Work};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use runtime::metrics::Metrics;
use runtime::worker::{Context, Ending, Handler, Outcome};

use crate::{Letterhead, Mailer, SendError};

/// The waits after a mail server did not take a mail: four to five days in all.
///
/// Source: RFC 5321 section 4.5.4.1.
const RETRY_DELAYS: [Duration; 17] = {
    let mut delays = [Duration::from_secs(8 * 60 * 60); 17];
    delays[0] = Duration::from_secs(60);
    delays[1] = Duration::from_secs(5 * 60);
    delays[2] = Duration::from_secs(30 * 60);
    delays[3] = Duration::from_secs(2 * 60 * 60);
    delays
};

/// Taken by the mail server.
const SENT: &str = "sent";
/// Not taken, to be tried again.
const POSTPONED: &str = "postponed";
/// Never to be taken.
const REFUSED: &str = "refused";
/// Tried for days.
const ABANDONED: &str = "abandoned";
/// Handed over twice without the server's word on it.
const UNKNOWN: &str = "unknown";

/// Tells owners.
///
/// What becomes of a mail never changes its job: a mail that cannot be delivered is logged with its job's id and
/// counted in `mp3_mails`, and its claim ends as told.
pub struct NotifyHandler {
    blobs: Arc<dyn BlobStore>,
    mailer: Mailer,
    letterhead: Letterhead,
    mails: Family<MailLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MailLabels {
    outcome: &'static str,
}

impl NotifyHandler {
    /// A handler that sends through `mailer`, asks `blobs` for sizes that a record does not know, and counts in
    /// `metrics`.
    pub fn new(blobs: Arc<dyn BlobStore>, mailer: Mailer, letterhead: Letterhead, metrics: &Metrics) -> Self {
        let mails = Family::default();
        let handler = Self {
            blobs,
            mailer,
            letterhead,
            mails: metrics.register("mails", "Mails by how sending them ended", mails),
        };
        // From the start, so that an alert on a rise sees the first one.
        for outcome in [SENT, POSTPONED, REFUSED, ABANDONED, UNKNOWN] {
            drop(handler.mails.get_or_create(&MailLabels { outcome }));
        }
        handler
    }

    /// The job with the size of its MP3, which a foreign converter did not write down.
    ///
    /// # Errors
    /// There is no such MP3, at least not yet: its owner would be sent to a dead link.
    async fn completed(&self, job: &Job) -> Result<Job, String> {
        let mut job = job.clone();
        let Some(mp3) = job.mp3.as_mut().filter(|mp3| mp3.size_bytes.is_none()) else {
            return Ok(job);
        };
        match self.blobs.stat(Bucket::Mp3s, mp3.fid).await {
            Ok(Some(blob)) => mp3.size_bytes = Some(blob.len_bytes),
            Ok(None) => return Err(format!("no MP3 `{}` is stored", mp3.fid)),
            // The size is not worth the owner's waiting.
            Err(error) => tracing::warn!(
                error = %domain::Chain(&error),
                "cannot look up the size of the MP3"
            ),
        }
        Ok(job)
    }

    fn count(&self, outcome: &'static str) {
        self.mails.get_or_create(&MailLabels { outcome }).inc();
    }

    /// The owner can never be told: an operator should know, and nobody tries again.
    fn hopeless(&self, error: &(dyn std::error::Error + 'static)) -> Outcome {
        tracing::error!(error, "the owner cannot be told");
        self.count(REFUSED);
        Outcome::Settle(Settlement::Told)
    }

    /// Nobody knows whether the mail arrived: one more copy is sent, and no third, whoever sends them.
    fn in_doubt(&self, claim: &Claim, unknown: &SendError) -> Outcome {
        if claim.in_doubt {
            tracing::error!(error = %domain::Chain(unknown), "nobody knows whether the owner was told");
            self.count(UNKNOWN);
            return Outcome::Settle(Settlement::Told);
        }
        tracing::warn!(error = %domain::Chain(unknown), "the mail is to be sent once more");
        Outcome::Settle(Settlement::InDoubt)
    }

    async fn tell(&self, claim: &Claim, kind: VerdictKind, context: &Context) -> Outcome {
        let job = match self.completed(&claim.job).await {
            Ok(job) => job,
            Err(missing) => {
                self.count(POSTPONED);
                return Outcome::Trouble(missing.into());
            }
        };
        let message = match self.letterhead.compose(&job, kind) {
            Ok(message) => message,
            Err(undeliverable) => return self.hopeless(&undeliverable),
        };
        let name = format!("{}.{}", job.id, kind.as_str());
        let cancelled = context.cancelled();
        let sending = self.mailer.send(&name, &message, context.still_held(), &cancelled);
        match sending.await {
            Ok(()) => {
                self.count(SENT);
                // Between a mail that is out and the record that says so.
                #[cfg(feature = "crashpoints")]
                if runtime::crashpoints::skips("notification", "sent") {
                    return Outcome::Trouble("a crash point".into());
                }
                Outcome::Settle(Settlement::Told)
            }
            Err(refused @ SendError::Refused(_)) => self.hopeless(&refused),
            Err(unknown @ SendError::Unknown(_)) => self.in_doubt(claim, &unknown),
            Err(SendError::NotOurs) => Outcome::Stopped,
            Err(error) => {
                self.count(POSTPONED);
                Outcome::Trouble(error.into())
            }
        }
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
        self.count(ABANDONED);
        Settlement::Told
    }

    async fn handle(&self, claim: &Claim, context: &Context) -> Outcome {
        let Work::Tell(kind) = claim.work else {
            return Outcome::Trouble("not a mail".into());
        };
        let cancelled = context.cancelled();
        tokio::select! {
            // The mailer first: it knows whether the mail is out.
            biased;
            outcome = self.tell(claim, kind, context) => outcome,
            () = cancelled.cancelled() => Outcome::Stopped,
        }
    }

    async fn settled(&self, _: &Claim, _: &Settlement, _: Ending) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_grow_rarer_and_end_within_five_days() {
        assert!(RETRY_DELAYS.is_sorted());
        let whole: Duration = RETRY_DELAYS.iter().sum();
        let hours = whole.as_secs() / 3600;
        assert!((4 * 24..=5 * 24).contains(&hours), "{hours}");
    }
}
