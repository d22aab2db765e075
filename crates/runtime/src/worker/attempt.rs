//! One attempt at one claimed job.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::{Claim, JobStore, PortError, Settlement, Step};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Ending, Outcome, Shared};

/// How often the record is asked whether the owner cancelled the job, or somebody else ended it.
const ASK: Duration = Duration::from_millis(500);
/// How often progress that changed is written.
const PROGRESS: Duration = Duration::from_secs(2);
/// How often a claim is renewed; its lease lasts 30 seconds, and either call of the store ends within ten.
const RENEW: Duration = Duration::from_secs(8);
/// After this many attempts in a row that ended without a word the job is given up: it takes the worker down with it.
const MAX_LAPSES: u32 = 3;
/// The waits between tries to write how a claim ended; the last one is repeated.
const SETTLE_PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// What a handler sees of its surroundings while it works.
pub struct Context {
    cancelled: CancellationToken,
    lost: CancellationToken,
    progress: AtomicU32,
    jobs: Arc<dyn JobStore>,
    claim: Claim,
}

impl Context {
    /// Cancelled when the work must end undone: the claim is lost, or the process ends.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Records how much of the work is done, 0 to 1; written to the record within a few seconds.
    pub fn progress(&self, share: f32) {
        self.progress.store(share.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
    }

    /// Asks the store whether the claim is still held, and holds it for another 30 seconds: to be asked right before
    /// what cannot be taken back. False when it is lost; the work is cancelled then.
    ///
    /// # Errors
    /// The store is away: the claim may be lost.
    pub async fn still_held(&self) -> Result<bool, PortError> {
        let held = self.jobs.renew(&self.claim, None).await?;
        if !held {
            self.lose();
        }
        Ok(held)
    }

    fn lose(&self) {
        self.lost.cancel();
        self.cancelled.cancel();
    }

    fn share(&self) -> f32 {
        f32::from_bits(self.progress.load(Ordering::Relaxed))
    }
}

/// Handles a claim to its end and says how it ended, as a metric's label.
pub(super) async fn run(shared: &Shared, claim: &Claim) -> &'static str {
    let begun = Instant::now();
    let cancelled = shared.life.aborting().child_token();
    let context = Context {
        lost: CancellationToken::new(),
        cancelled,
        progress: AtomicU32::new(0),
        jobs: Arc::clone(&shared.jobs),
        claim: claim.clone(),
    };

    let settlement = if shared.life.stopping().is_cancelled() {
        // Claimed in the very moment the end began.
        Settlement::Released
    } else if claim.lapses >= MAX_LAPSES && claim.step() == Step::Convert {
        tracing::error!(
            lapses = claim.lapses,
            "gave up: the worker never came back from this job"
        );
        shared.handler.give_up()
    } else if !begin(&context).await {
        Settlement::Released
    } else {
        match handle(shared, claim, &context).await {
            Outcome::Settle(settlement) => settlement,
            // What fails while it is being cancelled failed because of that.
            Outcome::Trouble(_) if context.cancelled.is_cancelled() => Settlement::Released,
            Outcome::Trouble(error) => after_trouble(shared, claim, &*error),
            Outcome::Stopped => Settlement::Released,
        }
    };
    if context.lost.is_cancelled() {
        tracing::info!("lost the claim: the job was taken over or cancelled");
        shared.handler.settled(claim, &settlement, Ending::Lost).await;
        return "lost";
    }
    let ending = settle(shared, claim, &settlement, begun).await;
    shared.handler.settled(claim, &settlement, ending).await;
    match ending {
        Ending::Won => label(&settlement),
        Ending::Lost => "lost",
        Ending::Unknown => "unknown",
    }
}

/// Notes in the record that the work begins: should nothing more be heard of this worker, the job was why. False when
/// the claim is lost already.
async fn begin(context: &Context) -> bool {
    match context.still_held().await {
        Ok(held) => held,
        // The store may be slow; the fence decides.
        Err(error) => {
            tracing::warn!(error = %domain::Chain(&error), "cannot renew the claim");
            true
        }
    }
}

