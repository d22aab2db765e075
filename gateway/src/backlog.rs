//! Measures what waits for the other services, so that somebody sees it when one of them is away or too slow.

use std::time::{Duration, Instant};

use domain::{Announcement, PortError, Step};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use runtime::metrics::Metrics;

use crate::GatewayState;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(15);
/// How long it leaves dead letters alone that could not be asked for: a queue that was made by hand has none, and the
/// broker logs every question as an error.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// What waits, as it was when last looked at; what could not be asked has no value. Clones share it.
#[derive(Clone)]
pub(crate) struct BacklogGauges {
    due: Family<StepLabels, Gauge>,
    oldest: Family<StepLabels, Gauge>,
    unannounced: Family<QueueLabels, Gauge>,
    depth: Family<QueueLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

impl BacklogGauges {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            due: metrics.register(
                "due_jobs",
                "Jobs whose step may run now and that nobody is at",
                Family::default(),
            ),
            oldest: metrics.register(
                "oldest_due_job_seconds",
                "The age of the oldest of these, from its creation; 0 where there is none",
                Family::default(),
            ),
            unannounced: metrics.register(
                "unannounced_jobs",
                "Jobs whose message no broker has confirmed yet",
                Family::default(),
            ),
            depth: metrics.register(
                "queue_messages",
                "Messages that wait in a queue, or lie among its dead letters",
                Family::default(),
            ),
        }
    }

    /// Looks every few seconds until the life stops.
    pub(crate) async fn run(self, gateway: GatewayState) {
        let stopping = gateway.life.stopping();
        let mut dead_letters_at = Instant::now();
        while !stopping.is_cancelled() {
            self.measure(&gateway).await;
            if Instant::now() >= dead_letters_at && !self.measure_dead_letters(&gateway).await {
                dead_letters_at = Instant::now() + PAUSE;
            }
            stopping.run_until_cancelled(tokio::time::sleep(PERIOD)).await;
        }
    }

    /// Whether all could be asked for.
    async fn measure_dead_letters(&self, gateway: &GatewayState) -> bool {
        let settings = &gateway.settings;
        let names = [&settings.video_queue, &settings.mp3_queue].map(|name| domain::dead_letter_queue(name));
        let mut could_ask = true;
        for queue in names {
            let depth = gateway.queue.depth(&queue).await;
            could_ask &= depth.is_ok();
            set(&self.depth, &QueueLabels { queue }, depth.as_ref().copied());
        }
        could_ask
    }

    async fn measure(&self, gateway: &GatewayState) {
        let (jobs, queue, settings) = (&gateway.jobs, &gateway.queue, &gateway.settings);
        for (step, name) in [(Step::Convert, "convert"), (Step::Tell, "tell")] {
            let labels = StepLabels { step: name };
            let backlog = jobs.backlog(step).await;
            let oldest = |backlog: &domain::Backlog| backlog.oldest.unwrap_or_default().as_secs();
            set(&self.due, &labels, backlog.as_ref().map(|backlog| backlog.due));
            set(&self.oldest, &labels, backlog.as_ref().map(oldest));
        }
        for (announcement, name) in [
            (Announcement::Video, &settings.video_queue),
            (Announcement::Mp3, &settings.mp3_queue),
        ] {
            let labels = QueueLabels { queue: name.clone() };
            set(
                &self.unannounced,
                &labels,
                jobs.unannounced(announcement).await.as_ref().copied(),
            );
            set(&self.depth, &labels, queue.depth(name).await.as_ref().copied());
        }
    }
}

/// Sets a gauge, or takes it away: an old value would look like a good one.
fn set<L>(family: &Family<L, Gauge>, labels: &L, value: Result<u64, &PortError>)
where
    L: Clone + std::hash::Hash + Eq,
{
    match value {
        Ok(value) => {
            family
                .get_or_create(labels)
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        Err(error) => {
            tracing::debug!(error = %domain::Chain(error), "cannot measure what waits");
            family.remove(labels);
        }
    }
}
