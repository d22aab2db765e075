//! Repeats announcements that no broker ever confirmed.

use std::sync::Arc;
use std::time::Duration;

use domain::{Announcement, Job, JobStore, PortError, Queue};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::Lifecycle;
use crate::telemetry::trace;

/// How often it looks for announcements that are owed.
const PERIOD: Duration = Duration::from_secs(5);
/// How many it makes in a row.
const BATCH: usize = 1000;

/// Tells a queue about jobs: at once when there is news, and again for as long as the broker has not confirmed.
#[derive(Clone)]
pub struct Announcer {
    /// Where the jobs are.
    pub jobs: Arc<dyn JobStore>,
    /// Who is told.
    pub queue: Arc<dyn Queue>,
    /// The name of the queue.
    pub queue_name: String,
    /// What is announced on it.
    pub announcement: Announcement,
    /// Whose tasks do it.
    pub life: Lifecycle,
}

impl Announcer {
    /// Publishes `job` and notes that the broker has it, in a task of its own: a broker that does not confirm must hold
    /// up nobody. A failure is only logged: [`run`](Self::run) tries again.
    pub fn announce(&self, job: Job) {
        let announcer = self.clone();
        let span = self.span(&job);
        let announcing = async move {
            if let Err(error) = announcer.try_announce(&job).await {
                tracing::warn!(error = %domain::Chain(&error), "cannot announce a job yet");
            }
        };
        self.life.spawn(announcing.instrument(span));
    }

    /// Announces what is owed, every few seconds until the life stops.
    pub async fn run(self) {
        #[cfg(feature = "seeded-bugs")]
        if domain::seeded_bugs::is_on("no-relay") {
            return;
        }
        let stopping = self.life.stopping();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            if let Err(error) = self.announce_owed().await {
                tracing::warn!(
                    queue = self.queue_name,
                    error = %domain::Chain(&error),
                    "cannot announce jobs yet"
                );
            }
        }
    }

    async fn announce_owed(&self) -> Result<(), PortError> {
        for _ in 0..BATCH {
            let job = match self.jobs.claim_announcement(self.announcement).await {
                Ok(Some(job)) => job,
                Ok(None) => return Ok(()),
                Err(error @ PortError::Corrupt { .. }) => {
                    let error = domain::Chain(&error).to_string();
                    tracing::error!(queue = self.queue_name, error, "a job's record cannot be read");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let announcing = async {
                self.try_announce(&job).await?;
                tracing::info!("announced a job that was still owed");
                Ok::<_, PortError>(())
            };
            // The first failure ends the round: the broker is away for the others as well.
            announcing.instrument(self.span(&job)).await?;
        }
        Ok(())
    }

    async fn try_announce(&self, job: &Job) -> Result<(), PortError> {
        self.queue.publish(&self.queue_name, &job.message()).await?;
        self.jobs.mark_announced(job.id, self.announcement).await
    }

    fn span(&self, job: &Job) -> Span {
        let queue = self.queue_name.as_str();
        let span = tracing::error_span!("announce", otel.kind = "producer", queue, job.id = %job.id, trace_id = Empty);
        trace::place(&span, job.trace.as_ref());
        span
    }
}
