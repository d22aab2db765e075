//! The workers' part of a job: claim, renew, settle.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use domain::{Claim, Fid, JobId, Mp3, Reason, Settlement, Step, VerdictKind, Work};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row};

use super::super::{LEASE, LONGEST_DELAY, delay_ms, furthest_lease_ms, milliseconds, settlement_name, step_name};
use super::record;

/// Assignments that owe the owner a mail about the state they stand beside. Whoever is sending an older one loses.
pub(super) const OWE_MAIL: &str = "tell_due_at = 0, tell_lease_until = NULL, tell_fence = tell_fence + 1, \
     tell_failures = 0, tell_lapses = 0, tell_in_doubt = FALSE";

/// The same statement for either step: `{step}` begins the step's columns.
pub(super) fn for_step(step: Step, sql: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.replace("{step}", step_name(step)))
}

/// Claims the oldest job that is due, past those whose records cannot be read: they are left to the operator, and told
/// once.
pub(super) async fn claim_due(
    writer: &SqlitePool,
    step: Step,
    unreadable: &Mutex<BTreeSet<String>>,
) -> sqlx::Result<Option<Claim>> {
    let set = || unreadable.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let left_out = set().clone();
        match try_claim(writer, step, Which::DueBut(&left_out)).await? {
            Claimed::Nothing => return Ok(None),
            Claimed::Held(claim) => return Ok(Some(*claim)),
            Claimed::Unreadable { id, error } => {
                tracing::error!(job.id = id, %error, "a job's record cannot be read, it is left to the operator");
                set().insert(id);
            }
        }
    }
}

pub(super) async fn claim(writer: &SqlitePool, step: Step, id: JobId) -> sqlx::Result<Option<Claim>> {
    match try_claim(writer, step, Which::One(id)).await? {
        Claimed::Nothing => Ok(None),
        Claimed::Held(claim) => Ok(Some(*claim)),
        Claimed::Unreadable { error, .. } => Err(error),
    }
}

/// Which job is to be claimed, if it may be.
enum Which<'a> {
    DueBut(&'a BTreeSet<String>),
    One(JobId),
}

enum Claimed {
    Nothing,
    Held(Box<Claim>),
    /// And unchanged.
    Unreadable {
        id: String,
        error: sqlx::Error,
    },
}

async fn try_claim(writer: &SqlitePool, step: Step, which: Which<'_>) -> sqlx::Result<Claimed> {
    let (condition, value) = match which {
        Which::One(id) => (" AND id = ?3", id.to_string()),
        Which::DueBut(ids) => (
            " AND id NOT IN (SELECT value FROM json_each(?3))",
            serde_json::to_string(ids).map_err(|error| sqlx::Error::Encode(error.into()))?,
        ),
    };
    let begin = match step {
        Step::Convert => {
            "state = 'converting', progress = 0, attempts = attempts + 1,
             convert_predecessor_fid = convert_attempt_fid, convert_attempt_fid = ?2,"
        }
        Step::Tell => "",
    };
    let sql = format!(
        "UPDATE jobs SET {begin}
             {{step}}_fence = {{step}}_fence + 1,
             {{step}}_lease_until = now_ms + ?1,
             updated_at = now_ms
         FROM clock WHERE id = ({}{condition} ORDER BY created_at, id LIMIT 1)
         RETURNING *",
        claimable()
    );
    let attempt = Fid::new();
    let mut transaction = super::begin(writer).await?;
    // `fetch_optional` would stop at the row; the statement has ended well only when it is out of rows.
    let rows = sqlx::query(for_step(step, &sql))
        .bind(milliseconds(LEASE))
        .bind(attempt.to_string())
        .bind(value)
        .fetch_all(&mut *transaction)
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Claimed::Nothing);
    };
    let claim = match read_claim(step, row) {
        Err(error @ (sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })) => {
            let id = row.try_get("id")?;
            return Ok(Claimed::Unreadable { id, error });
        }
        claim => claim?,
    };
    if step == Step::Convert {
        sqlx::query("INSERT INTO attempts (mp3_fid, job_id) VALUES (?1, ?2)")
            .bind(attempt.to_string())
            .bind(claim.job.id.to_string())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(Claimed::Held(Box::new(claim)))
}

