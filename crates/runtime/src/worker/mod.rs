//! The one worker loop: claim, hold, handle, settle. The converter and the notification are handlers in it.
//!
//! The job record is the truth and the job store schedules; a delivery from the queue only wakes. A worker with a free
//! slot takes a delivery or what [`JobStore::claim_due`] gives, which it asks at least every five seconds. So a lost
//! message, a wiped broker, a restart, a retry that is due and a replay by an operator are all the same path. A
//! delivery whose job is final, held elsewhere or not yet due is acknowledged at once.

mod attempt;
#[cfg(feature = "seeded-bugs")]
mod seeded;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Claim, Delivery, JobStore, PortError, Queue, Settlement, Source, Step};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::Lifecycle;
use crate::metrics::Metrics;
use crate::telemetry::trace;

pub use attempt::Context;

/// How often a worker with a free slot asks the job store, woken or not.
const POLL: Duration = Duration::from_secs(5);
/// How long to wait after the job store did not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What is done to a claimed job.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The step this handler claims.
    fn step(&self) -> Step;

    /// The waits after the first, second, ... failure that was our own trouble. When they are used up the job is
    /// given up.
    fn retry_delays(&self) -> &'static [Duration];

    /// How a job is settled that is given up.
    fn give_up(&self) -> Settlement;

    /// Does the work. Runs for as long as it takes while the claim is renewed beside it; must end soon after
    /// [`Context::cancelled`].
    async fn handle(&self, claim: &Claim, context: &Context) -> Outcome;

    /// The claim ended, and `ending` says whether `settlement` is what the record now says. Announces what was won,
    /// removes what was lost, and leaves alone what is unknown.
    async fn settled(&self, claim: &Claim, settlement: &Settlement, ending: Ending);
}

/// How the work on a claim ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a result, good or bad.
    Settle(Settlement),
    /// In our own trouble: to be tried again later. Not the owner's fault.
    Trouble(Source),
    /// Undone, because the context was cancelled.
    Stopped,
}

/// Whether a settlement reached the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The record says so.
    Won,
    /// Somebody else holds the job, or it was cancelled; the record says something else.
    Lost,
    /// The store did not answer: it may or may not say so. Whoever claims the job next finds out.
    Unknown,
}

impl From<PortError> for Outcome {
    fn from(error: PortError) -> Self {
        Self::Trouble(error.into())
    }
}

