//! A gateway of a test: real adapters in a scratch directory, a real port, two accounts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use auth::{AuthService, PlaintextPasswords, TokenSigner};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use domain::{
    Address, Announcement, Authenticator, BlobStore, Bucket, Fid, Job, JobId, JobState, JobStore, NewBlob, NewJob,
    Queue, Timestamp,
};
use gateway::{GatewaySettings, GatewayState, Ports};
use runtime::Lifecycle;
use runtime::metrics::Metrics;
use tempfile::TempDir;
use testkit::until;
use tokio::net::TcpListener;

use crate::client::{Answer, Client};

pub(crate) const ADA: &str = "Ada@example.com";
pub(crate) const BOB: &str = "bob@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";
const SECRET: &str = "a secret of thirty-two bytes or more";

/// What a gateway stands on before it serves.
pub(crate) struct Setup {
    pub(crate) ports: Ports,
    pub(crate) settings: GatewaySettings,
    scratch: TempDir,
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) jobs: Arc<dyn JobStore>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) state: GatewayState,
    pub(crate) life: Lifecycle,
    pub(crate) metrics: Metrics,
    scratch: TempDir,
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    gateway: GatewaySettings,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let url = |scheme: &str, name: &str| format!("{scheme}:{}/{name}", scratch.path().display()).parse().unwrap();
        let users = adapters::users::connect(&url("sqlite", "users.db")).unwrap();
        for email in [ADA, BOB] {
            let email = email.parse().unwrap();
            auth::accounts::create(&*users, &email, PASSWORD).await.unwrap();
        }
        let signer = TokenSigner::new(SECRET).unwrap();
        let authenticator: Arc<dyn Authenticator> =
            Arc::new(AuthService::new(users, signer, PlaintextPasswords::Refuse));
        let mut settings = Settings::parse_from(["gateway"]).gateway;
        // How full this machine's disk is is no matter of the tests.
        settings.min_free_percent = 0;
        Self {
            ports: Ports {
                authenticator,
                blobs: adapters::blobs::connect(&url("file", "blobs")).unwrap(),
                jobs: adapters::jobs::connect(&url("sqlite", "jobs.db")).unwrap(),
                queue: adapters::queue::connect(&"memory:".parse().unwrap()).unwrap(),
            },
            settings,
            scratch,
        }
    }

    /// Serves an auth of its own, with the same accounts, for a gateway that is a process.
    pub(crate) async fn serve_auth(&self) -> SocketAddr {
        let url = format!("sqlite:{}/users.db", self.scratch.path().display());
        let users = adapters::users::connect(&url.parse().unwrap()).unwrap();
        let service = AuthService::new(users, TokenSigner::new(SECRET).unwrap(), PlaintextPasswords::Refuse);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = auth::http::router(Arc::new(service));
        tokio::spawn(runtime::http::serve(listener, router, Lifecycle::new()));
        address
    }

    pub(crate) async fn start(self) -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (life, metrics) = (Lifecycle::new(), Metrics::default());
        let ports = self.ports.clone();
        let state = GatewayState::new(self.ports, self.settings, life.clone(), &metrics);
        let router = gateway::router(state.clone());
        life.spawn(runtime::http::serve(listener, router, life.clone()));
        Gateway {
            address,
            blobs: ports.blobs,
            jobs: ports.jobs,
            queue: ports.queue,
            state,
            life,
            metrics,
            scratch: self.scratch,
        }
    }
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Setup::new().await.start().await
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends a request whose head ends here, without a body.
    pub(crate) async fn call(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut client = self.connect().await;
        client.send(head(method, target, headers)).await;
        if method == "HEAD" {
            client.answer_to_head().await
        } else {
            client.answer().await
        }
    }

    pub(crate) async fn call_as(&self, token: &str, method: &str, target: &str) -> Answer {
        self.call(method, target, &[("Authorization", &bearer(token))]).await
    }

    /// A token for one of the accounts.
    pub(crate) async fn login(&self, email: &str) -> String {
        let answer = self
            .call("POST", "/login", &[("Authorization", &basic(email, PASSWORD))])
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text().to_owned()
    }

    /// Uploads a body that is a whole form.
    pub(crate) async fn upload(&self, token: &str, form: &[u8]) -> Answer {
        self.upload_with(token, form, &[]).await
    }

    pub(crate) async fn upload_with(&self, token: &str, form: &[u8], headers: &[(&str, &str)]) -> Answer {
        let mut client = self.connect().await;
        client.send(upload_head(token, form.len() as u64, headers)).await;
        client.send(form).await;
        client.answer().await
    }

    /// Uploads one small file and gives the job's id.
    pub(crate) async fn uploaded(&self, token: &str) -> JobId {
        let answer = self.upload(token, &form(&[file("file", "clip.mp4", b"video")])).await;
        answer.assert_plain(200, "success!");
        answer.header("x-job-id").unwrap().parse().unwrap()
    }

    /// A record of an upload that has begun, and whose gateway is gone.
    pub(crate) async fn receiving(&self) -> JobId {
        let id = JobId::new();
        let (owner, filename) = (address(ADA), "clip.mp4".to_owned());
        self.jobs
            .create(NewJob {
                id,
                owner,
                filename,
                key: None,
                trace: None,
            })
            .await
            .unwrap();
        id
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.jobs.get(id).await.unwrap().unwrap()
    }

    /// Waits until there is one job, and it is no longer receiving.
    pub(crate) async fn ended_job(&self) -> Job {
        until("an upload has ended", async || {
            let jobs = self.jobs.list(None, None, 10, None).await.unwrap();
            jobs.into_iter().find(|job| job.state != JobState::Receiving)
        })
        .await
    }

    pub(crate) async fn all_jobs(&self) -> Vec<Job> {
        self.jobs.list(None, None, 1000, None).await.unwrap()
    }

    /// That no byte of any upload is stored.
    pub(crate) async fn assert_no_videos(&self) {
        let counted = self.blobs.count(Bucket::Videos).await.unwrap();
        let unfinished = self.blobs.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
        assert_eq!((counted, unfinished), (0, vec![]));
    }

    /// Stores an MP3 as the converter does.
    pub(crate) async fn store_mp3(&self, owner: &str, filename: &str, bytes: &[u8]) -> Fid {
        self.store(Bucket::Mp3s, Fid::new(), owner, filename, bytes).await
    }

    pub(crate) async fn store(&self, bucket: Bucket, id: Fid, owner: &str, filename: &str, bytes: &[u8]) -> Fid {
        let blob = NewBlob {
            id,
            job: id,
            owner: owner.parse().unwrap(),
            filename: filename.to_owned(),
        };
        let mut writer = self.blobs.put(bucket, blob).await.unwrap();
        writer.write(bytes.to_vec().into()).await.unwrap();
        writer.finish(None).await.unwrap();
        id
    }

    /// A file that a foreign writer stored: bytes, and nothing said about them.
    pub(crate) fn store_foreign(&self, bucket: Bucket, bytes: &[u8]) -> Fid {
        let id = Fid::new();
        std::fs::write(self.blob_path(bucket, id), bytes).unwrap();
        id
    }

    /// Where the bytes of a file are.
    pub(crate) fn blob_path(&self, bucket: Bucket, id: Fid) -> PathBuf {
        self.scratch
            .path()
            .join("blobs")
            .join(bucket.as_str())
            .join(id.to_string())
    }

    /// Ends every upload's lease, as thirty seconds without a renewal do.
    pub(crate) async fn lapse_uploads(&self) {
        self.alter_jobs("UPDATE jobs SET upload_lease_until = 1 WHERE upload_lease_until IS NOT NULL")
            .await;
    }

    /// Forgets every job, as somebody does who empties the job store.
    pub(crate) async fn empty_job_store(&self) {
        self.alter_jobs("DELETE FROM jobs").await;
        self.alter_jobs("DELETE FROM attempts").await;
    }

    /// The jobs whose announcement is owed, however short a time.
    pub(crate) async fn unannounced(&self) -> Vec<Job> {
        self.alter_jobs("UPDATE jobs SET announcement_owed_at = 1 WHERE announcement IS NOT NULL")
            .await;
        let mut jobs = Vec::new();
        while let Some(job) = self.jobs.claim_announcement(Announcement::Video).await.unwrap() {
            jobs.push(job);
        }
        jobs
    }

    async fn alter_jobs(&self, statement: &'static str) {
        let url = format!("sqlite:{}/jobs.db", self.scratch.path().display());
        let jobs = sqlx::SqlitePool::connect(&url).await.unwrap();
        sqlx::query(statement).execute(&jobs).await.unwrap();
        jobs.close().await;
    }

    pub(crate) async fn bytes(&self, bucket: Bucket, id: Fid) -> Vec<u8> {
        std::fs::read(self.blob_path(bucket, id)).unwrap()
    }
}

