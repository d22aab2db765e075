//! What the account store says of the tokens of an account, remembered for a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::{Address, User};

/// How long an answer of the store may be used.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(60);
/// How long an answer that voids a token is used without asking again: an account that was enabled a moment ago is not
/// turned away for a minute.
const VOID_REMEMBERED: Duration = Duration::from_secs(2);
/// The most accounts remembered, about 2 MiB.
const CAPACITY: usize = 10_000;

/// Which tokens of an account are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// None: it is disabled, or there is no such account.
    Void,
    /// Those issued at this second since 1970 or later.
    Since(i64),
}

impl Standing {
    /// By what the store found.
    pub(crate) fn of(user: Option<&User>) -> Self {
        match user {
            Some(user) if user.disabled_at.is_none() => Self::Since(
                user.tokens_valid_from
                    .map_or(i64::MIN, |from| from.unix_ms().div_euclid(1000)),
            ),
            _ => Self::Void,
        }
    }

    /// Whether a token issued at `iat` is good.
    pub(crate) fn honours(self, iat: i64) -> bool {
        match self {
            Self::Void => false,
            Self::Since(from) => iat >= from,
        }
    }
}

/// The standings of the accounts seen lately; bounded.
#[derive(Default)]
pub(crate) struct Standings {
    by_key: Mutex<HashMap<String, (Standing, Instant)>>,
}

/// What is remembered of a token's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// The answer may be given without asking the store.
    Fresh(bool),
    /// The store should be asked; this is the answer if it cannot be.
    Stale(bool),
    /// Nothing, or nothing young enough.
    Nothing,
}

impl Standings {
    /// Whether a token of `email`, issued at `iat`, is good, as far as is remembered at `now`.
    pub(crate) fn recall(&self, email: &Address, iat: i64, now: Instant) -> Remembered {
        let by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((standing, asked_at)) = by_key.get(&email.key()) else {
            return Remembered::Nothing;
        };
        let age = now.saturating_duration_since(*asked_at);
        let good = standing.honours(iat);
        match age {
            age if age >= REMEMBERED => Remembered::Nothing,
            age if !good && age >= VOID_REMEMBERED => Remembered::Stale(good),
            _ => Remembered::Fresh(good),
        }
    }

    /// Remembers what the store said at `now`.
    pub(crate) fn remember(&self, email: &Address, standing: Standing, now: Instant) {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if by_key.len() >= CAPACITY {
            by_key.retain(|_, (_, asked_at)| now.saturating_duration_since(*asked_at) < REMEMBERED);
        }
        if by_key.len() >= CAPACITY {
            // All of them are young: asking again is cheaper than keeping an order.
            by_key.clear();
        }
        by_key.insert(email.key(), (standing, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn user(disabled_at: Option<i64>, tokens_valid_from: Option<i64>) -> User {
        User {
            id: 1,
            email: address("ada@example.com"),
            password: String::new(),
            disabled_at: disabled_at.map(Timestamp::from_unix_ms),
            tokens_valid_from: tokens_valid_from.map(Timestamp::from_unix_ms),
        }
    }

    #[test]
    fn a_disabled_or_removed_account_has_no_good_tokens() {
        assert!(!Standing::of(None).honours(i64::MAX));
        assert!(!Standing::of(Some(&user(Some(1), None))).honours(i64::MAX));
        assert!(Standing::of(Some(&user(None, None))).honours(0));
    }

    #[test]
    fn tokens_older_than_the_last_change_are_void() {
        let standing = Standing::of(Some(&user(None, Some(1_700_000_001_000))));
        assert!(!standing.honours(1_700_000_000));
        assert!(standing.honours(1_700_000_001));
    }

    #[test]
    fn a_good_answer_lasts_a_minute_in_any_spelling_and_a_void_one_two_seconds() {
        let (standings, start) = (Standings::default(), Instant::now());
        standings.remember(&address("Ada@example.com"), Standing::Since(100), start);
        let recall =
            |iat, seconds| standings.recall(&address("ada@EXAMPLE.com"), iat, start + Duration::from_secs(seconds));
        assert_eq!(recall(100, 59), Remembered::Fresh(true));
        assert_eq!(recall(100, 60), Remembered::Nothing);
        assert_eq!(recall(99, 1), Remembered::Fresh(false));
        assert_eq!(recall(99, 59), Remembered::Stale(false));
        assert_eq!(recall(99, 60), Remembered::Nothing);
        assert_eq!(
            standings.recall(&address("b@example.com"), 1, start),
            Remembered::Nothing
        );
    }

    #[test]
    fn it_never_remembers_more_than_its_capacity() {
        let (standings, start) = (Standings::default(), Instant::now());
        for n in 0..=CAPACITY {
            standings.remember(&address(&format!("user{n}@example.com")), Standing::Void, start);
        }
        assert!(standings.by_key.lock().unwrap().len() <= CAPACITY);
        let last = address(&format!("user{CAPACITY}@example.com"));
        assert_eq!(standings.recall(&last, 1, start), Remembered::Fresh(false));
    }
}
