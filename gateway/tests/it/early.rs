//! Answers that come before the body's end, and clients that stop.

use domain::{JobState, ReasonCode};
use testkit::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::HANG;
use crate::gateway::{
    ADA, CONTENT_TYPE, Gateway, Setup, bearer, file, form, head, open_form, text, token, upload_head,
};

async fn small_limit() -> Gateway {
    let mut setup = Setup::new().await;
    setup.settings.max_upload_bytes = 100_000;
    setup.start().await
}

#[tokio::test]
async fn a_client_that_waits_to_continue_never_sends_what_would_be_refused() {
    let gateway = small_limit().await;
    let good = gateway.login(ADA).await;
    let not_admin = token(ADA, false, 3600);
    for (token, length, status, body) in [
        ("bad", 1000, 403, "not authorized"),
        (&*not_admin, 1000, 401, "not authorized"),
        (&*good, 100_001, 413, "an upload may have at most 100000 bytes"),
    ] {
        let mut client = gateway.connect().await;
        client
            .send(upload_head(token, length, &[("Expect", "100-continue")]))
            .await;
        // The first answer is the last one: no `100 Continue` before or behind it.
        let answer = client.answer().await;
        answer.assert_plain(status, body);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn a_client_that_waits_to_continue_is_asked_when_nothing_speaks_against_it() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&[file("file", "clip.mp4", b"video")]);
    let mut client = gateway.connect().await;
    let expect = [("Expect", "100-continue")];
    client.send(upload_head(&token, body.len() as u64, &expect)).await;
    assert_eq!(client.answer().await.status, 100);
    client.send(body).await;
    client.answer().await.assert_plain(200, "success!");
}

#[tokio::test]
async fn the_limit_holds_for_a_body_without_a_length_too() {
    let gateway = small_limit().await;
    let bearer = bearer(&gateway.login(ADA).await);
    for (content_bytes, status) in [(99_000, 200), (100_001, 413)] {
        let body = form(&[file("file", "clip.mp4", &vec![0; content_bytes])]);
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", CONTENT_TYPE),
            ("Transfer-Encoding", "chunked"),
        ];
        let mut client = gateway.connect().await;
        client.send(head("POST", "/upload", &headers)).await;
        client.send(format!("{:x}\r\n", body.len())).await;
        client.send(body).await;
        client.send("\r\n0\r\n\r\n").await;
        assert_eq!(client.answer().await.status, status);
    }
    let jobs = gateway.all_jobs().await;
    assert_eq!(jobs.len(), 2);
    assert_eq!((jobs[0].state, jobs[1].state), (JobState::Failed, JobState::Queued));
}

/// Sends without end and without looking, beside somebody who reads.
async fn answer_to_a_client_that_goes_on(gateway: &Gateway, opening: &[u8]) -> String {
    let mut client = gateway.connect().await;
    client.send(opening).await;
    let (mut reading, mut writing) = client.split();
    let sender = tokio::spawn(async move {
        let piece = vec![b'x'; 16 * 1024];
        while writing.write_all(&piece).await.is_ok() {}
    });
    let mut received = Vec::new();
    let read = tokio::time::timeout(HANG, async {
        let mut buffer = [0; 1024];
        // A reset may follow; what came before it counts.
        while let Ok(count @ 1..) = reading.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..count]);
        }
    });
    read.await.unwrap();
    sender.abort();
    String::from_utf8(received).unwrap()
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_goes_on_sending() {
    let gateway = small_limit().await;
    let good = gateway.login(ADA).await;
    let two_files = open_form(&[file("a", "a.mp4", b""), file("b", "b.mp4", b"")]);
    let endless = |token: &str| {
        let bearer = bearer(token);
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", CONTENT_TYPE),
            ("Transfer-Encoding", "chunked"),
        ];
        head("POST", "/upload", &headers) + "ffffffff\r\n"
    };
    for (what, opening, answer) in [
        (
            "bad token",
            upload_head("bad", 90_000_000, &[]).into_bytes(),
            "HTTP/1.1 403 ",
        ),
        (
            "too large",
            upload_head(&good, 90_000_000, &[]).into_bytes(),
            "HTTP/1.1 413 ",
        ),
        ("counted", endless(&good).into_bytes(), "HTTP/1.1 400 "),
        (
            "two files",
            [endless(&good).into_bytes(), two_files].concat(),
            "HTTP/1.1 400 ",
        ),
        (
            "another method",
            head("PUT", "/upload", &[("Content-Length", "90000000")]).into_bytes(),
            "HTTP/1.1 405 ",
        ),
        (
            "unknown route",
            head("POST", "/x", &[("Content-Length", "90000000")]).into_bytes(),
            "HTTP/1.1 404 ",
        ),
    ] {
        let received = answer_to_a_client_that_goes_on(&gateway, &opening).await;
        assert!(received.starts_with(answer), "{what}: {received}");
        assert!(received.contains("connection: close\r\n"), "{what}: {received}");
        assert_eq!(received.matches("HTTP/1.1").count(), 1, "{what}: {received}");
    }
}

