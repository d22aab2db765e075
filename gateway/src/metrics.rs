//! What the gateway counts.

use domain::Space;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use runtime::metrics::Metrics;

/// An upload that was taken.
pub(crate) const TAKEN: &str = "taken";
/// An upload that was taken before.
pub(crate) const REPEATED: &str = "repeated";
/// A login that got its token.
pub(crate) const TOKEN: &str = "token";
/// A login without credentials.
pub(crate) const MISSING: &str = "missing";
/// A login too many.
pub(crate) const HELD_UP: &str = "held_up";
/// An upload or login that was its sender's fault.
pub(crate) const REFUSED: &str = "refused";
/// An upload or login that failed for a reason of ours.
pub(crate) const OUR_TROUBLE: &str = "our_trouble";

/// The gateway's own metrics; clones share them.
#[derive(Clone)]
pub(crate) struct GatewayMetrics {
    /// Uploads by how they ended.
    uploads: Family<OutcomeLabels, Counter>,
    /// Logins by how they ended.
    logins: Family<OutcomeLabels, Counter>,
    /// Bytes of uploads that were taken.
    pub(crate) upload_bytes: Counter,
    /// Bytes of MP3s that were sent.
    pub(crate) download_bytes: Counter,
    /// Files the janitor deleted.
    pub(crate) janitor_deleted: Counter,
    /// Files the janitor would delete and waits to be told.
    pub(crate) janitor_waiting: Gauge,
    /// The space of the blob store, in bytes.
    store_size: Gauge,
    /// What of it is free.
    store_free: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl GatewayMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let gateway = Self {
            uploads: metrics.register("uploads", "Uploads by how they ended", Family::default()),
            logins: metrics.register("logins", "Logins by how they ended", Family::default()),
            upload_bytes: metrics.register("upload_bytes", "Bytes of uploads that were taken", Counter::default()),
            download_bytes: metrics.register("download_bytes", "Bytes of MP3s that were sent", Counter::default()),
            janitor_deleted: metrics.register("janitor_deleted", "Files the janitor deleted", Counter::default()),
            janitor_waiting: metrics.register(
                "janitor_waiting",
                "Files the janitor holds back until `gateway janitor --confirm`",
                Gauge::default(),
            ),
            store_size: metrics.register(
                "store_size_bytes",
                "The space of the blob store; 0 where it does not say",
                Gauge::default(),
            ),
            store_free: metrics.register("store_free_bytes", "What of that is free", Gauge::default()),
        };
        // From the start, so that an alert on a rise sees the first one.
        for outcome in [TAKEN, REPEATED, REFUSED, OUR_TROUBLE] {
            drop(gateway.uploads.get_or_create(&OutcomeLabels { outcome }));
        }
        for outcome in [TOKEN, MISSING, REFUSED, HELD_UP, OUR_TROUBLE] {
            drop(gateway.logins.get_or_create(&OutcomeLabels { outcome }));
        }
        gateway
    }

    pub(crate) fn space(&self, space: Space) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.store_size.set(bytes(space.total_bytes));
        self.store_free.set(bytes(space.free_bytes));
    }

    pub(crate) fn upload_ended(&self, outcome: &'static str) {
        self.uploads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn login_ended(&self, outcome: &'static str) {
        self.logins.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}
