//! `healthcheck`: asks the service that runs beside it whether it is ready, for images without a shell.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The one argument that means it.
const COMMAND: &str = "healthcheck";
/// Where the operations port is, in this process's environment as in the service's.
const OPERATIONS: &str = "MP3_OPS_LISTEN";
/// How long connecting, and then the answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Enough for the status line.
const STATUS_LINE_BYTES: u64 = 64;

/// Whether the command line is `PROGRAM healthcheck`.
pub(crate) fn is_asked_for(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, command] if command == COMMAND)
}

/// Asks `/readyz` on the operations port.
///
/// # Errors
/// One sentence: nobody answers, or the service is not ready.
pub(crate) fn run(environment: &dyn Fn(&OsStr) -> Option<OsString>) -> Result<(), String> {
    let address = environment(OsStr::new(OPERATIONS)).filter(|value| !value.is_empty());
    let address = match address {
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
        Some(text) => match text.to_str().map(str::parse) {
            Some(Ok(address)) => reachable(address),
            _ => return Err(format!("{OPERATIONS} is no address")),
        },
    };
    let status = ask(address).map_err(|error| format!("{address} does not answer: {error}"))?;
    if status.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    Err(format!("not ready: {}", status.lines().next().unwrap_or_default()))
}

/// Where to connect to for an address that is listened on.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(STATUS_LINE_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with that status line, and gives what `healthcheck` says to it.
    fn said_to(status: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("0.0.0.0:{}", listener.local_addr().unwrap().port());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4];
            stream.read_exact(&mut request).unwrap();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n{}", " ".repeat(64));
            stream.write_all(answer.as_bytes()).unwrap();
            // Until the client has read what it wants.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).ok();
            request
        });
        let said = run(&|name| (name == OPERATIONS).then(|| address.clone().into()));
        assert_eq!(&server.join().unwrap(), b"GET ");
        said
    }

    #[test]
    fn a_service_that_is_ready_is_healthy() {
        assert_eq!(said_to("200 OK"), Ok(()));
    }

    #[test]
    fn a_service_that_is_not_ready_is_not_healthy() {
        assert!(said_to("503 Service Unavailable").unwrap_err().contains("503"));
    }

    #[test]
    fn a_service_that_does_not_listen_is_not_healthy() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let said = run(&|_| Some(format!("127.0.0.1:{port}").into()));
        assert!(said.unwrap_err().contains("does not answer"));
    }

    #[test]
    fn only_the_word_alone_is_the_command() {
        let line = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(is_asked_for(&line(&["auth", "healthcheck"])));
        assert!(!is_asked_for(&line(&["auth"])));
        assert!(!is_asked_for(&line(&["auth", "user", "healthcheck"])));
    }
}
