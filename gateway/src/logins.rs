//! Failed logins, counted for an account at a client address and for a client address.
//!
//! Whoever guesses is told to come back when the window has passed. Nobody is locked out by somebody else's guesses: an
//! account has no count of its own, only together with the address the guesses come from.
//!
//! A login that is being judged holds a place of its count, so that a thousand guesses at once are not judged before
//! the first of them has failed: the next ones wait until one of those before them is judged.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::LoginSettings;

/// How long a login waits for others of its count to be judged.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most counts of each kind, some 10 MiB. A count that stays is a password that was judged, which costs auth a
/// computation, and one address has no more of them in a window than its own count lets pass.
const CAPACITY: usize = 50_000;

/// The failures of every client that this process has seen lately.
pub(crate) struct Logins {
    accounts: Counts,
    addresses: Counts,
}

/// Why a login is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotJudged {
    /// Too many failed; they are forgotten after so many seconds, at least one.
    TooManyFailures { retry_seconds: u64 },
    /// Too many are being judged.
    Busy,
}

impl Logins {
    pub(crate) fn new(settings: &LoginSettings) -> Self {
        let counts = |limit| Counts::new(limit, settings.login_failures_window);
        Self {
            accounts: counts(settings.login_failures_per_account),
            addresses: counts(settings.login_failures_per_address),
        }
    }

    /// A place for a login to be judged in. Unless the attempt says otherwise it counts as a failure, so that nobody
    /// guesses for nothing by leaving before the answer.
    pub(crate) async fn begin(&self, username: &str, client: IpAddr) -> Result<Attempt<'_>, NotJudged> {
        let network = network(client);
        let account = self.accounts.key((username.to_ascii_lowercase(), network));
        let address = self.addresses.key(network);
        let places = async {
            let address = self.addresses.place(address).await?;
            Ok((address, self.accounts.place(account).await?))
        };
        let (mut at_address, mut at_account) = timeout(PATIENCE, places).await.map_err(|_| NotJudged::Busy)??;
        (at_address.is_failure, at_account.is_failure) = (true, true);
        Ok(Attempt { at_account, at_address })
    }
}

/// A login that is being judged.
pub(crate) struct Attempt<'a> {
    at_account: Place<'a>,
    at_address: Place<'a>,
}

impl Attempt<'_> {
    /// The password was right: the account's failures from this address are forgotten.
    pub(crate) fn succeeded(self) {
        self.at_account.counts.forget(self.at_account.key);
        self.was_no_failure();
    }

    /// Nobody could judge it, or it was right.
    pub(crate) fn was_no_failure(mut self) {
        (self.at_account.is_failure, self.at_address.is_failure) = (false, false);
    }
}

/// The failures of one kind, by what they are counted for.
struct Counts {
    limit: usize,
    window: Duration,
    hasher: RandomState,
    by_key: Mutex<HashMap<u64, Arc<Count>>>,
}

/// The failures of one window. Each takes one place of the semaphore away for good; the last one closes it.
struct Count {
    limit: usize,
    ends_at: Instant,
    failures: AtomicUsize,
    places: Arc<Semaphore>,
}

/// A place in a count, or one that is waited for. Dropping it gives it back, or makes it a failure. A count without
/// places or failures is forgotten with its last one: what nobody judged leaves nothing behind.
struct Place<'a> {
    counts: &'a Counts,
    key: u64,
    count: Arc<Count>,
    permit: Option<OwnedSemaphorePermit>,
    is_failure: bool,
}

impl Counts {
    fn new(limit: NonZeroU32, window_seconds: NonZeroU32) -> Self {
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        Self {
            limit: limit.min(Semaphore::MAX_PERMITS),
            window: Duration::from_secs(window_seconds.get().into()),
            hasher: RandomState::new(),
            by_key: Mutex::default(),
        }
    }

