//! The HTTP/1.1 server.
//!
//! A request whose end two readers could see in two places lets an attacker smuggle a second one past a proxy (RFC
//! 9112, 6.3 and 11.2). hyper answers 400 and closes for differing or malformed lengths, folded lines, white space
//! before a colon, and a last transfer coding other than `chunked`. Of chunks and a length together it takes the
//! chunks, drops the length before anybody sees it, and closes behind the answer, as RFC 9112 allows; so such a request
//! cannot be refused here, and nothing that follows it on its connection is read as another. Any other transfer coding
//! than one `chunked` is refused here.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::Lifecycle;

/// How long a client may take for the head of a request; axum's own server has no such limit.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request's head; beyond, hyper answers 431.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most lines of a request's head; beyond, hyper answers 431.
pub const MAX_HEADERS: usize = 100;
/// The most connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: u64 = 8192;
/// How many files of the process are not for connections but for stores, logs and libraries.
const OTHER_FILES: u64 = 256;
/// How long to wait when the system has no file descriptor or memory left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that was just made has for its first request once the life stops.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// How long a request that outlasts the grace has for its answer, such as 503 to an upload.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The address at the other end of the connection: an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// Serves `router` on `listener` until the life stops, then lets requests at hand end; those that outlast the grace
/// are cut off.
pub async fn serve(listener: TcpListener, router: Router, life: Lifecycle) {
    let connections = Arc::new(Semaphore::new(max_connections()));
    let stopping = life.stopping();
    let take = |stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit| {
        let (router, stopping, aborting) = (router.clone(), life.stopping(), life.aborting());
        life.spawn(async move {
            tokio::select! {
                ended = serve_until_stopped(stream, peer, router, stopping) => if let Err(error) = ended {
                    tracing::debug!(error = %domain::Chain(&error), "connection ended");
                },
                () = last_words(aborting) => {}
            }
            drop(permit);
        });
    };
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            break;
        };
        let (stream, peer) = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %domain::Chain(&error), "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        take(stream, peer, permit);
    }
    for (stream, peer) in made_already(listener) {
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            break;
        };
        take(stream, peer, permit);
    }
}

/// Serves one connection. From `stopping` on it ends behind the request at hand, or with the one that its client made
/// it for: hyper would close it without a word where no byte of that has been read yet.
async fn serve_until_stopped(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stopping: CancellationToken,
) -> Result<(), hyper::Error> {
    let begun = CancellationToken::new();
    let mut connection = pin!(connection(stream, peer, router, begun.clone()));
    let last_request = async {
        stopping.cancelled().await;
        // A client that says nothing keeps nobody waiting.
        tokio::time::timeout(FIRST_WORDS, begun.cancelled()).await.ok();
    };
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = last_request => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// The connections that the kernel has made and nobody took yet: it would reset them, with the requests on them, when
/// the listener closes, which it does behind the last one.
fn made_already(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std();
    std::iter::from_fn(move || {
        let (stream, peer) = listener.as_ref().ok()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    })
}

/// How many connections fit beside what else the process has open, once it may open as many files as the system allows
/// it: many systems begin with 1024, and a thousand stalled clients must not keep everybody else out.
fn max_connections() -> usize {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: allowed.maximum,
        ..allowed
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = files.saturating_sub(OTHER_FILES).clamp(1, MAX_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Waits until the grace is over and a handler that was told so had time to answer.
async fn last_words(aborting: CancellationToken) {
    aborting.cancelled().await;
    tokio::time::sleep(LAST_WORDS).await;
}

/// A connection; its first request cancels `begun`.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    begun: CancellationToken,
) -> impl GracefulConnection<Error = hyper::Error> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(
            error = %domain::Chain(&error),
            "cannot switch off Nagle's algorithm"
        );
    }
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        begun.cancel();
        request.extensions_mut().insert(PeerAddress(peer));
        let router = router.clone();
        async move {
            if has_foreign_coding(request.headers()) {
                return Ok(foreign_coding());
            }
            router.oneshot(request).await
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
}

/// Whether the body is coded in a way that would be taken for its content, or may be divided otherwise by others.
fn has_foreign_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) || codings.next().is_some()
}

fn foreign_coding() -> Response {
    let close = [(header::CONNECTION, "close")];
    (
        StatusCode::NOT_IMPLEMENTED,
        close,
        "chunked is the only transfer coding here",
    )
        .into_response()
}
