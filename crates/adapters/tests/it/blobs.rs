//! Files, in a directory and in GridFS.

#![expect(clippy::unwrap_used, reason = "the steps tests share fail as tests do: by panicking")]

mod gridfs;
mod local;
