//! What queues say about jobs, and what they are still to be told.

use domain::{Announcement, Job, JobId, JobMessage, TraceParent};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqlitePool;

use super::super::{ANNOUNCE_LEASE, LET_GO, milliseconds};
use super::record;
use super::steps::OWE_MAIL;

pub(super) async fn adopt(writer: &SqlitePool, message: &JobMessage) -> sqlx::Result<Job> {
    let id = message.video_fid.to_string();
    let mp3_fid = message.mp3_fid.map(|fid| fid.to_string());
    let mut transaction = super::begin(writer).await?;
    sqlx::query(
        "INSERT INTO jobs (id, owner, owner_key, state, created_at, updated_at, uploaded_at, convert_due_at, trace)
         SELECT ?1, ?2, ?3, 'queued', now_ms, now_ms, now_ms, 0, ?4 FROM clock WHERE true
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&id)
    .bind(message.username.as_str())
    .bind(message.username.key())
    .bind(message.trace.as_ref().map(TraceParent::as_str))
    .execute(&mut *transaction)
    .await?;
    if mp3_fid.is_some() {
        let complete = format!(
            "UPDATE jobs SET state = 'done', progress = 1, mp3_fid = ?2, reason_code = NULL, reason_message = NULL,
                 uploaded_at = coalesce(uploaded_at, now_ms), finished_at = now_ms, updated_at = now_ms,
                 upload_lease_until = NULL, announcement = NULL, announcement_owed_at = NULL,
                 convert_due_at = NULL, convert_lease_until = NULL, convert_fence = convert_fence + 1, {OWE_MAIL}
             FROM clock WHERE id = ?1 AND mp3_fid IS NULL AND state <> 'cancelled'"
        );
        sqlx::query(AssertSqlSafe(complete))
            .bind(&id)
            .bind(&mp3_fid)
            .execute(&mut *transaction)
            .await?;
    }
    if mp3_fid.is_some() {
        let owe_again = format!(
            "UPDATE jobs SET {OWE_MAIL}, updated_at = now_ms FROM clock
             WHERE id = ?1 AND mp3_fid = ?2 AND tell_due_at IS NULL AND tell_settled_as = '{LET_GO}'"
        );
        sqlx::query(AssertSqlSafe(owe_again))
            .bind(&id)
            .bind(&mp3_fid)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query(
        "UPDATE jobs SET announcement = NULL, announcement_owed_at = NULL
         WHERE id = ?1 AND announcement = iif(?2 IS NULL, 'video', 'mp3') AND (?2 IS NULL OR mp3_fid = ?2)",
    )
    .bind(&id)
    .bind(&mp3_fid)
    .execute(&mut *transaction)
    .await?;
    let row = sqlx::query("SELECT * FROM jobs WHERE id = ?1")
        .bind(&id)
        .fetch_one(&mut *transaction)
        .await?;
    let job = record::job(&row)?;
    transaction.commit().await?;
    Ok(job)
}

/// An announcement's name in records, and the state of the jobs it is about.
pub(super) const fn names(announcement: Announcement) -> (&'static str, &'static str) {
    match announcement {
        Announcement::Video => ("video", "queued"),
        Announcement::Mp3 => ("mp3", "done"),
    }
}

pub(super) async fn claim_announcement(writer: &SqlitePool, announcement: Announcement) -> sqlx::Result<Option<Job>> {
    let (announcement, state) = names(announcement);
    // Not a change of the job: `updated_at` stays.
    let rows = sqlx::query(
        "UPDATE jobs SET announcement_owed_at = now_ms
         FROM clock WHERE id = (SELECT id FROM jobs
             WHERE announcement = ?1 AND state = ?2 
                 AND announcement_owed_at NOT BETWEEN (SELECT now_ms - ?3 + 1 FROM clock) AND (SELECT now_ms + ?3 FROM clock)
             ORDER BY announcement_owed_at, id LIMIT 1)
         RETURNING *",
    )
    .bind(announcement)
    .bind(state)
    .bind(milliseconds(ANNOUNCE_LEASE))
    // To the end of the rows, where the statement has ended well.
    .fetch_all(writer)
    .await?;
    rows.first().map(record::job).transpose()
}

pub(super) async fn mark_announced(writer: &SqlitePool, id: JobId, announcement: Announcement) -> sqlx::Result<()> {
    let update = sqlx::query(
        "UPDATE jobs SET announcement = NULL, announcement_owed_at = NULL WHERE id = ?1 AND announcement = ?2",
    )
    .bind(id.to_string())
    .bind(names(announcement).0);
    update.execute(writer).await.map(drop)
}
