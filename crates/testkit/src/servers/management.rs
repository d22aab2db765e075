//! RabbitMQ's management API, as far as tests need it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::Url;

const POLL: Duration = Duration::from_millis(50);
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// The management API of one broker, looking at one virtual host.
#[derive(Clone)]
pub struct ManagementApi {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: String,
    user: String,
    authorization: String,
    vhost: String,
}

/// A queue as the broker describes it. Counts are up to a second old.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// `quorum` or `classic`.
    pub kind: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// The arguments it was declared with, such as `x-delivery-limit`.
    pub arguments: serde_json::Map<String, Value>,
    /// The policy that applies to it.
    pub policy: Option<String>,
    /// Messages in it, delivered and unsettled ones included.
    pub messages: u64,
    /// Messages waiting for a consumer.
    pub messages_ready: u64,
    /// Messages delivered and not settled.
    pub messages_unacknowledged: u64,
    /// How many consumers it has.
    pub consumers: u64,
}

/// A message taken from a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMessage {
    /// Its body.
    pub body: Bytes,
    /// Its properties, such as `delivery_mode`, `content_type` and `headers`.
    pub properties: Value,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

impl ManagementApi {
    /// The API at `url` (`http://USER:PASSWORD@HOST:PORT`), for virtual host `vhost`.
    pub fn new(url: &str, vhost: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url)?;
        let host = url.host_str().context("the management URL has no host")?;
        let port = url.port_or_known_default().unwrap_or(15672);
        let user = url.username().to_owned();
        let credentials = format!("{user}:{}", url.password().unwrap_or_default());
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            origin: format!("http://{host}:{port}"),
            user,
            authorization: format!("Basic {}", STANDARD.encode(credentials)),
            vhost: vhost.to_owned(),
        })
    }

    /// The name of the virtual host.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Creates the virtual host and gives this user all rights in it.
    pub async fn create_vhost(&self) -> anyhow::Result<()> {
        let path = format!("vhosts/{}", encoded(&self.vhost));
        self.expect(Method::PUT, &path, Some(json!({}))).await?;
        let path = format!("permissions/{}/{}", encoded(&self.vhost), encoded(&self.user));
        let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.expect(Method::PUT, &path, Some(everything)).await?;
        Ok(())
    }

    /// Deletes the virtual host with all that is in it.
    pub async fn delete_vhost(&self) -> anyhow::Result<()> {
        let path = format!("vhosts/{}", encoded(&self.vhost));
        self.call(Method::DELETE, &path, None).await?;
        Ok(())
    }

    /// A queue, or `None` when there is none of that name.
    pub async fn queue(&self, name: &str) -> anyhow::Result<Option<QueueState>> {
        let (status, body) = self.call(Method::GET, &self.queue_path(name), None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(status.is_success(), "queue {name}: {status} {body}");
        Ok(Some(queue_state(&body)))
    }

    /// All queues of the virtual host.
    pub async fn queues(&self) -> anyhow::Result<Vec<QueueState>> {
        let path = format!("queues/{}", encoded(&self.vhost));
        let body = self.expect(Method::GET, &path, None).await?;
        Ok(body
            .as_array()
            .map(|queues| queues.iter().map(queue_state).collect())
            .unwrap_or_default())
    }

    /// Waits until a queue looks as `condition` wants it, and returns it.
    ///
    /// # Errors
    ///
    /// When it does not within 30 seconds, with what it looked like last.
    pub async fn queue_when(&self, name: &str, condition: impl Fn(&QueueState) -> bool) -> anyhow::Result<QueueState> {
        let give_up = Instant::now() + ANSWER_DEADLINE;
        loop {
            let state = self.queue(name).await?;
            match state {
                Some(state) if condition(&state) => return Ok(state),
                state if Instant::now() > give_up => {
                    bail!("queue {name} is not as expected: {state:?}")
                }
                _ => sleep(POLL).await,
            }
        }
    }

    /// Declares a durable queue, for example as a user would have made it by hand.
    pub async fn declare_queue(&self, name: &str, arguments: Value) -> anyhow::Result<()> {
        let queue = json!({ "durable": true, "auto_delete": false, "arguments": arguments });
        self.expect(Method::PUT, &self.queue_path(name), Some(queue)).await?;
        Ok(())
    }

    /// Deletes a queue with its messages. An absent one is fine.
    pub async fn delete_queue(&self, name: &str) -> anyhow::Result<()> {
        let path = self.queue_path(name);
        let (status, body) = self.call(Method::DELETE, &path, None).await?;
        ensure!(
            status.is_success() || status == StatusCode::NOT_FOUND,
            "delete queue {name}: {status} {body}"
        );
        Ok(())
    }

    /// Publishes a body as it is through the default exchange, persistent and as JSON. Says whether a queue took it.
    pub async fn publish(&self, queue: &str, body: impl AsRef<[u8]>) -> anyhow::Result<bool> {
        let properties = json!({ "delivery_mode": 2, "content_type": "application/json" });
        self.publish_with(queue, body, properties).await
    }

    /// As [`Self::publish`], with the properties given.
    pub async fn publish_with(&self, queue: &str, body: impl AsRef<[u8]>, properties: Value) -> anyhow::Result<bool> {
        let path = format!("exchanges/{}/amq.default/publish", encoded(&self.vhost));
        let message = json!({
            "properties": properties,
            "routing_key": queue,
            "payload": STANDARD.encode(body),
            "payload_encoding": "base64",
        });
        let answer = self.expect(Method::POST, &path, Some(message)).await?;
        Ok(answer["routed"].as_bool().unwrap_or(false))
    }

    /// Takes up to `limit` messages out of a queue, oldest first.
    pub async fn take(&self, queue: &str, limit: u32) -> anyhow::Result<Vec<ReceivedMessage>> {
        self.get(queue, limit, "ack_requeue_false").await
    }

    /// Reads up to `limit` messages and puts them back, marked as redelivered.
    pub async fn peek(&self, queue: &str, limit: u32) -> anyhow::Result<Vec<ReceivedMessage>> {
        self.get(queue, limit, "ack_requeue_true").await
    }

    /// Closes every connection to the virtual host, as an operator would, and returns how many it were.
    ///
    /// # Errors
    ///
    /// When the broker shows none within 30 seconds: a new connection takes about a second to appear.
    pub async fn close_connections(&self) -> anyhow::Result<usize> {
        let path = format!("vhosts/{}/connections", encoded(&self.vhost));
        let give_up = Instant::now() + ANSWER_DEADLINE;
        loop {
            let body = self.expect(Method::GET, &path, None).await?;
            let names: Vec<&str> = body
                .as_array()
                .map(|all| all.iter().filter_map(|one| one["name"].as_str()).collect())
                .unwrap_or_default();
            for name in &names {
                let path = format!("connections/{}", encoded(name));
                self.call(Method::DELETE, &path, None).await?;
            }
            if !names.is_empty() {
                return Ok(names.len());
            }
            ensure!(Instant::now() < give_up, "there is no connection to close");
            sleep(POLL).await;
        }
    }

    /// Succeeds when the broker serves clients on `port`.
    pub(super) async fn check_listener(&self, port: u16) -> anyhow::Result<()> {
        let path = format!("health/checks/port-listener/{port}");
        self.expect(Method::GET, &path, None).await?;
        Ok(())
    }

    async fn get(&self, queue: &str, limit: u32, settle: &str) -> anyhow::Result<Vec<ReceivedMessage>> {
        let path = format!("{}/get", self.queue_path(queue));
        let wish = json!({ "count": limit, "ackmode": settle, "encoding": "base64" });
        let body = self.expect(Method::POST, &path, Some(wish)).await?;
        let messages = body.as_array().context("the broker sent no list")?;
        messages.iter().map(received_message).collect()
    }

    fn queue_path(&self, name: &str) -> String {
        format!("queues/{}/{}", encoded(&self.vhost), encoded(name))
    }

    /// A call that must succeed.
    async fn expect(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.call(method.clone(), path, body).await?;
        ensure!(status.is_success(), "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<(StatusCode, Value)> {
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/{path}", self.origin))
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(bytes.unwrap_or_default()))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
        };
        tokio::time::timeout(ANSWER_DEADLINE, exchange)
            .await
            .context("the management API does not answer")?
    }
}

fn queue_state(queue: &Value) -> QueueState {
    let text = |key: &str| queue[key].as_str().unwrap_or_default().to_owned();
    let count = |key: &str| queue[key].as_u64().unwrap_or_default();
    QueueState {
        name: text("name"),
        kind: text("type"),
        durable: queue["durable"].as_bool().unwrap_or_default(),
        arguments: queue["arguments"].as_object().cloned().unwrap_or_default(),
        policy: queue["policy"].as_str().map(str::to_owned),
        messages: count("messages"),
        messages_ready: count("messages_ready"),
        messages_unacknowledged: count("messages_unacknowledged"),
        consumers: count("consumers"),
    }
}

fn received_message(message: &Value) -> anyhow::Result<ReceivedMessage> {
    let payload = message["payload"].as_str().unwrap_or_default();
    Ok(ReceivedMessage {
        body: STANDARD.decode(payload)?.into(),
        properties: message["properties"].clone(),
        routing_key: message["routing_key"].as_str().unwrap_or_default().into(),
        redelivered: message["redelivered"].as_bool().unwrap_or_default(),
    })
}

/// Percent-encodes one path segment.
fn encoded(segment: &str) -> String {
    segment
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
