//! A client of the auth service: ours, or the original system's.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::{Address, AuthError, Authenticator, Claims, Credentials, PortError, Source, Timestamp};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::global;
use opentelemetry_http::HeaderInjector;
use serde::Deserialize;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::ConnectError;

/// How long a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// How long an answer may take, a second attempt included.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection is kept: shorter than any server keeps it, so that few requests meet a closed one.
const IDLE: Duration = Duration::from_secs(4);
/// The longest header that any auth service reads.
const MAX_HEADER_BYTES: usize = 8 * 1024;
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Asks the auth service at one address. Connections are kept and shared.
pub struct HttpAuthenticator {
    client: Client<HttpConnector, Empty<Bytes>>,
    authority: Authority,
}

/// Status and body of an answer.
type Answer = (StatusCode, Bytes);

/// The claims as JSON. The original writes all of them; another service may leave out what nothing here depends on.
#[derive(Deserialize)]
struct ForeignClaims {
    username: Address,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    admin: bool,
}

/// The part of `/readyz?verbose` that matters here.
#[derive(Deserialize)]
struct Readiness {
    degraded: bool,
}

impl HttpAuthenticator {
    /// Makes a client without connecting; `address` is `HOST:PORT`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(address: &str) -> Result<Self, ConnectError> {
        let authority = address
            .parse::<Authority>()
            .ok()
            .filter(|authority| authority.port_u16().is_some() && !authority.as_str().contains('@'))
            .ok_or_else(|| ConnectError::Invalid {
                port: "AUTH_SVC_ADDRESS",
                source: format!("`{address}` is not HOST:PORT, such as `auth:5000`").into(),
            })?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_DEADLINE));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client, authority })
    }

    /// Sends a request, and once more when it got no answer: judging has no side effect, and a kept connection may
    /// have been closed by a service that restarted.
    async fn ask(
        &self,
        operation: &'static str,
        method: Method,
        path: &'static str,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, PortError> {
        let attempts = async {
            match self.ask_once(&method, path, authorization.as_ref()).await {
                Ok(answer) => Ok(answer),
                Err(_first) => self.ask_once(&method, path, authorization.as_ref()).await,
            }
        };
        match tokio::time::timeout(ANSWER_DEADLINE, attempts).await {
            Ok(answer) => answer.map_err(|error| PortError::unavailable(operation, error)),
            Err(elapsed) => Err(PortError::unavailable(operation, elapsed)),
        }
    }

    async fn ask_once(
        &self,
        method: &Method,
        path: &'static str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Source> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::from_static(path))
            .build()?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let context = Span::current().context();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut HeaderInjector(request.headers_mut()));
        });
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?;
        Ok((status, body.to_bytes()))
    }
}

#[async_trait]
impl Authenticator for HttpAuthenticator {
    async fn login(&self, credentials: &Credentials) -> Result<String, AuthError> {
        const OPERATION: &str = "log in at the auth service";
        let authorization = basic(credentials).ok_or(AuthError::Refused)?;
        let (status, body) = self
            .ask(OPERATION, Method::POST, "/login", Some(authorization))
            .await
            .map_err(AuthError::Unavailable)?;
        match status {
            StatusCode::OK => token(&body).ok_or_else(|| unexpected(OPERATION, "200 without a token")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(AuthError::Refused),
            other => Err(unexpected(OPERATION, format!("status {other}"))),
        }
    }

    async fn validate(&self, token: &str) -> Result<Claims, AuthError> {
        const OPERATION: &str = "validate a token at the auth service";
        let authorization = sensitive(format!("Bearer {token}")).ok_or(AuthError::Refused)?;
        let (status, body) = self
            .ask(OPERATION, Method::POST, "/validate", Some(authorization))
            .await
            .map_err(AuthError::Unavailable)?;
        match status {
            StatusCode::OK => claims(&body).map_err(|error| unexpected(OPERATION, error)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(AuthError::Refused),
            other => Err(unexpected(OPERATION, format!("status {other}"))),
        }
    }

    async fn ping(&self) -> Result<(), PortError> {
        const OPERATION: &str = "reach the auth service";
        let (status, body) = self.ask(OPERATION, Method::GET, "/readyz?verbose", None).await?;
        if status.is_server_error() {
            return Err(PortError::unavailable(OPERATION, format!("status {status}")));
        }
        // The original has no such route: that it answers is all that can be known.
        match serde_json::from_slice::<Readiness>(&body) {
            Ok(readiness) if status.is_success() && readiness.degraded => {
                Err(PortError::unavailable(OPERATION, "its account store is away"))
            }
            _ => Ok(()),
        }
    }
}

/// The header of a login; None when Basic cannot carry the credentials (RFC 7617 section 2).
fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let Credentials { username, password } = credentials;
    if username.contains(':') || username.chars().chain(password.chars()).any(char::is_control) {
        return None;
    }
    sensitive(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

/// A header that no log shows; None for what no header carries, or what is too long to be right.
fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&text)
        .ok()
        .filter(|_| text.len() <= MAX_HEADER_BYTES)?;
    value.set_sensitive(true);
    Some(value)
}

/// The token in a login's answer: something that can be sent back in a header.
fn token(body: &[u8]) -> Option<String> {
    let token = std::str::from_utf8(body).ok()?.trim();
    let usable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then(|| token.to_owned())
}

fn claims(body: &[u8]) -> Result<Claims, serde_json::Error> {
    let foreign: ForeignClaims = serde_json::from_slice(body)?;
    // Without an end the token was valid now, and that is all that is known.
    let now_seconds = Timestamp::now().unix_ms() / 1000;
    Ok(Claims {
        username: foreign.username,
        exp: foreign.exp.map_or(now_seconds, whole_seconds),
        iat: foreign.iat.map_or(0, whole_seconds),
        admin: foreign.admin,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from float to integer saturates")]
fn whole_seconds(seconds: f64) -> i64 {
    seconds as i64
}

fn unexpected(operation: &'static str, source: impl Into<Source>) -> AuthError {
    AuthError::Unavailable(PortError::unavailable(operation, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for address in ["auth:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert!(HttpAuthenticator::new(address).is_ok(), "{address}");
        }
        for address in [
            "",
            "auth",
            "http://auth:5000",
            "auth:5000/",
            "user@auth:5000",
            "auth:x",
            ":5000 ",
        ] {
            assert!(HttpAuthenticator::new(address).is_err(), "{address}");
        }
    }

    #[test]
    fn claims_may_leave_out_what_nothing_depends_on() {
        let full = claims(br#"{"username":"a@x","exp":1700086400,"iat":1700000000,"admin":true}"#).unwrap();
        assert_eq!((full.exp, full.iat, full.admin), (1_700_086_400, 1_700_000_000, true));
        let sparse = claims(br#"{"username":"a@x","extra":1}"#).unwrap();
        assert!(!sparse.admin && sparse.iat == 0 && sparse.exp > 1_700_000_000);
        for useless in [&b"{}"[..], b"", b"[]", br#"{"username":7}"#, br#"{"username":"a\nb"}"#] {
            assert!(claims(useless).is_err());
        }
    }

    #[test]
    fn a_token_is_something_that_can_be_sent_back() {
        assert_eq!(token(b"x.y.z\n").as_deref(), Some("x.y.z"));
        for body in [&b""[..], b" ", b"two words", b"\xff"] {
            assert_eq!(token(body), None);
        }
    }
}
