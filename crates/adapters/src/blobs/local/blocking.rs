//! The file system's calls block, so they run on threads of their own.

use std::borrow::Cow;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use domain::PortError;

/// How long a caller waits for the disk, where the work does not grow with a file.
pub(super) const DEADLINE: Option<Duration> = Some(Duration::from_secs(10));

/// Runs `work` to its end on a thread that may block, whatever becomes of the caller.
///
/// # Errors
/// The work's; `Unavailable` at the deadline, when the outcome is unknown, or when the work panics.
pub(super) async fn off_runtime<T: Send + 'static>(
    operation: &'static str,
    deadline: Option<Duration>,
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    let span = tracing::Span::current();
    let task = tokio::task::spawn_blocking(move || span.in_scope(work));
    let joined = match deadline {
        None => task.await,
        Some(deadline) => tokio::time::timeout(deadline, task)
            .await
            .map_err(|elapsed| PortError::unavailable(operation, elapsed))?,
    };
    joined.map_err(|error| PortError::unavailable(operation, error))?
}

/// Sorts a file system's error by what the caller does next.
pub(super) fn io_error(operation: impl Into<Cow<'static, str>>) -> impl FnOnce(Error) -> PortError {
    move |error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => PortError::Full {
            operation: operation.into(),
        },
        ErrorKind::AlreadyExists => PortError::conflict(operation),
        ErrorKind::UnexpectedEof => PortError::corrupt(operation, "the file ends early"),
        _ => PortError::unavailable(operation, error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_full_disk_is_full() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = full.write_all(b"x").unwrap_err();
        assert!(matches!(io_error("test")(error), PortError::Full { .. }));
    }

    #[tokio::test]
    async fn work_that_panics_is_unavailable() {
        let outcome: Result<(), _> = off_runtime("test", DEADLINE, || panic!("on purpose")).await;
        assert!(matches!(outcome, Err(PortError::Unavailable { .. })));
    }
}
