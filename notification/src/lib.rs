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

use domain::{BlobStore, JobStore, Queue};
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
    /// Who delivers.
    pub mailer: Mailer,
    /// What every mail begins with.
    pub letterhead: Letterhead,
}

impl Notification {
    /// Starts the worker on `life`.
    pub fn start(self, life: &Lifecycle, metrics: &Metrics) {
        let worker = Worker {
            jobs: self.jobs,
            queue: self.queue,
            queue_name: self.mp3_queue,
            handler: Arc::new(NotifyHandler::new(self.blobs, self.mailer, self.letterhead, metrics)),
            slots: SLOTS,
        };
        let (worker_life, metrics) = (life.clone(), metrics.clone());
        life.spawn(async move { worker.run(worker_life, &metrics).await });
    }

    /// Of use unless the job store is away.
    pub fn readiness(&self) -> Readiness {
        Readiness::new()
            .requires("job store", of(&self.jobs, async |jobs| jobs.ping().await))
            .degraded_by("broker", of(&self.queue, async |queue| queue.ping().await))
    }
}