/// A token with any claims, signed with the secret.
pub(crate) fn token(username: &str, admin: bool, lasts_seconds: i64) -> String {
    let now = Timestamp::now().unix_ms() / 1000;
    // A little ahead: the second in which an account is made voids tokens issued in it.
    let issued = now + lasts_seconds.min(5);
    let claims = serde_json::json!({"username": username, "exp": now + lasts_seconds, "iat": issued, "admin": admin});
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::encode(
        &header,
        &claims,
        &jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap()
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub(crate) fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: mp3converter.com\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

pub(crate) fn upload_head(token: &str, length: u64, headers: &[(&str, &str)]) -> String {
    let (token, length) = (bearer(token), length.to_string());
    let mut all = vec![
        ("Authorization", token.as_str()),
        ("Content-Type", CONTENT_TYPE),
        ("Content-Length", &length),
    ];
    all.extend_from_slice(headers);
    head("POST", "/upload", &all)
}

pub(crate) const CONTENT_TYPE: &str = "multipart/form-data; boundary=BOUNDARY";

/// One part of a form: its disposition's parameters and its content.
pub(crate) type Part = (String, Vec<u8>);

pub(crate) fn file(name: &str, filename: &str, content: &[u8]) -> Part {
    (
        format!("name=\"{name}\"; filename=\"{filename}\"\r\nContent-Type: video/mp4"),
        content.to_vec(),
    )
}

pub(crate) fn text(name: &str, content: &str) -> Part {
    (format!("name=\"{name}\""), content.as_bytes().to_vec())
}

pub(crate) fn form(parts: &[Part]) -> Vec<u8> {
    let mut body = open_form(parts);
    body.extend_from_slice(b"--BOUNDARY--\r\n");
    body
}

/// A form without its closing boundary.
pub(crate) fn open_form(parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content) in parts {
        let head = format!("--BOUNDARY\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body
}
