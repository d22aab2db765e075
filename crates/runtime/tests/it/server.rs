//! The HTTP server: what a client gets when the life ends under it.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use runtime::Lifecycle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const HANG: Duration = Duration::from_secs(60);

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
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(HANG, refused)
        .await
        .expect("connections are still taken");
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
