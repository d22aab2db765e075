//! Listening on an address that a setting names.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; set {setting} to another address")]
pub struct ListenError {
    /// The setting that names the address.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The system's error.
    #[source]
    pub source: io::Error,
}

impl ListenError {
    /// For `map_err`: the system's error, with what it is about.
    pub fn of(setting: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            setting,
            address,
            source,
        }
    }
}

/// Listens on `address`, which `setting` names.
///
/// # Errors
/// Another program has the port, or this one has not the right to it.
pub async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(ListenError::of(setting, address))
}
