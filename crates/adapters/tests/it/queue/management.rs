//! Calls to RabbitMQ's management API that only these tests make.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use testkit::servers;
use url::Url;

/// Makes a call that must succeed; `path` is what follows `/api/`.
pub(super) async fn call(method: Method, path: &str, body: Option<Value>) -> Value {
    let url = servers::given(servers::AMQP_MANAGEMENT_URL).expect("the servers are up");
    let url: Url = url.parse().unwrap();
    let login = format!("{}:{}", url.username(), url.password().unwrap_or_default());
    let request = Request::builder()
        .method(method)
        .uri(format!(
            "http://{}:{}/api/{path}",
            url.host_str().unwrap(),
            url.port().unwrap()
        ))
        .header("authorization", format!("Basic {}", STANDARD.encode(login)))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(
            body.map(|body| body.to_string()).unwrap_or_default(),
        )))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    assert!(status.is_success(), "{path}: {status} {answer:?}");
    serde_json::from_slice(&answer).unwrap_or(Value::Null)
}
