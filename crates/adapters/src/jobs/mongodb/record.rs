//! Documents as jobs, and the plain reads.

use domain::{Address, Fid, Job, JobId, JobState, Mp3, Note, Options, Reason, Timestamp};
use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::Error;
use serde::Deserialize;

use super::Jobs;

/// One document of the collection.
#[derive(Deserialize)]
pub(super) struct Record {
    #[serde(rename = "_id")]
    pub(super) id: ObjectId,
    owner: Address,
    pub(super) state: JobState,
    progress: f64,
    filename: Option<String>,
    size_bytes: Option<u64>,
    #[serde(default)]
    options: Options,
    pub(super) mp3_fid: Option<ObjectId>,
    mp3_size_bytes: Option<u64>,
    mp3_duration_ms: Option<u64>,
    #[serde(default)]
    mp3_notes: Vec<Note>,
    reason: Option<Reason>,
    attempts: u32,
    created_at: DateTime,
    updated_at: DateTime,
    pub(super) uploaded_at: Option<DateTime>,
    pub(super) video_sha256: Option<String>,
    finished_at: Option<DateTime>,
    trace: Option<Bson>,
    pub(super) announcement: Option<String>,
    pub(super) convert: Schedule,
    pub(super) tell: Schedule,
}

/// One step of a job, as far as a claim needs it.
#[derive(Deserialize)]
pub(super) struct Schedule {
    pub(super) fence: i64,
    pub(super) failures: u32,
    pub(super) lapses: u32,
    #[serde(default)]
    pub(super) in_doubt: bool,
    /// Where the last attempt stored its MP3, and the one before.
    pub(super) attempt_fid: Option<ObjectId>,
    pub(super) predecessor_fid: Option<ObjectId>,
    pub(super) due_at: Option<DateTime>,
    pub(super) settled: Option<Settled>,
}

/// How the last claim of a step ended.
#[derive(Deserialize)]
pub(super) struct Settled {
    #[serde(rename = "as")]
    pub(super) how: String,
}

impl From<Record> for Job {
    fn from(record: Record) -> Self {
        let mp3 = record.mp3_fid.map(|mp3_fid| Mp3 {
            fid: fid(mp3_fid),
            size_bytes: record.mp3_size_bytes,
            duration_ms: record.mp3_duration_ms,
            notes: record.mp3_notes,
        });
        Self {
            id: fid(record.id),
            owner: record.owner,
            state: record.state,
            progress: progress(record.progress),
            filename: record.filename,
            size_bytes: record.size_bytes,
            options: record.options,
            mp3,
            reason: record.reason,
            attempts: record.attempts,
            created_at: moment(record.created_at),
            updated_at: moment(record.updated_at),
            finished_at: record.finished_at.map(moment),
            // Nothing hangs on it: what cannot be read is none.
            trace: record.trace.and_then(|trace| trace.as_str()?.parse().ok()),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
const fn progress(share: f64) -> f32 {
    share as f32
}

fn moment(time: DateTime) -> Timestamp {
    Timestamp::from_unix_ms(time.timestamp_millis())
}

/// The id as the collection holds it.
pub(super) fn object_id(fid: Fid) -> ObjectId {
    ObjectId::from_bytes(fid.bytes())
}

/// An id of the collection as the domain holds it.
pub(super) fn fid(id: ObjectId) -> Fid {
    Fid::from(id.bytes())
}

/// A number of bytes or milliseconds as BSON holds it.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The documents that match, at most `limit` of them; where zero means none, unlike to the server.
pub(super) async fn find(jobs: &Jobs, filter: Document, sort: Document, limit: u32) -> Result<Vec<Record>, Error> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let found = jobs.find(filter).sort(sort).limit(i64::from(limit)).await?;
    found.try_collect().await
}

pub(super) async fn get(jobs: Jobs, id: JobId) -> Result<Option<Job>, Error> {
    let found = jobs.find_one(doc! { "_id": object_id(id) }).await?;
    Ok(found.map(Job::from))
}

pub(super) async fn find_by_mp3(jobs: Jobs, mp3_fid: Fid) -> Result<Option<Job>, Error> {
    let filter = doc! { "mp3_fid": object_id(mp3_fid) };
    let oldest = doc! { "created_at": 1, "_id": 1 };
    Ok(jobs.find_one(filter).sort(oldest).await?.map(Job::from))
}

pub(super) async fn list(
    jobs: Jobs,
    owner: Option<Address>,
    state: Option<JobState>,
    limit: u32,
    before: Option<JobId>,
) -> Result<Vec<Job>, Error> {
    let mut filter = Document::new();
    if let Some(owner) = owner {
        filter.insert("owner_key", owner.key());
    }
    if let Some(state) = state {
        filter.insert("state", state.as_str());
    }
    if let Some(before) = before {
        filter.insert("_id", doc! { "$lt": object_id(before) });
    }
    let found = find(&jobs, filter, doc! { "_id": -1 }, limit).await?;
    Ok(found.into_iter().map(Job::from).collect())
}
