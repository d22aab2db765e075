//! `GET /download`.

use domain::Bucket;

use crate::client::Answer;
use crate::gateway::{ADA, Gateway, bearer};

const MP3: &[u8] = b"0123456789";

async fn get(gateway: &Gateway, token: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let bearer = bearer(token);
    let mut all = vec![("Authorization", &*bearer)];
    all.extend_from_slice(headers);
    gateway.call("GET", target, &all).await
}

#[tokio::test]
async fn a_download_is_the_mp3_under_the_uploads_name() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let fid = gateway.store_mp3(ADA, "summer \"ä\".mp3", MP3).await;
    let target = format!("/download?x=1&fid={fid}");
    let answer = get(&gateway, &ada, &target, &[]).await;
    assert_eq!((answer.status, &*answer.body), (200, MP3));
    for (name, value) in [
        ("content-type", "audio/mpeg"),
        ("content-length", "10"),
        ("etag", &*format!("\"{fid}\"")),
        ("accept-ranges", "bytes"),
        (
            "content-disposition",
            "attachment; filename=\"summer ___.mp3\"; filename*=UTF-8''summer%20%22%C3%A4%22.mp3",
        ),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let mut client = gateway.connect().await;
    let headers = [("Authorization", &*bearer(&ada)), ("Range", "bytes=2-3")];
    client.send(crate::gateway::head("HEAD", &target, &headers)).await;
    let head = client.answer_to_head().await;
    assert_eq!((head.status, head.headers.len()), (200, answer.headers.len()));
    for (name, value) in &answer.headers {
        assert!(name == "date" || head.header(name) == Some(value), "{name}");
    }
    // Nothing followed the head: the connection goes on with the next request.
    client.send(crate::gateway::head("GET", &target, &headers[..1])).await;
    assert_eq!(client.answer().await.body, MP3);
}

#[tokio::test]
async fn the_name_of_a_download_fits_a_file_system_and_only_a_media_extension_is_replaced() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    for (stored, expected) in [
        ("Mr. Smith talks", "Mr. Smith talks.mp3".to_owned()),
        ("3.5.2024 Meeting.mp3", "3.5.2024 Meeting.mp3".to_owned()),
        ("clip.mp4", "clip.mp3".to_owned()),
        (&"x".repeat(255), format!("{}.mp3", "x".repeat(251))),
        (&"e\u{301}".repeat(85), format!("{}.mp3", "e\u{301}".repeat(83))),
    ] {
        let fid = gateway.store_mp3(ADA, stored, MP3).await;
        let answer = get(&gateway, &ada, &format!("/download?fid={fid}"), &[]).await;
        let disposition = answer.header("content-disposition").unwrap();
        let (plain, extended) = disposition.split_once("; filename*=UTF-8''").unwrap();
        let plain = plain.strip_prefix("attachment; filename=").unwrap();
        assert_eq!(
            percent_encoding::percent_decode_str(extended).decode_utf8().unwrap(),
            expected
        );
        assert!(expected.len() <= 255 && plain.trim_matches('"').len() <= 255, "{plain}");
    }
}

#[tokio::test]
async fn an_id_is_required() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    for target in [
        "/download",
        "/download?",
        "/download?fid=",
        "/download?fid",
        "/download?FID=1",
    ] {
        get(&gateway, &ada, target, &[])
            .await
            .assert_plain(400, "fid is required");
    }
}

#[tokio::test]
async fn parts_are_sent_as_asked_for() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let fid = gateway.store_mp3(ADA, "clip.mp3", MP3).await;
    let target = format!("/download?fid={fid}");
    let etag = format!("\"{fid}\"");
    for (range, content_range, body) in [
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=4-", "bytes 4-9/10", "456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-99", "bytes 8-9/10", "89"),
    ] {
        let answer = get(&gateway, &ada, &target, &[("Range", range), ("If-Range", &etag)]).await;
        assert_eq!((answer.status, answer.text()), (206, body), "{range}");
        assert_eq!(answer.header("content-range"), Some(content_range));
        assert_eq!(answer.header("etag"), Some(&*etag));
        assert_eq!(answer.header("content-type"), Some("audio/mpeg"));
    }
    for headers in [
        [("Range", "bytes=0-1,3-4"), ("X", "")],
        [("Range", "bytes=x"), ("X", "")],
        [("Range", "bytes=4-"), ("If-Range", "\"other\"")],
    ] {
        let answer = get(&gateway, &ada, &target, &headers).await;
        assert_eq!((answer.status, &*answer.body), (200, MP3), "{headers:?}");
    }
    let answer = get(&gateway, &ada, &target, &[("Range", "bytes=10-")]).await;
    assert_eq!(
        (answer.status, answer.header("content-range")),
        (416, Some("bytes */10"))
    );
}

#[tokio::test]
async fn a_client_that_has_the_file_gets_304() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let fid = gateway.store_mp3(ADA, "clip.mp3", MP3).await;
    let target = format!("/download?fid={fid}");
    let etag = format!("\"{fid}\"");
    let answer = get(&gateway, &ada, &target, &[("If-None-Match", &etag)]).await;
    assert_eq!((answer.status, answer.header("etag")), (304, Some(&*etag)));
    let answer = get(&gateway, &ada, &target, &[("If-None-Match", "\"other\"")]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_large_file_arrives_whole_and_in_part() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let mp3: Vec<u8> = (0..5_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let fid = gateway.store_mp3(ADA, "clip.mp3", &mp3).await;
    let target = format!("/download?fid={fid}");
    assert!(get(&gateway, &ada, &target, &[]).await.body == mp3);
    let part = get(&gateway, &ada, &target, &[("Range", "bytes=261119-4000000")]).await;
    assert!(part.body == mp3[261_119..=4_000_000]);
}

#[tokio::test]
async fn an_empty_file_is_sent_empty() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let fid = gateway.store_mp3(ADA, "clip.mp3", b"").await;
    let answer = get(&gateway, &ada, &format!("/download?fid={fid}"), &[]).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
}

#[tokio::test]
async fn a_foreign_file_is_named_after_its_id() {
    let mut setup = crate::gateway::Setup::new().await;
    setup.settings.unowned_files = gateway::UnownedFiles::Shared;
    let gateway = setup.start().await;
    let ada = gateway.login(ADA).await;
    let fid = gateway.store_foreign(Bucket::Mp3s, MP3);
    let answer = get(&gateway, &ada, &format!("/download?fid={fid}"), &[]).await;
    assert_eq!((answer.status, &*answer.body), (200, MP3));
    let disposition = answer.header("content-disposition").unwrap();
    assert!(disposition.contains(&format!("\"{fid}.mp3\"")), "{disposition}");
}
