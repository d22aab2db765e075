//! Who is asking.

use axum::http::HeaderMap;
use domain::{Address, AuthError, PortError};
use runtime::credentials::{self, BearerError};

use super::answers::Trouble;
use super::plain::Plain;
use crate::GatewayState;

/// Why a request is not let in.
#[derive(Debug)]
pub(super) enum Denied {
    /// No credentials at all.
    NoToken,
    /// Credentials that are no valid token.
    BadToken,
    /// A valid token without `admin`, which in the original means "may use the converter".
    NotAdmin,
    /// Nobody can judge the token now.
    Unknown(PortError),
}

/// The owner a request speaks for.
pub(super) async fn owner(state: &GatewayState, headers: &HeaderMap) -> Result<Address, Denied> {
    let token = credentials::bearer(headers).map_err(|error| match error {
        BearerError::Missing => Denied::NoToken,
        BearerError::OtherScheme => Denied::BadToken,
    })?;
    let claims = state.authenticator.validate(token).await.map_err(|error| match error {
        AuthError::Refused => Denied::BadToken,
        AuthError::Unavailable(error) => Denied::Unknown(error),
    })?;
    if claims.admin {
        Ok(claims.username)
    } else {
        Err(Denied::NotAdmin)
    }
}

impl From<Denied> for Plain {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoToken => Self::NoToken,
            Denied::BadToken => Self::BadToken,
            Denied::NotAdmin => Self::NotAdmin,
            Denied::Unknown(error) => Self::Trouble(Trouble::logged(&error)),
        }
    }
}
