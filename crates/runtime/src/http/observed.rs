//! What is seen of each request from outside its handler: one line in the log, and the three figures of RED (rate, errors,
//! duration).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tracing::Instrument as _;

use crate::metrics::Metrics;

/// Seconds; an upload takes as long as its client sends.
const BUCKETS: [f64; 10] = [0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0, 1200.0];
/// The routes that are asked all the time and are worth a line only to whoever wants to see it.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// What a port counts of its requests. Clones share it.
#[derive(Clone)]
pub struct Requests {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: Arc<str>,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: Arc<str>,
}

impl Requests {
    /// Counts `mp3_http_requests_total` and `mp3_http_request_duration_seconds` in `metrics`.
    pub fn counted_in(metrics: &Metrics) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self {
            requests: metrics.register(
                "http_requests",
                "Requests by route and answer; an unknown route is `none`",
                Family::default(),
            ),
            seconds: metrics.register(
                "http_request_duration_seconds",
                "From the end of a request's head to the beginning of its answer",
                Family::new_with_constructor(seconds),
            ),
        }
    }

    /// Lays itself around every route that `router` has so far.
    pub fn observe(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, observe))
    }

    fn answered(&self, method: &'static str, route: Arc<str>, status: u16, took: Duration) {
        let labels = RouteLabels {
            method,
            route: Arc::clone(&route),
        };
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels { method, route, status })
            .inc();
    }
}

async fn observe(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // The pattern, not what was asked: what clients make up must not become names of time series.
    let matched = request.extensions().get::<MatchedPath>();
    let route: Arc<str> = matched.map_or("none", MatchedPath::as_str).into();
    let span = tracing::info_span!("http.request", %method, path);
    let response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if PROBES.contains(&path.as_str()) {
            tracing::debug!(status, elapsed_ms, "answered");
        } else {
            tracing::info!(status, elapsed_ms, "answered");
        }
    });
    requests.answered(name(&method), route, status, took);
    response
}

/// The method as a label: of those that anybody may make up, there is one.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    async fn counted(method: &str, paths: &[&str]) -> String {
        let metrics = Metrics::default();
        let router = Router::new().route("/jobs/{id}", get(|| async { "a job" }));
        let router = Requests::counted_in(&metrics).observe(router.fallback(|| async { "nothing" }));
        for path in paths {
            let request = Request::builder()
                .method(method)
                .uri(*path)
                .body(Body::empty())
                .unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        metrics.encode()
    }

    #[tokio::test]
    async fn requests_are_counted_by_the_pattern_of_their_route() {
        let text = counted("GET", &["/jobs/1", "/jobs/2"]).await;
        let expected = r#"mp3_http_requests_total{method="GET",route="/jobs/{id}",status="200"} 2"#;
        assert!(text.contains(expected), "{text}");
        let expected = r#"mp3_http_request_duration_seconds_count{method="GET",route="/jobs/{id}"} 2"#;
        assert!(text.contains(expected), "{text}");
    }

    #[tokio::test]
    async fn what_clients_make_up_does_not_become_a_label() {
        let text = counted("FROB", &["/a", "/b", "/c"]).await;
        let expected = r#"mp3_http_requests_total{method="other",route="none",status="200"} 3"#;
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("FROB"), "{text}");
    }
}