    /// What is kept of whom failures are counted for: a number that nobody can choose.
    fn key(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    async fn place(&self, key: u64) -> Result<Place<'_>, NotJudged> {
        let mut place = Place {
            counts: self,
            key,
            count: self.current(key, Instant::now()),
            permit: None,
            is_failure: false,
        };
        match Arc::clone(&place.count.places).acquire_owned().await {
            Ok(permit) => {
                place.permit = Some(permit);
                Ok(place)
            }
            Err(_closed) => Err(NotJudged::TooManyFailures {
                retry_seconds: place.count.ends_at.duration_since(Instant::now()).as_secs() + 1,
            }),
        }
    }

    /// The count of `key` whose window is open, begun now if there is none.
    fn current(&self, key: u64, now: Instant) -> Arc<Count> {
        let mut by_key = self.lock();
        if let Some(count) = by_key.get(&key).filter(|count| now < count.ends_at) {
            return Arc::clone(count);
        }
        if by_key.len() >= CAPACITY {
            by_key.retain(|_, count| now < count.ends_at);
        }
        if by_key.len() >= CAPACITY {
            // All of them are young, so somebody has very many addresses.
            let first_to_end = by_key.iter().min_by_key(|(_, count)| count.ends_at);
            if let Some(key) = first_to_end.map(|(key, _)| *key) {
                by_key.remove(&key);
            }
        }
        let count = Arc::new(Count {
            limit: self.limit,
            ends_at: now + self.window,
            failures: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(self.limit)),
        });
        by_key.insert(key, Arc::clone(&count));
        count
    }

    fn forget(&self, key: u64) {
        self.lock().remove(&key);
    }

    /// Forgets a count without failures whose holder is about to let go of it and that nobody else holds.
    fn forget_unused(&self, key: u64, count: &Arc<Count>) {
        let mut by_key = self.lock();
        let is_kept = by_key.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, count));
        // Ours and the map's; others could only take theirs from the map, which is locked.
        if is_kept && Arc::strong_count(count) == 2 && count.failures.load(Ordering::Acquire) == 0 {
            by_key.remove(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Count>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let permit = self.permit.take();
        if self.is_failure {
            if let Some(permit) = permit {
                permit.forget();
            }
            if self.count.failures.fetch_add(1, Ordering::AcqRel) + 1 >= self.count.limit {
                self.count.places.close();
            }
        } else {
            drop(permit);
        }
        self.counts.forget_unused(self.key, &self.count);
    }
}

