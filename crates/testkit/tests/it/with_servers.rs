//! The program `with-servers`, with servers given from outside so that it starts none.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

fn with_servers(script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-servers"));
    command
        .args(["--", "sh", "-c", script])
        .env("TEST_MYSQL_URL", "mysql://elsewhere")
        .env("TEST_MONGODB_URL", "mongodb://elsewhere")
        .env("TEST_AMQP_URL", "amqp://elsewhere")
        .env("TEST_AMQP_MANAGEMENT_URL", "http://elsewhere")
        .stdin(Stdio::null());
    command
}

fn run(script: &str) -> Output {
    with_servers(script).output().expect("the program can be started")
}

#[test]
fn a_given_url_is_passed_on_as_it_is() {
    let output = run("echo $TEST_MYSQL_URL $TEST_AMQP_URL");
    assert_eq!(output.stdout, b"mysql://elsewhere amqp://elsewhere\n");
}

#[test]
fn the_commands_code_is_the_programs_code() {
    assert_eq!(run("exit 0").status.code(), Some(0));
    assert_eq!(run("exit 7").status.code(), Some(7));
    assert_eq!(run("kill -KILL $$").status.code(), Some(128 + 9));
}

#[test]
fn a_command_that_is_missing_is_said_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_with-servers"))
        .arg("--")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"));
}

#[tokio::test]
async fn a_signal_is_forwarded_to_the_command() {
    let script = "trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    let mut child = tokio::process::Command::from(with_servers(script))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "up");
    let pid = child.id().unwrap();
    Command::new("sh")
        .args(["-c", "kill -TERM \"$1\"", "sh", &pid.to_string()])
        .status()
        .unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "caught");
    let status = tokio::time::timeout(Duration::from_secs(60), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(3));
}
