//! `POST /upload` when all is well.

use std::sync::Arc;

use domain::{BlobOwner, Bucket, JobState};
use testkit::until;

use crate::client::HANG;
use crate::gateway::{ADA, Gateway, Setup, address, file, form, text, upload_head};

#[tokio::test]
async fn an_upload_is_stored_committed_and_announced() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let mut announced = gateway.queue.consume("video", 1);
    let body = form(&[file("anything", "summer 1.mp4", b"\r\n--video\r\n--BOUND\0")]);
    let answer = gateway.upload(&token, &body).await;
    answer.assert_plain(200, "success!");

    let id = answer.header("x-job-id").unwrap();
    assert_eq!(answer.header("location"), Some(&*format!("/api/v1/jobs/{id}")));
    assert_eq!(answer.header("x-ignored-fields"), None);
    let id = id.parse().unwrap();
    let job = gateway.job(id).await;
    assert_eq!((job.state, &job.owner), (JobState::Queued, &address(ADA)));
    assert_eq!(job.filename.as_deref(), Some("summer 1.mp4"));
    assert_eq!(job.size_bytes, Some(19));
    assert_eq!(gateway.bytes(Bucket::Videos, id).await, b"\r\n--video\r\n--BOUND\0");
    let blob = gateway.blobs.stat(Bucket::Videos, id).await.unwrap().unwrap();
    assert!(blob.ours && blob.job == Some(id) && blob.sha256.is_some());
    assert_eq!(blob.owner, BlobOwner::Stated(address(ADA)));

    let delivery = tokio::time::timeout(HANG, announced.next()).await.unwrap();
    let message = delivery.message.unwrap();
    assert_eq!((message.video_fid, message.mp3_fid), (id, None));
    assert_eq!(message.username.as_str(), ADA);
    // The broker has it, so nobody announces it again.
    until("the broker has it", async || {
        gateway.unannounced().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn options_are_text_parts_before_or_after_the_file() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&[
        text("bitrate", "192"),
        file("file", "clip.mp4", b"video"),
        text("channels", " 1 "),
        text("end", "01:02:03.5"),
        text("start", "90.25"),
        text("track", "DEU"),
        text("gaps", "drop"),
    ]);
    let answer = gateway.upload(&token, &body).await;
    answer.assert_plain(200, "success!");
    let job = gateway.job(answer.header("x-job-id").unwrap().parse().unwrap()).await;
    let expected = r#"{"bitrate":192,"channels":1,"track":"deu","start":90.25,"end":3723.5,"gaps":"drop"}"#;
    assert_eq!(serde_json::to_string(&job.options).unwrap(), expected);
}

#[tokio::test]
async fn unknown_text_parts_are_ignored_and_listed() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&[
        text("title", &"x".repeat(300_000)),
        file("file", "clip.mp4", b"video"),
        text("a%0D%0AX-Evil: 1, b", ""),
        text("title", "again"),
    ]);
    let answer = gateway.upload(&token, &body).await;
    answer.assert_plain(200, "success!");
    assert_eq!(
        answer.header("x-ignored-fields"),
        Some("title, a%0D%0AX-Evil%3A%201%2C%20b")
    );
}

