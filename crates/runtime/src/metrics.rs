//! The process's metrics, in OpenMetrics text.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// The metrics of one process: what parts of it registered, under names that begin with `mp3_`. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("mp3"))),
        }
    }
}

impl Metrics {
    /// None so far but `mp3_build_info`, which names the version.
    pub fn of_this_build() -> Self {
        let metrics = Self::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let mut registry = metrics.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register("build", "What runs here", version);
        drop(registry);
        metrics
    }

    /// Adds a metric under `mp3_{name}` and hands it back for use. A counter's `_total` is added by the format.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }

    /// Everything, as a scraper reads it.
    ///
    /// Source: OpenMetrics 1.0, `application/openmetrics-text`.
    pub fn encode(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _infallible = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn a_registered_counter_is_exported_with_the_prefix() {
        let metrics = Metrics::default();
        let counter: Counter = metrics.register("jobs", "Jobs", Counter::default());
        counter.inc();
        assert!(metrics.encode().contains("mp3_jobs_total 1"));
    }
}
