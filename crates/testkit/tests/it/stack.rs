//! `make stack`: the four programs against real servers, used as its own printed lines say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testkit::media::sample;
use testkit::until;

/// A stack of this test alone. Dropping it stops it.
struct Stack {
    directory: tempfile::TempDir,
}

impl Stack {
    fn run(&self, command: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_stack"))
            .arg(command)
            .arg(self.directory.path())
            .output()
            .expect("the program can be started")
    }

    fn pids(&self) -> Vec<u64> {
        let text = std::fs::read(self.directory.path().join("processes.json")).expect("the stack is up");
        let record: Value = serde_json::from_slice(&text).expect("the record is JSON");
        let pids = record["pids"].as_object().expect("pids by name");
        pids.values().filter_map(Value::as_u64).collect()
    }

    async fn first_mail(&self) -> String {
        let path = self.directory.path().join("mail/000001.eml");
        until("the first mail", async || std::fs::read_to_string(&path).ok()).await
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.run("down");
    }
}

fn text(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(errors))
}

/// The lines to paste that `up` prints.
fn curl_lines(printed: &str) -> [String; 3] {
    let lines: Vec<String> = printed
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| line.contains("curl "))
        .collect();
    lines.try_into().expect("three lines with curl")
}

fn shell(directory: &Path, script: &str) -> Output {
    Command::new("sh")
        .args(["-euc", script])
        .current_dir(directory)
        .output()
        .expect("there is a shell")
}

fn a_video_in(directory: &Path) -> PathBuf {
    let video = directory.join("video.mp4");
    std::fs::copy(sample("mp4-h264-aac"), &video).expect("the sample can be copied");
    video
}

#[tokio::test]
async fn the_printed_lines_lead_from_a_video_to_its_mp3_and_nothing_is_left_after_down() {
    let stack = Stack {
        directory: tempfile::tempdir().unwrap(),
    };
    let up = stack.run("up");
    assert!(up.status.success(), "{}", text(&up));
    let [login, upload, download] = curl_lines(&text(&up));

    let again = stack.run("up");
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("running already"), "{}", text(&again));
    assert_eq!(curl_lines(&text(&again))[0], login);

    let desk = tempfile::tempdir().unwrap();
    a_video_in(desk.path());
    let uploaded = shell(desk.path(), &format!("{login}\n{upload}"));
    assert!(text(&uploaded).contains("success!"), "{}", text(&uploaded));

    let mail = stack.first_mail().await;
    let (_, rest) = mail.split_once("mp3 file_id: ").expect("the mail names the MP3");
    let fid = rest.split_whitespace().next().unwrap();
    let download = download.replace("FID", fid);
    let downloaded = shell(desk.path(), &format!("{login}\n{download}"));
    assert!(downloaded.status.success(), "{}", text(&downloaded));
    let mp3 = std::fs::read(desk.path().join("video.mp3")).unwrap();
    assert!(mp3.starts_with(b"ID3") || mp3.starts_with(&[0xff]), "not an MP3");

    let pids = stack.pids();
    let down = stack.run("down");
    assert!(down.status.success(), "{}", text(&down));
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        assert!(
            stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")),
            "{pid} runs"
        );
    }
    assert_eq!(stack.run("status").status.code(), Some(3));
}
