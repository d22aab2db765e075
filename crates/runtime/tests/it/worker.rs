//! The worker loop: what wakes it, what it holds, and how it ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Claim, Fid, JobId, JobState, JobStore, Mp3, NewJob, Options, Queue, Reason, ReasonCode, Settlement, Step, Uploaded,
    VIDEO_QUEUE, Work,
};
use runtime::Lifecycle;
use runtime::metrics::Metrics;
use runtime::worker::{Context, Ending, Handler, Outcome, Worker};
use testkit::{HANG, until};
use tokio::sync::Notify;

/// What the handler does with its next claims.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Act {
    Convert,
    /// After a word of the test.
    ConvertLater,
    Trouble,
    Panic,
    WaitForCancel,
}

pub(crate) struct Scripted {
    act: Act,
    pub(crate) begun: Notify,
    pub(crate) go_on: Notify,
    pub(crate) handled: AtomicUsize,
    endings: Mutex<HashMap<JobId, Ending>>,
    delays: &'static [Duration],
}

#[async_trait]
impl Handler for Scripted {
    fn step(&self) -> Step {
        Step::Convert
    }

    fn retry_delays(&self) -> &'static [Duration] {
        self.delays
    }

    fn give_up(&self) -> Settlement {
        Settlement::Dead(Reason {
            code: ReasonCode::Dead,
            message: "our fault".to_owned(),
        })
    }

    async fn handle(&self, claim: &Claim, context: &Context) -> Outcome {
        self.handled.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        let Work::Convert { mp3_fid, .. } = claim.work else {
            panic!("not a conversion")
        };
        if self.act == Act::ConvertLater {
            self.go_on.notified().await;
        }
        match self.act {
            Act::Convert | Act::ConvertLater => Outcome::Settle(Settlement::Converted(Mp3 {
                fid: mp3_fid,
                size_bytes: Some(1),
                duration_ms: Some(1),
                notes: Vec::new(),
            })),
            Act::Trouble => Outcome::Trouble("the disk is on fire".into()),
            Act::Panic => panic!("a bug"),
            Act::WaitForCancel => {
                context.cancelled().cancelled().await;
                Outcome::Stopped
            }
        }
    }

    async fn settled(&self, claim: &Claim, _: &Settlement, ending: Ending) {
        self.endings.lock().unwrap().insert(claim.job.id, ending);
    }
}

pub(crate) struct Bench {
    scratch: tempfile::TempDir,
    pub(crate) jobs: Arc<dyn JobStore>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) handler: Arc<Scripted>,
    pub(crate) life: Lifecycle,
}

impl Bench {
    pub(crate) fn new(act: Act, delays: &'static [Duration]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", scratch.path().join("jobs.db").display());
        let handler = Scripted {
            act,
            begun: Notify::new(),
            go_on: Notify::new(),
            handled: AtomicUsize::new(0),
            endings: Mutex::default(),
            delays,
        };
        Self {
            jobs: adapters::jobs::connect(&url.parse().unwrap()).unwrap(),
            queue: adapters::queue::connect(&"memory:".parse().unwrap()).unwrap(),
            handler: Arc::new(handler),
            life: Lifecycle::new(),
            scratch,
        }
    }

    pub(crate) async fn queued_job(&self) -> JobId {
        let id = Fid::new();
        self.jobs
            .create(NewJob {
                id,
                owner: "ada@example.com".parse().unwrap(),
                filename: "talk.mp4".to_owned(),
                key: None,
                trace: None,
            })
            .await
            .unwrap();
        let uploaded = Uploaded {
            size_bytes: 1,
            options: Options::default(),
            sha256: None,
        };
        assert!(self.jobs.commit_upload(id, uploaded).await.unwrap());
        id
    }

    pub(crate) fn start(&self) {
        let worker = Worker {
            jobs: Arc::clone(&self.jobs),
            queue: Arc::clone(&self.queue),
            queue_name: VIDEO_QUEUE.to_owned(),
            handler: Arc::clone(&self.handler) as Arc<dyn Handler>,
            slots: 2,
        };
        let life = self.life.clone();
        self.life
            .spawn(async move { worker.run(life, &Metrics::default()).await });
    }

    /// Ends every claim's lease, as thirty seconds without a word do.
    async fn lapse(&self) {
        self.alter("UPDATE jobs SET convert_lease_until = 1 WHERE convert_lease_until IS NOT NULL")
            .await;
    }

    /// Changes the records behind everybody's back.
    pub(crate) async fn alter(&self, statement: &'static str) {
        let url = format!("sqlite:{}", self.scratch.path().join("jobs.db").display());
        let jobs = sqlx::SqlitePool::connect(&url).await.unwrap();
        sqlx::query(statement).execute(&jobs).await.unwrap();
        jobs.close().await;
    }

    async fn state(&self, id: JobId) -> JobState {
        self.jobs.get(id).await.unwrap().unwrap().state
    }

    pub(crate) async fn reaches(&self, id: JobId, state: JobState) {
        let what = format!("the job is {state}");
        until(&what, async || (self.state(id).await == state).then_some(())).await;
    }
}

