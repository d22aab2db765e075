//! The workers' part of a job: claim, renew, settle.

use std::sync::{Arc, Mutex, PoisonError};

use domain::{Claim, Fid, Job, JobId, Reason, Settlement, Step, VerdictKind, Work};
use mongodb::bson::{Bson, Document, deserialize_from_document, doc, serialize_to_bson};
use mongodb::error::Error;
use mongodb::options::ReturnDocument;

use super::super::{LEASE, LONGEST_DELAY, delay_ms, milliseconds, settlement_name, step_name};
use super::record::{Record, fid, object_id, signed};
use super::{ABSENT, AT_ONCE, Jobs, come, literal, now_plus, set};

/// How many attempts a record names; a document has a largest size. Each claim deletes what the attempt before it left,
/// so older ones have no remains but what nobody could delete a hundred times.
const KEPT_ATTEMPTS: i32 = 100;

/// What tells a claim from every other, for use in a task of its own.
pub(super) struct Hold {
    id: JobId,
    step: Step,
    fence: i64,
    failures: u32,
    lapses: u32,
}

impl Hold {
    pub(super) const fn of(claim: &Claim) -> Self {
        Self {
            id: claim.job.id,
            step: claim.step(),
            fence: claim.fence,
            failures: claim.failures,
            lapses: claim.lapses,
        }
    }

    /// The path of one of the step's fields.
    fn field(&self, name: &str) -> String {
        field(self.step, name)
    }

    /// The record, as long as this claim is the one that holds it.
    fn held(&self) -> Document {
        #[cfg(feature = "seeded-bugs")]
        if domain::seeded_bugs::is_on("no-fence") {
            return doc! { "_id": object_id(self.id) };
        }
        doc! {
            "_id": object_id(self.id),
            self.field("fence"): self.fence,
            self.field("lease_until"): { "$exists": true },
        }
    }
}

fn field(step: Step, name: &str) -> String {
    format!("{}.{name}", step_name(step))
}

/// Fields that owe the owner a mail about the state they stand beside. Whoever is sending an older one loses.
pub(super) fn owe_mail() -> Document {
    doc! {
        "tell.due_at": AT_ONCE,
        "tell.lease_until": ABSENT,
        "tell.fence": { "$add": ["$tell.fence", 1] },
        "tell.failures": 0,
        "tell.lapses": 0,
        "tell.in_doubt": ABSENT,
    }
}

/// Claims the oldest job that is due, past those whose records cannot be read: they are left to the operator, and told
/// once.
pub(super) async fn claim_due(
    jobs: Jobs,
    step: Step,
    unreadable: Arc<Mutex<Vec<Bson>>>,
) -> Result<Option<Claim>, Error> {
    let list = || unreadable.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let left_out = list().clone();
        let mut due = claimable(step);
        if !left_out.is_empty() {
            due.insert("_id", doc! { "$nin": left_out });
        }
        let Some(document) = try_claim(&jobs, step, due).await? else {
            return Ok(None);
        };
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
        match read_claim(step, document) {
            Ok(claim) => return Ok(Some(claim)),
            Err(error) => {
                tracing::error!(job.id = %id, %error, "a job's record cannot be read, it is left to the operator");
                list().push(id);
            }
        }
    }
}

pub(super) async fn claim(jobs: Jobs, step: Step, id: JobId) -> Result<Option<Claim>, Error> {
    let mut this = claimable(step);
    this.insert("_id", object_id(id));
    let document = try_claim(&jobs, step, this).await?;
    document.map(|document| read_claim(step, document)).transpose()
}

/// The jobs whose step may run now.
pub(super) fn claimable(step: Step) -> Document {
    let (due_at, lease_until) = (field(step, "due_at"), field(step, "lease_until"));
    come(&due_at, milliseconds(LONGEST_DELAY), Some(&lease_until))
}

async fn try_claim(jobs: &Jobs, step: Step, claimable: Document) -> Result<Option<Document>, Error> {
    let fence = format!("${}", field(step, "fence"));
    let one = doc! { "$literal": 1 };
    let mut fields = doc! {
        field(step, "fence"): { "$add": [fence, one] },
        field(step, "lease_until"): now_plus(milliseconds(LEASE)),
    };
    if step == Step::Convert {
        let attempt = object_id(Fid::new());
        let attempts_before = doc! { "$ifNull": ["$attempt_fids", []] };
        fields.extend(doc! {
            "state": "converting",
            "progress": 0.0,
            "attempts": { "$add": ["$attempts", 1] },
            "convert.predecessor_fid": "$convert.attempt_fid",
            "convert.attempt_fid": attempt,
            "attempt_fids": { "$slice": [{ "$concatArrays": [attempts_before, [attempt]] }, -KEPT_ATTEMPTS] },
        });
    }
    jobs.clone_with_type::<Document>()
        .find_one_and_update(claimable, set(fields))
        .sort(doc! { "created_at": 1, "_id": 1 })
        .return_document(ReturnDocument::After)
        .await
}

