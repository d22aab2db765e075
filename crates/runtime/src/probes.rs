//! `/healthz`, `/readyz` and `/metrics`.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::{Pool, PortError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::{Lifecycle, http};

/// What [`Report::checks`] says of a dependency that is as it should be.
const OK: &str = "ok";

type PoolCheck = Box<dyn Fn() -> Option<Pool> + Send + Sync>;
type Check = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), PortError>> + Send>> + Send + Sync>;

/// How long an answer is used again, so that probes cost the servers behind us nothing.
const FRESH: Duration = Duration::from_secs(1);
/// How long a check may take before its dependency counts as away.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a service needs to be of use.
///
/// *Required*: without it every request of the service would fail; `/readyz` turns red. *Degrading*: without it the
/// service goes on; it is shown under `?verbose`.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Kind, Check)>,
    pools: Vec<(&'static str, PoolCheck)>,
    last: Mutex<Option<(Instant, Report)>>,
    stopping: CancellationToken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Required,
    Degrading,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DependencyLabels {
    dependency: &'static str,
}

/// A check of [`Readiness`] that asks a port: `of(&self.jobs, async |jobs| jobs.ping().await)`.
pub fn of<P, F, R>(port: &Arc<P>, ping: F) -> impl Fn() -> R + use<P, F, R>
where
    P: ?Sized,
    F: Fn(Arc<P>) -> R,
{
    let port = Arc::clone(port);
    move || ping(Arc::clone(&port))
}

/// The answer of `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the service is of use; false while it stops.
    pub ready: bool,
    /// Whether anything is away.
    pub degraded: bool,
    /// `ok`, `full` or `away` by dependency.
    pub checks: BTreeMap<&'static str, &'static str>,
}

impl Readiness {
    /// Needs nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a dependency without which every request fails.
    #[must_use]
    pub fn requires<F, R>(self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), PortError>> + Send + 'static,
    {
        self.with(name, Kind::Required, check)
    }

    /// Adds a dependency without which the service goes on.
    #[must_use]
    pub fn degraded_by<F, R>(self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), PortError>> + Send + 'static,
    {
        self.with(name, Kind::Degrading, check)
    }

    /// Adds a way to a dependency whose use is exported.
    #[must_use]
    pub fn by_way_of(mut self, name: &'static str, pool: impl Fn() -> Option<Pool> + Send + Sync + 'static) -> Self {
        self.pools.push((name, Box::new(pool)));
        self
    }

    fn with<F, R>(mut self, name: &'static str, kind: Kind, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), PortError>> + Send + 'static,
    {
        self.checks.push((name, kind, Box::new(move || Box::pin(check()))));
        self
    }

    /// Is of use only until `stopping` is cancelled: whoever sends requests is to send them elsewhere then.
    #[must_use]
    pub fn until(self, stopping: CancellationToken) -> Self {
        Self { stopping, ..self }
    }

    /// Checks everything, or repeats an answer younger than a second.
    pub async fn report(&self) -> Report {
        let mut report = self.found().await;
        report.ready &= !self.stopping.is_cancelled();
        report
    }

    async fn found(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let report = self.check().await;
        *last = Some((Instant::now(), report.clone()));
        report
    }

    async fn check(&self) -> Report {
        let answers = self.checks.iter().map(|(name, kind, check)| {
            // In a task of its own: a check that is given up must not be cancelled half-way.
            let answer = tokio::spawn(check());
            async move {
                let found = match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(Ok(Ok(()))) => OK,
                    Ok(Ok(Err(PortError::Full { .. }))) => "full",
                    _ => "away",
                };
                (*name, *kind, found)
            }
        });
        let answers = futures_util::future::join_all(answers).await;
        Report {
            ready: answers
                .iter()
                .all(|(_, kind, found)| *found == OK || *kind == Kind::Degrading),
            degraded: answers.iter().any(|(_, _, found)| *found != OK),
            checks: answers.into_iter().map(|(name, _, found)| (name, found)).collect(),
        }
    }
}

/// `/healthz` (the process is alive) and `/readyz` (it is of use), as text; `/readyz?verbose` says what is away.
pub fn router(readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness)
}

