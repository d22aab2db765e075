//! A whole suite for one test: in this process, on embedded adapters or on real servers, with an inbox of its own.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use runtime::Lifecycle;
use serde_json::Value;
use standalone::{DataDir, ServeSettings, Services, Stack};
use testkit::inbox::{Inbox, Mail};
use testkit::servers::{MongoDb, TestDatabase, TestVhost, amqp_vhost, mysql_database};
use testkit::visitor::Visitor;

/// How long a test waits for what must happen before it calls it a hang.
pub(crate) const HANG: Duration = Duration::from_secs(180);

/// Where a suite keeps its things.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Embedded,
    Servers,
}

pub(crate) struct Suite {
    pub(crate) stack: Stack,
    pub(crate) inbox: Inbox,
    pub(crate) life: Lifecycle,
    pub(crate) servers: Option<Servers>,
    _scratch: tempfile::TempDir,
}

/// What is there before the first of our services starts.
pub(crate) struct Ground {
    pub(crate) inbox: Inbox,
    pub(crate) servers: Option<Servers>,
    scratch: tempfile::TempDir,
}

/// What a suite on real servers has to itself. MongoDB is a server of its own, because its database names are fixed.
pub(crate) struct Servers {
    pub(crate) mongodb: MongoDb,
    pub(crate) database: TestDatabase,
    pub(crate) vhost: TestVhost,
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    serve: ServeSettings,
}

impl Ground {
    pub(crate) async fn prepare(place: Place) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let inbox = Inbox::start().await.unwrap();
        let servers = match place {
            Place::Embedded => None,
            Place::Servers => Some(Servers {
                mongodb: MongoDb::start(&scratch.path().join("mongodb")).await.unwrap(),
                database: mysql_database().await,
                vhost: amqp_vhost().await,
            }),
        };
        Self {
            inbox,
            servers,
            scratch,
        }
    }

    pub(crate) async fn start(self, services: &Services, more: &[&str]) -> Suite {
        let data = self.scratch.path().join("data");
        let settings = settings(&data, &self.inbox, self.servers.as_ref(), more);
        let data = DataDir::open(&settings.stores.data_dir).unwrap();
        let life = Lifecycle::new();
        let stack = Stack::start(&settings, services, &data, &life).await.unwrap();
        Suite {
            stack,
            inbox: self.inbox,
            life,
            servers: self.servers,
            _scratch: self.scratch,
        }
    }
}

impl Suite {
    pub(crate) async fn start(place: Place) -> Self {
        Self::start_with(place, &Services::ALL, &[]).await
    }

    pub(crate) async fn start_with(place: Place, services: &Services, more: &[&str]) -> Self {
        Ground::prepare(place).await.start(services, more).await
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.stack.gateway.expect("the gateway runs here"))
    }

    /// Makes an account and logs in with it.
    pub(crate) async fn visitor(&self, email: &str) -> Visitor {
        let password = "correct horse battery staple";
        let address = email.parse().unwrap();
        auth::accounts::create_if_missing(&*self.stack.users, &address, password)
            .await
            .unwrap();
        Visitor::login(&self.base(), email, password).await.unwrap()
    }

    /// Uploads and waits until the job has ended; gives its record as the API tells it.
    pub(crate) async fn converted(&self, visitor: &Visitor, path: &Path) -> Value {
        let id = self.uploaded(visitor, path).await;
        self.ended(visitor, &id).await
    }

    /// Uploads; gives the job's id.
    pub(crate) async fn uploaded(&self, visitor: &Visitor, path: &Path) -> String {
        let answer = visitor.upload(path).await.unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "success!"),
            "{}",
            path.display()
        );
        let jobs = visitor.get("/api/v1/jobs?limit=1").await.unwrap();
        let jobs: Value = serde_json::from_slice(&jobs.body).unwrap();
        jobs[0]["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job has ended.
    pub(crate) async fn ended(&self, visitor: &Visitor, id: &str) -> Value {
        let ended = async {
            loop {
                let record = visitor.get(&format!("/api/v1/jobs/{id}")).await.unwrap();
                let record: Value = serde_json::from_slice(&record.body).unwrap();
                if ["done", "failed", "dead", "cancelled"].contains(&record["state"].as_str().unwrap()) {
                    return record;
                }
            }
        };
        tokio::time::timeout(HANG, ended).await.expect("the job never ended")
    }

    /// The first `count` mails.
    pub(crate) async fn mails(&self, count: usize) -> Vec<Mail> {
        self.inbox.wait_for(count, HANG).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.life.shut_down(HANG).await;
        assert!(!self.life.aborting().is_cancelled(), "the suite did not end by itself");
    }
}

/// The settings of a suite with everything below `data`, or on `servers`; `more` is further command line.
pub(crate) fn settings(data: &Path, inbox: &Inbox, servers: Option<&Servers>, more: &[&str]) -> ServeSettings {
    let mut line: Vec<String> = ["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]
        .map(String::from)
        .into();
    let mut set = |name: &str, value: String| line.extend([name.to_owned(), value]);
    set("--data-dir", data.display().to_string());
    set("--smtp-url", inbox.url());
    // How full this machine's disk is proves nothing.
    set("--min-free-percent", "0".to_owned());
    if let Some(servers) = servers {
        set("--users-url", servers.database.url.expose().to_owned());
        set("--jobs-url", servers.mongodb.url());
        set("--blobs-url", servers.mongodb.url());
        set("--queue-url", servers.vhost.url.expose().to_owned());
    }
    line.extend(more.iter().map(|&text| text.to_owned()));
    let mut serve = Line::try_parse_from(line).unwrap().serve;
    // The tests' own program does not know how to be a child.
    serve.conversion.program = media::child::Program::at(env!("CARGO_BIN_EXE_mp3converter"));
    serve
}
