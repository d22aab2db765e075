//! `POST /login`: HTTP Basic in, a token out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Once;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use domain::AuthError;
use runtime::credentials;
use runtime::http::PeerAddress;

use super::answers::Trouble;
use super::plain::Plain;
use crate::GatewayState;
use crate::logins::NotJudged;
use crate::metrics;
use crate::proxies::FORWARDED_FOR;

pub(super) async fn login(
    State(state): State<GatewayState>,
    peer: Option<Extension<PeerAddress>>,
    headers: HeaderMap,
) -> Result<Response, Plain> {
    let outcome = judge(&state, peer, &headers).await;
    state.metrics.login_ended(match &outcome {
        Ok(_) => metrics::TOKEN,
        Err(Plain::InvalidCredentials) => metrics::REFUSED,
        Err(Plain::TooManyLogins(_)) => metrics::HELD_UP,
        Err(Plain::NoCredentials) => metrics::MISSING,
        Err(_) => metrics::OUR_TROUBLE,
    });
    outcome
}

async fn judge(
    state: &GatewayState,
    peer: Option<Extension<PeerAddress>>,
    headers: &HeaderMap,
) -> Result<Response, Plain> {
    let credentials = credentials::basic(headers).map_err(|_| Plain::NoCredentials)?;
    let client = client(state, peer, headers);
    let attempt = state.logins.begin(&credentials.username, client).await?;
    match state.authenticator.login(&credentials).await {
        Ok(token) => {
            attempt.succeeded();
            Ok(([(header::CACHE_CONTROL, "no-store")], token).into_response())
        }
        Err(AuthError::Refused) => Err(Plain::InvalidCredentials),
        Err(AuthError::Unavailable(error)) => {
            attempt.was_no_failure();
            Err(Trouble::logged(&error).into())
        }
    }
}

/// Where the login comes from.
fn client(state: &GatewayState, peer: Option<Extension<PeerAddress>>, headers: &HeaderMap) -> IpAddr {
    static PROXY_UNKNOWN: Once = Once::new();
    let proxies = &state.settings.trusted_proxies;
    if proxies.is_empty() && headers.contains_key(FORWARDED_FOR) {
        PROXY_UNKNOWN.call_once(|| {
            tracing::warn!(
                "X-Forwarded-For is not believed: behind a proxy set TRUSTED_PROXIES, or failed logins of all clients \
                 count as the proxy's"
            );
        });
    }
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(PeerAddress(peer))| {
        peer.ip()
    });
    proxies.client(peer, headers, state.settings.trusted_proxy_hops)
}

impl From<NotJudged> for Plain {
    fn from(not_judged: NotJudged) -> Self {
        match not_judged {
            NotJudged::TooManyFailures { retry_seconds } => Self::TooManyLogins(retry_seconds),
            NotJudged::Busy => Self::Trouble(Trouble::Away),
        }
    }
}
