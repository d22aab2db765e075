//! What the services need from the outside, and what an adapter must keep.
//!
//! A port is a trait because two adapters stand behind it: an embedded one and a server. Each has a conformance
//! suite in `testkit`, run against both. Laws for all of them: absent is `Ok(None)`; an error keeps its source and is
//! sorted by what the caller does next ([`crate::PortError`]); a call that does not answer within about ten seconds
//! ends as `Unavailable`; dropping a call's future leaves the store as if the call had been made or not made, never
//! half-way.

mod authenticator;
mod blobs;
mod jobs;
mod pool;
mod queue;
mod users;

pub use authenticator::{AuthError, Authenticator};
pub use blobs::{Blob, BlobOwner, BlobStore, BlobStream, BlobWriter, Bucket, Head, NewBlob, OWN_WRITER, Space};
pub use jobs::{
    Announcement, Backlog, Claim, JobStore, KeyedUpload, NewJob, Reference, Settlement, Step, Uploaded, Work,
};
pub use pool::Pool;
pub use queue::{Consumer, Delivery, Queue, Settler};
pub use users::UserStore;
