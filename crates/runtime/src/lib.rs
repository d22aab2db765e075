//! What every service needs to run, written once: settings, telemetry, lifecycle, the worker loop, HTTP and probes.
//!
//! A service's `main` reads its settings with [`settings::parse`], starts [`telemetry`], makes a [`Lifecycle`], spawns
//! its tasks on it and ends with [`Lifecycle::run_until_signal`].

mod announcer;
#[cfg(feature = "crashpoints")]
pub mod crashpoints;
pub mod credentials;
mod healthcheck;
pub mod http;
mod lifecycle;
pub mod metrics;
pub mod probes;
pub mod settings;
pub mod telemetry;
pub mod worker;

pub use announcer::Announcer;
#[cfg(feature = "seeded-bugs")]
pub use domain::seeded_bugs;
pub use lifecycle::Lifecycle;

/// Makes the one TLS provider the process's default. To be called first in every `main`, so that a library added
/// later cannot choose another.
pub fn install_tls_provider() {
    // An error means that it is installed already, which is all that is wanted.
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
