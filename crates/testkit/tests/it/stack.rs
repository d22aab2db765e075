//! `make stack`: the four programs against real servers, used as its own printed lines say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testkit::media::sample;
use testkit::until;

/// A stack of this test alone. Dropping it stops it.
pub(crate) struct Stack {
    pub(crate) directory: tempfile::TempDir,
}

impl Stack {
    fn run(&self, command: &str) -> Output {
        self.run_with(command, &[])
    }

    pub(crate) fn run_with(&self, command: &str, variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_stack"))
            .arg(command)
            .arg(self.directory.path())
            .envs(variables.iter().copied())
            .output()
            .expect("the program can be started")
    }

    fn pids(&self) -> Vec<u64> {
        let text = std::fs::read(self.directory.path().join("processes.json")).expect("the stack is up");
        let record: Value = serde_json::from_slice(&text).expect("the record is JSON");
        let pids = record["pids"].as_object().expect("pids by name");
        pids.values().filter_map(Value::as_u64).collect()
    }

    /// What the services were given and nobody else is to know: secrets by their names, and the passwords in URLs.
    fn secrets(&self) -> BTreeSet<String> {
        let environments = self.pids().into_iter().map(|pid| {
            let text = std::fs::read(format!("/proc/{pid}/environ")).expect("the process runs");
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut secrets = BTreeSet::new();
        for environment in environments {
            for (name, value) in environment.split('\0').filter_map(|pair| pair.split_once('=')) {
                if name.ends_with("_PASSWORD") || name.ends_with("_SECRET") {
                    secrets.insert(value.to_owned());
                }
                let url = url::Url::parse(value).ok().filter(|_| name.ends_with("_URL"));
                secrets.extend(url.and_then(|url| url.password().map(str::to_owned)));
            }
        }
        secrets
    }

    /// Everything the four services wrote.
    pub(crate) fn logs(&self) -> String {
        ["auth", "gateway", "converter", "notification"]
            .map(|service| {
                let log = self.directory.path().join(format!("log/{service}.log"));
                std::fs::read_to_string(log).expect("the service has a log")
            })
            .concat()
    }

    pub(crate) async fn first_mail(&self) -> String {
        let path = self.directory.path().join("mail/000001.eml");
        until("the first mail", async || std::fs::read_to_string(&path).ok()).await
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.run("down");
    }
}

pub(crate) fn text(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(errors))
}

/// The lines to paste that `up` prints.
pub(crate) fn curl_lines(printed: &str) -> [String; 3] {
    let lines: Vec<String> = printed
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| line.contains("curl "))
        .collect();
    lines.try_into().expect("three lines with curl")
}

pub(crate) fn shell(directory: &Path, script: &str) -> Output {
    Command::new("sh")
        .args(["-euc", script])
        .current_dir(directory)
        .output()
        .expect("there is a shell")
}

pub(crate) fn a_video_in(directory: &Path) -> PathBuf {
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

/// Not even where an operator makes all of them talkative.
#[tokio::test]
async fn no_log_holds_a_password_a_token_or_a_secret() {
    const WRONG: &str = "wrong-password-canary";
    const FORGED: &str = "forged.token.canary";
    let stack = Stack {
        directory: tempfile::tempdir().unwrap(),
    };
    let up = stack.run_with("up", &[("RUST_LOG", "debug"), ("LOG_FORMAT", "json")]);
    assert!(up.status.success(), "{}", text(&up));
    let [login, upload, _] = curl_lines(&text(&up));
    let (_, rest) = login.split_once("-u '").expect("the line names an account");
    let (account, _) = rest.split_once('\'').expect("the account is in quotes");
    let (email, password) = account.split_once(':').expect("an account has a password");

    let desk = tempfile::tempdir().unwrap();
    a_video_in(desk.path());
    let wrong_login = login.replace(password, WRONG);
    let script = format!("{wrong_login}\nTOKEN={FORGED}\n{upload}\n{login}\n{upload}\nprintf '\\n%s' \"$TOKEN\"");
    let output = shell(desk.path(), &script);
    let printed = String::from_utf8_lossy(&output.stdout);
    let token = printed.lines().last().unwrap();
    assert_eq!(token.split('.').count(), 3, "{}", text(&output));
    stack.first_mail().await;

    let mut secrets = stack.secrets();
    assert!(
        secrets.len() >= 3,
        "a database, a broker and a key have one: {secrets:?}"
    );
    let basic = [format!("{email}:{password}"), format!("{email}:{WRONG}")].map(|account| STANDARD.encode(account));
    secrets.extend([password, WRONG, token, FORGED].map(str::to_owned));
    secrets.extend(basic);
    let logs = stack.logs();
    assert!(logs.contains("answered"), "the services say what they do");
    for secret in secrets {
        let line = logs.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret}");
    }
}
