//! The notification service: tells owners by mail what became of their uploads.
//!
//! ```text
//! "mp3" or the job store -> claim (job, kind of news) -> message -> Mailer -> told
//! ```
//!
//! Successes arrive on the queue; failures are found in the job store. Each mail has a Message-ID made of the job and
//! the kind of news, so a copy sent after a crash is recognised as one.

mod handler;
mod mailer;
mod message;
mod settings;
mod smtp;

use std::sync::Arc;
use std::time::Duration;

use domain::{BlobStore, JobStore, Queue, VerdictKind};
use runtime::Lifecycle;
use runtime::metrics::Metrics;
use runtime::probes::{Readiness, of};
use runtime::worker::Worker;

pub use handler::NotifyHandler;
pub use mailer::{Mailer, MailerError, Outbox, SendError, SmtpLogin};
pub use message::{Letterhead, Undeliverable};
pub use settings::{MailSettings, Settings};
pub use smtp::SmtpServer;

/// How many mails are sent at a time.
const SLOTS: u16 = 4;

/// How long a mail is owed that nobody tried to send before a new start lets it go, if its job ended while no
/// notification of ours was at work. While a foreign one stood in it took the messages about finished MP3s and told
/// their owners, which the records cannot know; had no one stood in, the messages would be waiting in the queue, and
/// each brings its mail back. Nobody else tells of failures, but after this time they are no news.
const LET_GO_AFTER: [(VerdictKind, Duration); 3] = [
    (VerdictKind::Done, Duration::from_secs(24 * 60 * 60)),
    (VerdictKind::Failed, Duration::from_secs(30 * 24 * 60 * 60)),
    (VerdictKind::Dead, Duration::from_secs(30 * 24 * 60 * 60)),
];
/// How often it is noted that this notification is at work: twice while one such note holds.
const IN_CHARGE: Duration = Duration::from_secs(10);
/// How long to wait after the job store did not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What the notification stands on.
#[derive(Clone)]
pub struct Notification {
    /// The job records.
    pub jobs: Arc<dyn JobStore>,
    /// Asked for the size of an MP3 that a foreign converter made.
    pub blobs: Arc<dyn BlobStore>,
    /// Who wakes it.
    pub queue: Arc<dyn Queue>,
    /// The name of the queue that carries finished MP3s.
    pub mp3_queue: String,
    /// Another notification may have been in this one's place: the queue is not of this process alone.
    pub others_may_tell: bool,
    /// Who delivers.
    pub mailer: Mailer,
    /// What every mail begins with.
    pub letterhead: Letterhead,
}

impl Notification {
    /// Starts the worker on `life`, once the mails are let go that another notification has sent.
    pub fn start(self, life: &Lifecycle, metrics: &Metrics) {
        #[cfg(feature = "crashpoints")]
        let jobs = runtime::crashpoints::jobs("notification", self.jobs);
        #[cfg(not(feature = "crashpoints"))]
        let jobs = self.jobs;
        let others = self.others_may_tell.then(|| Arc::clone(&jobs));
        let worker = Worker {
            jobs,
            queue: self.queue,
            queue_name: self.mp3_queue,
            handler: Arc::new(NotifyHandler::new(self.blobs, self.mailer, self.letterhead, metrics)),
            slots: SLOTS,
        };
        let (worker_life, metrics) = (life.clone(), metrics.clone());
        life.spawn(async move {
            let Some(jobs) = others else {
                return worker.run(worker_life, &metrics).await;
            };
            let stopping = worker_life.stopping();
            if stopping.run_until_cancelled(let_old_mails_go(&*jobs)).await.is_some() {
                let in_charge = stopping.run_until_cancelled(stay_in_charge(&*jobs));
                tokio::join!(worker.run(worker_life, &metrics), in_charge);
            }
        });
    }

    /// Of use unless the job store is away.
    pub fn readiness(&self) -> Readiness {
        let jobs = Arc::clone(&self.jobs);
        Readiness::new()
            .by_way_of("job store", move || jobs.pool())
            .requires("job store", of(&self.jobs, async |jobs| jobs.ping().await))
            .degraded_by("broker", of(&self.queue, async |queue| queue.ping().await))
    }
}

/// Notes for ever that a notification of ours is at work: the next start lets no mail go that is owed from now on.
async fn stay_in_charge(jobs: &dyn JobStore) {
    loop {
        if let Err(error) = jobs.take_charge_of_mails().await {
            tracing::warn!(error = %domain::Chain(&error), "cannot note yet that mails are told from here");
        }
        tokio::time::sleep(IN_CHARGE).await;
    }
}

/// Lets old mails go, however long the job store is away: the worker would send them all.
async fn let_old_mails_go(jobs: &dyn JobStore) {
    for (kind, older_than) in LET_GO_AFTER {
        loop {
            match jobs.let_mails_go(kind, older_than).await {
                Ok(0) => break,
                Ok(mails) => {
                    tracing::warn!(
                        mails,
                        kind = kind.as_str(),
                        "mails owed for long are not sent: another notification stood in, or this one was away"
                    );
                    break;
                }
                Err(error) => {
                    tracing::warn!(error = %domain::Chain(&error), "cannot look for old mails yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }
}
