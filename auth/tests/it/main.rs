//! The auth service over its routes, and the `auth` binary on a real MariaDB.

mod commands;
mod http;
mod serving;
mod support;
