//! The `notification` binary.

use std::io::Read as _;
use std::process::{Child, Command, Output, Stdio};

use testkit::{HANG, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn notification(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_notification"));
    command.env_clear().envs(variables.iter().copied());
    command
}

fn refused(variables: &[(&str, &str)]) -> String {
    let Output { status, stderr, .. } = notification(variables).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(64), "{text}");
    text
}

/// A running program; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Status line and body of a GET, as soon as somebody listens.
async fn get(port: u16, path: &str) -> String {
    let connect = async || TcpStream::connect(("127.0.0.1", port)).await.ok();
    let mut stream = until("somebody listens", connect).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let answered = tokio::time::timeout(HANG, stream.read_to_string(&mut answer)).await;
    answered.expect("it answers").unwrap();
    answer
}

#[test]
fn without_a_mail_server_it_says_what_to_set() {
    let text = refused(&[]);
    assert!(text.contains("SMTP_URL") && text.contains("GMAIL_ADDRESS"), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
}

#[test]
fn stores_of_the_single_process_are_refused_and_a_mail_directory_is_not() {
    let mail = ("SMTP_URL", "file:/nowhere/mail");
    let from = ("MAIL_FROM", "robot@example.com");
    for (name, url) in [
        ("QUEUE_URL", "memory:"),
        ("JOBS_URL", "sqlite:/nowhere/jobs.db"),
        ("BLOBS_URL", "file:/nowhere/blobs"),
    ] {
        let text = refused(&[mail, from, (name, url)]);
        assert!(text.contains(name), "{text}");
    }
    // The next complaint is about the sender, so this directory was accepted.
    let text = refused(&[mail]);
    assert!(text.contains("MAIL_FROM"), "{text}");
}

#[test]
fn a_password_that_cannot_be_used_is_not_shown() {
    let text = refused(&[
        ("SMTP_URL", "smtp://robot:hunter2@"),
        ("MAIL_FROM", "robot@example.com"),
    ]);
    assert!(text.contains("SMTP_URL") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn it_waits_for_servers_that_are_away_and_says_so_on_its_operations_port() {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let [port, nobody] = testkit::servers::free_ports().unwrap();
    let mut running = Running(
        notification(&[
            ("GMAIL_ADDRESS", "robot@gmail.com"),
            ("GMAIL_PASSWORD_FILE", password.to_str().unwrap()),
            ("JOBS_URL", &format!("mongodb://127.0.0.1:{nobody}")),
            ("BLOBS_URL", &format!("mongodb://127.0.0.1:{nobody}")),
            ("QUEUE_URL", &format!("amqp://127.0.0.1:{nobody}")),
            ("MP3_OPS_LISTEN", &format!("127.0.0.1:{port}")),
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap(),
    );
    assert!(get(port, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let ready = get(port, "/readyz?verbose").await;
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    assert!(
        ready.contains(r#""broker":"away""#) && ready.contains(r#""job store":"away""#),
        "{ready}"
    );
    assert!(get(port, "/metrics").await.contains("mp3_mails"));

    let stopped = Command::new("kill").arg(running.0.id().to_string()).status().unwrap();
    assert!(stopped.success());
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(running.0.wait().unwrap().success(), "{log}");
    assert!(log.contains("RabbitMQ is away") && !log.contains("hunter2"), "{log}");
}
