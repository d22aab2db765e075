//! Stores that fail: the answer says so, and nothing is left half-way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{Bucket, JobState, JobStore, Reason, ReasonCode, Space};
use testkit::until;

use crate::client::Answer;
use crate::faults::{Fault, FaultyBlobs, FaultyJobs, Plan};
use crate::gateway::{ADA, CONTENT_TYPE, Gateway, Setup, file, form, head, upload_head};

struct Faulty {
    gateway: Gateway,
    plan: Plan,
    /// The job store without its faults.
    jobs: Arc<dyn JobStore>,
    token: String,
}

impl Faulty {
    async fn start() -> Self {
        Self::start_with_space(None).await
    }

    async fn start_with_space(space: Option<Space>) -> Self {
        let plan = Plan::default();
        *plan.space.lock().unwrap() = space;
        let mut setup = Setup::new().await;
        setup.settings.min_free_percent = 10;
        let jobs = setup.ports.jobs.clone();
        setup.ports.jobs = Arc::new(FaultyJobs {
            store: jobs.clone(),
            plan: plan.clone(),
        });
        setup.ports.blobs = Arc::new(FaultyBlobs {
            store: setup.ports.blobs,
            plan: plan.clone(),
        });
        let gateway = setup.start().await;
        let token = gateway.login(ADA).await;
        Self {
            gateway,
            plan,
            jobs,
            token,
        }
    }

    async fn upload(&self) -> Answer {
        let body = form(&[file("file", "clip.mp4", &[7; 300_000])]);
        self.gateway.upload(&self.token, &body).await
    }

