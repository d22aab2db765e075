//! Rows as jobs, and the plain reads.

use std::borrow::Cow;

use domain::{Address, Fid, Job, JobId, JobState, Mp3, PortError, Reason, ReasonCode, Timestamp};
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row};

/// Source: SQLite's result codes, <https://sqlite.org/rescode.html>.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const NOT_A_DATABASE: i32 = 26;
    pub(super) const PRIMARY_KEY_TAKEN: i32 = 1555;
    pub(super) const UNIQUE_TAKEN: i32 = 2067;
}

/// Sorts a driver's error by what the caller does next.
pub(super) fn port_error(operation: impl Into<Cow<'static, str>>, error: sqlx::Error) -> PortError {
    let operation = operation.into();
    match &error {
        sqlx::Error::Database(database) => {
            let extended = database.code().and_then(|code| code.parse::<i32>().ok());
            match extended {
                Some(code::PRIMARY_KEY_TAKEN | code::UNIQUE_TAKEN) => PortError::Conflict { operation },
                // The low byte is the class.
                Some(code) if code & 0xff == code::FULL => PortError::Full { operation },
                Some(code) if matches!(code & 0xff, code::CORRUPT | code::NOT_A_DATABASE) => {
                    PortError::corrupt(operation, error.to_string())
                }
                _ => PortError::unavailable(operation, error),
            }
        }
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
            PortError::corrupt(operation, error.to_string())
        }
        _ => PortError::unavailable(operation, error),
    }
}

/// Whether somebody else held a lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == code::BUSY)
}

/// Reads a whole row of `jobs`.
pub(super) fn job(row: &SqliteRow) -> sqlx::Result<Job> {
    let mp3 = match fid(row, "mp3_fid")? {
        Some(fid) => Some(Mp3 {
            fid,
            size_bytes: unsigned(row, "mp3_size_bytes")?,
            duration_ms: unsigned(row, "mp3_duration_ms")?,
            notes: serde_json::from_str(row.try_get("mp3_notes")?).map_err(unreadable)?,
        }),
        None => None,
    };
    let reason = match row.try_get::<Option<&str>, _>("reason_code")? {
        Some(code) => Some(Reason {
            code: ReasonCode::parse(code).ok_or_else(|| unreadable("no such reason code"))?,
            message: row.try_get("reason_message")?,
        }),
        None => None,
    };
    Ok(Job {
        id: fid(row, "id")?.ok_or_else(|| unreadable("a job without an id"))?,
        owner: row.try_get::<String, _>("owner")?.try_into().map_err(unreadable)?,
        state: row.try_get::<&str, _>("state")?.parse().map_err(unreadable)?,
        progress: progress(row.try_get("progress")?),
        filename: row.try_get("filename")?,
        size_bytes: unsigned(row, "size_bytes")?,
        options: serde_json::from_str(row.try_get("options")?).map_err(unreadable)?,
        mp3,
        reason,
        attempts: row.try_get("attempts")?,
        created_at: Timestamp::from_unix_ms(row.try_get("created_at")?),
        updated_at: Timestamp::from_unix_ms(row.try_get("updated_at")?),
        finished_at: row
            .try_get::<Option<i64>, _>("finished_at")?
            .map(Timestamp::from_unix_ms),
        // Nothing hangs on it: what cannot be read is none.
        trace: row
            .try_get::<Option<&str>, _>("trace")
            .ok()
            .flatten()
            .and_then(|trace| trace.parse().ok()),
    })
}

/// A nullable column that holds an id.
pub(super) fn fid(row: &SqliteRow, column: &str) -> sqlx::Result<Option<Fid>> {
    row.try_get::<Option<&str>, _>(column)?
        .map(|text| text.parse().map_err(unreadable))
        .transpose()
}

fn unsigned(row: &SqliteRow, column: &str) -> sqlx::Result<Option<u64>> {
    row.try_get::<Option<i64>, _>(column)?
        .map(|value| u64::try_from(value).map_err(unreadable))
        .transpose()
}

#[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
const fn progress(share: f64) -> f32 {
    share as f32
}

/// What is stored cannot be read.
pub(super) fn unreadable(error: impl Into<BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// A length as the tables hold it.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) async fn get(readers: &SqlitePool, id: JobId) -> sqlx::Result<Option<Job>> {
    let query = sqlx::query("SELECT * FROM jobs WHERE id = ?1").bind(id.to_string());
    query.fetch_optional(readers).await?.as_ref().map(job).transpose()
}

pub(super) async fn find_by_mp3(readers: &SqlitePool, mp3_fid: Fid) -> sqlx::Result<Option<Job>> {
    let query =
        sqlx::query("SELECT * FROM jobs WHERE mp3_fid = ?1 ORDER BY created_at, id LIMIT 1").bind(mp3_fid.to_string());
    query.fetch_optional(readers).await?.as_ref().map(job).transpose()
}

pub(super) async fn list(
    readers: &SqlitePool,
    owner: Option<&Address>,
    state: Option<JobState>,
    limit: u32,
    before: Option<JobId>,
) -> sqlx::Result<Vec<Job>> {
    // Only the conditions that are asked for, so that the index of each is used.
    let conditions = [
        owner.map(|_| " AND owner_key = ?1"),
        state.map(|_| " AND state = ?2"),
        before.map(|_| " AND id < ?3"),
    ];
    let conditions: String = conditions.into_iter().flatten().collect();
    let sql = format!("SELECT * FROM jobs WHERE true{conditions} ORDER BY id DESC LIMIT ?4");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(owner.map(Address::key))
        .bind(state.map(JobState::as_str))
        .bind(before.map(|id| id.to_string()))
        .bind(limit)
        .fetch_all(readers)
        .await?;
    rows.iter().map(job).collect()
}