#[tokio::test]
async fn a_job_nobody_announced_is_found_in_the_store() {
    let bench = Bench::new(Act::Convert, &[]);
    let id = bench.queued_job().await;
    bench.start();
    bench.reaches(id, JobState::Done).await;
    bench.life.shut_down(HANG).await;
    assert_eq!(bench.handler.endings.lock().unwrap()[&id], Ending::Won);
}

#[tokio::test]
async fn a_message_without_a_record_makes_one_and_wakes_the_worker() {
    let bench = Bench::new(Act::Convert, &[]);
    bench.start();
    let message = domain::JobMessage {
        video_fid: Fid::new(),
        mp3_fid: None,
        username: "ada@example.com".parse().unwrap(),
        trace: None,
    };
    // The in-process queue may drop what is sent before anybody listens.
    until("the message is taken", async || {
        bench.queue.publish(VIDEO_QUEUE, &message).await.unwrap();
        bench.jobs.get(message.video_fid).await.unwrap()
    })
    .await;
    bench.reaches(message.video_fid, JobState::Done).await;
    bench.life.shut_down(HANG).await;
    assert_eq!(
        bench.handler.handled.load(Ordering::SeqCst),
        1,
        "copies of the message are no further work"
    );
}

#[tokio::test]
async fn our_own_trouble_is_retried_and_then_given_up() {
    let bench = Bench::new(Act::Trouble, &[Duration::ZERO, Duration::ZERO]);
    let id = bench.queued_job().await;
    bench.start();
    bench.reaches(id, JobState::Dead).await;
    bench.life.shut_down(HANG).await;
    assert_eq!(bench.handler.handled.load(Ordering::SeqCst), 3);
    let job = bench.jobs.get(id).await.unwrap().unwrap();
    assert_eq!(job.reason.unwrap().code, ReasonCode::Dead);
}

#[tokio::test]
async fn a_panic_is_trouble_of_our_own_and_does_not_end_the_worker() {
    let bench = Bench::new(Act::Panic, &[]);
    let id = bench.queued_job().await;
    bench.start();
    bench.reaches(id, JobState::Dead).await;
    let second = bench.queued_job().await;
    bench.reaches(second, JobState::Dead).await;
    bench.life.shut_down(HANG).await;
}

#[tokio::test]
async fn work_that_outlasts_the_grace_is_given_back_uncounted() {
    let bench = Bench::new(Act::WaitForCancel, &[]);
    let id = bench.queued_job().await;
    bench.start();
    tokio::time::timeout(HANG, bench.handler.begun.notified())
        .await
        .expect("the job was never begun");
    bench.life.shut_down(Duration::ZERO).await;
    assert_eq!(bench.state(id).await, JobState::Queued);
    let claim = bench.jobs.claim(Step::Convert, id).await.unwrap().expect("due at once");
    assert_eq!((claim.failures, claim.lapses), (0, 0));
}

#[tokio::test]
async fn a_job_its_owner_cancels_is_let_go() {
    let bench = Bench::new(Act::WaitForCancel, &[]);
    let id = bench.queued_job().await;
    bench.start();
    tokio::time::timeout(HANG, bench.handler.begun.notified())
        .await
        .expect("the job was never begun");
    let reason = Reason {
        code: ReasonCode::Cancelled,
        message: "cancelled".to_owned(),
    };
    assert!(bench.jobs.cancel(id, reason).await.unwrap());
    let ending = until("the handler is cancelled", async || {
        bench.handler.endings.lock().unwrap().get(&id).copied()
    });
    assert_eq!(ending.await, Ending::Lost);
    assert_eq!(bench.state(id).await, JobState::Cancelled);
    bench.life.shut_down(HANG).await;
}

#[tokio::test]
async fn a_job_that_took_three_workers_down_is_given_up_untried() {
    let bench = Bench::new(Act::Convert, &[]);
    let id = bench.queued_job().await;
    for _ in 0..3 {
        let claim = bench.jobs.claim(Step::Convert, id).await.unwrap().unwrap();
        assert!(bench.jobs.renew(&claim, None).await.unwrap());
        bench.lapse().await;
    }
    bench.start();
    bench.reaches(id, JobState::Dead).await;
    bench.life.shut_down(HANG).await;
    assert_eq!(bench.handler.handled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn claims_whose_answers_were_lost_give_no_job_up() {
    let bench = Bench::new(Act::Convert, &[]);
    let id = bench.queued_job().await;
    for _ in 0..10 {
        assert!(bench.jobs.claim(Step::Convert, id).await.unwrap().is_some());
        bench.lapse().await;
    }
    bench.start();
    bench.reaches(id, JobState::Done).await;
    bench.life.shut_down(HANG).await;
}

#[tokio::test]
async fn a_worker_that_vanishes_as_soon_as_it_began_is_counted() {
    let bench = Bench::new(Act::WaitForCancel, &[]);
    let id = bench.queued_job().await;
    bench.start();
    tokio::time::timeout(HANG, bench.handler.begun.notified())
        .await
        .expect("the job was never begun");
    let next = until("the lease has ended before it is renewed", async || {
        bench.lapse().await;
        bench.jobs.claim(Step::Convert, id).await.unwrap()
    })
    .await;
    assert_eq!((next.failures, next.lapses), (1, 1));
    bench.life.shut_down(HANG).await;
}
