//! The routes inside the cluster.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use domain::{AuthError, Authenticator};
use runtime::credentials::{BearerError, basic, bearer};
use runtime::probes::{self, Readiness, of};

use crate::AuthService;

const BASIC: &str = r#"Basic realm="mp3converter", charset="UTF-8""#;
const BEARER: &str = r#"Bearer realm="mp3converter""#;
/// After how many seconds a client that met 503 should come back.
const RETRY_AFTER_SECONDS: &str = "5";

/// `POST /login` (Basic) gives a token, `POST /validate` (Bearer) a token's claims; `/healthz` and `/readyz` beside
/// them.
pub fn router(service: Arc<AuthService>) -> Router {
    let probes = probes::router(Arc::new(readiness(&service)));
    Router::new()
        .route("/login", post(login))
        .route("/validate", post(validate))
        .with_state(service)
        .merge(probes)
}

/// Always ready: with the account store away logins are 503, and tokens are judged all the same.
pub fn readiness(service: &Arc<AuthService>) -> Readiness {
    let pooled = Arc::clone(service);
    Readiness::new()
        .by_way_of("account store", move || pooled.pool())
        .degraded_by("account store", of(service, async |service| service.ping().await))
}

async fn login(State(service): State<Arc<AuthService>>, headers: HeaderMap) -> Response {
    let Ok(credentials) = basic(&headers) else {
        return unauthorized(BASIC, "missing credentials");
    };
    match service.login(&credentials).await {
        Ok(token) => token.into_response(),
        Err(AuthError::Refused) => unauthorized(BASIC, "invalid credentials"),
        Err(AuthError::Unavailable(_)) => come_back(),
    }
}

async fn validate(State(service): State<Arc<AuthService>>, headers: HeaderMap) -> Response {
    let token = match bearer(&headers) {
        Ok(token) => token,
        Err(BearerError::Missing) => return unauthorized(BEARER, "missing credentials"),
        Err(BearerError::OtherScheme) => return not_authorized(),
    };
    match service.validate(token).await {
        Ok(claims) => Json(claims).into_response(),
        Err(AuthError::Refused) => not_authorized(),
        Err(AuthError::Unavailable(_)) => come_back(),
    }
}

fn unauthorized(challenge: &'static str, body: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], body).into_response()
}

fn not_authorized() -> Response {
    (StatusCode::FORBIDDEN, "not authorized").into_response()
}

fn come_back() -> Response {
    let body = "logins cannot be judged at the moment; please try again in a few seconds";
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)],
        body,
    )
        .into_response()
}
