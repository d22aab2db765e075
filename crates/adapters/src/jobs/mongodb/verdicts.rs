//! What the owner, the operator and the janitor decide by.

use std::collections::HashSet;
use std::time::Duration;

use domain::{Bucket, Fid, JobId, JobState, Reason, Reference, VerdictKind};
use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, doc, serialize_to_bson};
use mongodb::error::Error;
use serde::Deserialize;

use super::super::{IN_CHARGE, LET_GO, milliseconds};
use super::record::{fid, object_id};
use super::{ABSENT, AT_ONCE, Jobs, literal, now_plus, set};

/// How many ids one query asks for.
const BATCH: usize = 1_000;

pub(super) async fn cancel(jobs: Jobs, id: JobId, reason: Reason) -> Result<bool, Error> {
    let unfinished = doc! { "_id": object_id(id), "state": { "$in": ["queued", "converting"] } };
    let fields = doc! {
        "state": "cancelled",
        "reason": literal(serialize_to_bson(&reason)?),
        "idempotency_key": ABSENT,
        "finished_at": "$$NOW",
        "announcement": ABSENT,
        "announcement_owed_at": ABSENT,
        "convert.due_at": ABSENT,
        "convert.lease_until": ABSENT,
        "convert.fence": { "$add": ["$convert.fence", 1] },
    };
    let cancelled = jobs.find_one_and_update(unfinished, set(fields)).await?;
    Ok(cancelled.is_some())
}

pub(super) async fn replay(jobs: Jobs, id: JobId) -> Result<bool, Error> {
    let replayable = doc! {
        "_id": object_id(id),
        "state": { "$in": ["failed", "dead"] },
        "uploaded_at": { "$exists": true },
    };
    // A mail about the old verdict that is under way loses its claim, so it cannot end the mail about the new one.
    let fields = doc! {
        "state": "queued",
        "progress": 0.0,
        "reason": ABSENT,
        "attempts": 0,
        "finished_at": ABSENT,
        "announcement": "video",
        "announcement_owed_at": "$$NOW",
        "convert.due_at": AT_ONCE,
        "convert.failures": 0,
        "convert.lapses": 0,
        "tell.due_at": ABSENT,
        "tell.lease_until": ABSENT,
        "tell.fence": { "$add": ["$tell.fence", 1] },
        "tell.failures": 0,
        "tell.lapses": 0,
    };
    let replayed = jobs.find_one_and_update(replayable, set(fields)).await?;
    Ok(replayed.is_some())
}

pub(super) async fn let_mails_go(jobs: Jobs, kind: VerdictKind, older_than: Duration) -> Result<u64, Error> {
    let charge = charges(&jobs).find_one(doc! { "_id": TELL }).await?;
    let in_charge_until = charge.map_or(DateTime::from_millis(0), |charge| charge.until);
    let before = doc! { "$subtract": ["$$NOW", milliseconds(older_than)] };
    // A claim that ended left its fence, and one that is held or lapsed its lease.
    let old_and_untried = doc! {
        "tell.due_at": { "$exists": true },
        "tell.lease_until": { "$exists": false },
        "state": kind.as_str(),
        "finished_at": { "$gt": in_charge_until },
        "$expr": { "$and": [
            { "$lte": ["$finished_at", before] },
            { "$ne": ["$tell.settled.fence", "$tell.fence"] },
        ] },
    };
    let let_go = vec![doc! { "$set": {
        "tell.due_at": ABSENT,
        "tell.settled": { "fence": "$tell.fence", "as": LET_GO },
    } }];
    Ok(jobs.update_many(old_and_untried, let_go).await?.modified_count)
}

/// Until when somebody is taken to be at work on a step.
#[derive(Deserialize)]
struct Charge {
    until: DateTime,
}

/// The document of the step that tells.
const TELL: &str = "tell";

/// The collection beside the jobs, of one document a step.
fn charges(jobs: &Jobs) -> Collection<Charge> {
    let database = jobs.client().database(&jobs.namespace().db);
    database.collection("charges")
}

pub(super) async fn take_charge_of_mails(jobs: Jobs) -> Result<(), Error> {
    let until = vec![doc! { "$set": { "until": now_plus(milliseconds(IN_CHARGE)) } }];
    let charges = charges(&jobs);
    let charged = charges.update_one(doc! { "_id": TELL }, until).upsert(true).await;
    charged.map(drop)
}

/// What a record says of the files it names.
#[derive(Deserialize)]
struct Naming {
    #[serde(rename = "_id")]
    id: ObjectId,
    state: JobState,
    #[serde(default)]
    uploaded_at: Option<DateTime>,
    #[serde(default)]
    video_unneeded: bool,
    #[serde(default)]
    mp3_fid: Option<ObjectId>,
    #[serde(default)]
    attempt_fids: Vec<ObjectId>,
    convert: Attempt,
}

#[derive(Deserialize)]
struct Attempt {
    #[serde(default)]
    attempt_fid: Option<ObjectId>,
}

impl Naming {
    fn video(&self) -> Reference {
        let lost = match self.state {
            JobState::Failed => self.uploaded_at.is_none(),
            JobState::Cancelled => true,
            JobState::Done => self.video_unneeded,
            _ => false,
        };
        if lost { Reference::Lost } else { Reference::Live }
    }

    /// The MP3 that is finished or just being written.
    fn live_mp3s(&self) -> impl Iterator<Item = ObjectId> {
        let current = self.convert.attempt_fid;
        let current = current.filter(|_| self.state == JobState::Converting);
        self.mp3_fid.into_iter().chain(current)
    }
}

pub(super) async fn references(jobs: Jobs, bucket: Bucket, ids: Vec<Fid>) -> Result<Vec<Reference>, Error> {
    let mut live = HashSet::new();
    let mut lost = HashSet::new();
    for batch in ids.chunks(BATCH) {
        for naming in named(&jobs, bucket, batch).await? {
            match bucket {
                Bucket::Videos if naming.video() == Reference::Live => {
                    live.insert(fid(naming.id));
                }
                Bucket::Videos => {
                    lost.insert(fid(naming.id));
                }
                Bucket::Mp3s => {
                    live.extend(naming.live_mp3s().map(fid));
                    lost.extend(naming.attempt_fids.into_iter().map(fid));
                }
            }
        }
    }
    let reference = |id: &Fid| match (live.contains(id), lost.contains(id)) {
        (true, _) => Reference::Live,
        (false, true) => Reference::Lost,
        (false, false) => Reference::Unknown,
    };
    Ok(ids.iter().map(reference).collect())
}

/// The records that name any of these files.
async fn named(jobs: &Jobs, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Naming>, Error> {
    let any: Vec<ObjectId> = ids.iter().copied().map(object_id).collect();
    let any = doc! { "$in": any };
    let filter = match bucket {
        Bucket::Videos => doc! { "_id": any },
        Bucket::Mp3s => doc! { "$or": [{ "mp3_fid": any.clone() }, { "attempt_fids": any }] },
    };
    let projection = doc! {
        "state": 1, "uploaded_at": 1, "video_unneeded": 1, "mp3_fid": 1, "attempt_fids": 1, "convert.attempt_fid": 1,
    };
    let jobs = jobs.clone_with_type::<Naming>();
    jobs.find(filter).projection(projection).await?.try_collect().await
}
