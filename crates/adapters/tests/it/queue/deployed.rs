//! The broker as it is deployed: with `rabbit/` as it is and the users that `make secrets` makes.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{MP3_QUEUE, VIDEO_QUEUE};
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Map, Value, json};
use testkit::conformance::queue::{message, next};
use testkit::servers::{ManagementApi, RabbitMq, RabbitMqHome, free_port, workspace_root};
use url::Url;

use super::connect;

/// A broker of the test's own, deployed as in a cluster.
struct Deployed {
    broker: RabbitMq,
    directory: tempfile::TempDir,
}

impl Deployed {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = RabbitMqHome::prepare(directory.path()).unwrap();
        make_secrets(directory.path());
        let definitions = directory.path().join("definitions.d");
        std::fs::create_dir(&definitions).unwrap();
        let rabbit = workspace_root().join("rabbit");
        std::fs::copy(rabbit.join("definitions.json"), definitions.join("10-definitions.json")).unwrap();
        let users = secret(directory.path(), "rabbitmq-secret", "users.json");
        std::fs::write(definitions.join("20-users.json"), users).unwrap();
        // The user that the launcher asks with whether the broker is up.
        let launcher: Url = home.url().parse().unwrap();
        let everything = json!({ "user": "mp3", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" });
        let launcher = json!({
            "users": [{ "name": "mp3", "password": launcher.password(), "tags": ["administrator"] }],
            "permissions": [everything],
        });
        std::fs::write(definitions.join("90-launcher.json"), launcher.to_string()).unwrap();

        let path = directory.path().join("rabbitmq.conf");
        let private = std::fs::read_to_string(&path).unwrap();
        let private = private.lines().filter(|line| !line.starts_with("default_"));
        let deployed = std::fs::read_to_string(rabbit.join("rabbitmq.conf")).unwrap();
        let deployed = deployed.replace("/etc/rabbitmq/definitions.d", definitions.to_str().unwrap());
        let scraped = format!("prometheus.tcp.port = {}\n", free_port().unwrap());
        let whole = private.map(|line| format!("{line}\n")).collect::<String>() + &scraped + &deployed;
        std::fs::write(path, whole).unwrap();
        let plugins = "enabled_plugins";
        std::fs::copy(rabbit.join(plugins), directory.path().join(plugins)).unwrap();

        let broker = home.start().await.unwrap();
        Self { broker, directory }
    }

    /// A service's `QUEUE_URL`, which names the broker by its Service, moved to the broker that runs here.
    fn url_of(&self, service: &str) -> Url {
        let url = secret(self.directory.path(), &format!("{service}-secret"), "QUEUE_URL");
        let mut url: Url = url.parse().unwrap();
        assert_eq!((url.host_str(), url.port()), (Some("rabbitmq"), Some(5672)));
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.broker.port())).unwrap();
        url
    }

    async fn channel_of(&self, service: &str) -> Channel {
        let url = self.url_of(service);
        let connection = Connection::connect(url.as_str(), ConnectionProperties::default());
        connection.await.unwrap().create_channel().await.unwrap()
    }

    /// The management API with the login that its secret holds.
    fn management(&self) -> ManagementApi {
        let of = |key| secret(self.directory.path(), "rabbitmq-secret", key);
        let mut url: Url = self.broker.management_url().parse().unwrap();
        url.set_username(&of("MANAGEMENT_USER")).unwrap();
        url.set_password(Some(&of("MANAGEMENT_PASSWORD"))).unwrap();
        ManagementApi::new(url.as_str(), "/").unwrap()
    }
}

