//! The frozen plain-text answers: status and body are exactly the original system's.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::InvalidIdempotencyKey;

use super::answers::{BASIC_CHALLENGE, BEARER_CHALLENGE, FULL_RETRY_SECONDS, RETRY_SECONDS, Trouble};

/// What a frozen route answers when it does not do what was asked.
#[derive(Debug)]
pub(super) enum Plain {
    /// `/login` without usable Basic credentials.
    NoCredentials,
    /// `/login` with wrong ones.
    InvalidCredentials,
    /// Too many logins failed; to be tried again after so many seconds.
    TooManyLogins(u64),
    /// A route that needs a token, without a header.
    NoToken,
    /// A bad or expired token, or another scheme.
    BadToken,
    /// A valid token that may not use the converter.
    NotAdmin,
    /// Not exactly one file, or no multipart body.
    NotOneFile,
    /// An option's value cannot be used; the sentence names it.
    BadOption(String),
    /// The header `Idempotency-Key` cannot be used.
    BadKey,
    /// The upload of that key has not ended.
    KeyInUse,
    /// That key names another upload.
    KeyOfAnother,
    /// `/download` without an id.
    NoFid,
    /// No such route; no such file, or somebody else's.
    NotFound,
    /// A method the route does not know.
    MethodNotAllowed,
    /// More bytes than so many.
    TooLarge(u64),
    /// The upload stalled.
    Stalled,
    /// The gateway stops.
    Stopping,
    /// Our own trouble.
    Trouble(Trouble),
    /// A bug.
    Internal,
}

impl From<Trouble> for Plain {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        match self {
            Self::NoCredentials => challenge("missing credentials", BASIC_CHALLENGE),
            Self::InvalidCredentials => challenge("invalid credentials", BASIC_CHALLENGE),
            Self::TooManyLogins(seconds) => retry_after(
                text(
                    StatusCode::TOO_MANY_REQUESTS,
                    format!("too many logins failed, please try again in {seconds} seconds"),
                ),
                HeaderValue::from(seconds),
            ),
            Self::NoToken => challenge("missing credentials", BEARER_CHALLENGE),
            Self::NotAdmin => challenge("not authorized", BEARER_CHALLENGE),
            Self::BadToken => text(StatusCode::FORBIDDEN, "not authorized"),
            Self::NotOneFile => text(StatusCode::BAD_REQUEST, "exactly 1 file required"),
            Self::BadOption(sentence) => text(StatusCode::BAD_REQUEST, sentence),
            Self::BadKey => text(
                StatusCode::BAD_REQUEST,
                format!("bad value for `Idempotency-Key`: {InvalidIdempotencyKey}, once"),
            ),
            Self::KeyInUse => retry_after(
                text(
                    StatusCode::CONFLICT,
                    "an upload with this Idempotency-Key is still being received, please try again in a moment",
                ),
                HeaderValue::from_static(RETRY_SECONDS),
            ),
            Self::KeyOfAnother => text(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this Idempotency-Key was sent with another file or other options, please choose a new one",
            ),
            Self::NoFid => text(StatusCode::BAD_REQUEST, "fid is required"),
            Self::NotFound => text(StatusCode::NOT_FOUND, "not found"),
            Self::MethodNotAllowed => text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
            Self::TooLarge(max_bytes) => text(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("an upload may have at most {max_bytes} bytes"),
            ),
            Self::Stalled => text(
                StatusCode::REQUEST_TIMEOUT,
                "the upload came too slowly and was given up, please send it again",
            ),
            Self::Stopping => unavailable("the service is restarting, please try again in a moment"),
            Self::Trouble(Trouble::Away) => unavailable("the service is not available now, please try again later"),
            Self::Trouble(Trouble::Full) => retry_after(
                text(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "there is no space left for this upload, please try again later",
                ),
                HeaderValue::from_static(FULL_RETRY_SECONDS),
            ),
            Self::Trouble(Trouble::Damaged) | Self::Internal => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error")
            }
        }
    }
}

fn text(status: StatusCode, body: impl IntoResponse) -> Response {
    (status, body).into_response()
}

fn challenge(body: &'static str, challenge: &'static str) -> Response {
    let mut response = text(StatusCode::UNAUTHORIZED, body);
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn unavailable(sentence: &'static str) -> Response {
    let seconds = HeaderValue::from_static(RETRY_SECONDS);
    retry_after(text(StatusCode::SERVICE_UNAVAILABLE, sentence), seconds)
}

fn retry_after(mut response: Response, seconds: HeaderValue) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}
