//! The auth service: passwords to tokens, tokens to claims.
//!
//! [`AuthService`] is the in-process [`domain::Authenticator`]; [`http::router`] shows it to the cluster as `POST
//! /login` and `POST /validate`. It stands on a [`domain::UserStore`] and on [`TokenSigner`]; [`users_command`] is how
//! an operator keeps the accounts.
//!
//! ```text
//! user:password -> UserStore.find -> argon2id (spawn_blocking, bounded) -> token (HS256, one day)
//! token -> signature and exp -> the account's standing (cached 60 s)     -> claims
//! ```

pub mod accounts;
mod hashing;
pub mod http;
mod metrics;
mod password;
mod reachability;
mod server;
mod service;
mod settings;
mod standing;
mod token;
pub mod users_command;

pub use password::{InvalidPassword, MAX_PASSWORD_BYTES, PlaintextPasswords};
pub use server::Auth;
pub use service::AuthService;
pub use settings::{AccountSettings, AdminSettings, Command, ServiceSettings, Settings, UsersSettings};
pub use token::{MIN_SECRET_BYTES, TOKEN_LIFETIME_SECONDS, TokenSigner, WeakSecret};