    /// That the upload's record, if there is one, says that nothing came of it, and that no byte is left.
    async fn assert_nothing_is_left(&self) {
        until("every upload has ended", async || {
            let jobs = self.jobs.list(None, None, 10, None).await.unwrap();
            jobs.iter().all(|job| job.state == JobState::Failed).then_some(())
        })
        .await;
        self.gateway.assert_no_videos().await;
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_a_503_and_leaves_nothing_behind() {
    for call in ["create", "put", "write", "finish"] {
        let faulty = Faulty::start().await;
        faulty.plan.next(call, &[Some(Fault::Away)]);
        let answer = faulty.upload().await;
        answer.assert_plain(503, "the service is not available now, please try again later");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok());
        faulty.assert_nothing_is_left().await;
        // And it was trouble, not a verdict: the next upload is taken.
        faulty.upload().await.assert_plain(200, "success!");
    }
}

#[tokio::test]
async fn a_full_store_is_a_507_and_leaves_nothing_behind() {
    for call in ["put", "write", "finish"] {
        let faulty = Faulty::start().await;
        faulty.plan.next(call, &[Some(Fault::Full)]);
        let answer = faulty.upload().await;
        answer.assert_plain(507, "there is no space left for this upload, please try again later");
        assert!(answer.header("retry-after").is_some());
        faulty.assert_nothing_is_left().await;
    }
}

#[tokio::test]
async fn a_finish_whose_answer_was_lost_does_not_leave_a_file() {
    let faulty = Faulty::start().await;
    faulty.plan.next("finish", &[Some(Fault::LostAnswer)]);
    assert_eq!(faulty.upload().await.status, 503);
    faulty.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_still_a_success() {
    for faults in [
        &[Some(Fault::LostAnswer)][..],
        &[Some(Fault::Away), Some(Fault::LostAnswer)],
    ] {
        let faulty = Faulty::start().await;
        faulty.plan.next("commit", faults);
        let answer = faulty.upload().await;
        answer.assert_plain(200, "success!");
        let id = answer.header("x-job-id").unwrap().parse().unwrap();
        let job = faulty.jobs.get(id).await.unwrap().unwrap();
        assert_eq!(job.state, JobState::Queued);
        assert!(faulty.gateway.blobs.stat(Bucket::Videos, id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_commit_nobody_knows_of_keeps_the_file_until_the_record_says() {
    for (fault, state) in [
        (Fault::Away, JobState::Receiving),
        (Fault::LostAnswer, JobState::Queued),
    ] {
        let faulty = Faulty::start().await;
        faulty.plan.next(
            "commit",
            &[Some(fault), Some(Fault::Away), Some(Fault::Away), Some(Fault::Away)],
        );
        assert_eq!(faulty.upload().await.status, 503);
        let job = faulty.jobs.list(None, None, 10, None).await.unwrap().remove(0);
        assert_eq!(job.state, state);
        assert!(
            faulty
                .gateway
                .blobs
                .stat(Bucket::Videos, job.id)
                .await
                .unwrap()
                .is_some()
        );

        faulty.gateway.lapse_uploads().await;
        gateway::lapsed::end_lapsed(&faulty.gateway.state).await.unwrap();
        let still_there = faulty
            .gateway
            .blobs
            .stat(Bucket::Videos, job.id)
            .await
            .unwrap()
            .is_some();
        assert_eq!(still_there, state == JobState::Queued);
    }
}

#[tokio::test]
async fn an_upload_that_another_gateway_gave_up_is_not_committed() {
    let faulty = Faulty::start().await;
    let body = form(&[file("file", "clip.mp4", b"video")]);
    let mut client = faulty.gateway.connect().await;
    client
        .send(crate::gateway::upload_head(&faulty.token, body.len() as u64, &[]))
        .await;
    client.send(&body[..body.len() - 5]).await;
    until("an upload has begun", async || {
        (!faulty.gateway.all_jobs().await.is_empty()).then_some(())
    })
    .await;
    // It has ended the record, and comes to the file later: the record alone must keep this one from its commit.
    let id = faulty.gateway.all_jobs().await[0].id;
    let gave_up = Reason {
        code: ReasonCode::UploadInterrupted,
        message: "The upload stopped.".to_owned(),
    };
    assert!(faulty.jobs.fail_upload(id, gave_up).await.unwrap());
    client.send(&body[body.len() - 5..]).await;
    assert_eq!(client.answer().await.status, 503);
    let job = faulty.jobs.list(None, None, 10, None).await.unwrap().remove(0);
    assert_eq!(job.reason.unwrap().code, ReasonCode::UploadInterrupted);
    faulty.assert_nothing_is_left().await;
}

#[tokio::test]
async fn readiness_is_red_without_the_job_store_or_the_blob_store() {
    let faulty = Faulty::start().await;
    faulty.plan.next("ping", &[Some(Fault::Away)]);
    let answer = faulty.gateway.call("GET", "/readyz", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(faulty.gateway.call("GET", "/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn reading_routes_answer_503_while_a_store_is_away() {
    let faulty = Faulty::start().await;
    let fid = faulty.gateway.store_mp3(ADA, "clip.mp3", b"mp3").await;
    for (call, target) in [
        ("stat", format!("/download?fid={fid}")),
        ("read", format!("/download?fid={fid}")),
        ("read piece", format!("/download?fid={fid}")),
    ] {
        faulty.plan.next(call, &[Some(Fault::Away)]);
        let answer = faulty.gateway.call_as(&faulty.token, "GET", &target).await;
        answer.assert_plain(503, "the service is not available now, please try again later");
    }
    for (call, target) in [
        ("list", "/api/v1/jobs"),
        ("get", "/api/v1/jobs/64b7f3a2c9e77b0001a1b2c3"),
    ] {
        faulty.plan.next(call, &[Some(Fault::Away)]);
        let answer = faulty.gateway.call_as(&faulty.token, "GET", target).await;
        answer.assert_problem(503, "unavailable");
    }
}

#[tokio::test]
async fn a_download_that_fails_midway_breaks_the_connection() {
    use tokio::io::AsyncReadExt as _;

    let faulty = Faulty::start().await;
    let fid = faulty.gateway.store_mp3(ADA, "clip.mp3", &vec![7; 8_000_000]).await;
    faulty.plan.next("read piece", &[None, Some(Fault::Away)]);
    let mut client = faulty.gateway.connect().await;
    let bearer = format!("Bearer {}", faulty.token);
    let target = format!("/download?fid={fid}");
    client
        .send(crate::gateway::head("GET", &target, &[("Authorization", &bearer)]))
        .await;
    let (mut reading, _writing) = client.split();
    let mut received = Vec::new();
    // It ends, with a reset or without, before all is there.
    let _ended = reading.read_to_end(&mut received).await;
    assert!(received.starts_with(b"HTTP/1.1 200 "));
    assert!(
        received.len() > 1000 && received.len() < 8_000_000,
        "{}",
        received.len()
    );
}

/// The first answer to an upload of this length whose client waits to be asked for it.
async fn answer_to_announced(faulty: &Faulty, length: u64) -> Answer {
    let mut client = faulty.gateway.connect().await;
    client
        .send(upload_head(&faulty.token, length, &[("Expect", "100-continue")]))
        .await;
    client.answer().await
}

#[tokio::test]
async fn a_store_with_too_little_space_is_507_before_the_body_is_asked_for() {
    for (total_bytes, free_bytes, length, status) in [
        (1_000_000, 100_000, 50_000, 100),
        (1_000_000, 99_999, 1000, 507),
        (1_000_000, 500_000, 250_001, 507),
        (1_000_000, 500_000, 250_000, 100),
        (u64::MAX, u64::MAX / 2, 1000, 100),
    ] {
        let space = Space {
            total_bytes,
            free_bytes,
        };
        let faulty = Faulty::start_with_space(Some(space)).await;
        let answer = answer_to_announced(&faulty, length).await;
        assert_eq!(answer.status, status, "{space:?} {length}");
        if status == 507 {
            answer.assert_plain(507, "there is no space left for this upload, please try again later");
            assert!(answer.header("retry-after").is_some());
            assert_eq!(faulty.gateway.all_jobs().await, []);
        }
    }
}

#[tokio::test]
async fn a_store_that_does_not_say_how_full_it_is_turns_nobody_away() {
    let faulty = Faulty::start().await;
    faulty.upload().await.assert_plain(200, "success!");
    let faulty = Faulty::start().await;
    faulty.plan.next("space", &[Some(Fault::Away)]);
    faulty.upload().await.assert_plain(200, "success!");
}

#[tokio::test]
async fn the_store_is_asked_for_its_space_once_in_a_few_seconds() {
    let (total_bytes, free_bytes) = (1_000_000, 10);
    let space = Space {
        total_bytes,
        free_bytes,
    };
    let faulty = Faulty::start_with_space(Some(space)).await;
    let began = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(answer_to_announced(&faulty, 1000).await.status, 507);
    }
    let ready = faulty.gateway.call("GET", "/readyz?verbose", &[]).await;
    assert_eq!((ready.status, &ready.json()["checks"]["space"]), (200, &"full".into()));
    let asked = faulty.plan.space_asked.load(Ordering::Relaxed) as u64;
    assert!(
        (1..=began.elapsed().as_secs() / 5 + 1).contains(&asked),
        "{asked} times"
    );
}

/// One chunk of a body whose length nobody announced.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[tokio::test]
async fn an_upload_that_did_not_say_its_length_ends_when_space_runs_out_and_leaves_nothing() {
    const MEBIBYTE: u64 = 1024 * 1024;
    let piece_bytes = 1024 * 1024;
    for (free_mebibytes, status) in [(200, 200), (163, 507)] {
        let space = Space {
            total_bytes: 1000 * MEBIBYTE,
            free_bytes: free_mebibytes * MEBIBYTE,
        };
        let faulty = Faulty::start_with_space(Some(space)).await;
        let mut client = faulty.gateway.connect().await;
        let headers = [
            ("Authorization", &*format!("Bearer {}", faulty.token)),
            ("Content-Type", CONTENT_TYPE),
            ("Transfer-Encoding", "chunked"),
        ];
        client.send(head("POST", "/upload", &headers)).await;
        let body = form(&[file("file", "clip.mp4", &vec![7; 65 * piece_bytes])]);
        for piece in body.chunks(piece_bytes) {
            client.send(chunk(piece)).await;
        }
        client.send(b"0\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{free_mebibytes}: {answer:?}");
        if status == 507 {
            answer.assert_plain(507, "there is no space left for this upload, please try again later");
            faulty.assert_nothing_is_left().await;
        }
    }
}

#[tokio::test]
async fn what_uploads_under_way_have_announced_is_not_given_to_others() {
    let space = Space {
        total_bytes: 1_000_000,
        free_bytes: 500_000,
    };
    let faulty = Faulty::start_with_space(Some(space)).await;
    let mut first = faulty.gateway.connect().await;
    first
        .send(upload_head(&faulty.token, 200_000, &[("Expect", "100-continue")]))
        .await;
    assert_eq!(first.answer().await.status, 100);
    assert_eq!(answer_to_announced(&faulty, 200_000).await.status, 507);
    assert_eq!(answer_to_announced(&faulty, 150_000).await.status, 100);
    drop(first);
    until("its room is free again", async || {
        let answer = answer_to_announced(&faulty, 200_000).await;
        (answer.status == 100).then_some(())
    })
    .await;
}
