//! Files, in a directory and in GridFS.

mod gridfs;
mod local;
