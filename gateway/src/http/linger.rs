//! Lets early answers reach clients that are still sending.
//!
//! A connection that is closed while bytes wait to be read is reset, and the reset can overtake the answer. So after an
//! answer that came before the end of the body the connection says `close`, and the rest of the body is read for a
//! moment: a little of it is dropped, then it is left waiting, so that a client that would never stop is held back
//! until it has had time to read the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use runtime::Lifecycle;
use tokio::sync::oneshot;

/// How long the client has to read its answer.
const LINGER: Duration = Duration::from_secs(2);
/// How much of the body is dropped in that time.
const MAX_DROPPED_BYTES: usize = 512 * 1024;

/// Lends the request's body to whoever answers, and takes care of what is left of it.
pub(super) async fn linger(State(life): State<Lifecycle>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let (give_back, returned) = oneshot::channel();
    let lent = Lent {
        body,
        ended: Arc::clone(&ended),
        give_back: Some(give_back),
    };
    let mut response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    if !ended.load(Ordering::Acquire) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        // To be polled only after the head of the answer is on its way, or the client would be asked to continue: hyper
        // writes it before this task's connection yields.
        life.spawn(async move {
            if let Ok(body) = returned.await {
                let _rest_or_timeout = tokio::time::timeout(LINGER, drop_some(body)).await;
            }
        });
    }
    response
}

async fn drop_some(body: Body) {
    let mut bytes = body.into_data_stream();
    let mut dropped_bytes = 0;
    while let Some(Ok(piece)) = bytes.next().await {
        dropped_bytes += piece.len();
        if dropped_bytes > MAX_DROPPED_BYTES {
            std::future::pending::<()>().await;
        }
    }
}

/// A body that goes back to its lender unless it was read to its end.
struct Lent {
    body: Body,
    ended: Arc<AtomicBool>,
    give_back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let over = matches!(&frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream();
        if over {
            self.ended.store(true, Ordering::Release);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take()
            && !self.ended.load(Ordering::Acquire)
        {
            // Fails only when the answer was given up, and with it the body.
            let _unwanted = give_back.send(std::mem::take(&mut self.body));
        }
    }
}