#[tokio::test]
async fn a_bad_value_of_a_known_option_is_400_and_names_it() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let long = "1".repeat(1_000_000);
    for (name, value) in [
        ("bitrate", "129"),
        ("vbr", "best"),
        ("rate", &*long),
        ("track", "german"),
        ("start", "-1"),
        ("end", "1:60"),
        ("gaps", "fill"),
    ] {
        for parts in [
            [text(name, value), file("file", "clip.mp4", b"video")],
            [file("file", "clip.mp4", b"video"), text(name, value)],
        ] {
            let answer = gateway.upload(&token, &form(&parts)).await;
            assert_eq!(answer.status, 400);
            assert!(answer.text().contains(&format!("`{name}`")), "{}", answer.text());
        }
    }
    for (one, other, named) in [
        (("vbr", "2"), ("bitrate", "128"), "`vbr`"),
        (("start", "30"), ("end", "0:30"), "value for `end`"),
        (("end", "5"), ("start", "5.5"), "value for `end`"),
    ] {
        let both = [
            text(one.0, one.1),
            text(other.0, other.1),
            file("file", "clip.mp4", b"video"),
        ];
        let answer = gateway.upload(&token, &form(&both)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(named), "{}", answer.text());
    }
    until("every upload has ended", async || {
        let jobs = gateway.all_jobs().await;
        jobs.iter().all(|job| job.state == JobState::Failed).then_some(())
    })
    .await;
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn options_are_judged_together_and_the_last_field_of_a_name_counts() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    for (fields, expected) in [
        (&[("bitrate", "129"), ("bitrate", "128")][..], r#"{"bitrate":128}"#),
        (
            &[("start", "30"), ("end", "20"), ("start", "10")],
            r#"{"start":10.0,"end":20.0}"#,
        ),
        (
            &[("end", "5"), ("start", "0:30"), ("end", "1:00")],
            r#"{"start":30.0,"end":60.0}"#,
        ),
    ] {
        let mut parts: Vec<_> = fields.iter().map(|(name, value)| text(name, value)).collect();
        parts.insert(1, file("file", "clip.mp4", b"video"));
        let answer = gateway.upload(&token, &form(&parts)).await;
        answer.assert_plain(200, "success!");
        let job = gateway.job(answer.header("x-job-id").unwrap().parse().unwrap()).await;
        assert_eq!(serde_json::to_string(&job.options).unwrap(), expected);
    }
    for (fields, named) in [
        (&[("bitrate", "128"), ("bitrate", "129")][..], "`bitrate`"),
        (&[("bitrate", "128"), ("vbr", "2")], "value for `vbr`"),
        (&[("start", "10"), ("end", "20"), ("start", "30")], "value for `end`"),
    ] {
        let mut parts: Vec<_> = fields.iter().map(|(name, value)| text(name, value)).collect();
        parts.push(file("file", "clip.mp4", b"video"));
        let answer = gateway.upload(&token, &form(&parts)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(named), "{}", answer.text());
    }
}

#[tokio::test]
async fn only_who_names_json_gets_202_and_the_job() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&[file("file", "clip.mp4", b"video")]);
    let answer = gateway
        .upload_with(&token, &body, &[("Accept", "application/json")])
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let job = answer.json();
    let id = job["id"].as_str().unwrap();
    assert_eq!(answer.header("x-job-id"), Some(id));
    assert_eq!(answer.header("location"), Some(&*format!("/api/v1/jobs/{id}")));
    assert_eq!(job["state"], "queued");
    let shown = gateway.call_as(&token, "GET", &format!("/api/v1/jobs/{id}")).await;
    assert_eq!(shown.json()["created_at"], job["created_at"]);

    let answer = gateway.upload_with(&token, &body, &[("Accept", "*/*")]).await;
    answer.assert_plain(200, "success!");
}

#[tokio::test]
async fn an_empty_file_and_one_without_a_name_are_taken() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let answer = gateway.upload(&token, &form(&[file("file", "", b"")])).await;
    answer.assert_plain(200, "success!");
    let job = gateway.job(answer.header("x-job-id").unwrap().parse().unwrap()).await;
    assert_eq!((job.filename.as_deref(), job.size_bytes), (Some("video"), Some(0)));
}

#[tokio::test]
async fn a_file_name_loses_its_directories_and_control_characters() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let parts = [file("file", "../../etc/a%0D%0Ab\u{1b}.mp4", b"video")];
    let answer = gateway.upload(&token, &form(&parts)).await;
    let job = gateway.job(answer.header("x-job-id").unwrap().parse().unwrap()).await;
    assert_eq!(job.filename.as_deref(), Some("ab.mp4"));
}

