//! The real `curl`, as people use it.

use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use crate::gateway::{ADA, Gateway, PASSWORD, bearer};

/// Runs curl in a directory; its status code (`-w`) comes last in its output.
async fn curl(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(["--write-out", " [%{http_code}]"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .await
        .expect("curl is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn three_curl_lines_do_the_main_job() {
    let gateway = Gateway::start().await;
    let scratch = TempDir::new().unwrap();
    let url = |path: &str| format!("http://{}{path}", gateway.address);
    let login = format!("{ADA}:{PASSWORD}");
    let answer = curl(scratch.path(), &["-X", "POST", "-u", &login, &url("/login")]).await;
    let token = answer.strip_suffix(" [200]").unwrap();
    let authorization = format!("Authorization: {}", bearer(token));

    // Large enough for curl to wait for `100 Continue`.
    std::fs::write(scratch.path().join("a;b \"c\".mp4"), vec![7; 2_000_000]).unwrap();
    let part = "file=@\"a;b \\\"c\\\".mp4\"";
    let headers = ["-H", &authorization];
    let answer = curl(
        scratch.path(),
        &[&headers[..], &["-F", part, "-F", "vbr=4", &url("/upload")]].concat(),
    )
    .await;
    assert_eq!(answer, "success! [200]");
    let job = gateway.ended_job().await;
    assert_eq!(job.filename.as_deref(), Some("a;b \"c\".mp4"));
    assert_eq!((job.size_bytes, job.options.vbr), (Some(2_000_000), Some(4)));

    let fid = gateway.store_mp3(ADA, "a;b \"c\".mp3", b"0123456789").await;
    let target = url(&format!("/download?fid={fid}"));
    let answer = curl(scratch.path(), &[&headers[..], &["-OJ", &target]].concat()).await;
    assert_eq!(answer, " [200]");
    assert_eq!(
        std::fs::read(scratch.path().join("a;b _c_.mp3")).unwrap(),
        b"0123456789"
    );
}

#[tokio::test]
async fn curl_resumes_a_download() {
    let gateway = Gateway::start().await;
    let scratch = TempDir::new().unwrap();
    let authorization = format!("Authorization: {}", bearer(&gateway.login(ADA).await));
    let mp3: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let fid = gateway.store_mp3(ADA, "clip.mp3", &mp3).await;
    let target = format!("http://{}/download?fid={fid}", gateway.address);
    let resume = ["-H", &authorization, "-C", "-", "-o", "clip.mp3", &target];

    std::fs::write(scratch.path().join("clip.mp3"), &mp3[..123_456]).unwrap();
    assert_eq!(curl(scratch.path(), &resume).await, " [206]");
    assert!(std::fs::read(scratch.path().join("clip.mp3")).unwrap() == mp3);

    // Once more, with nothing left to fetch.
    assert_eq!(curl(scratch.path(), &resume).await, " [416]");
    assert!(std::fs::read(scratch.path().join("clip.mp3")).unwrap() == mp3);
}

#[tokio::test]
async fn curl_reads_a_refusal_instead_of_sending_its_file() {
    let mut setup = crate::gateway::Setup::new().await;
    setup.settings.max_upload_bytes = 1_000_000;
    let gateway = setup.start().await;
    let scratch = TempDir::new().unwrap();
    let file = std::fs::File::create(scratch.path().join("large.mp4")).unwrap();
    file.set_len(200_000_000).unwrap();
    let target = format!("http://{}/upload", gateway.address);
    let good = format!("Authorization: {}", bearer(&gateway.login(ADA).await));
    for expect in ["Expect: 100-continue", "Expect:"] {
        let arguments = [
            "-H",
            "Authorization: Bearer bad",
            "-H",
            expect,
            "-F",
            "f=@large.mp4",
            &target,
        ];
        assert_eq!(curl(scratch.path(), &arguments).await, "not authorized [403]");
        let arguments = ["-H", &good, "-H", expect, "-F", "f=@large.mp4", &target];
        let answer = curl(scratch.path(), &arguments).await;
        assert_eq!(answer, "an upload may have at most 1000000 bytes [413]");
    }
}
