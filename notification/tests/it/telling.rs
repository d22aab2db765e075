//! From a job's end to its mail, on embedded stores.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{
    BlobStore, Bucket, Claim, Fid, JobId, JobMessage, JobState, JobStore, MP3_QUEUE, Mp3, NewBlob, NewJob, Options,
    Queue, Reason, ReasonCode, Settlement, Step, Uploaded,
};
use notification::{Mailer, Notification, Outbox};
use runtime::Lifecycle;
use runtime::metrics::Metrics;
use testkit::{HANG, until};

use crate::delivery::letterhead;
use crate::mail_server::{Answer, MailServer, Tls};

struct Suite {
    directory: tempfile::TempDir,
    jobs: Arc<dyn JobStore>,
    blobs: Arc<dyn BlobStore>,
    queue: Arc<dyn Queue>,
    life: Lifecycle,
    metrics: Metrics,
}

impl Suite {
    fn start(mailer: Mailer) -> Self {
        let suite = Self::prepare();
        suite.begin(mailer);
        suite
    }

    /// Everything but the notification.
    fn prepare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = |scheme: &str, name: &str| {
            let path = directory.path().join(name);
            format!("{scheme}:{}", path.display()).parse().unwrap()
        };
        Self {
            jobs: adapters::jobs::connect(&url("sqlite", "jobs.db")).unwrap(),
            blobs: adapters::blobs::connect(&url("file", "blobs")).unwrap(),
            queue: adapters::queue::connect(&"memory:".parse().unwrap()).unwrap(),
            life: Lifecycle::new(),
            metrics: Metrics::default(),
            directory,
        }
    }

    fn begin(&self, mailer: Mailer) {
        self.begin_beside_others(mailer, false);
    }

    fn begin_beside_others(&self, mailer: Mailer, others_may_tell: bool) {
        let notification = Notification {
            jobs: Arc::clone(&self.jobs),
            blobs: Arc::clone(&self.blobs),
            queue: Arc::clone(&self.queue),
            mp3_queue: MP3_QUEUE.to_owned(),
            others_may_tell,
            mailer,
            letterhead: letterhead(),
        };
        notification.start(&self.life, &self.metrics);
    }

    /// Changes the records behind everybody's back.
    async fn alter_jobs(&self, statement: &'static str) {
        let url = format!("sqlite:{}", self.directory.path().join("jobs.db").display());
        let jobs = sqlx::SqlitePool::connect(&url).await.unwrap();
        sqlx::query(statement).execute(&jobs).await.unwrap();
        jobs.close().await;
    }

    /// A job whose conversion has just been claimed.
    async fn claimed(&self) -> Claim {
        let id = JobId::new();
        let owner = "ada@example.com".parse().unwrap();
        let filename = "talk.mp4".to_owned();
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
        let uploaded = Uploaded {
            size_bytes: 1,
            options: Options::default(),
            sha256: None,
        };
        assert!(self.jobs.commit_upload(id, uploaded).await.unwrap());
        self.jobs.claim(Step::Convert, id).await.unwrap().unwrap()
    }

    async fn settle(&self, claim: &Claim, settlement: Settlement) -> JobMessage {
        assert!(self.jobs.settle(claim, settlement).await.unwrap());
        self.jobs.get(claim.job.id).await.unwrap().unwrap().message()
    }

    async fn converted(&self) -> JobMessage {
        let claim = self.claimed().await;
        let mp3 = Mp3 {
            fid: Fid::new(),
            size_bytes: Some(2048),
            duration_ms: Some(61_000),
            notes: Vec::new(),
        };
        self.settle(&claim, Settlement::Converted(mp3)).await
    }

    /// The message of a foreign converter that stored `content` as its MP3.
    async fn foreign(&self, content: &'static [u8]) -> JobMessage {
        let message = JobMessage {
            video_fid: Fid::new(),
            mp3_fid: Some(Fid::new()),
            username: "grace@example.com".parse().unwrap(),
            trace: None,
        };
        let blob = NewBlob {
            id: message.mp3_fid.unwrap(),
            job: message.video_fid,
            owner: message.username.clone(),
            filename: "audio.mp3".to_owned(),
        };
        let mut writer = self.blobs.put(Bucket::Mp3s, blob).await.unwrap();
        writer.write(Bytes::from_static(content)).await.unwrap();
        writer.finish(None).await.unwrap();
        message
    }

    async fn counted(&self, outcome: &str) {
        let line = format!("mp3_mails_total{{outcome=\"{outcome}\"}} 1");
        until(&line, async || self.metrics.encode().contains(&line).then_some(())).await;
    }

    async fn end(self) {
        self.life.shut_down(HANG).await;
    }
}

