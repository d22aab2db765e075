//! Named places where a service can be made to fail, once. Only with the feature `crashpoints`; nothing ships with it.
//!
//! A point stands at the border of two steps: where one port call has ended and the next begins. It is called
//! `SERVICE.CALL` after the call that begins there, such as `converter.settle`. In the directory that
//! `MP3_CRASH_DIRECTORY` names, `SERVICE.script` holds lines of the form `POINT ACTION`; the first process to come by
//! the first of them takes it by renaming the file to `SERVICE.taken`, puts the other lines back, and writes its
//! process id into what it took.

mod ports;
mod script;

use std::future::Future;
use std::sync::Arc;

use domain::{BlobStore, JobStore, PortError, Queue};

use ports::Crashing;
use script::Action;

/// The same job store, with points at each of its calls.
pub fn jobs(service: &'static str, inner: Arc<dyn JobStore>) -> Arc<dyn JobStore> {
    Arc::new(Crashing { service, inner })
}

/// The same blob store, with points at each of its calls and those of its writers.
pub fn blobs(service: &'static str, inner: Arc<dyn BlobStore>) -> Arc<dyn BlobStore> {
    Arc::new(Crashing { service, inner })
}

/// The same queue, with a point where something is published.
pub fn queue(service: &'static str, inner: Arc<dyn Queue>) -> Arc<dyn Queue> {
    Arc::new(Crashing { service, inner })
}

/// Makes a call at a point: perhaps not at all, perhaps late, perhaps with its answer lost.
///
/// # Errors
/// Those of the call, and `Unavailable` when the point says so.
pub async fn at<T, F>(service: &str, call: &str, future: F) -> Result<T, PortError>
where
    F: Future<Output = Result<T, PortError>>,
{
    let lost = || PortError::unavailable(format!("{service}.{call}"), "a crash point");
    match script::take(service, call) {
        None => future.await,
        Some(Action::Error) => Err(lost()),
        Some(Action::LostReply) => {
            future.await?;
            Err(lost())
        }
        Some(Action::Signal(signal)) => {
            script::strike_self(signal);
            future.await
        }
    }
}

/// A point without a call that could be dropped: true when what follows is to be left out.
pub fn skips(service: &str, call: &str) -> bool {
    match script::take(service, call) {
        None => false,
        Some(Action::Error | Action::LostReply) => true,
        Some(Action::Signal(signal)) => {
            script::strike_self(signal);
            false
        }
    }
}
