//! What is seen of each request from outside its handler: its place in a trace, one line in the log, and the three
//! figures of RED (rate, errors, duration).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use domain::TraceParent;
use opentelemetry::trace::Status;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::metrics::Metrics;
use crate::telemetry::trace;

/// Seconds; an upload takes as long as its client sends.
const BUCKETS: [f64; 10] = [0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0, 1200.0];
/// The routes that are asked all the time and are worth a line only to whoever wants to see it.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
/// What one request is called, by whoever asks or by us; repeated in the answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest that is repeated.
const MAX_REQUEST_ID_BYTES: usize = 64;
/// How much of a path or a method is kept.
const MAX_TEXT_BYTES: usize = 256;

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
    let (span, id) = begin(request.headers(), &method, &path, &route);
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.set_attribute("http.response.status_code", i64::from(status));
    if response.status().is_server_error() {
        span.set_status(Status::error(""));
    }
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

/// The span of a request, and what the request is called.
fn begin(headers: &HeaderMap, method: &Method, path: &str, route: &str) -> (Span, Option<HeaderValue>) {
    if PROBES.contains(&path) {
        return (tracing::debug_span!("http.request", %method, path), None);
    }
    // By its level it is there whatever `RUST_LOG` leaves out; what goes on in its trace must not depend on that.
    let span = tracing::error_span!(
        "http.request",
        otel.kind = "server",
        method = beginning(method.as_str()),
        path = beginning(path),
        request_id = Empty,
        trace_id = Empty
    );
    let traces: Vec<&HeaderValue> = headers.get_all(TraceParent::HEADER).iter().collect();
    let parent = match traces[..] {
        [parent] => parent.to_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    let trace = trace::place(&span, parent.as_ref());
    trace::rename(&span, format!("{} {route}", name(method)));
    // Names of OpenTelemetry's semantic conventions for HTTP spans.
    span.set_attribute("http.request.method", name(method));
    span.set_attribute("http.route", route.to_owned());
    let id = headers.get(REQUEST_ID).filter(|id| is_request_id(id)).cloned();
    // One that nobody named is called like its trace.
    let id = id.or_else(|| HeaderValue::try_from(trace?).ok());
    span.record("request_id", id.as_ref().and_then(|id| id.to_str().ok()).map(display));
    (span, id)
}

/// What is kept of a text that a client made up: spans wait in memory for whoever takes them.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// Whether it can stand in a log and in an answer.
fn is_request_id(id: &HeaderValue) -> bool {
    let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(is_harmless)
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

    async fn request_id_for(sent: Option<&'static str>) -> Option<HeaderValue> {
        let router = Requests::counted_in(&Metrics::default()).observe(Router::new().fallback(|| async { "nothing" }));
        let mut request = Request::builder().uri("/");
        if let Some(sent) = sent {
            request = request.header(REQUEST_ID, sent);
        }
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        answer.headers().get(REQUEST_ID).cloned()
    }

    #[tokio::test]
    async fn an_answer_repeats_what_the_request_was_called_if_that_is_harmless() {
        assert_eq!(request_id_for(Some("4f-A_b.c:1")).await.unwrap(), "4f-A_b.c:1");
        const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        assert_eq!(LONG.len(), MAX_REQUEST_ID_BYTES + 1);
        for sent in [None, Some(""), Some("a b"), Some("a\"b"), Some(LONG)] {
            assert_eq!(request_id_for(sent).await, None, "{sent:?}");
        }
    }

    #[test]
    fn of_what_clients_make_up_only_the_beginning_is_kept() {
        let path = format!("/{}", "ä".repeat(30_000));
        let kept = beginning(&path);
        assert!(path.starts_with(kept));
        assert_eq!(kept.len(), MAX_TEXT_BYTES - 1, "a character is not cut in two");
        assert_eq!(beginning("/upload"), "/upload");
    }

    #[tokio::test]
    async fn what_clients_make_up_does_not_become_a_label() {
        let text = counted("FROB", &["/a", "/b", "/c"]).await;
        let expected = r#"mp3_http_requests_total{method="other",route="none",status="200"} 3"#;
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("FROB"), "{text}");
    }
}