async fn mails(outbox: &Outbox, count: usize) -> Vec<String> {
    let mails = tokio::time::timeout(HANG, outbox.wait_for(count)).await;
    mails.expect("the mails are sent")
}

#[tokio::test]
async fn a_finished_mp3_is_told_with_its_duration_and_size() {
    let outbox = Outbox::default();
    let suite = Suite::start(Mailer::Memory(outbox.clone()));
    let message = suite.converted().await;
    suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    let mails = mails(&outbox, 1).await;
    let fid = message.mp3_fid.unwrap();
    assert!(
        mails[0].contains(&format!("\r\n\r\nmp3 file_id: {fid} is now ready!\r\n")),
        "{}",
        mails[0]
    );
    assert!(
        mails[0].contains("File:     talk.mp3\r\nDuration: 1:01\r\nSize:     2.0 KiB\r\n"),
        "{}",
        mails[0]
    );
    suite.counted("sent").await;
    suite.end().await;
}

#[tokio::test]
async fn a_failure_is_told_although_no_queue_carries_it() {
    let outbox = Outbox::default();
    let suite = Suite::start(Mailer::Memory(outbox.clone()));
    let claim = suite.claimed().await;
    let reason = Reason {
        code: ReasonCode::NoAudio,
        message: "The file has no sound.".to_owned(),
    };
    suite.settle(&claim, Settlement::Failed(reason)).await;
    let mails = mails(&outbox, 1).await;
    assert!(mails[0].contains("Subject: MP3 conversion failed\r\n"), "{}", mails[0]);
    assert!(mails[0].contains("The file has no sound."), "{}", mails[0]);
    suite.end().await;
}

#[tokio::test]
async fn ten_copies_of_a_message_make_one_mail() {
    let outbox = Outbox::default();
    let suite = Suite::start(Mailer::Memory(outbox.clone()));
    let message = suite.converted().await;
    for _ in 0..10 {
        suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    }
    // Deliveries are taken in order: when this one is told, the copies are dealt with or being refused.
    let last = suite.converted().await;
    suite.queue.publish(MP3_QUEUE, &last).await.unwrap();
    mails(&outbox, 2).await;
    suite.life.shut_down(HANG).await;
    assert_eq!(outbox.mails().len(), 2);
}

#[tokio::test]
async fn a_foreign_converters_mp3_completes_the_record_before_it_is_told() {
    let outbox = Outbox::default();
    let suite = Suite::start(Mailer::Memory(outbox.clone()));
    let message = suite.foreign(b"four").await;
    suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    let mails = mails(&outbox, 1).await;
    assert!(mails[0].contains("To: grace@example.com\r\n"), "{}", mails[0]);
    assert!(
        mails[0].contains("File:     audio.mp3\r\nSize:     4 bytes\r\n"),
        "{}",
        mails[0]
    );
    let job = suite.jobs.get(message.video_fid).await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.mp3.map(|mp3| mp3.fid)),
        (JobState::Done, message.mp3_fid)
    );
    suite.end().await;
}

#[tokio::test]
async fn nobody_is_sent_to_an_mp3_that_is_not_stored() {
    let outbox = Outbox::default();
    let suite = Suite::start(Mailer::Memory(outbox.clone()));
    let mut forged = suite.foreign(b"four").await;
    forged.mp3_fid = Some(Fid::new());
    suite.queue.publish(MP3_QUEUE, &forged).await.unwrap();
    suite.counted("postponed").await;
    suite.end().await;
    assert_eq!(outbox.mails(), [""; 0]);
}

