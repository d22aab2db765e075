//! The job records: SQLite for one machine, MongoDB for a cluster. Both keep [`domain::JobStore`]'s contract and the
//! same names, so what an operator learns of one holds for the other.
//!
//! One record holds three leases, each a moment until which a living process holds something: `upload_lease_until`
//! (the gateway, while bytes arrive), `convert` and `tell` (a worker's claim of that step). A step that is still to
//! be run has a `due_at`; a step with neither is finished or not yet begun, and is in no index. A mail is owed as
//! long as `tell` is due; an announcement as long as `announcement` is set.
//!
//! The clock may be set, and a server that takes over may have a slower one. Forward, leases end early, and what the
//! fence cannot save is the work done twice. Back, every time in the records lies ahead. So what is due at once is due
//! since 1970, and what lies further ahead than it can is from before the clock was set back and counts as past: a
//! lease that ends later than two leases from now, a retry later than [`LONGEST_DELAY`].

pub mod mongodb;
pub mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::{BackendUrl, JobStore, PortError, Settlement, Step};

use crate::ConnectError;
pub use mongodb::MongoJobStore;
pub use sqlite::SqliteJobStore;

/// How long a claim or an upload is held without being renewed.
pub const LEASE: Duration = Duration::from_secs(30);
/// How long an announcement is left to whoever owes it first or claimed it: longer than publishing and marking may
/// take.
pub const ANNOUNCE_LEASE: Duration = Duration::from_secs(30);
/// How long after its last word a notification is taken to be at work.
const IN_CHARGE: Duration = Duration::from_secs(20);
/// The longest wait a retry can ask for; longer ones are cut.
pub const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest time a query speaks of.
const LONGEST_TIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The job store behind `url`. Its server need not be up. Must be called within a tokio runtime.
///
/// # Errors
/// The scheme is neither `sqlite:` nor `mongodb:`, the URL cannot be used, or the file cannot be opened.
pub fn connect(url: &BackendUrl) -> Result<Arc<dyn JobStore>, ConnectError> {
    match url.scheme() {
        "sqlite" => Ok(Arc::new(SqliteJobStore::open(Path::new(url.path()))?)),
        "mongodb" => Ok(Arc::new(MongoJobStore::new(crate::mongo::client(url)?, ""))),
        scheme => Err(ConnectError::UnknownScheme {
            port: "JOBS_URL",
            scheme: scheme.to_owned(),
            expected: "sqlite: or mongodb:",
        }),
    }
}

/// A step's name in records.
const fn step_name(step: Step) -> &'static str {
    match step {
        Step::Convert => "convert",
        Step::Tell => "tell",
    }
}

/// How a mail's step ended that was let go, in place of a settlement.
const LET_GO: &str = "let_go";

/// A settlement's name in records, where the last one of each step is kept so that its repetition is recognised.
const fn settlement_name(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Converted(_) => "converted",
        Settlement::ConvertedForGood(_) => "converted_for_good",
        Settlement::Failed(_) => "failed",
        Settlement::Dead(_) => "dead",
        Settlement::Told => "told",
        Settlement::InDoubt => "in_doubt",
        Settlement::Retry(_) => "retry",
        Settlement::Released => "released",
    }
}

/// A claim of one step cannot end as the other one does.
///
/// # Errors
/// `Corrupt`: the caller's mistake, and nothing that time heals.
fn check_settlement(step: Step, settlement: &Settlement) -> Result<(), PortError> {
    let fits = match settlement {
        Settlement::Converted(_) | Settlement::ConvertedForGood(_) | Settlement::Failed(_) | Settlement::Dead(_) => {
            step == Step::Convert
        }
        Settlement::Told | Settlement::InDoubt => step == Step::Tell,
        Settlement::Retry(_) | Settlement::Released => true,
    };
    if fits {
        return Ok(());
    }
    let (step, settlement) = (step_name(step), settlement_name(settlement));
    Err(PortError::corrupt(
        "settle a claim",
        format!("a claim of `{step}` cannot end as `{settlement}`"),
    ))
}

/// Whole milliseconds, rounded up, so that nothing is due too early.
fn milliseconds(duration: Duration) -> i64 {
    let rounded = duration.min(LONGEST_TIME).as_nanos().div_ceil(1_000_000);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// How long a retry waits, in milliseconds.
fn delay_ms(delay: Duration) -> i64 {
    milliseconds(delay.min(LONGEST_DELAY))
}

/// How far ahead, in milliseconds, a lease may end.
fn furthest_lease_ms() -> i64 {
    milliseconds(2 * LEASE)
}

/// Progress as records hold it, 0 to 1; None for what is no number.
fn share(progress: Option<f32>) -> Option<f64> {
    progress
        .filter(|share| !share.is_nan())
        .map(|share| f64::from(share.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scheme_without_an_adapter_is_refused_with_those_there_are() {
        let refused = connect(&"mysql://localhost/jobs".parse().unwrap());
        let sentence = refused.err().unwrap().to_string();
        assert_eq!(
            sentence,
            "JOBS_URL: unknown scheme `mysql:`, expected sqlite: or mongodb:"
        );
    }

    #[test]
    fn times_are_rounded_up_and_bounded() {
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::from_secs(2)), 2_000);
        assert_eq!(milliseconds(Duration::MAX), milliseconds(LONGEST_TIME));
        assert_eq!(delay_ms(Duration::MAX), 86_400_000);
    }

    #[test]
    fn progress_is_a_share_or_nothing() {
        assert_eq!(share(Some(7.0)), Some(1.0));
        assert_eq!(share(Some(-0.5)), Some(0.0));
        assert_eq!(share(Some(f32::NAN)), None);
        assert_eq!(share(None), None);
    }
}
