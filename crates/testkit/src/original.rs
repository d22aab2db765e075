//! The original system, one program at a time: launchers for the Python programs in `original/`.
//!
//! They do what the original's services do as far as anybody outside can see: Flask, pika, PyMongo, plain-text
//! passwords, no job records, queues that somebody else has made. So a test can put one of them in the place of ours.
//! They run in the Python environment that `scripts/setup.sh test` makes, or with `MP3_TEST_PYTHON`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use domain::{BackendUrl, Bucket, Fid, MP3_QUEUE, VIDEO_QUEUE};
use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use url::Url;

use crate::servers::{ManagementApi, ServerProcess, free_port, given, workspace_root};

const START_DEADLINE: Duration = Duration::from_secs(60);
/// What the two consumers print when the broker has their subscription.
const CONSUMING: &str = "waiting for messages";

/// One running program of the original. Dropping it kills it.
#[derive(Debug)]
pub struct Original {
    process: ServerProcess,
    address: Option<SocketAddr>,
    _scratch: TempDir,
}

impl Original {
    /// `auth.py` on the table `user` of `database`, which is not touched until the first login.
    ///
    /// # Errors
    ///
    /// As for the three others: when Python or the program cannot start, with the end of its log.
    pub async fn auth(database: &BackendUrl, jwt_secret: &str) -> anyhow::Result<Self> {
        let url = Url::parse(database.expose())?;
        let host = url.host_str().context("the database has no host")?;
        let port = url.port_or_known_default().unwrap_or(3306).to_string();
        Self::start_server(
            "auth.py",
            &[
                ("MYSQL_HOST", host),
                ("MYSQL_PORT", &port),
                ("MYSQL_USER", url.username()),
                ("MYSQL_PASSWORD", url.password().unwrap_or_default()),
                ("MYSQL_DB", url.path().trim_start_matches('/')),
                ("JWT_SECRET", jwt_secret),
            ],
        )
        .await
    }

    /// `gateway.py` in front of the auth service at `auth` (host and port).
    pub async fn gateway(auth: SocketAddr, mongodb: &BackendUrl, amqp: &BackendUrl) -> anyhow::Result<Self> {
        Self::start_server(
            "gateway.py",
            &[
                ("AUTH_SVC_ADDRESS", &auth.to_string()),
                ("MONGODB_URL", mongodb.expose()),
                ("RABBITMQ_URL", amqp.expose()),
                ("VIDEO_QUEUE", VIDEO_QUEUE),
            ],
        )
        .await
    }

    /// `converter.py`; both queues must exist. Returns when it consumes.
    pub async fn converter(mongodb: &BackendUrl, amqp: &BackendUrl) -> anyhow::Result<Self> {
        Self::start_consumer(
            "converter.py",
            &[
                ("MONGODB_URL", mongodb.expose()),
                ("RABBITMQ_URL", amqp.expose()),
                ("VIDEO_QUEUE", VIDEO_QUEUE),
                ("MP3_QUEUE", MP3_QUEUE),
            ],
        )
        .await
    }

