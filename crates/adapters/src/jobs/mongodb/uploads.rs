//! The gateway's part of a job: from the first byte to the commit point.

use domain::{Address, IdempotencyKey, JobId, KeyedUpload, NewJob, Reason, Uploaded};
use futures_util::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc, serialize_to_bson};
use mongodb::error::Error;
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::super::{LEASE, furthest_lease_ms, milliseconds};
use super::record::{Record, fid, object_id, signed};
use super::{ABSENT, AT_ONCE, Jobs, come, literal, now_plus, set};

pub(super) async fn create(jobs: Jobs, job: NewJob) -> Result<(), Error> {
    let mut fields = doc! {
        "state": "receiving",
        "progress": 0.0,
        "filename": literal(job.filename),
        "upload_lease_until": now_plus(milliseconds(LEASE)),
    };
    if let Some(key) = job.key {
        fields.insert("idempotency_key", literal(key.as_str()));
    }
    if let Some(trace) = job.trace {
        fields.insert("trace", literal(trace.as_str()));
    }
    insert(&jobs, job.id, &job.owner, fields).await.map(drop)
}

/// Adds a record with these fields beside those that every record begins with.
///
/// # Errors
/// The id is taken: a duplicate key.
pub(super) async fn insert(
    jobs: &Jobs,
    id: JobId,
    owner: &Address,
    mut fields: Document,
) -> Result<Option<Record>, Error> {
    let unclaimed = doc! { "fence": 0_i64, "failures": 0, "lapses": 0 };
    let begin = doc! {
        "owner": literal(owner.as_str()),
        "owner_key": literal(owner.key()),
        "options": literal(Document::new()),
        "attempts": 0,
        "created_at": "$$NOW",
        "convert": unclaimed.clone(),
        "tell": unclaimed,
    };
    for (name, value) in begin {
        fields.entry(name).or_insert(value);
    }
    // Only an update can ask the server for its time. The second condition makes an existing id a duplicate key.
    let absent = doc! { "_id": object_id(id), "state": { "$exists": false } };
    jobs.find_one_and_update(absent, set(fields))
        .upsert(true)
        .return_document(ReturnDocument::After)
        .await
}

fn receiving(id: JobId) -> Document {
    doc! { "_id": object_id(id), "state": "receiving" }
}

pub(super) async fn renew(jobs: Jobs, id: JobId) -> Result<bool, Error> {
    let fields = doc! { "upload_lease_until": now_plus(milliseconds(LEASE)) };
    let renewed = jobs.find_one_and_update(receiving(id), set(fields)).await?;
    Ok(renewed.is_some())
}

pub(super) async fn commit(jobs: Jobs, id: JobId, uploaded: Uploaded) -> Result<bool, Error> {
    let mut fields = doc! {
        "state": "queued",
        "size_bytes": signed(uploaded.size_bytes),
        "options": literal(serialize_to_bson(&uploaded.options)?),
        "uploaded_at": "$$NOW",
        "upload_lease_until": ABSENT,
        "convert.due_at": AT_ONCE,
        "announcement": "video",
        "announcement_owed_at": "$$NOW",
    };
    if let Some(sha256) = uploaded.sha256 {
        fields.insert("video_sha256", literal(sha256));
    }
    let committed = jobs.find_one_and_update(receiving(id), set(fields)).await?;
    if committed.is_some() {
        return Ok(true);
    }
    // A repetition, because the first answer was lost, finds the upload committed by nobody else.
    let record = jobs.find_one(doc! { "_id": object_id(id) }).await?;
    Ok(record.is_some_and(|record| record.uploaded_at.is_some()))
}

pub(super) async fn fail(jobs: Jobs, id: JobId, reason: Reason) -> Result<bool, Error> {
    let fields = doc! {
        "state": "failed",
        "reason": literal(serialize_to_bson(&reason)?),
        "upload_lease_until": ABSENT,
        "idempotency_key": ABSENT,
        "finished_at": "$$NOW",
    };
    let failed = jobs.find_one_and_update(receiving(id), set(fields)).await?;
    Ok(failed.is_some())
}

pub(super) async fn find_by_key(jobs: Jobs, owner: Address, key: IdempotencyKey) -> Result<Option<KeyedUpload>, Error> {
    let filter = doc! { "owner_key": owner.key(), "idempotency_key": key.as_str() };
    let found = jobs.find_one(filter).await?;
    Ok(found.map(|mut record| KeyedUpload {
        sha256: record.video_sha256.take(),
        job: record.into(),
    }))
}

pub(super) async fn lapsed(jobs: Jobs, limit: u32) -> Result<Vec<JobId>, Error> {
    /// All that is read, since a record that cannot be read in whole lapses too.
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "_id")]
        id: ObjectId,
    }

    if limit == 0 {
        return Ok(Vec::new());
    }
    let found = jobs
        .clone_with_type::<Named>()
        .find(come("upload_lease_until", furthest_lease_ms(), None))
        .projection(doc! { "_id": 1 })
        .sort(doc! { "created_at": 1, "_id": 1 })
        .limit(i64::from(limit))
        .await?;
    found.map_ok(|named| fid(named.id)).try_collect().await
}
