//! Every curl line of the README, executed as it stands, but for address, password and id.

use std::path::Path;
use std::process::Command;

use testkit::media;

use crate::serve::Serving;

/// The `curl` lines of the README's shell blocks, in order.
fn curl_lines() -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let mut in_block = false;
    let mut lines = Vec::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            in_block = line == "```sh";
        } else if in_block && line.contains("curl ") {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[test]
fn every_curl_line_of_the_readme_does_what_it_says() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::copy(media::sample("mp4-h264-aac"), scratch.path().join("video.mp4")).unwrap();
    let serving = Serving::start(scratch.path());
    let login = std::fs::read_to_string(scratch.path().join("data/secrets/first-login")).unwrap();
    let (_, password) = login.trim_end().split_once(':').unwrap();

    let lines = curl_lines();
    assert!(lines.len() >= 5, "{lines:?}");
    // The id is in the mail, and the mail comes when the conversion is done.
    let fid_from_the_mail = "until FID=$(grep -rhos 'mp3 file_id: [0-9a-f]*' data/mail | head -1 | cut -d' ' -f3); \
                             [ -n \"$FID\" ]; do :; done";
    let mut script = String::from("set -eu\n");
    for line in &lines {
        let line = line
            .replace("http://127.0.0.1:8080", &serving.base())
            .replace("PASSWORD", password);
        if line.contains("fid=FID") {
            script.push_str(fid_from_the_mail);
            script.push('\n');
        }
        script.push_str(&line.replace("curl ", "curl -sS --fail ").replace("fid=FID", "fid=$FID"));
        script.push_str("\necho\n");
    }
    script.push_str("test -s video.mp3\n");
    let output = Command::new("timeout")
        .args(["300", "sh", "-c", &script])
        .current_dir(scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script}\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let uploads = lines.iter().filter(|line| line.contains("/upload")).count();
    assert_eq!(said.matches("success!").count(), uploads, "{said}");
    assert!(said.contains("\"state\""), "{said}");
}
