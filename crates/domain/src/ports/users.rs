//! The accounts.

use async_trait::async_trait;

use crate::{Address, Pool, PortError, User};

/// The table `user`. Addresses are compared without regard to ASCII case, whatever the column's collation.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// The account of that address, disabled or not.
    async fn find(&self, email: &Address) -> Result<Option<User>, PortError>;

    /// Adds an account with a hashed password.
    ///
    /// # Errors
    /// `Conflict` when the address is taken in any spelling.
    async fn create(&self, email: &Address, password_hash: &str) -> Result<(), PortError>;

    /// Sets a new password and voids every token issued before this moment; false when there is no such account.
    async fn set_password(&self, email: &Address, password_hash: &str) -> Result<bool, PortError>;

    /// Replaces a stored password by its hash, tokens stay valid. Does nothing and answers false when the stored
    /// value is no longer `stored`.
    async fn rehash(&self, email: &Address, stored: &str, password_hash: &str) -> Result<bool, PortError>;

    /// Disables the account and voids its tokens, or enables it again; false when there is no such account.
    async fn set_disabled(&self, email: &Address, disabled: bool) -> Result<bool, PortError>;

    /// Removes the account; false when there is none.
    async fn remove(&self, email: &Address) -> Result<bool, PortError>;

    /// Every account, ordered by id.
    async fn list(&self) -> Result<Vec<User>, PortError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), PortError>;

    /// How busy the way to it is; None where there is no bound that could be reached.
    fn pool(&self) -> Option<Pool> {
        None
    }
}
