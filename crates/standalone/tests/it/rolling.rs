//! A rolling restart of every service under load, as clients see it that do not try twice.

mod balancer;
mod cluster;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Bucket, JobState, ReasonCode};
use testkit::visitor::Visitor;
use testkit::{media, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::suite::HANG;
use balancer::Balancer;
use cluster::{Cluster, Instance};

const OWNER: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery staple";
const SAMPLE: &str = "wav-8000-mono";

/// What clients do all the time, and how often.
const HABITS: [(Habit, Duration); 3] = [
    (Habit::Upload, Duration::from_millis(1500)),
    (Habit::Login, Duration::from_millis(700)),
    (Habit::Download, Duration::from_millis(200)),
];
/// How many more requests of each kind have to be answered between two restarts.
const BETWEEN_RESTARTS: usize = 2;

#[derive(Clone, Copy)]
enum Habit {
    Upload,
    Login,
    Download,
}

/// Clients at work.
struct Load {
    stop: CancellationToken,
    done: Arc<[AtomicUsize; HABITS.len()]>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

/// What every client knows.
#[derive(Clone)]
struct Client {
    base: String,
    ada: Visitor,
    /// An MP3 and its bytes.
    fid: String,
    mp3: Arc<Vec<u8>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let mut load = Self {
            stop: CancellationToken::new(),
            done: Arc::default(),
            failures: Arc::default(),
            tasks: JoinSet::new(),
        };
        for (index, (habit, pause)) in HABITS.into_iter().enumerate() {
            let (client, stop) = (client.clone(), load.stop.clone());
            let (done, failures) = (Arc::clone(&load.done), Arc::clone(&load.failures));
            load.tasks.spawn(async move {
                let mut turns = interval(pause);
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while stop.run_until_cancelled(turns.tick()).await.is_some() {
                    match client.follow(habit).await {
                        Ok(()) => drop(done[index].fetch_add(1, Ordering::SeqCst)),
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
        load
    }

    fn done(&self) -> [usize; HABITS.len()] {
        self.done.each_ref().map(|count| count.load(Ordering::SeqCst))
    }

    /// Waits until more requests of each kind were answered.
    async fn goes_on(&self) {
        let before = self.done();
        until("the load goes on", async || {
            let grew = |(now, before): (usize, usize)| now >= before + BETWEEN_RESTARTS;
            self.done().into_iter().zip(before).all(grew).then_some(())
        })
        .await;
    }

    /// Ends it; gives the number of uploads, and what failed.
    async fn end(self) -> (usize, Vec<String>) {
        self.stop.cancel();
        self.tasks.join_all().await;
        let failures = self.failures.lock().unwrap().clone();
        (self.done[0].load(Ordering::SeqCst), failures)
    }
}

impl Client {
    async fn follow(&self, habit: Habit) -> Result<(), String> {
        let failed = |error: anyhow::Error| format!("{error:#}");
        let (answer, expected) = match habit {
            Habit::Login => {
                let login = Visitor::login(&self.base, OWNER, PASSWORD).await;
                return login.map(drop).map_err(failed);
            }
            Habit::Upload => (self.ada.upload(&media::sample(SAMPLE)).await, &b"success!"[..]),
            Habit::Download => (self.ada.download(&self.fid).await, &self.mp3[..]),
        };
        let answer = answer.map_err(failed)?;
        if answer.status == 200 && answer.body == expected {
            return Ok(());
        }
        Err(format!("{} and {} bytes", answer.status, answer.body.len()))
    }
}

/// An upload whose body comes in pieces.
struct Slow {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Slow {
    /// Sends the head and half of the file. A body that is longer than what is there never comes to its end.
    async fn begin(address: SocketAddr, token: &str, filename: &str, longer_by_bytes: usize) -> Self {
        let content = std::fs::read(media::sample(SAMPLE)).unwrap();
        let part = format!(
            "--BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
             Content-Type: audio/wav\r\n\r\n"
        );
        let body = [part.as_bytes(), &content, b"\r\n--BOUNDARY--\r\n"].concat();
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: mp3converter.test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: multipart/form-data; boundary=BOUNDARY\r\nContent-Length: {}\r\n\r\n",
            body.len() + longer_by_bytes
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let half = body.len() / 2;
        stream.write_all(&body[..half]).await.unwrap();
        Self {
            stream,
            rest: body[half..].to_vec(),
        }
    }

    /// Sends the rest, and gives the whole answer.
    async fn finish(mut self) -> String {
        self.stream.write_all(&self.rest).await.unwrap();
        self.answer().await
    }

    async fn answer(mut self) -> String {
        let mut answer = String::new();
        let answered = tokio::time::timeout(HANG, self.stream.read_to_string(&mut answer)).await;
        answered.expect("no answer").unwrap();
        answer
    }
}

/// Replaces a gateway while an upload is under way that can end in time, and one that cannot.
async fn replace_under_uploads(cluster: &mut Cluster, index: usize, token: &str) {
    let Cluster {
        instances,
        gateways,
        jobs,
        ..
    } = cluster;
    let instance: &mut Instance = &mut instances[index];
    let (address, gateways): (_, &Balancer) = (instance.listen, gateways);
    let short = Slow::begin(address, token, "short.wav", 0).await;
    let long = Slow::begin(address, token, "long.wav", 50_000_000).await;
    until("both uploads have begun", async || {
        let receiving = jobs.list(None, Some(JobState::Receiving), 100, None).await.unwrap();
        let slow = |name: Option<&str>| matches!(name, Some("short.wav" | "long.wav"));
        let begun = receiving.iter().filter(|job| slow(job.filename.as_deref())).count();
        (begun == 2).then_some(())
    })
    .await;
    let uploads = async {
        until("the balancer sees that it is not ready", async || {
            let readiness = gateways.readiness(address);
            assert_ne!(readiness, 0, "it ended before it said that it is not ready");
            (readiness == 503).then_some(())
        })
        .await;
        let answer = short.finish().await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nsuccess!"),
            "{answer}"
        );
        let answer = long.answer().await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\nthe service is restarting, please try again in a moment"),
            "{answer}"
        );
    };
    let (stopped, ()) = tokio::join!(instance.process.stop(), uploads);
    stopped.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_request_loses_no_job_and_mails_once() {
    let mut cluster = Cluster::start().await;
    let ada = cluster.visitor(OWNER, PASSWORD).await;
    let answer = ada.upload(&media::sample(SAMPLE)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    cluster.inbox.wait_for(1, HANG).await.unwrap();
    let first = cluster.jobs.list(None, None, 1, None).await.unwrap().remove(0);
    let fid = first.mp3.unwrap().fid.to_string();
    let mp3 = ada.download(&fid).await.unwrap();
    assert_eq!(mp3.status, 200);
    let load = Load::start(&Client {
        base: cluster.base(),
        ada: ada.clone(),
        fid,
        mp3: Arc::new(mp3.body),
    });

    for index in 0..cluster.instances.len() {
        load.goes_on().await;
        if cluster.instances[index].service == "gateway" {
            replace_under_uploads(&mut cluster, index, &ada.token).await;
        } else {
            cluster.instances[index].process.stop().await.unwrap();
        }
        cluster.instances[index].start_again().await;
    }
    load.goes_on().await;
    let (uploads, failures) = load.end().await;
    assert!(failures.is_empty(), "{failures:?}\n{}", cluster.logs());

    // The first one, those of the load, and the short one at each gateway; the long ones came to nothing.
    let accepted = 1 + uploads + 2;
    let jobs = until("every job has ended", async || {
        let jobs = cluster.jobs.list(None, None, 10_000, None).await.unwrap();
        jobs.iter().all(|job| job.state.is_final()).then_some(jobs)
    })
    .await;
    let mut ends = BTreeMap::new();
    for job in &jobs {
        let code = job.reason.as_ref().map(|reason| reason.code.as_str());
        *ends.entry((job.state.as_str(), code)).or_insert(0) += 1;
    }
    let interrupted = ReasonCode::UploadInterrupted.as_str();
    let expected = BTreeMap::from([(("done", None), accepted), (("failed", Some(interrupted)), 2)]);
    assert_eq!(ends, expected, "{}", cluster.logs());

    cluster.inbox.wait_for(accepted, HANG).await.unwrap();
    for instance in &mut cluster.instances {
        // What they hold they finish: a second copy would go out now.
        instance.process.stop().await.unwrap();
    }
    let mails = cluster.inbox.mails();
    assert_eq!(mails.len(), accepted);
    for job in jobs.iter().filter_map(|job| job.mp3.as_ref()) {
        let told = mails.iter().filter(|mail| mail.text.contains(&job.fid.to_string()));
        assert_eq!(told.count(), 1, "{}", job.fid);
    }
    for bucket in Bucket::ALL {
        assert_eq!(
            cluster.blobs.count(bucket).await.unwrap(),
            accepted as u64,
            "{bucket:?}"
        );
        let unfinished = cluster.blobs.list_unfinished(bucket, None, 10).await.unwrap();
        assert!(unfinished.is_empty(), "{bucket:?}: {unfinished:?}");
    }
}
