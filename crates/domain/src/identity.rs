//! Accounts, what proves them, and what a token says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Address, Timestamp};

/// One row of the table `user`.
#[derive(Clone)]
pub struct User {
    /// The row's id.
    pub id: i64,
    /// The address, spelt as in the row.
    pub email: Address,
    /// An argon2id PHC string, or the original system's plain text when it does not begin with `$`.
    pub password: String,
    /// Since when the account may not log in.
    pub disabled_at: Option<Timestamp>,
    /// Tokens issued before this moment are void: the last password change or disabling. Whole seconds.
    pub tokens_valid_from: Option<Timestamp>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// What a login brings: HTTP Basic's user-id and password (RFC 7617). `Debug` shows neither.
#[derive(Clone)]
pub struct Credentials {
    /// The user-id as sent; it need not be a valid [`Address`].
    pub username: String,
    /// The password as sent.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// What a token says. JSON as the original system writes it: `username`, `exp`, `iat`, `admin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose token it is.
    pub username: Address,
    /// When it ends: seconds since 1970 (RFC 7519 section 4.1.4).
    pub exp: i64,
    /// When it was issued: seconds since 1970 (RFC 7519 section 4.1.6).
    pub iat: i64,
    /// In the original "may use the converter"; true for every enabled account. A token that does not say may not.
    #[serde(default)]
    pub admin: bool,
}
