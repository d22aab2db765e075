//! Passwords to tokens, tokens to claims.

use async_trait::async_trait;

use crate::{Claims, Credentials, PortError};

/// Why a login or a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Wrong user, wrong password, disabled account, or a token that is void: all look the same.
    #[error("not accepted")]
    Refused,
    /// It could not be judged: answer 503 and ask the client to come back.
    #[error("cannot judge the credentials now")]
    Unavailable(#[source] PortError),
}

/// Judges credentials and tokens: `auth::AuthService` in the same process, or the `auth` service over HTTP. Both
/// answer alike.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Trades credentials for a token (a JWT, HS256).
    ///
    /// A wrong user and a wrong password look the same and cost the same.
    ///
    /// # Errors
    /// `Refused`, or `Unavailable` while the account cannot be looked up.
    async fn login(&self, credentials: &Credentials) -> Result<String, AuthError>;

    /// Reads a token: what it says, if it was issued here, has not ended, and was not voided since.
    ///
    /// # Errors
    /// `Refused`, or `Unavailable` while nobody can judge.
    async fn validate(&self, token: &str) -> Result<Claims, AuthError>;

    /// Whether [`login`](Self::login) could judge now.
    ///
    /// # Errors
    /// The service or its store is away.
    async fn ping(&self) -> Result<(), PortError>;
}
