//! What every MongoDB adapter shares: the client with durable defaults, calls that are never cut off half-way, and
//! one reading of the driver's errors.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use domain::{BackendUrl, Pool, PortError};
use futures_util::FutureExt;
use mongodb::Client;
use mongodb::ServerType;
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::ConnectError;

/// How long a caller waits for one call before it hears [`PortError::Unavailable`].
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The most calls of this process at a time. A server that froze answers none, and each goes on without its caller:
/// without a bound they would pile up for as long as requests come. The driver's pool has ten connections, so these are
/// many waiting ones already.
pub const MOST_CALLS: usize = 256;
static CALLS: Semaphore = Semaphore::const_new(MOST_CALLS);

/// The driver's code for a violated unique index.
const DUPLICATE_KEY: i32 = 11000;
/// The server's disk is full.
const OUT_OF_DISK_SPACE: i32 = 14031;

/// Makes a client without connecting. Must be called within a tokio runtime.
///
/// What the URL leaves open becomes `w=majority&journal=true&wtimeoutMS=10000&retryWrites=true`,
/// `readConcernLevel=majority`, `connectTimeoutMS=3000` and `serverSelectionTimeoutMS=5000`: with weaker writes a
/// killed server forgets what it acknowledged. A server that is no replica set is used, and warned about once a
/// process.
///
/// # Errors
/// [`ConnectError::Invalid`] when the driver cannot read the URL.
pub fn client(url: &BackendUrl) -> Result<Client, ConnectError> {
    let invalid = |source: domain::Source| ConnectError::Invalid {
        port: "MongoDB",
        source,
    };
    // Only an SRV record makes the driver wait here, and `mongodb:` URLs have none.
    let mut options = ClientOptions::parse(url.expose())
        .into_future()
        .now_or_never()
        .ok_or_else(|| invalid("name its servers: `mongodb+srv:` is not supported".into()))?
        .map_err(|error| invalid(error.into()))?;
    fill_in(&mut options);
    options.sdam_event_handler = Some(EventHandler::callback(warn_of_standalone));
    Client::with_options(options).map_err(|error| invalid(error.into()))
}

/// The calls of this process that have a deadline, to whatever database.
pub fn pool() -> Pool {
    crate::places_of(&CALLS, MOST_CALLS)
}

fn fill_in(options: &mut ClientOptions) {
    let given = options.write_concern.take().unwrap_or_default();
    let mut durable = WriteConcern::default();
    durable.w = given.w.or(Some(Acknowledgment::Majority));
    durable.journal = given.journal.or(Some(true));
    durable.w_timeout = given.w_timeout.or(Some(DEADLINE));
    options.write_concern = Some(durable);
    options.read_concern.get_or_insert_with(ReadConcern::majority);
    options.retry_writes.get_or_insert(true);
    options.connect_timeout.get_or_insert(Duration::from_secs(3));
    options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
    options.app_name.get_or_insert_with(|| "mp3converter".to_owned());
}

fn warn_of_standalone(event: SdamEvent) {
    static ONCE: Once = Once::new();
    let SdamEvent::ServerDescriptionChanged(change) = event else {
        return;
    };
    if change.new_description.server_type() == ServerType::Standalone {
        ONCE.call_once(|| {
            tracing::warn!(
                server = %change.address,
                "MongoDB is not a replica set: writes cut off by a lost connection are not retried; \
                 start it with --replSet and initiate it"
            );
        });
    }
}

/// Runs a driver call to its end, whatever becomes of the caller.
///
/// The call is a task of its own: dropping or timing out a driver's future half-way corrupts its connection or its
/// stream. Dropping the returned future leaves the call running; so does the deadline of ten seconds, which the caller
/// hears as `Unavailable` while the outcome stays unknown. Where [`MOST_CALLS`] are under way it waits for one of them
/// to end, and is not begun when none does.
///
/// # Errors
/// Those of [`port_error`]; `Unavailable` at the deadline.
///
/// Source: the driver's README, "cancellation safety" (RUST-937).
pub async fn complete<T: Send + 'static>(
    operation: impl Into<Cow<'static, str>>,
    call: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, PortError> {
    let operation = operation.into();
    let task = {
        let operation = operation.clone();
        async move { call.await.map_err(|error| port_error(operation, error)) }
    };
    complete_all(operation, Some(DEADLINE), task).await
}

/// Like [`complete`], for several calls that belong together; without a deadline for those whose length depends on a
/// file's, where each call has its own, and counts for itself.
///
/// # Errors
/// The task's; `Unavailable` at the deadline or when the task panics.
pub async fn complete_all<T: Send + 'static>(
    operation: impl Into<Cow<'static, str>>,
    deadline: Option<Duration>,
    calls: impl Future<Output = Result<T, PortError>> + Send + 'static,
) -> Result<T, PortError> {
    let operation = operation.into();
    #[cfg(feature = "seeded-bugs")]
    let deadline = deadline.filter(|_| !domain::seeded_bugs::is_on("no-deadline"));
    if let Some(deadline) = deadline {
        return complete_one_of(&CALLS, operation, deadline, calls).await;
    }
    let joined = tokio::spawn(calls.in_current_span()).await;
    joined.unwrap_or_else(|error| Err(PortError::unavailable(operation, error)))
}

