//! One trace from a request to its mail, as a collector sees it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;
use testkit::until;
use tokio::net::TcpListener;

use super::stack::{Stack, a_video_in, curl_lines, shell, text};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A span as `service: name`, by its trace.
type Spans = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Takes traces as OTLP/HTTP has it, in protobuf at `/v1/traces`.
async fn collector() -> (SocketAddr, Spans) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let spans = Spans::default();
    let taken = Arc::clone(&spans);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let taken = Arc::clone(&taken);
            let service = service_fn(move |request| take(request, Arc::clone(&taken)));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, spans)
}

async fn take(request: Request<Incoming>, spans: Spans) -> Result<Response<Empty<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let export = ExportTraceServiceRequest::decode(body).unwrap();
    for of_service in export.resource_spans {
        let service = service(&of_service);
        let of_scopes = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
        for span in of_scopes {
            let trace = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
            spans
                .lock()
                .unwrap()
                .insert((trace, format!("{service}: {}", span.name)));
        }
    }
    Ok(Response::new(Empty::new()))
}

fn service(spans: &ResourceSpans) -> String {
    let attributes = &spans.resource.as_ref().unwrap().attributes;
    let name = attributes
        .iter()
        .find(|attribute| attribute.key == "service.name")
        .unwrap();
    match &name.value.as_ref().unwrap().value {
        Some(Value::StringValue(name)) => name.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_request_to_the_mail() {
    let (address, spans) = collector().await;
    let stack = Stack {
        directory: tempfile::tempdir().unwrap(),
    };
    let endpoint = format!("http://{address}");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("LOG_FORMAT", "json"),
    ];
    let up = stack.run_with("up", &variables);
    assert!(up.status.success(), "{}", text(&up));
    let [login, upload, _] = curl_lines(&text(&up));

    let desk = tempfile::tempdir().unwrap();
    a_video_in(desk.path());
    let traced = format!("curl -D head -H 'traceparent: 00-{TRACE}-00f067aa0ba902b7-01'");
    let uploaded = shell(desk.path(), &format!("{login}\n{}", upload.replace("curl", &traced)));
    assert!(text(&uploaded).contains("success!"), "{}", text(&uploaded));
    let head = std::fs::read_to_string(desk.path().join("head")).unwrap();
    assert!(head.contains(&format!("x-request-id: {TRACE}")), "{head}");

    let mail = stack.first_mail().await;
    assert!(mail.contains(&format!("Traceparent: 00-{TRACE}-")), "{mail}");
    let expected = [
        "auth: POST /validate",
        "converter: announce",
        "converter: convert",
        "gateway: POST /upload",
        "gateway: announce",
        "gateway: upload",
        "notification: tell",
    ];
    let of_trace = async || {
        let spans = spans.lock().unwrap();
        let names = spans
            .iter()
            .filter(|(trace, _)| trace == TRACE)
            .map(|(_, name)| name.as_str());
        names.eq(expected).then_some(())
    };
    until("the whole trace", of_trace).await;
    let spans = spans.lock().unwrap();
    assert!(
        spans
            .iter()
            .any(|(trace, name)| trace != TRACE && name == "gateway: POST /login"),
        "a request without a trace begins its own: {spans:?}"
    );
    let named = |service: &str, field: &str| {
        let log = std::fs::read_to_string(stack.directory.path().join(format!("log/{service}.log"))).unwrap();
        named_with_trace(&log, field)
    };
    assert_eq!(named("gateway", "request_id"), BTreeSet::from([TRACE.to_owned()]));
    assert_eq!(named("auth", "request_id").len(), 1);
    let job = named("gateway", "job.id");
    assert_eq!(job.len(), 1);
    for service in ["converter", "notification"] {
        assert_eq!(named(service, "job.id"), job, "{service}");
    }
}

/// What the JSON lines within the trace name under `field`.
fn named_with_trace(log: &str, field: &str) -> BTreeSet<String> {
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"));
    lines
        .filter_map(|line: serde_json::Value| line["spans"].as_array().cloned())
        .filter(|spans| spans.iter().any(|span| span["trace_id"] == TRACE))
        .flatten()
        .filter_map(|span| span[field].as_str().map(str::to_owned))
        .collect()
}
