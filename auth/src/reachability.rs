//! Whether the account store answers: said once when that changes, and not asked for in vain at every request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::PortError;

/// How long after a failure tokens are judged without asking the store.
const SPARED: Duration = Duration::from_secs(5);

/// What is known of the account store.
#[derive(Default)]
pub(crate) struct Reachability {
    last_failure: Mutex<Option<Instant>>,
}

impl Reachability {
    /// Whether the store failed within the last five seconds.
    pub(crate) fn failed_lately(&self, now: Instant) -> bool {
        let last_failure = *self.lock();
        last_failure.is_some_and(|at| now.saturating_duration_since(at) < SPARED)
    }

    /// The store failed; logged the first time.
    pub(crate) fn failed(&self, error: &PortError, now: Instant) {
        let previous = self.lock().replace(now);
        if previous.is_none() {
            tracing::warn!(
                error = %domain::Chain(error),
                "the account store does not answer: logins get 503 until it does, tokens are judged by their signature"
            );
        }
    }

    /// The store answered; logged when it had failed before.
    pub(crate) fn answered(&self) {
        if self.lock().take().is_some() {
            tracing::info!("the account store answers again");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_spares_the_store_for_five_seconds_or_until_it_answers() {
        let (reachability, start) = (Reachability::default(), Instant::now());
        let error = PortError::unavailable("find an account", "connection refused");
        assert!(!reachability.failed_lately(start));
        reachability.failed(&error, start);
        assert!(reachability.failed_lately(start + Duration::from_secs(4)));
        assert!(!reachability.failed_lately(start + Duration::from_secs(5)));
        reachability.failed(&error, start);
        reachability.answered();
        assert!(!reachability.failed_lately(start));
    }
}