/// Runs calls to their end in a place of `places`, which they keep until then.
async fn complete_one_of<T: Send + 'static>(
    places: &'static Semaphore,
    operation: Cow<'static, str>,
    deadline: Duration,
    calls: impl Future<Output = Result<T, PortError>> + Send + 'static,
) -> Result<T, PortError> {
    let deadline = Instant::now() + deadline;
    let place = match timeout_at(deadline, places.acquire()).await {
        Ok(Ok(place)) => place,
        Ok(Err(closed)) => return Err(PortError::unavailable(operation, closed)),
        Err(elapsed) => return Err(PortError::unavailable(operation, elapsed)),
    };
    let calls = async move {
        let _place = place;
        calls.await
    };
    match timeout_at(deadline, tokio::spawn(calls.in_current_span())).await {
        Ok(joined) => joined.unwrap_or_else(|error| Err(PortError::unavailable(operation, error))),
        Err(elapsed) => Err(PortError::unavailable(operation, elapsed)),
    }
}

/// Sorts a driver's error by what the caller does next: a violated unique index is `Conflict`, a full disk is `Full`, a
/// document of an unexpected shape is `Corrupt`, everything else is `Unavailable`.
pub fn port_error(operation: impl Into<Cow<'static, str>>, error: Error) -> PortError {
    let operation = operation.into();
    if is_duplicate_key(&error) {
        return PortError::Conflict { operation };
    }
    if error_codes(&error).contains(&OUT_OF_DISK_SPACE) {
        return PortError::Full { operation };
    }
    match error.kind.as_ref() {
        ErrorKind::Bson(what) => PortError::corrupt(operation, what.to_string()),
        _ => PortError::unavailable(operation, error),
    }
}

/// Whether a unique index refused the write.
pub fn is_duplicate_key(error: &Error) -> bool {
    error_codes(error).contains(&DUPLICATE_KEY)
}

/// Every error code the server's answer holds.
pub fn error_codes(error: &Error) -> Vec<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => vec![command.code],
        ErrorKind::Write(WriteFailure::WriteError(write)) => vec![write.code],
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => vec![concern.code],
        ErrorKind::InsertMany(many) => {
            let writes = many.write_errors.iter().flatten().map(|write| write.code);
            let concern = many.write_concern_error.iter().map(|concern| concern.code);
            writes.chain(concern).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    async fn options(text: &str) -> ClientOptions {
        let mut options = ClientOptions::parse(text).await.unwrap();
        fill_in(&mut options);
        options
    }

    #[tokio::test]
    async fn writes_are_durable_unless_the_url_says_otherwise() {
        let open = options("mongodb://localhost/?replicaSet=rs0").await;
        let concern = open.write_concern.unwrap();
        assert_eq!(concern.w, Some(Acknowledgment::Majority));
        assert_eq!(concern.journal, Some(true));
        assert_eq!(concern.w_timeout, Some(Duration::from_secs(10)));
        assert_eq!(open.read_concern, Some(ReadConcern::majority()));
        assert_eq!(open.server_selection_timeout, Some(Duration::from_secs(5)));
        assert_eq!(open.connect_timeout, Some(Duration::from_secs(3)));

        let chosen =
            options("mongodb://localhost/?w=1&readConcernLevel=local&serverSelectionTimeoutMS=70&appName=a").await;
        let concern = chosen.write_concern.unwrap();
        assert_eq!(concern.w, Some(Acknowledgment::Nodes(1)));
        assert_eq!(concern.journal, Some(true));
        assert_eq!(chosen.read_concern, Some(ReadConcern::local()));
        assert_eq!(chosen.server_selection_timeout, Some(Duration::from_millis(70)));
        assert_eq!(chosen.app_name.as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn a_client_is_made_while_its_server_is_away() {
        let url = "mongodb://user:hunter2@127.0.0.1:9/?replicaSet=rs0".parse().unwrap();
        assert!(client(&url).is_ok());
    }

    #[tokio::test]
    async fn a_url_the_driver_cannot_read_is_invalid() {
        let url = "mongodb://:0/?w=".parse().unwrap();
        assert!(matches!(client(&url), Err(ConnectError::Invalid { .. })));
    }

    #[tokio::test]
    async fn a_call_goes_on_when_its_caller_leaves() {
        let (begin, begun) = tokio::sync::oneshot::channel::<()>();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut call = Box::pin(complete("test", async move {
            begun.await.unwrap();
            end.send(()).unwrap();
            Ok(())
        }));
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        begin.send(()).unwrap();
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn calls_that_get_no_answer_are_bounded_and_the_next_ones_wait_for_them() {
        let places: &Semaphore = Box::leak(Box::new(Semaphore::new(2)));
        let (begun, answers) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        for _ in 0..5 {
            let (begun, answers) = (Arc::clone(&begun), Arc::clone(&answers));
            let call = async move {
                begun.add_permits(1);
                answers.acquire().await.unwrap().forget();
                Ok(())
            };
            let answer = complete_one_of(places, "test".into(), Duration::ZERO, call).await;
            assert!(matches!(answer, Err(PortError::Unavailable { .. })));
        }
        let next = tokio::spawn(complete_one_of(places, "test".into(), DEADLINE, async { Ok(()) }));
        let _both = begun.acquire_many(2).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(begun.available_permits(), 0, "two were begun");
        assert!(!next.is_finished());
        answers.add_permits(1);
        next.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_call_without_an_answer_is_unavailable_after_the_deadline() {
        let answer: Result<(), _> = complete_all("test", Some(Duration::ZERO), std::future::pending()).await;
        assert!(matches!(answer, Err(PortError::Unavailable { .. })));
    }
}
