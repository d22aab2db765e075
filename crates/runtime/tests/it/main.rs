//! The worker loop and the HTTP server over the embedded adapters.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod announcing;
mod broker;
mod server;
mod worker;