/// Runs the handler while the claim is renewed beside it.
async fn handle(shared: &Shared, claim: &Claim, context: &Context) -> Outcome {
    let work = AssertUnwindSafe(shared.handler.handle(claim, context)).catch_unwind();
    tokio::select! {
        outcome = work => outcome.unwrap_or_else(|_| Outcome::Trouble("the handler panicked".into())),
        never = hold(shared, claim, context) => match never {},
    }
}

/// Renews the claim for ever. When it is lost the handler is cancelled, and ends by itself.
async fn hold(shared: &Shared, claim: &Claim, context: &Context) -> std::convert::Infallible {
    let mut renewed_at = Instant::now();
    let mut written = 0.0_f32;
    loop {
        tokio::time::sleep(ASK).await;
        let share = context.share();
        let due = if (share - written).abs() < 0.01 {
            RENEW
        } else {
            PROGRESS
        };
        if renewed_at.elapsed() < due && stands(shared, claim).await {
            continue;
        }
        match shared.jobs.renew(claim, Some(share)).await {
            Ok(true) => {
                renewed_at = Instant::now();
                written = share;
            }
            Ok(false) => {
                context.lose();
                return std::future::pending().await;
            }
            // The lease may run out now; the fence then decides, and the work may still win.
            Err(error) => {
                tracing::warn!(error = %domain::Chain(&error), "cannot renew the claim");
                tokio::time::sleep(PROGRESS).await;
            }
        }
    }
}

/// Whether the job is still in the state it was claimed in, as far as is known: reading is cheaper than renewing.
async fn stands(shared: &Shared, claim: &Claim) -> bool {
    match shared.jobs.get(claim.job.id).await {
        Ok(job) => job.is_some_and(|job| job.state == claim.job.state),
        Err(_) => true,
    }
}

fn after_trouble(shared: &Shared, claim: &Claim, error: &(dyn std::error::Error + 'static)) -> Settlement {
    let failures = usize::try_from(claim.failures).unwrap_or(usize::MAX);
    match shared.handler.retry_delays().get(failures) {
        Some(delay) => {
            tracing::warn!(
                error = %domain::Chain(error),
                failures = failures + 1,
                retry_in_seconds = delay.as_secs(),
                "trouble of our own"
            );
            Settlement::Retry(*delay)
        }
        None => {
            tracing::error!(error = %domain::Chain(error), failures = failures + 1, "gave up");
            shared.handler.give_up()
        }
    }
}

/// Writes the end of a claim.
async fn settle(shared: &Shared, claim: &Claim, settlement: &Settlement, begun: Instant) -> Ending {
    let mut pauses = SETTLE_PAUSES.into_iter();
    let aborting = shared.life.aborting();
    loop {
        match shared.jobs.settle(claim, settlement.clone()).await {
            Ok(won) => {
                let took_seconds = begun.elapsed().as_secs_f64();
                tracing::info!(won, outcome = label(settlement), took_seconds, "settled");
                return if won { Ending::Won } else { Ending::Lost };
            }
            Err(error) if aborting.is_cancelled() => {
                tracing::error!(error = %domain::Chain(&error), "cannot settle the claim");
                return Ending::Unknown;
            }
            // However long it takes: work that is done must not be done again, and the fence keeps it from being
            // settled twice.
            Err(error) => {
                tracing::warn!(error = %domain::Chain(&error), "cannot settle the claim yet");
                let pause = pauses.next().unwrap_or(SETTLE_PAUSES[SETTLE_PAUSES.len() - 1]);
                aborting.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
        }
    }
}

/// Every outcome that [`run`] names.
pub(super) const OUTCOMES: [&str; 9] = [
    "converted",
    "failed",
    "dead",
    "told",
    "in_doubt",
    "retry",
    "released",
    "lost",
    "unknown",
];

const fn label(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Converted(_) | Settlement::ConvertedForGood(_) => "converted",
        Settlement::Failed(_) => "failed",
        Settlement::Dead(_) => "dead",
        Settlement::Told => "told",
        Settlement::InDoubt => "in_doubt",
        Settlement::Retry(_) => "retry",
        Settlement::Released => "released",
    }
}