#[tokio::test]
async fn a_success_after_a_replay_is_told_again() {
    let outbox = Outbox::default();
    let suite = Suite::start(Mailer::Memory(outbox.clone()));
    let claim = suite.claimed().await;
    let reason = Reason {
        code: ReasonCode::Dead,
        message: "The store was away for too long.".to_owned(),
    };
    suite.settle(&claim, Settlement::Dead(reason)).await;
    let first = mails(&outbox, 1).await;
    assert!(first[0].contains("our fault"), "{}", first[0]);

    assert!(suite.jobs.replay(claim.job.id).await.unwrap());
    let claim = suite.jobs.claim(Step::Convert, claim.job.id).await.unwrap().unwrap();
    let mp3 = Mp3 {
        fid: Fid::new(),
        size_bytes: Some(1),
        duration_ms: Some(1),
        notes: Vec::new(),
    };
    let message = suite.settle(&claim, Settlement::Converted(mp3)).await;
    suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    let second = mails(&outbox, 2).await;
    assert!(second[1].contains("is now ready!"), "{}", second[1]);
    suite.end().await;
}

#[tokio::test]
async fn a_mail_refused_for_good_is_counted_and_the_job_stays_as_it_is() {
    let server = MailServer::start(Tls::Never, [("RCPT", Answer::Say("550 no such user"))]);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let suite = Suite::start(Mailer::connect(&url.parse().unwrap(), None).unwrap());
    let message = suite.converted().await;
    suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    suite.counted("refused").await;
    suite.life.shut_down(HANG).await;
    let job = suite.jobs.get(message.video_fid).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Done);
    assert!(suite.jobs.claim(Step::Tell, job.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_mail_the_server_cannot_take_now_is_owed_and_not_due_at_once() {
    let server = MailServer::start(Tls::Never, [("CONTENT", Answer::Say("452 4.3.1 disk full"))]);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let suite = Suite::start(Mailer::connect(&url.parse().unwrap(), None).unwrap());
    let message = suite.converted().await;
    suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    suite.counted("postponed").await;
    suite.life.shut_down(HANG).await;
    assert_eq!(server.mails().len(), 1);
    assert!(suite.jobs.claim_due(Step::Tell).await.unwrap().is_none());
    suite
        .alter_jobs("UPDATE jobs SET tell_due_at = 1 WHERE tell_due_at IS NOT NULL")
        .await;
    assert!(suite.jobs.claim_due(Step::Tell).await.unwrap().is_some(), "still owed");
}

#[tokio::test]
async fn a_mail_whose_fate_is_unknown_is_sent_once_more_under_the_same_message_id() {
    let server = MailServer::start(Tls::Never, [("CONTENT", Answer::HangUp)]);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let suite = Suite::start(Mailer::connect(&url.parse().unwrap(), None).unwrap());
    let message = suite.converted().await;
    suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    suite.counted("unknown").await;
    suite.life.shut_down(HANG).await;
    let mails = server.mails();
    let id = |mail: &String| {
        mail.lines()
            .find(|line| line.starts_with("Message-ID:"))
            .map(str::to_owned)
    };
    assert_eq!(mails.len(), 2);
    assert!(id(&mails[0]).is_some() && id(&mails[0]) == id(&mails[1]), "{mails:?}");
    suite
        .alter_jobs("UPDATE jobs SET tell_due_at = 1 WHERE tell_due_at IS NOT NULL")
        .await;
    assert!(
        suite.jobs.claim_due(Step::Tell).await.unwrap().is_none(),
        "that was that"
    );
}

/// The first notification ends while it waits for the server's word, and the second never gets one.
#[tokio::test]
async fn a_mail_whose_fate_is_unknown_is_sent_once_more_and_no_third_time_by_the_next_start() {
    let silent = MailServer::start(Tls::Never, [("CONTENT", Answer::Wait)]);
    let url = format!("smtp://127.0.0.1:{}", silent.port());
    let mut suite = Suite::start(Mailer::connect(&url.parse().unwrap(), None).unwrap());
    suite.converted().await;
    until("the server has the mail", async || {
        (!silent.mails().is_empty()).then_some(())
    })
    .await;
    suite.life.shut_down(Duration::ZERO).await;
    silent.go_on();

    let rude = MailServer::start(Tls::Never, [("CONTENT", Answer::HangUp)]);
    let url = format!("smtp://127.0.0.1:{}", rude.port());
    (suite.life, suite.metrics) = (Lifecycle::new(), Metrics::default());
    suite.begin(Mailer::connect(&url.parse().unwrap(), None).unwrap());
    suite.counted("unknown").await;
    suite.life.shut_down(HANG).await;
    assert_eq!((silent.mails().len(), rude.mails().len()), (1, 1));
    assert!(suite.jobs.claim_due(Step::Tell).await.unwrap().is_none());
}

#[tokio::test]
async fn a_mail_taken_over_by_another_before_its_data_is_not_sent() {
    let server = MailServer::start(Tls::Never, [("RCPT", Answer::Wait)]);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let suite = Suite::start(Mailer::connect(&url.parse().unwrap(), None).unwrap());
    let message = suite.converted().await;
    suite.queue.publish(MP3_QUEUE, &message).await.unwrap();
    until("the recipient is named", async || {
        server.commands().contains(&"RCPT".to_owned()).then_some(())
    })
    .await;
    // Frozen for longer than its lease, and somebody else claimed the mail.
    let other = until("the lease has ended before it is renewed", async || {
        suite
            .alter_jobs("UPDATE jobs SET tell_lease_until = 1 WHERE tell_lease_until IS NOT NULL")
            .await;
        suite.jobs.claim(Step::Tell, message.video_fid).await.unwrap()
    })
    .await;
    server.go_on();
    suite.life.shut_down(HANG).await;
    assert_eq!(server.mails(), [""; 0]);
    assert!(suite.jobs.settle(&other, Settlement::Told).await.unwrap());
}

#[tokio::test]
async fn taking_over_from_a_foreign_notification_does_not_mail_the_whole_history() {
    let outbox = Outbox::default();
    let suite = Suite::prepare();
    let mut history = Vec::new();
    for _ in 0..5 {
        history.push(suite.converted().await);
    }
    suite
        .alter_jobs("UPDATE jobs SET finished_at = finished_at - 25 * 3600 * 1000")
        .await;
    let recent = suite.converted().await;
    suite.begin_beside_others(Mailer::Memory(outbox.clone()), true);
    let told = mails(&outbox, 1).await;
    assert!(told[0].contains(&recent.mp3_fid.unwrap().to_string()), "{}", told[0]);

    // A message that nobody took: nobody told its owner.
    suite.queue.publish(MP3_QUEUE, &history[2]).await.unwrap();
    let told = mails(&outbox, 2).await;
    assert!(
        told[1].contains(&history[2].mp3_fid.unwrap().to_string()),
        "{}",
        told[1]
    );
    suite.life.shut_down(HANG).await;
    assert_eq!(outbox.mails().len(), 2);
}

/// The broker was wiped meanwhile, so no message brings a mail back.
#[tokio::test]
async fn what_was_owed_while_a_notification_of_ours_was_at_work_is_told_however_late() {
    const SLOTS: usize = 4;
    let server = MailServer::start(Tls::Never, [("RCPT", Answer::Wait)]);
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let mut suite = Suite::prepare();
    suite.begin_beside_others(Mailer::connect(&url.parse().unwrap(), None).unwrap(), true);
    let mut owed = BTreeSet::new();
    // One more than are sent at a time: it is never tried.
    for _ in 0..=SLOTS {
        owed.insert(suite.converted().await.mp3_fid.unwrap().to_string());
    }
    until("the first one is being sent", async || {
        server.commands().contains(&"RCPT".to_owned()).then_some(())
    })
    .await;
    suite.life.shut_down(Duration::ZERO).await;
    server.go_on();
    suite
        .alter_jobs("UPDATE jobs SET finished_at = finished_at - 25 * 3600 * 1000")
        .await;
    suite
        .alter_jobs("UPDATE charges SET until = until - 25 * 3600 * 1000")
        .await;

    let outbox = Outbox::default();
    (suite.life, suite.metrics) = (Lifecycle::new(), Metrics::default());
    suite.begin_beside_others(Mailer::Memory(outbox.clone()), true);
    let told = mails(&outbox, owed.len()).await;
    suite.end().await;
    for fid in owed {
        assert_eq!(told.iter().filter(|mail| mail.contains(&fid)).count(), 1, "{fid}");
    }
}

#[tokio::test]
async fn where_nobody_else_can_tell_no_mail_is_too_old() {
    let outbox = Outbox::default();
    let suite = Suite::prepare();
    let old = suite.converted().await;
    suite
        .alter_jobs("UPDATE jobs SET finished_at = finished_at - 25 * 3600 * 1000")
        .await;
    suite.begin(Mailer::Memory(outbox.clone()));
    let told = mails(&outbox, 1).await;
    assert!(told[0].contains(&old.mp3_fid.unwrap().to_string()), "{}", told[0]);
    suite.end().await;
}
