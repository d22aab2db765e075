//! Passwords and tokens, judged by the auth service over HTTP. (In one process `auth::AuthService` judges them itself.)

mod http;

use std::sync::Arc;

use domain::Authenticator;

use crate::ConnectError;
pub use http::HttpAuthenticator;

/// The auth service at `address`, `HOST:PORT` as in `AUTH_SVC_ADDRESS`. It need not be up.
///
/// # Errors
/// The address is none.
pub fn connect(address: &str) -> Result<Arc<dyn Authenticator>, ConnectError> {
    Ok(Arc::new(HttpAuthenticator::new(address)?))
}