#[tokio::test]
async fn a_chunked_upload_needs_no_length_and_keeps_the_connection() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", crate::gateway::CONTENT_TYPE),
            ("Transfer-Encoding", "chunked"),
        ];
        client.send(crate::gateway::head("POST", "/upload", &headers)).await;
        for byte in form(&[file("file", "clip.mp4", b"video")]) {
            client.send([b"1\r\n", &[byte][..], b"\r\n"].concat()).await;
        }
        client.send("0\r\n\r\n").await;
        let answer = client.answer().await;
        answer.assert_plain(200, "success!");
        assert_eq!(answer.header("connection"), None);
    }
}

#[tokio::test]
async fn a_large_upload_arrives_whole() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let video: Vec<u8> = (0..3_000_001_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let answer = gateway.upload(&token, &form(&[file("file", "clip.mp4", &video)])).await;
    answer.assert_plain(200, "success!");
    let id = answer.header("x-job-id").unwrap().parse().unwrap();
    assert_eq!(gateway.bytes(Bucket::Videos, id).await, video);
}

#[tokio::test]
async fn a_broker_that_is_away_does_not_fail_an_upload() {
    let mut setup = Setup::new().await;
    setup.ports.queue = adapters::queue::connect(&"amqp://127.0.0.1:1".parse().unwrap()).unwrap();
    let gateway = setup.start().await;
    let token = gateway.login(ADA).await;
    let id = gateway.uploaded(&token).await;
    assert_eq!(gateway.job(id).await.state, JobState::Queued);
    assert_eq!(gateway.unannounced().await.len(), 1);
    let ready = gateway.call("GET", "/readyz?verbose", &[]).await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["checks"]["broker"], "away");
}

#[tokio::test]
async fn uploads_at_once_do_not_disturb_each_other() {
    let gateway = Arc::new(Gateway::start().await);
    let token = gateway.login(ADA).await;
    let uploads: Vec<_> = (0..16_u8)
        .map(|n| {
            let (gateway, token) = (Arc::clone(&gateway), token.clone());
            tokio::spawn(async move {
                let video = vec![n; 100_000];
                let answer = gateway.upload(&token, &form(&[file("file", "clip.mp4", &video)])).await;
                let id = answer.header("x-job-id").unwrap().parse().unwrap();
                assert_eq!(gateway.bytes(Bucket::Videos, id).await, video);
                id
            })
        })
        .collect();
    let mut ids = Vec::new();
    for upload in uploads {
        ids.push(upload.await.unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 16);
}

#[tokio::test]
async fn an_upload_whose_client_left_before_the_answer_still_counts() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&[file("file", "clip.mp4", b"video")]);
    let mut client = gateway.connect().await;
    let expect = [("Expect", "100-continue")];
    client.send(upload_head(&token, body.len() as u64, &expect)).await;
    assert_eq!(client.answer().await.status, 100);
    client.send(&body).await;
    drop(client);
    // Either the bytes arrived and the job is committed, or the reset was faster and nothing is left.
    let job = gateway.ended_job().await;
    match job.state {
        JobState::Queued => assert_eq!(gateway.bytes(Bucket::Videos, job.id).await, b"video"),
        state => {
            assert_eq!(state, JobState::Failed);
            gateway.assert_no_videos().await;
        }
    }
}

#[tokio::test]
async fn a_lapsed_upload_is_ended_with_its_file() {
    let gateway = Gateway::start().await;
    // What a killed gateway leaves: a record whose lease nobody renews, and a file nobody finishes.
    let id = gateway.receiving().await;
    gateway.store(Bucket::Videos, id, ADA, "clip.mp4", b"half of it").await;
    gateway::lapsed::end_lapsed(&gateway.state).await.unwrap();
    assert_eq!(gateway.job(id).await.state, JobState::Receiving);

    gateway.lapse_uploads().await;
    gateway::lapsed::end_lapsed(&gateway.state).await.unwrap();
    let job = gateway.job(id).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.reason.unwrap().code, domain::ReasonCode::UploadInterrupted);
    gateway.assert_no_videos().await;
}
