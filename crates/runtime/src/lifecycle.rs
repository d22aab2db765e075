//! Two-stage shutdown: first finish what is begun, then give the rest back.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The life of one process, or of one suite inside it. A value, passed to whoever needs it; clones share it.
///
/// [`stopping`](Self::stopping) says: take no new work and finish what you hold. [`aborting`](Self::aborting) says:
/// the grace is over, give back what you hold now. [`ended`](Self::ended) says: nothing is left.
#[derive(Clone, Default)]
pub struct Lifecycle {
    stopping: CancellationToken,
    aborting: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
}

/// How long tasks have after `aborting` to give back what they hold.
const ABORT_GRACE: Duration = Duration::from_secs(5);

impl Lifecycle {
    /// A life that has just begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when no new work may be taken.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Cancelled when work at hand must be given back now.
    pub fn aborting(&self) -> CancellationToken {
        self.aborting.clone()
    }

    /// Cancelled when every task has ended or was dropped.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Runs a task that the end of the life waits for. It must end soon after `aborting`.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Begins the end: `stopping` now.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Stops, waits until every task has ended, and after `grace` aborts those that have not.
    pub async fn shut_down(&self, grace: Duration) {
        self.stop();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.abort().await;
        }
        self.ended.cancel();
    }

    async fn abort(&self) {
        self.aborting.cancel();
        if tokio::time::timeout(ABORT_GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "tasks did not end in time and are dropped");
        }
    }

    /// Lives until SIGTERM, SIGINT or [`stop`](Self::stop), then finishes within `grace`; a second signal aborts at
    /// once.
    ///
    /// The exit code is a failure when the signals cannot be listened to.
    pub async fn run_until_signal(&self, grace: Duration) -> ExitCode {
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("cannot listen to signals");
            return ExitCode::FAILURE;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!(grace_seconds = grace.as_secs(), "stopping on SIGTERM"),
            _ = interrupt.recv() => tracing::info!(grace_seconds = grace.as_secs(), "stopping on SIGINT"),
            () = self.stopping.cancelled() => {}
        }
        tokio::select! {
            () = self.shut_down(grace) => {}
            _ = terminate.recv() => self.abort().await,
            _ = interrupt.recv() => self.abort().await,
        }
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_in_hand_is_finished_before_the_end() {
        let life = Lifecycle::new();
        let (finish, finished) = tokio::sync::oneshot::channel();
        let stopping = life.stopping();
        life.spawn(async move {
            stopping.cancelled().await;
            finish.send(()).unwrap();
        });
        life.shut_down(Duration::from_secs(60)).await;
        finished.await.unwrap();
        assert!(!life.aborting().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn it_has_ended_when_its_last_task_has() {
        let life = Lifecycle::new();
        let (ended, aborting) = (life.ended(), life.aborting());
        let still_lived = life.ended();
        life.spawn(async move {
            aborting.cancelled().await;
            assert!(!still_lived.is_cancelled());
        });
        life.shut_down(Duration::from_secs(30)).await;
        assert!(ended.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_the_grace_is_told_to_give_back() {
        let life = Lifecycle::new();
        let aborting = life.aborting();
        life.spawn(async move { aborting.cancelled().await });
        life.shut_down(Duration::from_secs(30)).await;
        assert!(life.aborting().is_cancelled());
    }
}
