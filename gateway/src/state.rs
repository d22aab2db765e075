//! What the gateway stands on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Announcement, Authenticator, BlobStore, Fid, JobStore, Queue};
use runtime::http::Requests;
use runtime::metrics::Metrics;
use runtime::probes::{Readiness, of};
use runtime::{Announcer, Lifecycle};

use crate::backlog::BacklogGauges;
use crate::janitor::Janitor;
use crate::logins::Logins;
use crate::metrics::GatewayMetrics;
use crate::space::SpaceGuard;
use crate::{GatewaySettings, lapsed};

/// The most files whose refusal is remembered.
const MAX_REMEMBERED: usize = 1000;

/// The outside of the gateway.
#[derive(Clone)]
pub struct Ports {
    /// Who judges credentials and tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// Where videos go to and MP3s come from.
    pub blobs: Arc<dyn BlobStore>,
    /// The job records.
    pub jobs: Arc<dyn JobStore>,
    /// Who wakes the converter.
    pub queue: Arc<dyn Queue>,
}

#[cfg(feature = "crashpoints")]
impl Ports {
    fn with_crash_points(self) -> Self {
        use runtime::crashpoints;
        Self {
            blobs: crashpoints::blobs("gateway", self.blobs),
            jobs: crashpoints::jobs("gateway", self.jobs),
            queue: crashpoints::queue("gateway", self.queue),
            ..self
        }
    }
}

/// What every request and every task of the gateway shares. Clones share it.
#[derive(Clone)]
pub struct GatewayState {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) jobs: Arc<dyn JobStore>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) logins: Arc<Logins>,
    pub(crate) space: Arc<SpaceGuard>,
    pub(crate) life: Lifecycle,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) requests: Requests,
    backlog: BacklogGauges,
    refused: Arc<Mutex<HashSet<Fid>>>,
}

impl GatewayState {
    /// A gateway on these ports. Uploads and announcements run in tasks of `life`.
    pub fn new(ports: Ports, settings: GatewaySettings, life: Lifecycle, metrics: &Metrics) -> Self {
        #[cfg(feature = "crashpoints")]
        let ports = ports.with_crash_points();
        let requests = Requests::counted_in(metrics);
        let backlog = BacklogGauges::new(metrics);
        let metrics = GatewayMetrics::new(metrics);
        let space = SpaceGuard::new(Arc::clone(&ports.blobs), settings.min_free_percent, metrics.clone());
        Self {
            authenticator: ports.authenticator,
            blobs: ports.blobs,
            jobs: ports.jobs,
            queue: ports.queue,
            logins: Arc::new(Logins::new(&settings.logins)),
            space: Arc::new(space),
            settings: Arc::new(settings),
            life,
            metrics,
            requests,
            backlog,
            refused: Arc::default(),
        }
    }

    /// Starts what the gateway does without being asked: announcing, ending lapsed uploads, the janitor, and measuring
    /// what waits.
    pub fn start(&self) {
        self.life.spawn(self.announcer().run());
        self.life.spawn(lapsed::run(self.clone()));
        self.life.spawn(Janitor::of(self).run(self.life.clone()));
        self.life.spawn(self.backlog.clone().run(self.clone()));
    }

    /// Of use unless the job store or the blob store is away.
    pub fn readiness(&self) -> Readiness {
        let (jobs, queue) = (Arc::clone(&self.jobs), Arc::clone(&self.queue));
        Readiness::new()
            .by_way_of("job store", move || jobs.pool())
            .by_way_of("broker", move || queue.pool())
            .requires("job store", of(&self.jobs, async |jobs| jobs.ping().await))
            .requires("blob store", of(&self.blobs, async |blobs| blobs.ping().await))
            .degraded_by("space", of(&self.space, async |space| space.check().await))
            .degraded_by("broker", of(&self.queue, async |queue| queue.ping().await))
            .degraded_by(
                "auth",
                of(&self.authenticator, async |authenticator| authenticator.ping().await),
            )
    }

    /// Whether this is the first refusal of that file, as far as is remembered.
    pub(crate) fn refused_for_the_first_time(&self, fid: Fid) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MAX_REMEMBERED {
            refused.clear();
        }
        refused.insert(fid)
    }

    pub(crate) fn announcer(&self) -> Announcer {
        Announcer {
            jobs: Arc::clone(&self.jobs),
            queue: Arc::clone(&self.queue),
            queue_name: self.settings.video_queue.clone(),
            announcement: Announcement::Video,
            life: self.life.clone(),
        }
    }
}
