//! Clients of the gateway as it must put up with them: quick, slow, or gone in the middle.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const BOUNDARY: &str = "----------------campaign";
/// The longest answer is waited for; a client that waits longer has given up by then.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a client sends its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Quick,
    /// In so many pieces with a second between them.
    Slow(usize),
    /// Hangs up after so many bytes.
    Aborting(usize),
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks for `path` of the gateway on `port`.
///
/// # Errors
/// There was no whole answer: nobody knows what became of the request.
pub(crate) async fn get(port: u16, token: &str, path: &str) -> anyhow::Result<Answer> {
    let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
    exchange(port, &head, &[], Manner::Quick).await
}

/// Logs in with `basic`, the encoded credentials.
///
/// # Errors
/// As for [`get`].
pub(crate) async fn login(port: u16, basic: &str) -> anyhow::Result<Answer> {
    let head = format!("POST /login HTTP/1.1\r\nAuthorization: Basic {basic}\r\nContent-Length: 0\r\n");
    exchange(port, &head, &[], Manner::Quick).await
}

/// Takes a job back.
///
/// # Errors
/// As for [`get`].
pub(crate) async fn cancel(port: u16, token: &str, job: &str) -> anyhow::Result<Answer> {
    let head = format!("DELETE /api/v1/jobs/{job} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
    exchange(port, &head, &[], Manner::Quick).await
}

/// Uploads a file as curl does, under a key of its client's if it has one.
///
/// # Errors
/// As for [`get`].
pub(crate) async fn upload(
    port: u16,
    token: &str,
    filename: &str,
    bytes: &[u8],
    key: Option<&str>,
    manner: Manner,
) -> anyhow::Result<Answer> {
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /upload HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n{key}\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n",
        body.len()
    );
    exchange(port, &head, &body, manner).await
}

async fn exchange(port: u16, head: &str, body: &[u8], manner: Manner) -> anyhow::Result<Answer> {
    let talk = async {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        server.set_nodelay(true)?;
        let head = format!("{head}Host: 127.0.0.1\r\nConnection: close\r\n\r\n");
        server.write_all(head.as_bytes()).await?;
        let sent = send(&mut server, body, manner).await;
        if matches!(manner, Manner::Aborting(_)) {
            anyhow::bail!("hung up on purpose");
        }
        let mut bytes = Vec::new();
        let read = server.read_to_end(&mut bytes).await;
        // An early answer is an answer, although the rest of the body could not be sent.
        if bytes.is_empty() {
            sent?;
            read?;
        }
        answer(&bytes)
    };
    timeout(PATIENCE, talk).await.context("no answer in time")?
}

async fn send(server: &mut TcpStream, body: &[u8], manner: Manner) -> std::io::Result<()> {
    match manner {
        Manner::Quick => server.write_all(body).await,
        Manner::Aborting(after) => server.write_all(&body[..after.min(body.len())]).await,
        Manner::Slow(pieces) => {
            for piece in body.chunks(body.len() / pieces.max(1) + 1) {
                server.write_all(piece).await?;
                sleep(Duration::from_secs(1)).await;
            }
            Ok(())
        }
    }
}

fn answer(bytes: &[u8]) -> anyhow::Result<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.context("the answer broke off in its head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let answer = Answer {
        status: status.context("the answer has no status")?,
        head,
        body: bytes[end + 4..].to_vec(),
    };
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    ensure!(length == Some(answer.body.len()), "the answer broke off in its body");
    Ok(answer)
}