/// What the operations port serves: the two probes and `/metrics`.
pub fn operations_router(readiness: Arc<Readiness>, metrics: Metrics) -> Router {
    let dependencies = metrics.register(
        "dependency_up",
        "Whether what the service needs answers and is not full: 1 or 0",
        Family::<DependencyLabels, Gauge>::default(),
    );
    let places = metrics.register(
        "pool_places",
        "How many calls to what the service needs there may be at a time",
        Family::<DependencyLabels, Gauge>::default(),
    );
    let busy = metrics.register(
        "pool_busy",
        "How many calls to what the service needs are under way",
        Family::<DependencyLabels, Gauge>::default(),
    );
    let checked = Arc::clone(&readiness);
    let scrape = get(move || async move {
        for (dependency, state) in checked.report().await.checks {
            dependencies
                .get_or_create(&DependencyLabels { dependency })
                .set(i64::from(state == OK));
        }
        for (dependency, pool) in &checked.pools {
            let Some(pool) = pool() else { continue };
            let labels = DependencyLabels { dependency };
            let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
            places.get_or_create(&labels).set(gauge(pool.places));
            busy.get_or_create(&labels).set(gauge(pool.busy));
        }
        (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            metrics.encode(),
        )
    });
    router(readiness).route("/metrics", scrape)
}

/// Serves the operations port and says where it is open. It stays open until `life` has ended, so that the end can be
/// watched, and says from its beginning that the service is not ready.
///
/// # Errors
/// The address cannot be listened to.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    metrics: Metrics,
    life: &Lifecycle,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "operations port is open");
    let router = operations_router(Arc::new(readiness.until(life.stopping())), metrics);
    // No task of the life, which would wait for it.
    let own_life = Lifecycle::new();
    let ended = life.ended();
    tokio::spawn(async move {
        own_life.spawn(http::serve(listener, router, own_life.clone()));
        ended.cancelled().await;
        own_life.shut_down(Duration::ZERO).await;
    });
    Ok(address)
}

async fn readyz(State(readiness): State<Arc<Readiness>>, RawQuery(query): RawQuery) -> Response {
    let report = readiness.report().await;
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let verbose = query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    if verbose {
        return (status, Json(report)).into_response();
    }
    (status, if report.ready { "ready\n" } else { "not ready\n" }).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Result<(), PortError> {
        Err(PortError::unavailable("ping", "connection refused"))
    }

    #[tokio::test]
    async fn a_required_dependency_that_is_away_makes_it_not_ready() {
        let readiness = Readiness::new()
            .requires("job store", async || away())
            .degraded_by("broker", async || Ok(()));
        let report = readiness.report().await;
        assert!(!report.ready && report.degraded);
        assert_eq!(report.checks["job store"], "away");
    }

    #[tokio::test]
    async fn what_is_full_is_not_said_to_be_away() {
        let readiness = Readiness::new().degraded_by("space", async || {
            Err(PortError::Full {
                operation: "begin an upload".into(),
            })
        });
        let report = readiness.report().await;
        assert!(report.ready && report.degraded);
        assert_eq!(report.checks["space"], "full");
    }

    #[tokio::test]
    async fn the_operations_port_says_not_ready_while_the_service_stops_and_closes_at_its_end() {
        let life = Lifecycle::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = serve(address, Readiness::new(), Metrics::default(), &life)
            .await
            .unwrap();
        let ask = async |path: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
                .await
                .unwrap();
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
                .await
                .unwrap();
            answer[9..12].to_owned()
        };
        assert_eq!(ask("/readyz").await, "200");
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        life.spawn(async move { finished.await.unwrap() });
        life.stop();
        assert_eq!(ask("/readyz").await, "503");
        assert_eq!(ask("/healthz").await, "200");
        assert_eq!(ask("/metrics").await, "200");
        finish.send(()).unwrap();
        life.shut_down(Duration::from_secs(60)).await;
        testkit::until("the port is closed", async || {
            tokio::net::TcpStream::connect(address).await.err()
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_away_or_busy_shows_in_the_metrics() {
        let readiness = Readiness::new()
            .by_way_of("job store", || Some(Pool { places: 256, busy: 7 }))
            .by_way_of("broker", || None)
            .requires("job store", async || Ok(()))
            .degraded_by("broker", async || away());
        let router = operations_router(Arc::new(readiness), Metrics::default());
        let request = axum::http::Request::get("/metrics")
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        for line in [
            "mp3_dependency_up{dependency=\"broker\"} 0",
            "mp3_dependency_up{dependency=\"job store\"} 1",
            "mp3_pool_places{dependency=\"job store\"} 256",
            "mp3_pool_busy{dependency=\"job store\"} 7",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("mp3_pool_busy{dependency=\"broker\"}"), "{text}");
    }

    #[tokio::test]
    async fn a_broker_that_is_away_only_degrades() {
        let readiness = Readiness::new()
            .requires("job store", async || Ok(()))
            .degraded_by("broker", async || away());
        let report = readiness.report().await;
        assert!(report.ready && report.degraded);
    }
}
