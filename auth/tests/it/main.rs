//! The auth service over its routes, and the `auth` binary on a real MariaDB.

#![expect(clippy::unwrap_used, reason = "the steps tests share fail as tests do: by panicking")]

mod commands;
mod http;
mod serving;
mod support;
