//! Serving HTTP: a server with the timeouts and the patience that hostile clients call for, and RFC 9457 errors.

mod observed;
mod problem;
mod server;

pub use observed::Requests;
pub use problem::Problem;
pub use server::{HEADER_TIMEOUT, MAX_HEAD_BYTES, MAX_HEADERS, PeerAddress, serve};
