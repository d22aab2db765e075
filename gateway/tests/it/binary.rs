//! The `gateway` binary.

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::client::{Client, HANG};
use crate::gateway::head;

fn gateway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command
}

async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = gateway(arguments);
    command.envs(variables.iter().copied());
    let output = tokio::time::timeout(HANG, command.output()).await;
    output.expect("the binary hangs").unwrap()
}

#[tokio::test]
async fn embedded_backends_are_refused_with_one_sentence() {
    for (command, name, url) in [
        ("serve", "BLOBS_URL", "file:data"),
        ("serve", "JOBS_URL", "sqlite:jobs.db"),
        ("serve", "QUEUE_URL", "memory:"),
        ("janitor", "BLOBS_URL", "file:data"),
    ] {
        let output = run(&[command], &[(name, url)]).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{errors}");
        assert!(
            errors.starts_with(&format!("error: {name}: ")) && errors.lines().count() == 1,
            "{errors}"
        );
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    for (name, value) in [
        ("MAX_UPLOAD_BYTES", "many"),
        ("UNOWNED_FILES", "public"),
        ("TRUSTED_PROXIES", "proxy"),
        ("JOBS_URL", "redis://localhost"),
        ("AUTH_SVC_ADDRESS", "no port"),
    ] {
        let output = run(&[], &[(name, value)]).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{name}: {errors}");
        assert!(
            errors.contains(name) || errors.contains(&name.to_lowercase().replace('_', "-")),
            "{name}: {errors}"
        );
    }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn it_comes_up_while_every_server_is_away_and_ends_on_sigterm() {
    let (listen, operations) = (free_address(), free_address());
    let mut child = gateway(&["--log-format", "text"])
        .env("MP3_LISTEN", listen.to_string())
        .env("MP3_OPS_LISTEN", operations.to_string())
        .env("JOBS_URL", "mongodb://127.0.0.1:1")
        .env("BLOBS_URL", "mongodb://127.0.0.1:1")
        .env("QUEUE_URL", "amqp://127.0.0.1:1")
        .env("AUTH_SVC_ADDRESS", "127.0.0.1:1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let serving = tokio::time::timeout(HANG, async {
        while let Some(line) = log.next_line().await.unwrap() {
            if line.contains("serving") {
                return true;
            }
        }
        false
    });
    assert!(serving.await.unwrap());
    for address in [listen, operations] {
        let status = async |target: &str| {
            let mut client = Client::connect(address).await;
            client.send(head("GET", target, &[])).await;
            client.answer().await.status
        };
        assert_eq!(status("/healthz").await, 200);
        assert_eq!(status("/readyz").await, 503);
    }
    let mut client = Client::connect(operations).await;
    client.send(head("GET", "/metrics", &[])).await;
    assert!(client.answer().await.text().contains("mp3_upload_bytes_total 0"));
    drop(client);

    let process = child.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-TERM", &process]).status().await.unwrap();
    assert!(killed.success());
    let ended = tokio::time::timeout(HANG, child.wait()).await.unwrap().unwrap();
    assert!(ended.success());
}

#[tokio::test]
async fn commands_say_when_a_store_is_away() {
    for arguments in [&["jobs", "list"][..], &["janitor"]] {
        let away = [
            ("JOBS_URL", "mongodb://127.0.0.1:1"),
            ("BLOBS_URL", "mongodb://127.0.0.1:1"),
        ];
        let output = run(arguments, &away).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(70), "{errors}");
        assert!(errors.starts_with("error: "), "{errors}");
    }
}
