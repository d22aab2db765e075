//! The gateway's part of a job: from the first byte to the commit point.

use domain::{Address, IdempotencyKey, JobId, KeyedUpload, NewJob, Reason, TraceParent, Uploaded};
use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Row};

use super::super::{LEASE, furthest_lease_ms, milliseconds};
use super::record;
use super::steps::past_or_beyond;

pub(super) async fn create(writer: &SqlitePool, job: &NewJob) -> sqlx::Result<()> {
    let insert = sqlx::query(
        "INSERT INTO jobs (id, owner, owner_key, filename, state, created_at, updated_at, upload_lease_until,
             idempotency_key, trace)
         SELECT ?1, ?2, ?3, ?4, 'receiving', now_ms, now_ms, now_ms + ?5, ?6, ?7 FROM clock",
    )
    .bind(job.id.to_string())
    .bind(job.owner.as_str())
    .bind(job.owner.key())
    .bind(&job.filename)
    .bind(milliseconds(LEASE))
    .bind(job.key.as_ref().map(IdempotencyKey::as_str))
    .bind(job.trace.as_ref().map(TraceParent::as_str));
    insert.execute(writer).await.map(drop)
}

pub(super) async fn renew(writer: &SqlitePool, id: JobId) -> sqlx::Result<bool> {
    let update = sqlx::query(
        "UPDATE jobs SET upload_lease_until = now_ms + ?2, updated_at = now_ms
         FROM clock WHERE id = ?1 AND state = 'receiving'",
    )
    .bind(id.to_string())
    .bind(milliseconds(LEASE));
    Ok(update.execute(writer).await?.rows_affected() == 1)
}

pub(super) async fn commit(writer: &SqlitePool, id: JobId, uploaded: &Uploaded) -> sqlx::Result<bool> {
    let options = serde_json::to_string(&uploaded.options).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut transaction = super::begin(writer).await?;
    sqlx::query(
        "UPDATE jobs SET state = 'queued', size_bytes = ?2, options = ?3, video_sha256 = ?4,
             uploaded_at = now_ms, updated_at = now_ms, upload_lease_until = NULL, convert_due_at = 0,
             announcement = 'video', announcement_owed_at = now_ms
         FROM clock WHERE id = ?1 AND state = 'receiving'",
    )
    .bind(id.to_string())
    .bind(record::signed(uploaded.size_bytes))
    .bind(options)
    .bind(&uploaded.sha256)
    .execute(&mut *transaction)
    .await?;
    // A repetition, because the first answer was lost, finds the upload committed by nobody else.
    let committed = sqlx::query("SELECT uploaded_at IS NOT NULL FROM jobs WHERE id = ?1")
        .bind(id.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
    transaction.commit().await?;
    committed.map_or(Ok(false), |row| row.try_get(0))
}

pub(super) async fn fail(writer: &SqlitePool, id: JobId, reason: &Reason) -> sqlx::Result<bool> {
    let update = sqlx::query(
        "UPDATE jobs SET state = 'failed', reason_code = ?2, reason_message = ?3,
             upload_lease_until = NULL, idempotency_key = NULL, finished_at = now_ms, updated_at = now_ms
         FROM clock WHERE id = ?1 AND state = 'receiving'",
    )
    .bind(id.to_string())
    .bind(reason.code.as_str())
    .bind(&reason.message);
    Ok(update.execute(writer).await?.rows_affected() == 1)
}

pub(super) async fn find_by_key(
    readers: &SqlitePool,
    owner: &Address,
    key: &IdempotencyKey,
) -> sqlx::Result<Option<KeyedUpload>> {
    let row = sqlx::query("SELECT * FROM jobs WHERE owner_key = ?1 AND idempotency_key = ?2")
        .bind(owner.key())
        .bind(key.as_str())
        .fetch_optional(readers)
        .await?;
    let keyed = |row| {
        let job = record::job(&row)?;
        let sha256 = row.try_get("video_sha256")?;
        Ok(KeyedUpload { job, sha256 })
    };
    row.map(keyed).transpose()
}

pub(super) async fn lapsed(readers: &SqlitePool, limit: u32) -> sqlx::Result<Vec<JobId>> {
    let lapsed = format!(
        "SELECT id FROM jobs WHERE upload_lease_until IS NOT NULL AND {}
         ORDER BY created_at, id LIMIT ?1",
        past_or_beyond("upload_lease_until", furthest_lease_ms()),
    );
    let rows = sqlx::query(AssertSqlSafe(lapsed))
        .bind(limit)
        .fetch_all(readers)
        .await?;
    let id = |row| record::fid(row, "id").transpose();
    rows.iter().filter_map(id).collect()
}
