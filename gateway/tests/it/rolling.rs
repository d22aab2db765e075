//! The real binary, on a real MongoDB, told to end while it is at work.

use std::net::SocketAddr;
use std::process::Stdio;

use domain::{BlobStore as _, Bucket, JobState, JobStore as _, ReasonCode};
use testkit::servers::MongoDb;
use testkit::until;
use tokio::process::{Child, Command};

use crate::client::{Client, HANG};
use crate::gateway::{ADA, Setup, bearer, file, form, head, open_form, token, upload_head};

/// A gateway process, what it stands on, and the stores as others see them.
struct Replica {
    child: Child,
    listen: SocketAddr,
    operations: SocketAddr,
    jobs: adapters::jobs::MongoJobStore,
    blobs: adapters::blobs::gridfs::GridFsBlobStore,
    _mongodb: MongoDb,
    _setup: Setup,
    _scratch: tempfile::TempDir,
}

impl Replica {
    async fn start(grace_seconds: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        // On a stack of its own: what the driver builds up is large where nothing is optimised.
        let directory = scratch.path().to_owned();
        let mongodb = tokio::spawn(async move { MongoDb::start(&directory).await.unwrap() });
        let mongodb = mongodb.await.unwrap();
        let setup = Setup::new().await;
        let auth = setup.serve_auth().await;
        let (listen, operations) = (free_address(), free_address());
        let child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .env_clear()
            .env("MP3_LISTEN", listen.to_string())
            .env("MP3_OPS_LISTEN", operations.to_string())
            .env("JOBS_URL", mongodb.url())
            .env("BLOBS_URL", mongodb.url())
            .env("QUEUE_URL", "amqp://127.0.0.1:1")
            .env("AUTH_SVC_ADDRESS", auth.to_string())
            .env("MIN_FREE_PERCENT", "0")
            .env("SHUTDOWN_GRACE", grace_seconds)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = adapters::mongo::client(&mongodb.url().parse().unwrap()).unwrap();
        let replica = Self {
            child,
            listen,
            operations,
            jobs: adapters::jobs::MongoJobStore::new(client.clone(), ""),
            blobs: adapters::blobs::gridfs::GridFsBlobStore::new(client, ""),
            _mongodb: mongodb,
            _setup: setup,
            _scratch: scratch,
        };
        until("the gateway is ready", async || {
            (replica.readiness().await == Some(200)).then_some(())
        })
        .await;
        replica
    }

    /// What `/readyz` of the operations port says; None when nobody listens.
    async fn readiness(&self) -> Option<u16> {
        let stream = tokio::net::TcpStream::connect(self.operations).await.ok()?;
        let mut client = Client::of(stream);
        client.send(head("GET", "/readyz", &[("Connection", "close")])).await;
        Some(client.answer().await.status)
    }

    fn terminate(&self) {
        let process = self.child.id().unwrap().to_string();
        let killed = std::process::Command::new("kill").args(["-TERM", &process]).status();
        assert!(killed.unwrap().success());
    }

    async fn receiving(&self, count: usize) {
        until("the uploads have begun", async || {
            let jobs = self.jobs.list(None, Some(JobState::Receiving), 10, None).await.unwrap();
            (jobs.len() == count).then_some(())
        })
        .await;
    }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let port = testkit::servers::free_port().unwrap();
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_ends_in_time_end_well_and_the_rest_leave_nothing_behind() {
    let mut replica = Box::pin(Replica::start("10")).await;
    let token = token(ADA, true, 3600);
    let video: Vec<u8> = (0..600_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let body = form(&[file("file", "short.mp4", &video)]);
    let mut short = Client::connect(replica.listen).await;
    short.send(upload_head(&token, body.len() as u64, &[])).await;
    short.send(&body[..300_000]).await;
    let mut long = Client::connect(replica.listen).await;
    long.send(upload_head(&token, 50_000_000, &[])).await;
    long.send(open_form(&[file("file", "long.mp4", &video)])).await;
    replica.receiving(2).await;
    // Kept for more requests, and idle.
    let mut idle = Client::connect(replica.listen).await;
    idle.send(head("GET", "/api/v1/jobs", &[("Authorization", &bearer(&token))]))
        .await;
    assert_eq!(idle.answer().await.status, 200);

    replica.terminate();
    until("the gateway is not ready", async || {
        (replica.readiness().await == Some(503)).then_some(())
    })
    .await;
    assert!(idle.is_closed().await);
    short.send(&body[300_000..]).await;
    short.answer().await.assert_plain(200, "success!");
    let answer = long.answer().await;
    answer.assert_plain(503, "the service is restarting, please try again in a moment");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("connection"), Some("close"));
    let ended = tokio::time::timeout(HANG, replica.child.wait()).await;
    assert!(ended.expect("it never ends").unwrap().success());

    let jobs = replica.jobs.list(None, None, 10, None).await.unwrap();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        if job.filename.as_deref() == Some("short.mp4") {
            assert_eq!(job.state, JobState::Queued);
        } else {
            assert_eq!(job.state, JobState::Failed);
            assert_eq!(job.reason.unwrap().code, ReasonCode::UploadInterrupted);
        }
    }
    assert_eq!(replica.blobs.count(Bucket::Videos).await.unwrap(), 1);
    let unfinished = replica.blobs.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
    assert_eq!(unfinished, [], "not a chunk is left");
}
