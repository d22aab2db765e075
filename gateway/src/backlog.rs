//! Measures what waits for the other services, so that somebody sees it when one of them is away or too slow.

use std::time::Duration;

use domain::{Announcement, PortError, Queue, Step};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use runtime::metrics::Metrics;

use crate::GatewayState;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(15);

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
        while !stopping.is_cancelled() {
            self.measure(&gateway).await;
            stopping.run_until_cancelled(tokio::time::sleep(PERIOD)).await;
        }
    }

    async fn look(&self, queue: &dyn Queue, labels: QueueLabels) {
        let depth = queue.depth(&labels.queue).await;
        set(&self.depth, &labels, depth.as_ref().copied());
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
            self.look(&**queue, labels).await;
            let dead = domain::dead_letter_queue(name);
            self.look(&**queue, QueueLabels { queue: dead }).await;
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