fn read_claim(step: Step, document: Document) -> Result<Claim, Error> {
    let record: Record = deserialize_from_document(document)?;
    let schedule = match step {
        Step::Convert => &record.convert,
        Step::Tell => &record.tell,
    };
    let (fence, failures, lapses) = (schedule.fence, schedule.failures, schedule.lapses);
    let in_doubt = schedule.in_doubt;
    let work = match step {
        Step::Convert => Work::Convert {
            mp3_fid: schedule
                .attempt_fid
                .map(fid)
                .ok_or_else(|| Error::custom("a claim without an attempt"))?,
            predecessor: schedule.predecessor_fid.map(fid),
        },
        Step::Tell => Work::Tell(
            VerdictKind::of(record.state).ok_or_else(|| Error::custom("a mail is owed about an unfinished job"))?,
        ),
    };
    Ok(Claim {
        job: Job::from(record),
        work,
        fence,
        failures,
        lapses,
        in_doubt,
    })
}

pub(super) async fn renew(jobs: Jobs, hold: Hold, progress: Option<f64>) -> Result<bool, Error> {
    // What it will have been if nothing more is heard of it; settling takes it back.
    let mut fields = doc! {
        hold.field("lease_until"): now_plus(milliseconds(LEASE)),
        hold.field("failures"): hold.failures.saturating_add(1),
        hold.field("lapses"): hold.lapses.saturating_add(1),
    };
    // Progress is the conversion's; a mail has none.
    if let Some(progress) = progress.filter(|_| hold.step == Step::Convert) {
        fields.insert("progress", progress);
    }
    let renewed = jobs.find_one_and_update(hold.held(), set(fields)).await?;
    Ok(renewed.is_some())
}

pub(super) async fn settle(jobs: Jobs, hold: Hold, settlement: Settlement) -> Result<bool, Error> {
    let settled_as = settlement_name(&settlement);
    let mut fields = end(&hold, settlement)?;
    fields.extend(doc! {
        hold.field("lease_until"): ABSENT,
        hold.field("settled.fence"): hold.fence,
        hold.field("settled.as"): settled_as,
    });
    let settled = jobs.find_one_and_update(hold.held(), set(fields)).await?;
    if settled.is_some() {
        return Ok(true);
    }
    // The answer to the same settlement may have been lost.
    let same = doc! {
        "_id": object_id(hold.id),
        hold.field("settled.fence"): hold.fence,
        hold.field("settled.as"): settled_as,
    };
    Ok(jobs.find_one(same).await?.is_some())
}

/// What a settlement writes, beside ending the lease.
fn end(hold: &Hold, settlement: Settlement) -> Result<Document, Error> {
    // A conversion that did not end goes back to the queue.
    let requeued = match hold.step {
        Step::Convert => doc! { "state": "queued", "progress": 0.0 },
        Step::Tell => Document::new(),
    };
    let for_good = matches!(settlement, Settlement::ConvertedForGood(_));
    Ok(match settlement {
        Settlement::Converted(mp3) | Settlement::ConvertedForGood(mp3) => {
            let mut fields = doc! {
                "state": "done",
                "progress": 1.0,
                "mp3_fid": object_id(mp3.fid),
                "finished_at": "$$NOW",
                "convert.due_at": ABSENT,
                "announcement": "mp3",
                "announcement_owed_at": "$$NOW",
            };
            if for_good {
                fields.insert("video_unneeded", true);
            }
            if let Some(size_bytes) = mp3.size_bytes {
                fields.insert("mp3_size_bytes", signed(size_bytes));
            }
            if let Some(duration_ms) = mp3.duration_ms {
                fields.insert("mp3_duration_ms", signed(duration_ms));
            }
            fields.insert("mp3_notes", literal(serialize_to_bson(&mp3.notes)?));
            fields.extend(owe_mail());
            fields
        }
        Settlement::Failed(reason) => without_mp3("failed", &reason)?,
        Settlement::Dead(reason) => without_mp3("dead", &reason)?,
        Settlement::Told => doc! { "tell.due_at": ABSENT },
        Settlement::Retry(delay) => {
            let mut fields = requeued;
            fields.insert(hold.field("due_at"), now_plus(delay_ms(delay)));
            fields.insert(hold.field("failures"), hold.failures.saturating_add(1));
            fields.insert(hold.field("lapses"), 0);
            fields
        }
        // Still due since it was, so it keeps its place.
        Settlement::Released | Settlement::InDoubt => {
            let mut fields = requeued;
            fields.insert(hold.field("failures"), hold.failures);
            fields.insert(hold.field("lapses"), 0);
            if matches!(settlement, Settlement::InDoubt) {
                fields.insert(hold.field("in_doubt"), true);
            }
            fields
        }
    })
}

fn without_mp3(state: &str, reason: &Reason) -> Result<Document, Error> {
    let mut fields = doc! {
        "state": state,
        "reason": literal(serialize_to_bson(reason)?),
        "finished_at": "$$NOW",
        "convert.due_at": ABSENT,
        "announcement": ABSENT,
        "announcement_owed_at": ABSENT,
    };
    fields.extend(owe_mail());
    Ok(fields)
}
