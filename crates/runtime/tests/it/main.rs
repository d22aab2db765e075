//! The worker loop and the HTTP server over the embedded adapters.

mod server;
mod worker;
