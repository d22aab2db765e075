//! What queues say about jobs, and what they are still to be told.

use domain::{Announcement, Fid, Job, JobId, JobMessage, JobState};
use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::ReturnDocument;

use super::super::{ANNOUNCE_LEASE, LET_GO, milliseconds};
use super::record::{Record, object_id};
use super::steps::owe_mail;
use super::{ABSENT, AT_ONCE, Jobs, literal, now_plus, set, uploads};
use crate::mongo::is_duplicate_key;

/// How often the record may change between being read and being written.
const TRIES: u32 = 8;

pub(super) async fn adopt(jobs: Jobs, message: JobMessage) -> Result<Job, Error> {
    for _ in 0..TRIES {
        let found = jobs.find_one(doc! { "_id": object_id(message.video_fid) });
        let adopted = match found.await? {
            None => add(&jobs, &message).await?,
            Some(record) => agree(&jobs, record, &message).await?,
        };
        if let Some(record) = adopted {
            return Ok(record.into());
        }
    }
    Err(Error::custom("the record changed each time it was to be adopted"))
}

/// Adds the record the message speaks of; None when somebody else did so first.
async fn add(jobs: &Jobs, message: &JobMessage) -> Result<Option<Record>, Error> {
    let mut fields = match message.mp3_fid {
        None => doc! { "state": "queued", "progress": 0.0, "convert": due_and_unclaimed() },
        Some(mp3_fid) => doc! {
            "state": "done",
            "progress": 1.0,
            "mp3_fid": object_id(mp3_fid),
            "finished_at": "$$NOW",
            "tell": due_and_unclaimed(),
        },
    };
    fields.insert("uploaded_at", "$$NOW");
    if let Some(trace) = &message.trace {
        fields.insert("trace", literal(trace.as_str()));
    }
    let added = uploads::insert(jobs, message.video_fid, &message.username, fields).await;
    match added {
        Err(error) if is_duplicate_key(&error) => Ok(None),
        added => added,
    }
}

fn due_and_unclaimed() -> Document {
    doc! { "due_at": AT_ONCE, "fence": 0_i64, "failures": 0, "lapses": 0 }
}

/// Makes an existing record agree; None when it changed in the meantime.
async fn agree(jobs: &Jobs, record: Record, message: &JobMessage) -> Result<Option<Record>, Error> {
    if let Some(mp3_fid) = message.mp3_fid
        && record.mp3_fid.is_none()
        && record.state != JobState::Cancelled
    {
        return complete(jobs, message.video_fid, mp3_fid).await;
    }
    let (announcement, same_mp3) = match message.mp3_fid {
        None => ("video", true),
        Some(mp3_fid) => ("mp3", record.mp3_fid == Some(object_id(mp3_fid))),
    };
    let was_let_go = |record: &Record| {
        let settled = record.tell.settled.as_ref();
        record.tell.due_at.is_none() && settled.is_some_and(|settled| settled.how == LET_GO)
    };
    if message.mp3_fid.is_some() && same_mp3 && was_let_go(&record) {
        let let_go = doc! {
            "_id": object_id(message.video_fid),
            "tell.due_at": { "$exists": false },
            "tell.settled.as": LET_GO,
        };
        return jobs
            .find_one_and_update(let_go, set(owe_mail()))
            .return_document(ReturnDocument::After)
            .await;
    }
    if same_mp3 && record.announcement.as_deref() == Some(announcement) {
        let owed = doc! { "_id": object_id(message.video_fid), "announcement": announcement };
        return jobs
            .find_one_and_update(owed, announced())
            .return_document(ReturnDocument::After)
            .await;
    }
    Ok(Some(record))
}

async fn complete(jobs: &Jobs, id: JobId, mp3_fid: Fid) -> Result<Option<Record>, Error> {
    let without_mp3 = doc! {
        "_id": object_id(id),
        "mp3_fid": { "$exists": false },
        "state": { "$ne": "cancelled" },
    };
    let mut fields = doc! {
        "state": "done",
        "progress": 1.0,
        "mp3_fid": object_id(mp3_fid),
        "reason": ABSENT,
        "uploaded_at": { "$ifNull": ["$uploaded_at", "$$NOW"] },
        "finished_at": "$$NOW",
        "upload_lease_until": ABSENT,
        "announcement": ABSENT,
        "announcement_owed_at": ABSENT,
        "convert.due_at": ABSENT,
        "convert.lease_until": ABSENT,
        "convert.fence": { "$add": ["$convert.fence", 1] },
    };
    fields.extend(owe_mail());
    jobs.find_one_and_update(without_mp3, set(fields))
        .return_document(ReturnDocument::After)
        .await
}

/// The record stays as it is; only nobody owes the announcement any more.
fn announced() -> Vec<Document> {
    vec![doc! { "$unset": ["announcement", "announcement_owed_at"] }]
}

/// An announcement's name in records, and the state of the jobs it is about.
pub(super) const fn names(announcement: Announcement) -> (&'static str, &'static str) {
    match announcement {
        Announcement::Video => ("video", "queued"),
        Announcement::Mp3 => ("mp3", "done"),
    }
}

pub(super) async fn claim_announcement(jobs: Jobs, announcement: Announcement) -> Result<Option<Job>, Error> {
    let (announcement, state) = names(announcement);
    let lease_ms = milliseconds(ANNOUNCE_LEASE);
    let owed_where = |moment: Document| doc! { "announcement": announcement, "state": state, "$expr": moment };
    let owed = doc! { "$or": [
        owed_where(doc! { "$lte": ["$announcement_owed_at", now_plus(-lease_ms)] }),
        // From before the clock was set back.
        owed_where(doc! { "$gt": ["$announcement_owed_at", now_plus(lease_ms)] }),
    ] };
    // Not a change of the job: `updated_at` stays.
    let leased = vec![doc! { "$set": { "announcement_owed_at": "$$NOW" } }];
    let claimed = jobs
        .find_one_and_update(owed, leased)
        .sort(doc! { "announcement_owed_at": 1, "_id": 1 })
        .await?;
    Ok(claimed.map(Job::from))
}

pub(super) async fn mark_announced(jobs: Jobs, id: JobId, announcement: Announcement) -> Result<(), Error> {
    let filter = doc! { "_id": object_id(id), "announcement": names(announcement).0 };
    jobs.find_one_and_update(filter, announced()).await.map(drop)
}
