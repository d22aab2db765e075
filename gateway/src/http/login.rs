//! `POST /login`: HTTP Basic in, a token out.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use domain::AuthError;
use runtime::credentials;

use super::answers::Trouble;
use super::plain::Plain;
use crate::GatewayState;

pub(super) async fn login(State(state): State<GatewayState>, headers: HeaderMap) -> Result<Response, Plain> {
    let credentials = credentials::basic(&headers).map_err(|_| Plain::NoCredentials)?;
    let token = state
        .authenticator
        .login(&credentials)
        .await
        .map_err(|error| match error {
            AuthError::Refused => Plain::InvalidCredentials,
            AuthError::Unavailable(error) => Trouble::logged(&error).into(),
        })?;
    Ok(([(header::CACHE_CONTROL, "no-store")], token).into_response())
}
