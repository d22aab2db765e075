//! SIGTERM loses nothing.

use std::time::Duration;

use domain::JobState;
use testkit::until;

use crate::gateway::{ADA, Gateway, file, form, open_form, upload_head};

#[tokio::test]
async fn an_upload_that_ends_within_the_grace_is_taken() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&[file("file", "clip.mp4", &[7; 100_000])]);
    let mut client = gateway.connect().await;
    client.send(upload_head(&token, body.len() as u64, &[])).await;
    client.send(&body[..50_000]).await;
    until("an upload has begun", async || {
        (!gateway.all_jobs().await.is_empty()).then_some(())
    })
    .await;
    gateway.life.stop();
    client.send(&body[50_000..]).await;
    client.answer().await.assert_plain(200, "success!");
    gateway.life.shut_down(Duration::from_secs(30)).await;
    assert!(!gateway.life.aborting().is_cancelled());
    assert_eq!(gateway.all_jobs().await[0].state, JobState::Queued);
}

#[tokio::test]
async fn an_upload_that_outlasts_the_grace_gets_503_and_leaves_nothing_behind() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let mut client = gateway.connect().await;
    client.send(upload_head(&token, 10_000_000, &[])).await;
    client.send(open_form(&[file("file", "clip.mp4", &[7; 100_000])])).await;
    until("an upload has begun", async || {
        (!gateway.all_jobs().await.is_empty()).then_some(())
    })
    .await;
    let life = gateway.life.clone();
    let stopped = tokio::spawn(async move { life.shut_down(Duration::ZERO).await });
    let answer = client.answer().await;
    answer.assert_plain(503, "the service is restarting, please try again in a moment");
    assert!(answer.header("retry-after").is_some());
    drop(client);
    stopped.await.unwrap();
    assert_eq!(gateway.all_jobs().await[0].state, JobState::Failed);
    gateway.assert_no_videos().await;
}