/// One service's worker.
pub struct Worker {
    /// Where the jobs are.
    pub jobs: Arc<dyn JobStore>,
    /// Who wakes us.
    pub queue: Arc<dyn Queue>,
    /// The name of the queue to listen to.
    pub queue_name: String,
    /// What is done.
    pub handler: Arc<dyn Handler>,
    /// How many jobs at a time.
    pub slots: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// What every attempt shares.
struct Shared {
    jobs: Arc<dyn JobStore>,
    handler: Arc<dyn Handler>,
    life: Lifecycle,
    outcomes: Family<OutcomeLabels, Counter>,
}

impl Worker {
    /// Works until the life stops; jobs at hand are finished in tasks of `life`.
    pub async fn run(self, life: Lifecycle, metrics: &Metrics) {
        let step = self.handler.step();
        let shared = Arc::new(Shared {
            jobs: self.jobs,
            handler: self.handler,
            life: life.clone(),
            outcomes: metrics.register(
                &format!("{}_attempts", name(step)),
                "Attempts at this step of a job, by how they ended",
                Family::default(),
            ),
        });
        // From the start, so that an alert on a rise sees the first one.
        for outcome in attempt::OUTCOMES {
            drop(shared.outcomes.get_or_create(&OutcomeLabels { outcome }));
        }
        let slots = Arc::new(Semaphore::new(usize::from(self.slots.max(1))));
        let prefetch = self.slots.max(1);
        #[cfg(feature = "seeded-bugs")]
        let prefetch = seeded::prefetch(prefetch);
        let mut consumer = self.queue.consume(&self.queue_name, prefetch);
        let stopping = life.stopping();
        let mut poll_at = Instant::now();
        loop {
            let permit = tokio::select! {
                () = stopping.cancelled() => return,
                permit = Arc::clone(&slots).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            #[cfg(feature = "seeded-bugs")]
            if seeded::asks_nobody(step) {
                poll_at = Instant::now() + POLL;
            }
            if Instant::now() >= poll_at {
                // Never inside a `select!`: a claim whose future is dropped would be held by nobody.
                match shared.jobs.claim_due(step).await {
                    Ok(Some(claim)) => {
                        life.spawn(Arc::clone(&shared).work(claim, None, permit));
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(error = %domain::Chain(&error), "cannot ask for due jobs");
                    }
                }
                poll_at = Instant::now() + POLL;
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                delivery = consumer.next() => life.spawn(Arc::clone(&shared).take(delivery, permit)),
                () = tokio::time::sleep_until(poll_at) => {}
            }
        }
    }
}

impl Shared {
    /// Claims the job a delivery is about, and works on it.
    async fn take(self: Arc<Self>, delivery: Delivery, permit: OwnedSemaphorePermit) {
        let message = match &delivery.message {
            Ok(message) => message.clone(),
            Err(body) => {
                tracing::warn!(
                    length_bytes = body.len(),
                    "a message that cannot be read goes to the dead letters"
                );
                #[cfg(feature = "seeded-bugs")]
                if domain::seeded_bugs::is_on("nack-loop") {
                    return;
                }
                delivery.reject().await;
                return;
            }
        };
        let stopping = self.life.stopping();
        let claim = loop {
            let claim = async {
                let job = self.jobs.adopt(&message).await?;
                Ok::<_, PortError>((self.jobs.claim(self.handler.step(), job.id).await?, job))
            };
            match claim.await {
                #[cfg(feature = "seeded-bugs")]
                Ok((None, job)) if seeded::holds(self.handler.step(), &job) => {
                    if stopping
                        .run_until_cancelled(tokio::time::sleep(STORE_PAUSE))
                        .await
                        .is_none()
                    {
                        return;
                    }
                }
                Ok((claim, _)) => break claim,
                Err(error @ PortError::Corrupt { .. }) => {
                    let error = domain::Chain(&error).to_string();
                    tracing::error!(job.id = %message.video_fid, error, "a job's record cannot be read");
                    return delivery.ack().await;
                }
                // Unsettled, the message comes back; meanwhile there is nothing better to do than to wait.
                Err(error) => {
                    tracing::warn!(job.id = %message.video_fid, error = %domain::Chain(&error), "cannot claim a job");
                    tokio::select! {
                        () = stopping.cancelled() => return,
                        () = tokio::time::sleep(STORE_PAUSE) => {}
                    }
                }
            }
        };
        match claim {
            #[cfg(feature = "seeded-bugs")]
            Some(claim) if domain::seeded_bugs::is_on("ack-first") => {
                delivery.ack().await;
                self.work(claim, None, permit).await;
            }
            Some(claim) => self.work(claim, Some(delivery), permit).await,
            None => delivery.ack().await,
        }
    }

    async fn work(self: Arc<Self>, claim: Claim, delivery: Option<Delivery>, permit: OwnedSemaphorePermit) {
        let step = name(claim.step());
        let span = tracing::error_span!(
            "job",
            otel.kind = "consumer",
            step,
            job.id = %claim.job.id,
            fence = claim.fence,
            trace_id = Empty,
            outcome = Empty
        );
        trace::place(&span, claim.job.trace.as_ref());
        trace::rename(&span, step.to_owned());
        async {
            let outcome = attempt::run(&self, &claim).await;
            self.outcomes.get_or_create(&OutcomeLabels { outcome }).inc();
            Span::current().record("outcome", outcome);
            // What was given back undone is for the next process: unsettled, the message finds it.
            let given_back = matches!(outcome, "released" | "unknown");
            #[cfg(feature = "seeded-bugs")]
            let given_back = given_back || (outcome == "retry" && seeded::is_queue_driven(claim.step()));
            #[cfg(feature = "crashpoints")]
            if delivery.is_some() && crate::crashpoints::skips(step, "ack") {
                return;
            }
            if let Some(delivery) = delivery.filter(|_| !given_back) {
                delivery.ack().await;
            }
        }
        .instrument(span)
        .await;
        drop(permit);
    }
}

/// A step's name in metrics and logs.
const fn name(step: Step) -> &'static str {
    match step {
        Step::Convert => "convert",
        Step::Tell => "tell",
    }
}