/// The jobs whose step may run now: the query, of which `{step}` is still to be named. Reads only the index of those
/// that have work left.
pub(super) fn claimable() -> String {
    format!(
        "SELECT id FROM jobs WHERE {{step}}_due_at IS NOT NULL AND {}
         AND ({{step}}_lease_until IS NULL OR {})",
        past_or_beyond("{step}_due_at", milliseconds(LONGEST_DELAY)),
        past_or_beyond("{step}_lease_until", furthest_lease_ms()),
    )
}

/// A moment that is past, or so far ahead that it is from before the clock was set back.
pub(super) fn past_or_beyond(moment: &str, furthest_ms: i64) -> String {
    format!("{moment} NOT BETWEEN (SELECT now_ms + 1 FROM clock) AND (SELECT now_ms + {furthest_ms} FROM clock)")
}

fn read_claim(step: Step, row: &SqliteRow) -> sqlx::Result<Claim> {
    let job = record::job(row)?;
    let work = match step {
        Step::Convert => Work::Convert {
            mp3_fid: record::fid(row, "convert_attempt_fid")?
                .ok_or_else(|| record::unreadable("a claim without an attempt"))?,
            predecessor: record::fid(row, "convert_predecessor_fid")?,
        },
        Step::Tell => Work::Tell(
            VerdictKind::of(job.state).ok_or_else(|| record::unreadable("a mail is owed about an unfinished job"))?,
        ),
    };
    let column = |name: &str| format!("{}_{name}", step_name(step));
    Ok(Claim {
        job,
        work,
        fence: row.try_get(column("fence").as_str())?,
        failures: row.try_get(column("failures").as_str())?,
        lapses: row.try_get(column("lapses").as_str())?,
        in_doubt: step == Step::Tell && row.try_get("tell_in_doubt")?,
    })
}

pub(super) async fn renew(writer: &SqlitePool, claim: &Claim, progress: Option<f64>) -> sqlx::Result<bool> {
    // Progress is the conversion's; a mail has none.
    let progress = progress.filter(|_| claim.step() == Step::Convert);
    // It counts as what it will have been if nothing more is heard of it; settling takes that back.
    let update = sqlx::query(for_step(
        claim.step(),
        "UPDATE jobs SET {step}_lease_until = now_ms + ?3, progress = coalesce(?4, progress), updated_at = now_ms,
             {step}_failures = ?5 + 1, {step}_lapses = ?6 + 1
         FROM clock WHERE id = ?1 AND {step}_fence = ?2 AND {step}_lease_until IS NOT NULL",
    ))
    .bind(claim.job.id.to_string())
    .bind(claim.fence)
    .bind(milliseconds(LEASE))
    .bind(progress)
    .bind(claim.failures)
    .bind(claim.lapses);
    Ok(update.execute(writer).await?.rows_affected() == 1)
}

pub(super) async fn settle(writer: &SqlitePool, claim: &Claim, settlement: &Settlement) -> sqlx::Result<bool> {
    let step = claim.step();
    let End {
        effect,
        state,
        mp3,
        reason,
        delay_ms,
    } = End::of(step, settlement);
    let sql = format!(
        "UPDATE jobs SET {effect}, {{step}}_lease_until = NULL,
             {{step}}_settled_fence = ?2, {{step}}_settled_as = ?3, updated_at = now_ms
         FROM clock WHERE id = ?1 AND {{step}}_fence = ?2 AND {{step}}_lease_until IS NOT NULL"
    );
    let notes = mp3.map(|mp3| serde_json::to_string(&mp3.notes)).transpose();
    let notes = notes.map_err(record::unreadable)?;
    let mut transaction = super::begin(writer).await?;
    let won = sqlx::query(for_step(step, &sql))
        .bind(claim.job.id.to_string())
        .bind(claim.fence)
        .bind(settlement_name(settlement))
        .bind(state)
        .bind(mp3.map(|mp3| mp3.fid.to_string()))
        .bind(mp3.and_then(|mp3| mp3.size_bytes).map(record::signed))
        .bind(mp3.and_then(|mp3| mp3.duration_ms).map(record::signed))
        .bind(reason.map(|reason| reason.code.as_str()))
        .bind(reason.map(|reason| &reason.message))
        .bind(delay_ms)
        .bind(claim.failures)
        .bind(notes)
        .execute(&mut *transaction)
        .await?
        .rows_affected()
        == 1;
    let settled = won || {
        // The answer to the same settlement may have been lost.
        let same = for_step(
            step,
            "SELECT 1 FROM jobs WHERE id = ?1 AND {step}_settled_fence = ?2 AND {step}_settled_as = ?3",
        );
        sqlx::query(same)
            .bind(claim.job.id.to_string())
            .bind(claim.fence)
            .bind(settlement_name(settlement))
            .fetch_optional(&mut *transaction)
            .await?
            .is_some()
    };
    transaction.commit().await?;
    Ok(settled)
}

