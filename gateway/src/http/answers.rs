//! What plain-text and JSON answers share.

use domain::PortError;

pub(super) const BASIC_CHALLENGE: &str = r#"Basic realm="mp3converter", charset="UTF-8""#;
pub(super) const BEARER_CHALLENGE: &str = r#"Bearer realm="mp3converter""#;
/// When to try again what a server that is away kept from being done.
pub(super) const RETRY_SECONDS: &str = "5";
/// When to try again what had no space.
pub(super) const FULL_RETRY_SECONDS: &str = "60";

/// Our own trouble, by what the client does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Tries again in a moment.
    Away,
    /// Tries again when there is space.
    Full,
    /// Nothing.
    Damaged,
}

impl Trouble {
    /// Logs the cause, which the client never sees, and sorts it.
    pub(super) fn logged(error: &PortError) -> Self {
        let chain = domain::Chain(error).to_string();
        match error {
            PortError::Unavailable { .. } => {
                tracing::warn!(error = chain, "a request could not be served");
                Self::Away
            }
            PortError::Full { .. } => {
                tracing::error!(error = chain, "no space is left");
                Self::Full
            }
            PortError::Conflict { .. } | PortError::Corrupt { .. } => {
                tracing::error!(error = chain, "a request met stored data it cannot use");
                Self::Damaged
            }
        }
    }
}
