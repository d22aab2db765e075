//! The ports' adapters. A URL's scheme chooses one: embedded (`sqlite:`, `file:`, `memory:`) or a server (`mysql:`,
//! `mongodb:`, `amqp:`, `amqps:`).
//!
//! Only `main` functions and the single process name this crate; the services see the ports of `domain`.

pub mod authn;
pub mod blobs;
pub mod jobs;
pub mod mongo;
pub mod queue;
pub mod users;

/// Why an adapter could not be made from its URL. A server that is away is not a reason: adapters wait for it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No adapter of this port has that scheme.
    #[error("{port}: unknown scheme `{scheme}:`, expected {expected}")]
    UnknownScheme {
        /// The port, by the name of its setting.
        port: &'static str,
        /// What was given.
        scheme: String,
        /// The schemes there are.
        expected: &'static str,
    },
    /// The URL has the right scheme and cannot be used.
    #[error("{port}: the URL cannot be used")]
    Invalid {
        /// The port, by the name of its setting.
        port: &'static str,
        /// The driver's error.
        #[source]
        source: domain::Source,
    },
    /// The directory or file of an embedded store cannot be opened.
    #[error("cannot open `{path}`")]
    Io {
        /// Which.
        path: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

/// A bound, and how much of it is in use.
fn places_of(places: &tokio::sync::Semaphore, all: usize) -> domain::Pool {
    domain::Pool {
        places: all as u64,
        busy: all.saturating_sub(places.available_permits()) as u64,
    }
}
