//! What the owner, the operator and the janitor decide by.

use std::time::Duration;

use domain::{Bucket, Fid, JobId, Reason, Reference, VerdictKind};
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use super::super::{IN_CHARGE, LET_GO, milliseconds};
use super::record;

pub(super) async fn cancel(writer: &SqlitePool, id: JobId, reason: &Reason) -> sqlx::Result<bool> {
    let update = sqlx::query(
        "UPDATE jobs SET state = 'cancelled', reason_code = ?2, reason_message = ?3,
             finished_at = now_ms, updated_at = now_ms, announcement = NULL, announcement_owed_at = NULL,
             idempotency_key = NULL, convert_due_at = NULL, convert_lease_until = NULL, convert_fence = convert_fence + 1
         FROM clock WHERE id = ?1 AND state IN ('queued', 'converting')",
    )
    .bind(id.to_string())
    .bind(reason.code.as_str())
    .bind(&reason.message);
    Ok(update.execute(writer).await?.rows_affected() == 1)
}

pub(super) async fn replay(writer: &SqlitePool, id: JobId) -> sqlx::Result<bool> {
    // A mail about the old verdict that is under way loses its claim, so it cannot end the mail about the new one.
    let update = sqlx::query(
        "UPDATE jobs SET state = 'queued', progress = 0, reason_code = NULL, reason_message = NULL, attempts = 0,
             finished_at = NULL, updated_at = now_ms, announcement = 'video', announcement_owed_at = now_ms,
             convert_due_at = 0, convert_failures = 0, convert_lapses = 0,
             tell_due_at = NULL, tell_lease_until = NULL, tell_fence = tell_fence + 1,
             tell_failures = 0, tell_lapses = 0
         FROM clock WHERE id = ?1 AND state IN ('failed', 'dead') AND uploaded_at IS NOT NULL",
    )
    .bind(id.to_string());
    Ok(update.execute(writer).await?.rows_affected() == 1)
}

pub(super) async fn let_mails_go(writer: &SqlitePool, kind: VerdictKind, older_than: Duration) -> sqlx::Result<u64> {
    // A claim that ended left its fence, and one that is held or lapsed its lease.
    let update = sqlx::query(
        "UPDATE jobs SET tell_due_at = NULL, tell_settled_fence = tell_fence, tell_settled_as = ?3
         FROM clock WHERE tell_due_at IS NOT NULL AND tell_lease_until IS NULL
             AND tell_settled_fence IS NOT tell_fence AND state = ?1 AND finished_at <= now_ms - ?2
             AND finished_at > coalesce((SELECT until FROM charges WHERE step = 'tell'), 0)",
    )
    .bind(kind.as_str())
    .bind(milliseconds(older_than))
    .bind(LET_GO);
    Ok(update.execute(writer).await?.rows_affected())
}

pub(super) async fn take_charge_of_mails(writer: &SqlitePool) -> sqlx::Result<()> {
    let insert = sqlx::query(
        "INSERT INTO charges (step, until) SELECT 'tell', now_ms + ?1 FROM clock WHERE true
         ON CONFLICT (step) DO UPDATE SET until = excluded.until",
    )
    .bind(milliseconds(IN_CHARGE));
    insert.execute(writer).await.map(drop)
}

pub(super) async fn references(readers: &SqlitePool, bucket: Bucket, ids: &[Fid]) -> sqlx::Result<Vec<Reference>> {
    let sql = match bucket {
        Bucket::Videos => {
            "SELECT CASE WHEN job.id IS NULL THEN 'unknown'
                 WHEN job.state = 'failed' AND job.uploaded_at IS NULL THEN 'lost'
                 WHEN job.state = 'cancelled' OR job.state = 'done' AND job.video_unneeded THEN 'lost'
                 ELSE 'live' END
             FROM json_each(?1) AS wanted LEFT JOIN jobs AS job ON job.id = wanted.value ORDER BY wanted.key"
        }
        Bucket::Mp3s => {
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE mp3_fid = wanted.value) THEN 'live'
                 WHEN job.state = 'converting' AND job.convert_attempt_fid = wanted.value THEN 'live'
                 WHEN attempt.mp3_fid IS NOT NULL THEN 'lost' ELSE 'unknown' END
             FROM json_each(?1) AS wanted LEFT JOIN attempts AS attempt ON attempt.mp3_fid = wanted.value
                 LEFT JOIN jobs AS job ON job.id = attempt.job_id ORDER BY wanted.key"
        }
    };
    let wanted = serde_json::to_string(ids).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let rows = sqlx::query(sql).bind(wanted).fetch_all(readers).await?;
    let reference = |row: &sqlx::sqlite::SqliteRow| match row.try_get(0)? {
        "live" => Ok(Reference::Live),
        "lost" => Ok(Reference::Lost),
        "unknown" => Ok(Reference::Unknown),
        _ => Err(record::unreadable("no such reference")),
    };
    rows.iter().map(reference).collect()
}
