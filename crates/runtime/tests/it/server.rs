//! The HTTP server: what a client gets when the life ends under it.

use axum::Router;
use axum::routing::get;
use runtime::Lifecycle;
use testkit::{HANG, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

async fn ask(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn connections_that_were_made_before_the_end_are_served() {
    let router = Router::new().route("/", get(async || "served"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        streams.push(stream);
    }
    let life = Lifecycle::new();
    life.stop();
    life.spawn(runtime::http::serve(listener, router, life.clone()));
    let ended = tokio::spawn(async move { life.shut_down(HANG).await });
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nserved"), "{answer}");
    }
    ended.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

/// A server that answers with the body it got, and what a client receives that sends these bytes and then waits.
async fn answers_to(sent: &str) -> String {
    let router = Router::new().fallback(|body: String| async move { format!("got {body};") });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let life = Lifecycle::new();
    life.spawn(runtime::http::serve(listener, router, life.clone()));
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut received = String::new();
    let closed = tokio::time::timeout(HANG, stream.read_to_string(&mut received)).await;
    closed.expect("the connection is never closed").unwrap();
    received
}

/// What an attacker would have a proxy in front take for the body of the request before it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn of_chunks_and_a_length_the_chunks_count_and_the_connection_ends() {
    for framing in [
        "Content-Length: 43\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 43",
        "Content-Length: 43\r\nTransfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 43\r\nConnection: keep-alive\r\nTransfer-Encoding: Chunked",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n2\r\nok\r\n0\r\n\r\n{SMUGGLED}");
        let answers = answers_to(&request).await;
        assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{framing}: {answers}");
        assert!(answers.contains("connection: close\r\n"), "{framing}: {answers}");
        // One answer, and nothing behind it.
        assert!(answers.ends_with("\r\n\r\ngot ok;"), "{framing}: {answers}");
    }
}

#[tokio::test]
async fn a_framing_of_two_meanings_is_refused_and_the_connection_ends() {
    for (version, framing, status) in [
        ("1.1", "Content-Length: 2\r\nContent-Length: 7", 400),
        ("1.1", "Content-Length: 2, 2", 400),
        ("1.1", "Content-Length: +2", 400),
        ("1.1", "Content-Length: 0x2", 400),
        ("1.1", "Content-Length:\r\n 2", 400),
        ("1.1", "Content-Length : 2", 400),
        ("1.1", "Transfer-Encoding: identity", 400),
        ("1.1", "Transfer-Encoding: chunked, identity", 400),
        ("1.1", "Transfer-Encoding:\r\n chunked", 400),
        ("1.1", "Transfer-Encoding : chunked", 400),
        ("1.1", "Transfer-Encoding: \u{b}chunked", 400),
        ("1.0", "Transfer-Encoding: chunked", 400),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
        ("1.1", "Transfer-Encoding: chunked, chunked", 501),
        ("1.1", "Transfer-Encoding: gzip, chunked", 501),
        ("1.1", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", 501),
    ] {
        let request = format!("POST / HTTP/{version}\r\nHost: x\r\n{framing}\r\n\r\n2\r\nok\r\n0\r\n\r\n{SMUGGLED}");
        let answers = answers_to(&request).await;
        assert!(
            answers.starts_with(&format!("HTTP/1.1 {status} ")),
            "{framing}: {answers}"
        );
        assert_eq!(answers.matches("HTTP/").count(), 1, "{framing}: {answers}");
    }
}

#[tokio::test]
async fn a_head_beyond_its_limits_is_refused_while_it_arrives() {
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    for head in [
        format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "y".repeat(64 * 1024)),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(64 * 1024)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
    ] {
        let answers = answers_to(&head).await;
        assert!(
            answers.starts_with("HTTP/1.1 431 ") || answers.starts_with("HTTP/1.1 414 "),
            "{answers}"
        );
        assert_eq!(answers.matches("HTTP/").count(), 1, "{answers}");
    }
}

/// The clock stands still but for moments when everybody waits, and then goes on to what is waited for first.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_ends_its_head_is_left_after_ten_seconds() {
    for sent in [
        "",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: y",
        // Kept for another request that never comes, or never ends.
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost",
    ] {
        let began = tokio::time::Instant::now();
        answers_to(sent).await;
        let waited = began.elapsed().as_secs();
        assert!((10..12).contains(&waited), "{sent:?}: {waited} s");
    }
}

#[tokio::test]
async fn a_request_at_hand_is_answered_before_the_end_and_a_new_one_is_not_taken() {
    let (arrived, has_arrived) = oneshot::channel();
    let (go_on, goes_on) = oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((arrived, goes_on)));
    let once = std::sync::Arc::new(once);
    let router = Router::new().route(
        "/",
        get(move || {
            let taken = once.lock().unwrap().take();
            async move {
                if let Some((arrived, goes_on)) = taken {
                    arrived.send(()).unwrap();
                    goes_on.await.unwrap();
                }
                "done"
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let life = Lifecycle::new();
    life.spawn(runtime::http::serve(listener, router, life.clone()));

    let request = tokio::spawn(ask(address));
    tokio::time::timeout(HANG, has_arrived)
        .await
        .expect("the request never arrived")
        .unwrap();
    life.stop();
    until("connections are refused", async || {
        TcpStream::connect(address).await.err()
    })
    .await;
    go_on.send(()).unwrap();
    let answer = tokio::time::timeout(HANG, request)
        .await
        .expect("the request was never answered")
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"),
        "{answer}"
    );
    tokio::time::timeout(HANG, life.shut_down(HANG))
        .await
        .expect("the life never ended");
    assert!(!life.aborting().is_cancelled());
}