/// What a settlement writes: assignments, and the values of `?4` to `?12` in them.
#[derive(Default)]
struct End<'a> {
    effect: String,
    state: &'static str,
    mp3: Option<&'a Mp3>,
    reason: Option<&'a Reason>,
    delay_ms: i64,
}

impl<'a> End<'a> {
    fn of(step: Step, settlement: &'a Settlement) -> Self {
        // A conversion that did not end goes back to the queue.
        let requeued = match step {
            Step::Convert => "state = 'queued', progress = 0, ",
            Step::Tell => "",
        };
        match settlement {
            Settlement::Converted(mp3) | Settlement::ConvertedForGood(mp3) => Self {
                effect: format!(
                    "state = 'done', video_unneeded = {}, progress = 1, mp3_fid = ?5, mp3_size_bytes = ?6, mp3_duration_ms = ?7,
                     mp3_notes = ?12,
                     finished_at = now_ms, convert_due_at = NULL,
                     announcement = 'mp3', announcement_owed_at = now_ms, {OWE_MAIL}",
                    matches!(settlement, Settlement::ConvertedForGood(_))
                ),
                mp3: Some(mp3),
                ..Self::default()
            },
            Settlement::Failed(reason) => Self::without_mp3("failed", reason),
            Settlement::Dead(reason) => Self::without_mp3("dead", reason),
            Settlement::Told => Self {
                effect: "tell_due_at = NULL".to_owned(),
                ..Self::default()
            },
            Settlement::Retry(delay) => Self {
                effect: format!(
                    "{requeued}{{step}}_due_at = now_ms + ?10, {{step}}_failures = ?11 + 1, {{step}}_lapses = 0"
                ),
                delay_ms: delay_ms(*delay),
                ..Self::default()
            },
            Settlement::InDoubt => Self {
                effect: "tell_failures = ?11, tell_lapses = 0, tell_in_doubt = TRUE".to_owned(),
                ..Self::default()
            },
            // Still due since it was, so it keeps its place.
            Settlement::Released => Self {
                effect: format!("{requeued}{{step}}_failures = ?11, {{step}}_lapses = 0"),
                ..Self::default()
            },
        }
    }

    fn without_mp3(state: &'static str, reason: &'a Reason) -> Self {
        Self {
            effect: format!(
                "state = ?4, reason_code = ?8, reason_message = ?9, finished_at = now_ms,
                 convert_due_at = NULL, announcement = NULL, announcement_owed_at = NULL, {OWE_MAIL}"
            ),
            state,
            reason: Some(reason),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    #[tokio::test]
    async fn looking_for_work_reads_only_the_index_of_unfinished_work() {
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(include_str!("schema.sql"))
            .execute(&mut connection)
            .await
            .unwrap();
        for (step, index) in [(Step::Convert, "jobs_to_convert"), (Step::Tell, "jobs_to_tell")] {
            let sql = format!("EXPLAIN QUERY PLAN {} ORDER BY created_at, id LIMIT 1", claimable());
            let rows = sqlx::query(for_step(step, &sql))
                .fetch_all(&mut connection)
                .await
                .unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let text = plan.join("; ");
            assert!(text.contains(&format!("USING COVERING INDEX {index}")), "{text}");
            assert!(!text.contains("TEMP B-TREE"), "{text}");
        }
    }
}
