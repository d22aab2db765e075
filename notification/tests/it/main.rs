//! The notification against mail servers, on embedded stores, and as a program.

#![expect(clippy::unwrap_used, reason = "the steps tests share fail as tests do: by panicking")]

mod delivery;
mod mail_server;
mod program;
mod telling;
