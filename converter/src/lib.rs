//! The converter service: takes videos from the queue, puts MP3s into the store, and says so on the next queue.
//!
//! ```text
//! claim -> BlobStore.read(video) at need -> media::convert in a child process -> BlobStore.put(mp3)
//!       -> job done -> publish "mp3"
//! ```

mod bridge;
mod children;
mod handler;
mod reader;
mod settings;
mod speed;

use std::sync::Arc;

use domain::{Announcement, BlobStore, JobStore, Queue};
use runtime::metrics::Metrics;
use runtime::probes::{Readiness, of};
use runtime::worker::Worker;
use runtime::{Announcer, Lifecycle};

pub use children::Children;
pub use handler::{ConvertHandler, DeleteSource, media_settings, note};
pub use settings::{ConversionSettings, Settings};

/// What the converter stands on.
#[derive(Clone)]
pub struct Converter {
    /// Where videos come from and MP3s go to.
    pub blobs: Arc<dyn BlobStore>,
    /// The job records.
    pub jobs: Arc<dyn JobStore>,
    /// Who wakes it, and whom it wakes.
    pub queue: Arc<dyn Queue>,
    /// Where it converts.
    pub children: Children,
    /// The name of the queue that carries uploaded videos.
    pub video_queue: String,
    /// The name of the queue that carries finished MP3s.
    pub mp3_queue: String,
    /// The rest.
    pub settings: ConversionSettings,
}

impl Converter {
    /// Starts the worker and the announcer of finished MP3s on `life`.
    pub fn start(self, life: &Lifecycle, metrics: &Metrics) {
        #[cfg(feature = "crashpoints")]
        let converter = self.with_crash_points();
        #[cfg(not(feature = "crashpoints"))]
        let converter = self;
        converter.start_worker(life, metrics);
    }

    #[cfg(feature = "crashpoints")]
    fn with_crash_points(self) -> Self {
        use runtime::crashpoints;
        Self {
            blobs: crashpoints::blobs("converter", self.blobs),
            jobs: crashpoints::jobs("converter", self.jobs),
            queue: crashpoints::queue("converter", self.queue),
            ..self
        }
    }

    fn start_worker(self, life: &Lifecycle, metrics: &Metrics) {
        let announcer = Announcer {
            jobs: Arc::clone(&self.jobs),
            queue: Arc::clone(&self.queue),
            queue_name: self.mp3_queue,
            announcement: Announcement::Mp3,
            life: life.clone(),
        };
        let handler = ConvertHandler::new(
            self.blobs,
            self.children.clone(),
            self.settings.threads_of_a_job(),
            announcer.clone(),
            self.settings.delete_source,
            metrics,
        );
        let worker = Worker {
            jobs: self.jobs,
            queue: self.queue,
            queue_name: self.video_queue,
            handler: Arc::new(handler),
            slots: self.settings.jobs,
        };
        self.children.prepare();
        let children = self.children;
        let stopping = life.stopping();
        life.spawn(async move {
            stopping.cancelled().await;
            let closed = tokio::task::spawn_blocking(move || children.close()).await;
            if let Err(error) = closed {
                tracing::warn!(%error, "cannot end the children that wait");
            }
        });
        let metrics = metrics.clone();
        life.spawn(announcer.run());
        let worker_life = life.clone();
        life.spawn(async move { worker.run(worker_life, &metrics).await });
    }

    /// Of use unless the job store is away.
    pub fn readiness(&self) -> Readiness {
        let (jobs, queue) = (Arc::clone(&self.jobs), Arc::clone(&self.queue));
        let readiness = Readiness::new()
            .by_way_of("job store", move || jobs.pool())
            .by_way_of("broker", move || queue.pool())
            .requires("job store", of(&self.jobs, async |jobs| jobs.ping().await))
            .degraded_by("blob store", of(&self.blobs, async |blobs| blobs.ping().await))
            .degraded_by("broker", of(&self.queue, async |queue| queue.ping().await));
        self.children.add_to(readiness)
    }
}
