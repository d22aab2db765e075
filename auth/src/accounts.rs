//! Making and changing accounts, with passwords hashed on the way.

use domain::{Address, PortError, UserStore};

use crate::password::{self, InvalidPassword};

/// Why an account was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// HTTP Basic ends the user-id at its first colon (RFC 7617 section 2).
    #[error("an address with a colon cannot log in")]
    Colon,
    /// The password cannot be one.
    #[error(transparent)]
    Password(#[from] InvalidPassword),
    /// The store.
    #[error(transparent)]
    Store(#[from] PortError),
}

/// Adds an account.
///
/// # Errors
/// The address or the password cannot be sent in a login; `Conflict` when the address is taken; the store is away.
pub async fn create(store: &dyn UserStore, email: &Address, password: &str) -> Result<(), AccountError> {
    check(email, password)?;
    store.create(email, &hash(password).await?).await?;
    Ok(())
}

/// Whether somebody could log in with these.
///
/// # Errors
/// The address or the password cannot be sent in a login.
pub fn check(email: &Address, password: &str) -> Result<(), AccountError> {
    if email.as_str().contains(':') {
        return Err(AccountError::Colon);
    }
    Ok(password::check(password)?)
}

/// Adds an account when its address is free, else changes nothing; whether it was added.
///
/// # Errors
/// As [`create`], except for the conflict.
pub async fn create_if_missing(store: &dyn UserStore, email: &Address, password: &str) -> Result<bool, AccountError> {
    if store.find(email).await?.is_some() {
        return Ok(false);
    }
    match create(store, email, password).await {
        Ok(()) => Ok(true),
        Err(AccountError::Store(PortError::Conflict { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets a password, which voids the account's tokens; false when there is no such account.
///
/// # Errors
/// The password cannot be sent in a login; the store is away.
pub async fn set_password(store: &dyn UserStore, email: &Address, password: &str) -> Result<bool, AccountError> {
    Ok(store.set_password(email, &hash(password).await?).await?)
}

/// Hashes on a thread that may block.
pub(crate) async fn hash(password: &str) -> Result<String, AccountError> {
    let password = password.to_owned();
    let hashed = tokio::task::spawn_blocking(move || password::hash(&password)).await;
    Ok(hashed.map_err(|error| PortError::unavailable("hash a password", error))??)
}
