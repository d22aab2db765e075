//! `mp3converter serve` as a process: what the first start shows, and how it ends.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use testkit::visitor::Visitor;
use testkit::{media, until};

/// A serving process; killed when dropped.
pub(crate) struct Serving {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) shown: Vec<String>,
}

impl Serving {
    /// Starts it in `directory` and reads what it shows, to the last line to paste.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_mp3converter")), directory)
    }

    /// The same by a command that becomes it in the end.
    pub(crate) fn start_as(mut command: Command, directory: &Path) -> Self {
        let mut child = command
            .current_dir(directory)
            .env("MP3_LISTEN", "127.0.0.1:0")
            .env("MP3_OPS_LISTEN", "127.0.0.1:0")
            .env("MIN_FREE_PERCENT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut shown = Vec::new();
        while !shown.last().is_some_and(|line: &String| line.contains("/download")) {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended after {shown:?}");
            shown.push(line.trim_end().to_owned());
        }
        Self { child, lines, shown }
    }

    pub(crate) fn base(&self) -> String {
        let first = &self.shown[0];
        first[first.find("http://").expect("the address")..].to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut rest = String::new();
        while self.lines.read_line(&mut rest).unwrap() != 0 {}
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn the_first_start_shows_where_it_is_and_keeps_the_login_private() {
    let scratch = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(scratch.path());
    let shown = serving.shown.join("\n");
    assert!(shown.contains("data directory: data"), "{shown}");
    assert_eq!(shown.matches("curl ").count(), 3, "{shown}");
    let login = std::fs::read_to_string(scratch.path().join("data/secrets/first-login")).unwrap();
    let (email, password) = login.trim_end().split_once(':').unwrap();
    assert_eq!(email, "admin@localhost");
    assert!(!shown.contains(password), "nobody watches, so it is not shown");

    let admin = Visitor::login(&serving.base(), email, password).await.unwrap();
    assert_eq!(
        admin.upload(&media::sample("ogg-opus-mono")).await.unwrap().text(),
        "success!"
    );
    assert!(serving.stop().success());

    // The accounts and the job are still there, and no second login is made.
    let again = Serving::start(scratch.path());
    assert!(
        again.shown.join("\n").contains("admin@localhost:PASSWORD"),
        "{:?}",
        again.shown
    );
    let admin = Visitor::login(&again.base(), email, password).await.unwrap();
    assert!(admin.get("/api/v1/jobs").await.unwrap().text().contains("\"id\""));
}

#[test]
fn a_second_serve_on_one_data_directory_does_not_start() {
    let scratch = tempfile::tempdir().unwrap();
    let _first = Serving::start(scratch.path());
    let second = Command::new(env!("CARGO_BIN_EXE_mp3converter"))
        .current_dir(scratch.path())
        .env("MP3_LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(64));
    let sentence = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        sentence.contains("in use") && sentence.contains("MP3_DATA_DIR"),
        "{sentence}"
    );
}

#[test]
fn a_data_directory_of_another_user_is_refused_with_the_way_out() {
    const NOBODY: u32 = 65534;
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mp3converter"));
    let directory = if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
        scratch.path()
    } else {
        Path::new("/usr")
    };
    let output = command
        .current_dir("/")
        .env("MP3_DATA_DIR", directory)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        sentence.contains("belongs to user 0") && sentence.contains("--user 0") && sentence.contains("chown"),
        "{sentence}"
    );
}

#[test]
fn a_job_that_was_accepted_before_a_kill_is_finished_after_the_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut serving = Serving::start(scratch.path());
    let login = std::fs::read_to_string(scratch.path().join("data/secrets/first-login")).unwrap();
    let (email, password) = login.trim_end().split_once(':').unwrap();
    runtime.block_on(async {
        let admin = Visitor::login(&serving.base(), email, password).await.unwrap();
        let video = media::sample("mp4-h264-aac");
        assert_eq!(admin.upload(&video).await.unwrap().text(), "success!");
    });
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();

    let serving = Serving::start(scratch.path());
    let mail = runtime.block_on(async {
        until("the owner is told", async || {
            let found = std::fs::read_dir(scratch.path().join("data/mail")).ok()?;
            let mut paths = found.map(|entry| entry.unwrap().path());
            let path = paths.find(|path| path.extension().is_some_and(|kind| kind == "eml"))?;
            Some(std::fs::read_to_string(path).unwrap())
        })
        .await
    });
    assert!(mail.contains("is now ready!"), "{mail}");
    drop(serving);
}
