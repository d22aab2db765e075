//! What waits, for those who watch.

use std::time::Duration;

use domain::{Announcement, Backlog, Step};
use sqlx::sqlite::SqlitePool;

use super::{adopt, steps};

pub(super) async fn backlog(readers: &SqlitePool, step: Step) -> sqlx::Result<Backlog> {
    let sql = format!(
        "SELECT count(*), (SELECT now_ms FROM clock) - min(created_at) FROM jobs WHERE id IN ({})",
        steps::claimable()
    );
    let (due, age_ms): (i64, Option<i64>) = sqlx::query_as(steps::for_step(step, &sql)).fetch_one(readers).await?;
    Ok(Backlog {
        due: u64::try_from(due).unwrap_or_default(),
        // A clock that was set back makes the oldest job as old as none.
        oldest: age_ms.map(|age| Duration::from_millis(u64::try_from(age).unwrap_or_default())),
    })
}

pub(super) async fn unannounced(readers: &SqlitePool, announcement: Announcement) -> sqlx::Result<u64> {
    let (announcement, state) = adopt::names(announcement);
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE announcement = ?1 AND state = ?2")
        .bind(announcement)
        .bind(state)
        .fetch_one(readers)
        .await?;
    Ok(u64::try_from(count).unwrap_or_default())
}
