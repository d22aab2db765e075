//! One suite per port: what any adapter must keep, whatever stands behind it.

pub mod authenticator;
pub mod blobs;
pub mod jobs;
pub mod queue;
pub mod users;
