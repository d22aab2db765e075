//! Bodies that are not what they should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::{StreamExt as _, stream};
use testkit::until;
use tower::ServiceExt as _;

use crate::client::HANG;
use crate::gateway::{ADA, CONTENT_TYPE, Gateway, bearer, file, form, head, open_form, text};

const REFUSED: &str = "exactly 1 file required";

/// That nothing of any upload stays: no bytes, and records that say so.
async fn assert_nothing_is_left(gateway: &Gateway) {
    until("every upload has ended", async || {
        let jobs = gateway.all_jobs().await;
        jobs.iter()
            .all(|job| job.state == domain::JobState::Failed)
            .then_some(())
    })
    .await;
    for job in gateway.all_jobs().await {
        assert_eq!(job.reason.unwrap().code, domain::ReasonCode::UploadInterrupted);
    }
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn only_a_whole_form_with_exactly_one_file_is_taken() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let clip = || file("file", "clip.mp4", b"video");
    let whole = form(&[clip()]);
    let many: Vec<_> = (0..10_000).map(|n| text(&format!("field{n}"), "x")).collect();
    let many_files: Vec<_> = (0..1000).map(|_| clip()).collect();
    let corpus: Vec<(&str, Vec<u8>)> = vec![
        ("empty body", vec![]),
        ("no part", b"--BOUNDARY--\r\n".to_vec()),
        ("no file", form(&[text("title", "x")])),
        ("two files", form(&[clip(), file("other", "b.mp4", b"video")])),
        ("two files of one name", form(&[clip(), clip()])),
        ("no closing boundary", open_form(&[clip()])),
        ("cut in the closing boundary", whole[..whole.len() - 4].to_vec()),
        ("cut in the content", whole[..whole.len() - 20].to_vec()),
        (
            "another boundary",
            String::from_utf8(whole.clone())
                .unwrap()
                .replace("BOUNDARY", "OTHER")
                .into_bytes(),
        ),
        (
            "line feeds alone",
            String::from_utf8(whole.clone())
                .unwrap()
                .replace("\r\n", "\n")
                .into_bytes(),
        ),
        (
            "no disposition",
            b"--BOUNDARY\r\nContent-Type: video/mp4\r\n\r\nvideo\r\n--BOUNDARY--".to_vec(),
        ),
        ("10,000 parts", form(&many)),
        ("10,000 parts and a file", [open_form(&[clip()]), form(&many)].concat()),
        ("1,000 files", form(&many_files)),
        ("a preamble bomb", [vec![b'x'; 1_000_000], whole.clone()].concat()),
        ("an epilogue bomb", [whole.clone(), vec![b'x'; 1_000_000]].concat()),
        ("a form inside a form", form(&[file("file", "clip.mp4", &whole)])),
    ];
    for (what, body) in corpus {
        let answer = gateway.upload(&token, &body).await;
        assert_eq!((answer.status, answer.text()), (400, REFUSED), "{what}");
    }
    assert_nothing_is_left(&gateway).await;
}

#[tokio::test]
async fn what_is_not_announced_as_a_form_is_refused_before_its_body_is_read() {
    let gateway = Gateway::start().await;
    let bearer = bearer(&gateway.login(ADA).await);
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data"),
        Some("multipart/form-data; boundary="),
        Some("multipart/form-data; boundary=a; boundary=b"),
        Some("multipart/mixed; boundary=BOUNDARY"),
    ] {
        let mut headers = vec![
            ("Authorization", &*bearer),
            ("Content-Length", "1000"),
            ("Expect", "100-continue"),
        ];
        headers.extend(content_type.map(|content_type| ("Content-Type", content_type)));
        let mut client = gateway.connect().await;
        client.send(head("POST", "/upload", &headers)).await;
        client.answer().await.assert_plain(400, REFUSED);
    }
    let twice = [
        ("Authorization", &*bearer),
        ("Content-Type", CONTENT_TYPE),
        ("Content-Type", CONTENT_TYPE),
    ];
    gateway.call("POST", "/upload", &twice).await.assert_plain(400, REFUSED);
}

#[tokio::test]
async fn a_part_header_without_end_is_refused_after_a_fraction_of_it() {
    let gateway = Gateway::start().await;
    let bearer = bearer(&gateway.login(ADA).await);
    for opening in [
        "",
        "--BOUNDARY\r\nX-Bomb: ",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"",
    ] {
        let mut client = gateway.connect().await;
        let length = (1_u64 << 30).to_string();
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", CONTENT_TYPE),
            ("Content-Length", &*length),
        ];
        client.send(head("POST", "/upload", &headers)).await;
        client.send(opening).await;
        // More than the limits of a head and of what is read behind an answer; far less than was announced.
        client.send(vec![b'x'; 64 * 1024]).await;
        let answer = client.answer().await;
        answer.assert_plain(400, REFUSED);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_nothing_is_left(&gateway).await;
}

#[tokio::test]
async fn of_a_gibibyte_that_is_no_content_less_than_a_mebibyte_is_read() {
    let gateway = Gateway::start().await;
    let bearer = bearer(&gateway.login(ADA).await);
    let endless_parts = "--BOUNDARY\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n".repeat(1000);
    let mut reads = Vec::new();
    for (opening, piece) in [
        ("", "x".repeat(64 * 1024)),
        ("--BOUNDARY\r\nX-Bomb: ", "x".repeat(64 * 1024)),
        (
            "--BOUNDARY\r\nContent-Disposition: form-data; name=\"",
            "x".repeat(64 * 1024),
        ),
        ("--BOUNDARY\r\n", "X-Bomb: x\r\n".repeat(6 * 1024)),
        ("--BOUNDARY--\r\n", "x".repeat(64 * 1024)),
        ("", endless_parts),
    ] {
        let read = Arc::new(AtomicUsize::new(0));
        reads.push(Arc::clone(&read));
        let pieces = (1 << 30) / piece.len();
        let body = stream::iter(std::iter::once(opening.to_owned()).chain(std::iter::repeat_n(piece, pieces)));
        let body = body.map(move |piece| {
            read.fetch_add(piece.len(), Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from(piece))
        });
        let request = Request::post("/upload")
            .header("authorization", &bearer)
            .header("content-type", CONTENT_TYPE)
            .body(Body::from_stream(body))
            .unwrap();
        let answer = gateway::router(gateway.state.clone()).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 400);
    }
    // What is read behind an answer, so that it arrives, counts too.
    gateway.life.shut_down(HANG).await;
    for read in reads {
        let read = read.load(Ordering::Relaxed);
        assert!(read < 1 << 20, "{read} bytes were read");
    }
}
