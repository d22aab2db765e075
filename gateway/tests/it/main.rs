//! The gateway over real TCP, on embedded adapters.
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod binary;
mod client;
mod commands;
mod curl;
mod download;
mod early;
mod faults;
mod forms;
mod gateway;
mod idempotency;
mod janitor;
mod jobs;
mod login;
mod multipart;
mod ownership;
mod rolling;
mod routes;
mod stopping;
mod store_trouble;
mod upload;
