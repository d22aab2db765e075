//! The routes. The original system's answer in plain text, what is new lives under `/api/v1` and speaks JSON.

mod access;
mod answers;
mod conditions;
mod disposition;
mod download;
mod jobs;
mod limits;
mod linger;
mod login;
mod plain;
mod upload;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::FutureExt as _;
use runtime::http::Problem;

use crate::GatewayState;
use answers::Trouble;
use plain::Plain;

/// Everything the gateway serves on its own port: the routes and the probes.
pub fn router(state: GatewayState) -> Router {
    let life = state.life.clone();
    let probes = runtime::probes::router(Arc::new(state.readiness().until(life.stopping())));
    let requests = state.requests.clone();
    let router = Router::new()
        .route("/login", post(login::login))
        .route("/upload", post(upload::upload))
        .route("/download", get(download::download))
        .route("/api/v1/jobs", get(jobs::list))
        .route("/api/v1/limits", get(limits::limits))
        .route("/api/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .with_state(state)
        .merge(probes)
        .fallback(unknown_route)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn(catch_panic))
        .layer(from_fn_with_state(life, linger::linger));
    requests.observe(router)
}

async fn unknown_route(request: Request) -> Response {
    if is_api(&request) {
        let detail = "there is no such route; see /api/v1/jobs";
        return Problem::new(StatusCode::NOT_FOUND, "unknown_route", detail).into_response();
    }
    Plain::NotFound.into_response()
}

async fn other_method(request: Request) -> Response {
    if is_api(&request) {
        let detail = "this route does not know that method; the header Allow names those it knows";
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).into_response();
    }
    Plain::MethodNotAllowed.into_response()
}

fn is_api(request: &Request) -> bool {
    request.uri().path().starts_with("/api/")
}

/// Turns a bug into an answer, in the form of the route that was asked.
async fn catch_panic(request: Request, next: Next) -> Response {
    let is_api = is_api(&request);
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(payload) => {
            log_panic(&*payload);
            if is_api {
                jobs::trouble(Trouble::Damaged)
            } else {
                Plain::Internal.into_response()
            }
        }
    }
}

fn log_panic(payload: &(dyn Any + Send)) {
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        message = message.unwrap_or("no message"),
        "a request's handler panicked"
    );
}