#[tokio::test]
async fn a_client_that_reads_only_after_sending_a_small_body_gets_its_early_answer() {
    let gateway = Gateway::start().await;
    let body = form(&[file("file", "clip.mp4", &vec![0; 300_000])]);
    let mut client = gateway.connect().await;
    client.send(upload_head("bad", body.len() as u64, &[])).await;
    client.send(&body).await;
    client.answer().await.assert_plain(403, "not authorized");
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_nothing_behind() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = open_form(&[text("vbr", "2"), file("file", "clip.mp4", &vec![7; 1_000_000])]);
    let mut client = gateway.connect().await;
    client.send(upload_head(&token, 10_000_000, &[])).await;
    client.send(&body).await;
    until("an upload has begun", async || {
        (!gateway.all_jobs().await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(gateway.all_jobs().await[0].state, JobState::Receiving);
    drop(client);
    let job = gateway.ended_job().await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.reason.unwrap().code, ReasonCode::UploadInterrupted);
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn a_client_that_stops_sending_within_its_length_leaves_nothing_behind() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let body = form(&[file("file", "clip.mp4", b"video")]);
    let mut client = gateway.connect().await;
    // The form is whole, the body is not: the closing boundary alone commits nothing.
    client.send(upload_head(&token, body.len() as u64 + 10, &[])).await;
    client.send(&body).await;
    client.half_close().await;
    assert_eq!(gateway.ended_job().await.state, JobState::Failed);
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn the_record_of_a_refused_upload_says_what_was_refused() {
    let gateway = small_limit().await;
    let token = gateway.login(ADA).await;
    let clip = || file("file", "clip.mp4", b"video");
    let large = file("file", "clip.mp4", &vec![0; 100_001]);
    for (parts, status, refusal) in [
        (vec![clip(), clip()], 400, "exactly 1 file"),
        (vec![clip(), text("bitrate", "129")], 400, "`bitrate`"),
        (vec![large], 413, "100000 bytes"),
    ] {
        let bearer = bearer(&token);
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", CONTENT_TYPE),
            ("Transfer-Encoding", "chunked"),
        ];
        let body = form(&parts);
        let mut client = gateway.connect().await;
        client.send(head("POST", "/upload", &headers)).await;
        client.send(format!("{:x}\r\n", body.len())).await;
        client.send(body).await;
        client.send("\r\n0\r\n\r\n").await;
        assert_eq!(client.answer().await.status, status);
        let newest = until("the upload has ended", async || {
            let newest = gateway.all_jobs().await.swap_remove(0);
            (newest.state != JobState::Receiving).then_some(newest)
        });
        let reason = newest.await.reason.unwrap();
        assert_eq!(reason.code, ReasonCode::UploadInterrupted);
        assert!(reason.message.contains(refusal), "{}", reason.message);
    }
}

#[tokio::test]
async fn a_client_that_stalls_is_given_up_with_an_answer() {
    let mut setup = Setup::new().await;
    setup.settings.pace.upload_floor_window = 1.try_into().unwrap();
    let gateway = setup.start().await;
    let token = gateway.login(ADA).await;
    let mut client = gateway.connect().await;
    client.send(upload_head(&token, 10_000_000, &[])).await;
    client.send(open_form(&[file("file", "clip.mp4", b"vid")])).await;
    let answer = client.answer().await;
    answer.assert_plain(408, "the upload came too slowly and was given up, please send it again");
    assert_eq!(gateway.ended_job().await.state, JobState::Failed);
    gateway.assert_no_videos().await;
}