fn make_secrets(directory: &Path) {
    let made = Command::new("python3")
        .arg(workspace_root().join("scripts/make-secrets.py"))
        .env("OUT", directory.join("secrets"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn secret(directory: &Path, name: &str, key: &str) -> String {
    let text = std::fs::read(directory.join(format!("secrets/{name}.json"))).unwrap();
    let secret: Value = serde_json::from_slice(&text).unwrap();
    let value = STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap();
    String::from_utf8(value).unwrap()
}

fn arguments_by_name(queues: impl IntoIterator<Item = (String, Map<String, Value>)>) -> Vec<Value> {
    let mut queues: Vec<Value> = queues.into_iter().map(|queue| json!(queue)).collect();
    queues.sort_by_key(Value::to_string);
    queues
}

async fn the_queues_are_there(deployed: &Deployed) {
    let text = std::fs::read(workspace_root().join("rabbit/definitions.json")).unwrap();
    let definitions: Value = serde_json::from_slice(&text).unwrap();
    let said = definitions["queues"].as_array().unwrap().iter().map(|queue| {
        let arguments = queue["arguments"].as_object().unwrap().clone();
        (queue["name"].as_str().unwrap().to_owned(), arguments)
    });
    let there = deployed.management().queues().await.unwrap();
    let there = there.into_iter().map(|queue| (queue.name, queue.arguments));
    assert_eq!(arguments_by_name(there), arguments_by_name(said));
}

/// Each service does its part of the way of a job.
async fn the_way_of_a_job_is_open(deployed: &Deployed) {
    let queue_of = |service: &str| connect(&deployed.url_of(service).as_str().parse().unwrap());
    let sent = message();
    for (from, name, to) in [
        ("gateway", VIDEO_QUEUE, "converter"),
        ("converter", MP3_QUEUE, "notification"),
    ] {
        queue_of(from).publish(name, &sent).await.unwrap();
        let consuming = queue_of(to);
        let mut consumer = consuming.consume(name, 1);
        let delivery = next(&mut *consumer).await;
        assert_eq!(delivery.message, Ok(sent.clone()), "{name}");
        delivery.ack().await;
    }
}

async fn nobody_touches_what_is_not_theirs(deployed: &Deployed) {
    let refused = |result: lapin::Result<()>, what: &str| {
        let error = result.expect_err(what).to_string();
        assert!(error.contains("ACCESS"), "{what}: {error}");
    };
    for (service, foreign) in [("gateway", MP3_QUEUE), ("notification", VIDEO_QUEUE)] {
        let channel = deployed.channel_of(service).await;
        let consuming = channel.basic_consume(
            foreign.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        refused(consuming.await.map(drop), "consume from a foreign queue");
        let channel = deployed.channel_of(service).await;
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declaring = channel.queue_declare(foreign.into(), durable, FieldTable::default());
        refused(declaring.await.map(drop), "declare a foreign queue");
    }
    let channel = deployed.channel_of("converter").await;
    let declaring = channel.exchange_declare(
        "anything".into(),
        ExchangeKind::Fanout,
        ExchangeDeclareOptions::default(),
        FieldTable::default(),
    );
    refused(declaring.await, "declare an exchange");
}

#[tokio::test]
async fn the_deployed_broker_has_the_queues_and_lets_each_service_do_its_part_and_no_more() {
    let deployed = Deployed::start().await;
    the_queues_are_there(&deployed).await;
    // Nobody empties the dead letters, and the broker's disk is small.
    let management = deployed.management();
    let dead = management.queue_when("video.dead", |queue| queue.policy.is_some());
    assert_eq!(dead.await.unwrap().policy.as_deref(), Some("bounded-dead-letters"));
    the_way_of_a_job_is_open(&deployed).await;
    nobody_touches_what_is_not_theirs(&deployed).await;
    let mut guest = deployed.url_of("gateway");
    guest.set_username("guest").unwrap();
    guest.set_password(Some("guest")).unwrap();
    let guest = Connection::connect(guest.as_str(), ConnectionProperties::default()).await;
    assert!(guest.is_err(), "the broker has a guest");

    // What was deleted comes back with the rights of the services.
    for name in [VIDEO_QUEUE, "video.dead", MP3_QUEUE, "mp3.dead"] {
        management.delete_queue(name).await.unwrap();
    }
    the_way_of_a_job_is_open(&deployed).await;
    the_queues_are_there(&deployed).await;
}
