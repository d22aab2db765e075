//! An HTTP/1.1 client that can misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// How long anything may take before a test is given up.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// From another address of this machine.
    pub(crate) async fn connect_from(client: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(client.parse().unwrap(), 0)).unwrap();
        Self::of(socket.connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Says that nothing more comes, and goes on reading.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) fn split(self) -> (tokio::net::tcp::OwnedReadHalf, tokio::net::tcp::OwnedWriteHalf) {
        self.stream.into_split()
    }

    /// The next answer, whatever its status.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.read(false).await
    }

    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        self.read(true).await
    }

    /// Whether the other side closes without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.more().await == 0
    }

    async fn read(&mut self, to_head: bool) -> Answer {
        let head_end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end;
            }
            assert!(self.more().await > 0, "closed before an answer: {:?}", self.text());
        };
        let head = String::from_utf8(self.received.drain(..head_end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if to_head || matches!(status, 100..200 | 204 | 304) {
            return answer;
        }
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        let length: usize = length.unwrap_or_else(|| panic!("no length: {head}"));
        while self.received.len() < length {
            assert!(self.more().await > 0, "closed within an answer's body");
        }
        answer.body = self.received.drain(..length).collect();
        answer
    }

    async fn more(&mut self) -> usize {
        let mut buffer = [0; 64 * 1024];
        let read = tokio::time::timeout(HANG, self.stream.read(&mut buffer)).await;
        let count = read.expect("the gateway hangs").unwrap_or(0);
        self.received.extend_from_slice(&buffer[..count]);
        count
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

impl Answer {
    /// The header's value, when it was sent once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        let (_, value) = values.next()?;
        assert!(values.next().is_none(), "{name} was sent twice");
        Some(value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status, body and media type of a plain-text answer.
    #[track_caller]
    pub(crate) fn assert_plain(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body));
        assert!(self.header("content-type").unwrap().starts_with("text/plain"));
    }

    /// Status, stable code and form of a problem.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{:?}", self);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()));
        assert!(problem["detail"].is_string() && problem["title"].is_string());
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
