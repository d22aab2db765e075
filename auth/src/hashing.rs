//! Where passwords are hashed: as many at a time as there are cores, up to four, with a short queue before them.
//!
//! One argon2 computation takes 19 MiB and tens of milliseconds of one core. Without a bound, a burst of logins would
//! take the machine's memory and starve everything else.

use std::sync::Arc;
use std::time::Duration;

use domain::{AuthError, PortError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most at a time, however many cores a node has: with their 19 MiB each they have to fit into a small container.
const MOST_AT_ONCE: usize = 4;
/// How many logins may wait beyond those that are computed; the next one is asked to come back.
const QUEUE: usize = 50;
/// How long a login waits for its turn: less than the gateway waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The places for hash computations of one process.
pub(crate) struct Hashing {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// A place in the queue, given back by dropping it.
pub(crate) struct Admission {
    _place: OwnedSemaphorePermit,
}

impl Default for Hashing {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores.min(MOST_AT_ONCE), QUEUE)
    }
}

impl Hashing {
    fn new(cores: usize, queue: usize) -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(cores + queue)),
            running: Arc::new(Semaphore::new(cores)),
        }
    }

    /// A place, or `Unavailable` when too many are waiting.
    pub(crate) fn admit(&self) -> Result<Admission, AuthError> {
        Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map(|place| Admission { _place: place })
            .map_err(|_| unavailable("too many logins at once"))
    }

    /// Runs `work` on a blocking thread when it is its turn; `Unavailable` when that does not come within three
    /// seconds. Dropping the future gives up the turn, or lets work that has begun end by itself, which keeps its place
    /// until then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        admission: Admission,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AuthError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.running).acquire_owned()).await;
        let turn = turn
            .map_err(|_| unavailable("too many logins before it"))?
            .map_err(unavailable)?;
        let computation = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((turn, admission));
            result
        });
        computation.await.map_err(unavailable)
    }
}

fn unavailable(source: impl Into<domain::Source>) -> AuthError {
    AuthError::Unavailable(PortError::unavailable("judge a password", source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn the_queue_is_bounded_and_drains() {
        let hashing = Arc::new(Hashing::new(1, 2));
        let (finish, blocked) = mpsc::channel::<()>();
        let (begun, running) = tokio::sync::oneshot::channel();

        let first = hashing.admit().unwrap();
        let first = tokio::spawn({
            let hashing = Arc::clone(&hashing);
            async move {
                hashing
                    .run(first, move || {
                        begun.send(()).unwrap();
                        blocked.recv().unwrap();
                    })
                    .await
            }
        });
        running.await.unwrap();
        let waiting: Vec<Admission> = (0..2).map(|_| hashing.admit().unwrap()).collect();
        assert!(matches!(hashing.admit(), Err(AuthError::Unavailable(_))));

        finish.send(()).unwrap();
        first.await.unwrap().unwrap();
        let late = hashing.admit().expect("a place is free again");
        for admission in waiting.into_iter().chain([late]) {
            assert_eq!(hashing.run(admission, || 7).await.unwrap(), 7);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_whose_turn_does_not_come_is_asked_to_come_back() {
        let hashing = Hashing::new(1, 1);
        let turn = Arc::clone(&hashing.running).acquire_owned().await.unwrap();
        let admission = hashing.admit().unwrap();
        let began = tokio::time::Instant::now();
        let waited = hashing.run(admission, || ()).await;
        assert_eq!(began.elapsed().as_secs(), 3);
        assert!(matches!(waited, Err(AuthError::Unavailable(_))));
        drop(turn);
        let admission = hashing.admit().expect("its place is free again");
        hashing.run(admission, || ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_while_waiting_frees_its_place() {
        let hashing = Hashing::new(1, 0);
        let admission = hashing.admit().unwrap();
        let turn = Arc::clone(&hashing.running).acquire_owned().await.unwrap();
        drop(tokio::time::timeout(std::time::Duration::ZERO, hashing.run(admission, || ())).await);
        drop(turn);
        assert!(hashing.admit().is_ok());
    }
}
