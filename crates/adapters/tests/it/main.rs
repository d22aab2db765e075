//! Each port's conformance suite, run against both of its adapters.

mod authn;
mod blobs;
mod jobs;
mod queue;
mod users;
