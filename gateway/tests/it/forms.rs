//! What forms of browsers and old programs hold.

use crate::gateway::{ADA, Gateway, Part, file, form, text, upload_head};

#[tokio::test]
async fn an_option_left_empty_is_as_if_it_were_absent() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let mut parts = vec![text("bitrate", "192"), file("file", "clip.mp4", b"video")];
    for name in ["vbr", "bitrate", "quality", "channels", "rate", "track", "start", "end"] {
        parts.insert(0, text(name, ""));
        parts.push(text(name, " \r\n"));
    }
    let answer = gateway.upload(&token, &form(&parts)).await;
    answer.assert_plain(200, "success!");
    let job = gateway.job(answer.header("x-job-id").unwrap().parse().unwrap()).await;
    assert_eq!(serde_json::to_string(&job.options).unwrap(), r#"{"bitrate":192}"#);
}

#[tokio::test]
async fn a_file_name_is_read_in_the_charset_it_was_written_in() {
    let gateway = Gateway::start().await;
    let token = gateway.login(ADA).await;
    let named = |name: &[u8], parts: &[Part]| {
        let body = form(parts);
        let at = body.windows(4).position(|window| window == b"NAME").unwrap();
        [&body[..at], name, &body[at + 4..]].concat()
    };
    let clip = || file("file", "NAME", b"video");
    let charset = |label| text("_charset_", label);
    for (name, parts, expected) in [
        (&b"caf\xe9.wav"[..], vec![clip()], "café.wav"),
        ("café.wav".as_bytes(), vec![clip()], "café.wav"),
        (b"\xc1\xaa\xcd\xa8.wav", vec![charset("gb2312"), clip()], "联通.wav"),
        (b"\x83\\.wav", vec![charset(" Shift_JIS"), clip()], "ソ.wav"),
        (b"caf\xe9.wav", vec![charset("utf-16"), clip()], "café.wav"),
        (b"caf\xe9.wav", vec![charset(&"utf-8".repeat(100)), clip()], "café.wav"),
        (b"caf\xe9.wav", vec![charset("\u{fffd}"), clip()], "café.wav"),
    ] {
        let answer = gateway.upload(&token, &named(name, &parts)).await;
        answer.assert_plain(200, "success!");
        assert_eq!(answer.header("x-ignored-fields"), None);
        let job = gateway.job(answer.header("x-job-id").unwrap().parse().unwrap()).await;
        assert_eq!(job.filename.as_deref(), Some(expected));
    }
    let body = named(b"\xcf\xf0\xe8.wav", &[clip()]);
    let head = upload_head(&token, body.len() as u64, &[]).replace("form-data;", "form-data; charset=windows-1251;");
    let mut client = gateway.connect().await;
    client.send(head).await;
    client.send(body).await;
    let answer = client.answer().await;
    answer.assert_plain(200, "success!");
    let job = gateway.job(answer.header("x-job-id").unwrap().parse().unwrap()).await;
    assert_eq!(job.filename.as_deref(), Some("При.wav"));
}
