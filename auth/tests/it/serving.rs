//! The binary as a service.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use domain::{AuthError, Authenticator, Credentials};
use serde_json::Value;
use testkit::servers::{Home as _, MariaDbHome, mysql_database};
use testkit::{HANG, until};

use crate::support::{SECRET, binary};

/// A running `auth serve`. Dropping it kills it.
struct Replica {
    child: Child,
    log: mpsc::Receiver<Value>,
    address: SocketAddr,
}

impl Replica {
    /// Starts the binary on free ports and waits until it listens.
    fn start(variables: &[(&str, &str)]) -> Self {
        let common = [
            ("JWT_SECRET", SECRET),
            ("MP3_LISTEN", "127.0.0.1:0"),
            ("MP3_OPS_LISTEN", "127.0.0.1:0"),
        ];
        let mut child = binary(&common)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let entry = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if lines.send(entry).is_err() {
                    return;
                }
            }
        });
        let mut replica = Self {
            child,
            log,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        };
        let entry = replica.wait_for("auth is listening");
        replica.address = entry["address"].as_str().unwrap().parse().unwrap();
        replica
    }

    /// Reads the log up to an entry with that message.
    fn wait_for(&self, message: &str) -> Value {
        let give_up = Instant::now() + HANG;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let entry = self
                .log
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("never logged: {message}"));
            if entry["message"].as_str().is_some_and(|text| text.contains(message)) {
                return entry;
            }
        }
    }

    fn authenticator(&self) -> adapters::authn::HttpAuthenticator {
        adapters::authn::HttpAuthenticator::new(&self.address.to_string()).unwrap()
    }

    /// Ends it as Kubernetes would; its exit status and the rest of its log.
    fn terminate(mut self) -> (Option<i32>, Vec<Value>) {
        let pid = self.child.id().to_string();
        assert!(
            std::process::Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = self.child.wait().unwrap();
        let mut rest = Vec::new();
        while let Ok(entry) = self.log.recv_timeout(HANG) {
            rest.push(entry);
        }
        (status.code(), rest)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn admin() -> Credentials {
    Credentials {
        username: "Admin@example.com".to_owned(),
        password: "hunter2".to_owned(),
    }
}

/// Logs in until the service can judge, which is what a client does that meets 503.
async fn login(authenticator: &dyn Authenticator, credentials: &Credentials) -> String {
    until("the login is accepted", async || {
        authenticator.login(credentials).await.ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_start_at_once_on_an_empty_database_and_make_one_admin() {
    let database = mysql_database().await;
    let variables = [
        ("USERS_URL", database.url.expose()),
        ("MP3_ADMIN_EMAIL", "Admin@example.com"),
        ("MP3_ADMIN_PASSWORD", "hunter2"),
    ];
    let starting = [std::thread::spawn({
        let variables = variables.map(|(name, value)| (name, value.to_owned()));
        move || Replica::start(&variables.each_ref().map(|(name, value)| (*name, value.as_str())))
    })];
    let second = Replica::start(&variables);
    let [first] = starting.map(|thread| thread.join().unwrap());

    let token = login(&first.authenticator(), &admin()).await;
    assert!(second.authenticator().validate(&token).await.unwrap().admin);
    login(&second.authenticator(), &admin()).await;
    let store = adapters::users::connect(&database.url).unwrap();
    assert_eq!(store.list().await.unwrap().len(), 1);
    for replica in [first, second] {
        let (status, log) = replica.terminate();
        assert_eq!(status, Some(0));
        for secret in ["hunter2", SECRET, token.as_str(), "dmin@example.com"] {
            assert!(!log.iter().any(|entry| entry.to_string().contains(secret)), "{log:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_that_exists_is_never_changed() {
    let database = mysql_database().await;
    let store = adapters::users::connect(&database.url).unwrap();
    let email = "admin@EXAMPLE.com".parse().unwrap();
    auth::accounts::create(&*store, &email, "their own").await.unwrap();
    let replica = Replica::start(&[
        ("USERS_URL", database.url.expose()),
        ("MP3_ADMIN_EMAIL", "Admin@example.com"),
        ("MP3_ADMIN_PASSWORD", "hunter2"),
    ]);
    let theirs = Credentials {
        password: "their own".to_owned(),
        ..admin()
    };
    login(&replica.authenticator(), &theirs).await;
    assert!(matches!(
        replica.authenticator().login(&admin()).await,
        Err(AuthError::Refused)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mysql_that_is_away_at_start_is_said_once_and_found_when_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let home = MariaDbHome::prepare(directory.path()).await.unwrap();
    let port = home.url().rsplit(':').next().unwrap().to_owned();
    // The original's variables.
    let replica = Replica::start(&[
        ("MYSQL_HOST", "127.0.0.1"),
        ("MYSQL_PORT", &port),
        ("MYSQL_USER", "root"),
        ("MYSQL_PASSWORD", ""),
        ("MYSQL_DB", "mysql_is_away"),
        ("MP3_ADMIN_EMAIL", "Admin@example.com"),
        ("MP3_ADMIN_PASSWORD", "hunter2"),
    ]);
    let warning = replica.wait_for("the account store does not answer");
    assert_eq!(warning["level"], "WARN");
    assert!(matches!(
        replica.authenticator().login(&admin()).await,
        Err(AuthError::Unavailable(_))
    ));

    let server = home.start().await.unwrap();
    let mut connection = <sqlx::MySqlConnection as sqlx::Connection>::connect(&server.url())
        .await
        .unwrap();
    sqlx::raw_sql("CREATE DATABASE mysql_is_away")
        .execute(&mut connection)
        .await
        .unwrap();
    let token = login(&replica.authenticator(), &admin()).await;
    assert!(replica.authenticator().validate(&token).await.is_ok());
    let (status, log) = replica.terminate();
    assert_eq!(status, Some(0));
    let repeated = log
        .iter()
        .filter(|entry| entry.to_string().contains("does not answer"))
        .count();
    assert_eq!(repeated, 0, "{log:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_can_be_refused() {
    let database = mysql_database().await;
    let store = adapters::users::connect(&database.url).unwrap();
    store
        .create(&"Admin@example.com".parse().unwrap(), "hunter2")
        .await
        .unwrap();
    let replica = Replica::start(&[("USERS_URL", database.url.expose()), ("PLAINTEXT_PASSWORDS", "refuse")]);
    assert!(matches!(
        replica.authenticator().login(&admin()).await,
        Err(AuthError::Refused)
    ));
    replica.wait_for("lets nobody in");
}