/// What a client cannot change at will: its IPv4 address, or the network that an IPv6 address is chosen from.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const HOME: &str = "198.51.100.1";
    const ELSEWHERE: &str = "203.0.113.9";

    fn logins(per_account: u32, per_address: u32) -> Logins {
        let count = |number| NonZeroU32::new(number).unwrap();
        Logins::new(&LoginSettings {
            login_failures_per_account: count(per_account),
            login_failures_per_address: count(per_address),
            login_failures_window: count(60),
        })
    }

    impl Logins {
        async fn fail(&self, username: &str, client: &str) -> Result<(), NotJudged> {
            self.begin(username, client.parse().unwrap()).await.map(drop)
        }

        async fn succeed(&self, username: &str, client: &str) -> Result<(), NotJudged> {
            let attempt = self.begin(username, client.parse().unwrap()).await;
            attempt.map(Attempt::succeeded)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_failures_of_an_account_hold_up_their_address_and_no_other() {
        let logins = logins(3, 100);
        for username in ["ada@example.com", "ADA@example.com", "Ada@Example.com"] {
            logins.fail(username, HOME).await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        let refused = logins.succeed("ada@example.com", HOME).await;
        assert_eq!(refused, Err(NotJudged::TooManyFailures { retry_seconds: 51 }));
        logins.succeed("ada@example.com", ELSEWHERE).await.unwrap();
        logins.succeed("bob@example.com", HOME).await.unwrap();
        tokio::time::advance(Duration::from_secs(50)).await;
        logins.succeed("ada@example.com", HOME).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_failures_of_any_accounts_hold_up_an_address() {
        let logins = logins(100, 3);
        for username in ["a", "b", "c"] {
            logins.fail(username, "2001:db8:0:1::1").await.unwrap();
        }
        assert!(
            logins.succeed("d", "2001:db8:0:1:ffff::2").await.is_err(),
            "one network"
        );
        logins.succeed("d", "2001:db8:0:2::1").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_count_and_a_success_clears_those_of_its_account() {
        let logins = logins(3, 4);
        for _ in 0..100 {
            logins.succeed("ada", HOME).await.unwrap();
            let unjudged = logins.begin("ada", HOME.parse().unwrap()).await.unwrap();
            unjudged.was_no_failure();
        }
        for _ in 0..2 {
            logins.fail("ada", HOME).await.unwrap();
        }
        logins.succeed("ada", HOME).await.unwrap();
        logins.fail("ada", HOME).await.unwrap();
        logins.succeed("ada", HOME).await.unwrap();
        logins.fail("ada", HOME).await.unwrap();
        assert!(
            logins.succeed("bob", HOME).await.is_err(),
            "the address's own count goes on"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_at_once_are_judged_no_more_often_than_one_after_the_other() {
        let logins = logins(3, 100);
        let client = HOME.parse().unwrap();
        let mut judged = Vec::new();
        for _ in 0..3 {
            judged.push(logins.begin("ada", client).await.unwrap());
        }
        let mut next = Box::pin(logins.begin("ada", client));
        assert!((&mut next).now_or_never().is_none(), "it waits for the others");
        judged.pop().unwrap().was_no_failure();
        judged.push(next.await.unwrap());

        let next = logins.begin("ada", client);
        let fail = async { judged.clear() };
        let (next, ()) = tokio::join!(next, fail);
        assert!(matches!(next, Err(NotJudged::TooManyFailures { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_does_not_wait_for_ever() {
        let logins = logins(1, 100);
        let _judged = logins.begin("ada", HOME.parse().unwrap()).await.unwrap();
        let began = Instant::now();
        assert_eq!(logins.fail("ada", HOME).await, Err(NotJudged::Busy));
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn logins_that_nobody_judges_leave_nothing_behind_and_clear_no_count() {
        let logins = logins(1, 100);
        logins.fail("ada", HOME).await.unwrap();
        for n in 0..=CAPACITY {
            let unjudged = logins.begin(&format!("user{n}"), HOME.parse().unwrap()).await;
            unjudged.unwrap().was_no_failure();
        }
        assert!(logins.fail("ada", HOME).await.is_err(), "her count stands");
        assert_eq!((logins.accounts.lock().len(), logins.addresses.lock().len()), (1, 1));
        logins.succeed("bob", ELSEWHERE).await.unwrap();
        assert_eq!((logins.accounts.lock().len(), logins.addresses.lock().len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_somebody_waits_for_is_not_forgotten() {
        let logins = logins(1, 100);
        let client = HOME.parse().unwrap();
        let judged = logins.begin("ada", client).await.unwrap();
        let mut next = Box::pin(logins.begin("ada", client));
        assert!((&mut next).now_or_never().is_none());
        judged.was_no_failure();
        drop(next.await.unwrap());
        assert!(logins.fail("ada", HOME).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_remembers_more_than_its_capacity_and_forgets_the_oldest_first() {
        let logins = logins(1, 1);
        let client = |n: usize| format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xffff);
        for n in 0..=CAPACITY {
            logins.fail("ada", &client(n)).await.unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(logins.accounts.lock().len(), CAPACITY);
        for n in [1, CAPACITY] {
            assert!(logins.fail("ada", &client(n)).await.is_err(), "{n}");
        }
        logins.fail("ada", &client(0)).await.unwrap();
    }
}
