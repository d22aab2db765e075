//! The suite from the outside: the main job on the embedded adapters and on real servers, and the `mp3converter`
//! binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod commands;
mod full_disk;
mod main_job;
mod monitoring;
mod readme;
mod rolling;
mod serve;
mod suite;
mod swap;
mod waiting;