    /// `notification.py`, which mails through the plain SMTP server at `smtp`; the queue `mp3` must exist. Returns when
    /// it consumes.
    pub async fn notification(amqp: &BackendUrl, smtp: SocketAddr, sender: &str) -> anyhow::Result<Self> {
        Self::start_consumer(
            "notification.py",
            &[
                ("RABBITMQ_URL", amqp.expose()),
                ("MP3_QUEUE", MP3_QUEUE),
                ("GMAIL_ADDRESS", sender),
                ("SMTP_HOST", &smtp.ip().to_string()),
                ("SMTP_PORT", &smtp.port().to_string()),
                ("SMTP_TLS", "no"),
            ],
        )
        .await
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// For the two that do not: converter and notification.
    pub fn address(&self) -> SocketAddr {
        self.address
            .expect("only auth and gateway of the original listen anywhere")
    }

    /// `http://127.0.0.1:PORT`, under the same condition as [`Self::address`].
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The end of what it printed.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    async fn start_server(program: &'static str, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let port = address.port().to_string();
        let mut server = Self::spawn(program, &["--port", &port], environment)?;
        server
            .process
            .wait_until_ready(START_DEADLINE, || async {
                TcpStream::connect(address).await?;
                Ok(())
            })
            .await?;
        server.address = Some(address);
        Ok(server)
    }

    async fn start_consumer(program: &'static str, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut consumer = Self::spawn(program, &[], environment)?;
        let log = consumer.log();
        consumer
            .process
            .wait_until_ready(START_DEADLINE, || async {
                ensure!(tokio::fs::read_to_string(&log).await?.contains(CONSUMING), "not yet");
                Ok(())
            })
            .await?;
        Ok(consumer)
    }

    fn spawn(program: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let process = ServerProcess::spawn(program, python()?, &log_in(scratch.path()), |command| {
            command
                .arg("-B")
                .arg(program_path(program))
                .args(arguments)
                .env("no_proxy", "*")
                .envs(environment.iter().copied());
        })?;
        Ok(Self {
            process,
            address: None,
            _scratch: scratch,
        })
    }

    fn log(&self) -> PathBuf {
        log_in(self._scratch.path())
    }
}

/// Makes the two queues as the original's users do by hand: durable, classic, without any arguments.
pub async fn classic_queues(management: &ManagementApi) -> anyhow::Result<()> {
    for queue in [VIDEO_QUEUE, MP3_QUEUE] {
        management
            .declare_queue(queue, json!({ "x-queue-type": "classic" }))
            .await?;
    }
    Ok(())
}

/// Makes an account as the original's `init.sql` does: a row whose password is plain text, in the table `user`, which
/// is created if it is missing.
pub async fn plain_account(database: &BackendUrl, email: &str, password: &str) -> anyhow::Result<()> {
    let mut connection = MySqlConnection::connect(database.expose()).await?;
    let table = "CREATE TABLE IF NOT EXISTS user (id INT AUTO_INCREMENT PRIMARY KEY, \
                 email VARCHAR(255) NOT NULL UNIQUE, password VARCHAR(255) NOT NULL)";
    sqlx::raw_sql(table).execute(&mut connection).await?;
    sqlx::query("INSERT INTO user (email, password) VALUES (?, ?)")
        .bind(email)
        .bind(password)
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// Stores a file with PyMongo's `gridfs`, without name or metadata, in the database named after `bucket`.
pub async fn pymongo_put(mongodb: &BackendUrl, bucket: Bucket, bytes: &[u8]) -> anyhow::Result<Fid> {
    let printed = files(mongodb, &["put", bucket.as_str()], bytes).await?;
    Ok(String::from_utf8(printed)?.trim().parse()?)
}

/// Reads a file with PyMongo's `gridfs`, from the database named after `bucket`.
///
/// # Errors
///
/// When PyMongo fails, for example because there is no such file: with what it said.
pub async fn pymongo_get(mongodb: &BackendUrl, bucket: Bucket, fid: Fid) -> anyhow::Result<Vec<u8>> {
    files(mongodb, &["get", bucket.as_str(), &fid.to_string()], b"").await
}

async fn files(mongodb: &BackendUrl, arguments: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(python()?);
    command
        .arg("-B")
        .arg(program_path("files.py"))
        .args(arguments)
        .env("MONGODB_URL", mongodb.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let mut stdin = child.stdin.take().context("the program has no standard input")?;
    stdin.write_all(input).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "files.py {}: {complaint}", arguments.join(" "));
    Ok(output.stdout)
}

fn python() -> anyhow::Result<PathBuf> {
    let python =
        given("MP3_TEST_PYTHON").map_or_else(|| workspace_root().join(".cache/venv/bin/python"), PathBuf::from);
    ensure!(
        python.is_file(),
        "no Python at {}: run `scripts/setup.sh test`, or name one in MP3_TEST_PYTHON",
        python.display()
    );
    Ok(python)
}

fn program_path(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("original").join(program)
}

fn log_in(scratch: &Path) -> PathBuf {
    scratch.join("log")
}
