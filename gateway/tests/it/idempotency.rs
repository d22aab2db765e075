//! `Idempotency-Key`: an upload that is sent again makes no second job.

use domain::{Bucket, JobState};
use testkit::until;

use crate::client::{Answer, Client};
use crate::faults::{Fault, FaultyJobs, Plan};
use crate::gateway::{ADA, BOB, Gateway, Part, Setup, file, form, open_form, text, upload_head};

const KEY: (&str, &str) = ("Idempotency-Key", "6d1f1c2e-talk");

fn clip() -> Vec<Part> {
    vec![text("vbr", "4"), file("file", "clip.mp4", b"video")]
}

async fn send(gateway: &Gateway, token: &str, parts: &[Part]) -> Answer {
    gateway.upload_with(token, &form(parts), &[KEY]).await
}

/// A client whose upload under the key has been let begin, and of which no byte has been sent.
async fn let_begin(gateway: &Gateway, token: &str, length: u64) -> Client {
    let mut client = gateway.connect().await;
    let headers = [KEY, ("Expect", "100-continue")];
    client.send(upload_head(token, length, &headers)).await;
    assert_eq!(client.answer().await.status, 100);
    client
}

#[tokio::test]
async fn an_upload_that_is_sent_again_is_answered_with_the_job_it_made_first() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let first = send(&gateway, &token, &clip()).await;
    first.assert_plain(200, "success!");
    assert_eq!(first.header("idempotent-replayed"), None);
    let id = first.header("x-job-id").unwrap();

    // Another name of the file, the options after it, and the source gone: it is the same upload.
    let again = [
        file("file", "again.mp4", b"video"),
        text("vbr", " 4"),
        text("title", "x"),
    ];
    for round in 0..2 {
        let answer = send(&gateway, &token, &again).await;
        answer.assert_plain(200, "success!");
        assert_eq!(answer.header("x-job-id"), Some(id));
        assert_eq!(answer.header("location"), first.header("location"));
        assert_eq!(answer.header("idempotent-replayed"), Some("true"));
        assert_eq!(answer.header("x-ignored-fields"), Some("title"));
        if round == 0 {
            gateway.blobs.delete(Bucket::Videos, id.parse().unwrap()).await.unwrap();
        }
    }
    let headers = [KEY, ("Accept", "application/json")];
    let answer = gateway.upload_with(&token, &form(&clip()), &headers).await;
    assert_eq!((answer.status, answer.json()["id"].as_str()), (202, Some(id)));
    assert_eq!(gateway.all_jobs().await.len(), 1);
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn a_key_with_another_file_or_other_options_is_422_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let first = send(&gateway, &token, &clip()).await;
    let id = first.header("x-job-id").unwrap().parse().unwrap();
    let before = gateway.job(id).await;
    for other in [
        vec![text("vbr", "4"), file("file", "clip.mp4", b"Video")],
        vec![text("vbr", "4"), file("file", "clip.mp4", b"video, and more")],
        vec![text("vbr", "5"), file("file", "clip.mp4", b"video")],
        vec![file("file", "clip.mp4", b"video")],
    ] {
        let answer = send(&gateway, &token, &other).await;
        answer.assert_plain(
            422,
            "this Idempotency-Key was sent with another file or other options, please choose a new one",
        );
        assert_eq!(answer.header("x-job-id"), None);
    }
    send(&gateway, &token, &[text("vbr", "4")])
        .await
        .assert_plain(400, "exactly 1 file required");
    assert_eq!(gateway.all_jobs().await, [before]);
    assert_eq!(gateway.bytes(Bucket::Videos, id).await, b"video");
}

#[tokio::test]
async fn without_a_key_or_with_somebody_elses_every_upload_is_a_new_one() {
    let gateway = Gateway::start().await;
    let (ada, bob) = (gateway.login(ADA).await, gateway.login(BOB).await);
    for token in [&ada, &bob] {
        let answer = send(&gateway, token, &clip()).await;
        assert_eq!(answer.header("idempotent-replayed"), None);
    }
    for _ in 0..2 {
        gateway.upload(&ada, &form(&clip())).await.assert_plain(200, "success!");
    }
    assert_eq!(gateway.all_jobs().await.len(), 4);
}

#[tokio::test]
async fn while_the_first_is_being_received_the_second_is_409_before_its_body() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&clip());
    let mut first = let_begin(&gateway, &token, body.len() as u64).await;
    first.send(&body[..body.len() - 10]).await;
    until("the first has begun", async || {
        (!gateway.all_jobs().await.is_empty()).then_some(())
    })
    .await;
    let mut second = gateway.connect().await;
    let headers = [KEY, ("Expect", "100-continue")];
    second.send(upload_head(&token, body.len() as u64, &headers)).await;
    let answer = second.answer().await;
    answer.assert_plain(
        409,
        "an upload with this Idempotency-Key is still being received, please try again in a moment",
    );
    assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok());

    first.send(&body[body.len() - 10..]).await;
    let first = first.answer().await;
    let again = send(&gateway, &token, &clip()).await;
    assert_eq!(again.header("x-job-id"), first.header("x-job-id"));
}

#[tokio::test]
async fn of_two_that_begin_at_the_same_moment_one_is_taken() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&clip());
    let mut clients = [
        let_begin(&gateway, &token, body.len() as u64).await,
        let_begin(&gateway, &token, body.len() as u64).await,
    ];
    let mut statuses = Vec::new();
    for client in &mut clients {
        client.send(&body).await;
        statuses.push(client.answer().await.status);
    }
    assert_eq!(statuses, [200, 409]);
    assert_eq!(gateway.all_jobs().await.len(), 1);
}

#[tokio::test]
async fn the_key_of_an_upload_that_broke_off_is_free_again() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let mut client = let_begin(&gateway, &token, 1_000_000).await;
    client.send(open_form(&clip())).await;
    until("it has begun", async || {
        (!gateway.all_jobs().await.is_empty()).then_some(())
    })
    .await;
    drop(client);
    assert_eq!(gateway.ended_job().await.state, JobState::Failed);
    let answer = send(&gateway, &token, &clip()).await;
    answer.assert_plain(200, "success!");
    assert_eq!(answer.header("idempotent-replayed"), None);
}

#[tokio::test]
async fn a_key_that_is_none_is_400_and_named() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let long = "k".repeat(256);
    for headers in [
        &[("Idempotency-Key", "")][..],
        &[("Idempotency-Key", "two words")],
        &[("Idempotency-Key", "caf\u{e9}")],
        &[("Idempotency-Key", &*long)],
        &[KEY, KEY],
    ] {
        let answer = gateway.upload_with(&token, &form(&clip()), headers).await;
        answer.assert_plain(
            400,
            "bad value for `Idempotency-Key`: expected 1 to 255 visible ASCII characters, once",
        );
    }
    assert_eq!(gateway.all_jobs().await, []);
}

#[tokio::test]
async fn while_nobody_can_say_what_had_the_key_nothing_is_taken() {
    let plan = Plan::default();
    let mut setup = Setup::new().await;
    setup.ports.jobs = std::sync::Arc::new(FaultyJobs {
        store: setup.ports.jobs,
        plan: plan.clone(),
    });
    let gateway = setup.start().await;
    let token = gateway.login(ADA).await;
    plan.next("key", &[Some(Fault::Away)]);
    assert_eq!(send(&gateway, &token, &clip()).await.status, 503);
    assert_eq!(gateway.all_jobs().await, []);
    send(&gateway, &token, &clip()).await.assert_plain(200, "success!");
}
