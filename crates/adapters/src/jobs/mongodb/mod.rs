//! Job records in MongoDB: database `jobs`, collection `jobs`, one document a job, used by every replica at once.
//!
//! Each change is one `findOneAndUpdate`, whose filter says in what state it applies and whose pipeline takes every
//! time from the server (`$$NOW`). So any of them may be repeated after an answer that never came: the second one
//! finds the filter no longer true, or writes the same again. A value from outside stands in `$literal`, for in a
//! pipeline text that begins with `$` is a field's path. What does not apply is absent from the document, so that
//! partial indexes hold only the jobs that have work left.

mod adopt;
mod backlog;
mod indexes;
mod record;
mod steps;
mod uploads;
mod verdicts;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Address, Announcement, Backlog, Bucket, Claim, Fid, IdempotencyKey, Job, JobId, JobMessage, JobState, JobStore,
    KeyedUpload, NewJob, Pool, PortError, Reason, Reference, Settlement, Step, Uploaded, VerdictKind,
};
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::Error;
use mongodb::{Client, Collection};
use tokio::sync::OnceCell;

use super::furthest_lease_ms;
use crate::mongo::{DEADLINE, complete_all, port_error};
use record::Record;

type Jobs = Collection<Record>;

/// The job records in MongoDB.
pub struct MongoJobStore {
    jobs: Jobs,
    prepared: Arc<OnceCell<()>>,
    /// The ids of jobs that were due and whose records could not be read.
    unreadable: Arc<Mutex<Vec<Bson>>>,
}

impl MongoJobStore {
    /// The records in the database `jobs` behind `client`; its name begins with `prefix`, which is empty but in
    /// tests. Does not connect: indexes are made at the first use.
    pub fn new(client: Client, prefix: &str) -> Self {
        Self {
            jobs: client.database(&format!("{prefix}jobs")).collection("jobs"),
            prepared: Arc::default(),
            unreadable: Arc::default(),
        }
    }

    /// Runs `call` on a collection whose indexes are there, to its end even when the caller leaves after ten seconds.
    async fn run<T, F>(&self, operation: &'static str, call: impl FnOnce(Jobs) -> F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let call = call(self.jobs.clone());
        let jobs = self.jobs.clone();
        let prepared = Arc::clone(&self.prepared);
        complete_all(operation, Some(DEADLINE), async move {
            let prepare = || indexes::create(&jobs);
            let prepared = prepared.get_or_try_init(prepare).await;
            prepared.map_err(|error| port_error("index the job records", error))?;
            call.await.map_err(|error| port_error(operation, error))
        })
        .await
    }
}

/// The jobs that have the field `moment`, and for which it has come, or lies further ahead than it can; and that no
/// living worker holds by the field `lease`.
fn come(moment: &str, furthest_ms: i64, lease: Option<&str>) -> Document {
    let free = lease.map(|lease| past_or_beyond(lease, furthest_lease_ms()));
    let jobs_where = |moment_is: Document| {
        let conditions: Vec<Document> = [Some(moment_is), free.clone()].into_iter().flatten().collect();
        doc! {
            // Always true. Without a condition on its first key the server takes an index for its order only, and
            // fetches each document in it to look at the moments.
            "created_at": { "$gte": DateTime::from_millis(0) },
            moment: { "$exists": true },
            "$expr": { "$and": conditions },
        }
    };
    // As two searches of an index: as one condition the server would fetch each document to judge it. The leases, of
    // which there are no more than workers, may be.
    let [past, beyond] = either(moment, furthest_ms);
    doc! { "$or": [jobs_where(past), jobs_where(beyond)] }
}

/// A moment that is past, or so far ahead that it is from before the clock was set back. One that is absent is past.
fn past_or_beyond(moment: &str, furthest_ms: i64) -> Document {
    doc! { "$or": either(moment, furthest_ms).to_vec() }
}

fn either(moment: &str, furthest_ms: i64) -> [Document; 2] {
    let moment = format!("${moment}");
    [
        doc! { "$lte": [&moment, "$$NOW"] },
        doc! { "$gt": [&moment, now_plus(furthest_ms)] },
    ]
}

/// Since when that is due which is due at once: no clock can be set back that far.
const AT_ONCE: DateTime = DateTime::from_millis(0);

/// The server's present, and this much more.
fn now_plus(milliseconds: i64) -> Bson {
    doc! { "$add": ["$$NOW", milliseconds] }.into()
}

/// A value that is taken as it is, whatever it looks like.
fn literal(value: impl Into<Bson>) -> Bson {
    doc! { "$literal": value.into() }.into()
}

/// The pipeline that sets these fields, and notes the time.
fn set(mut fields: Document) -> Vec<Document> {
    fields.insert("updated_at", "$$NOW");
    vec![doc! { "$set": fields }]
}

/// Removes a field, as a value in [`set`].
const ABSENT: &str = "$$REMOVE";

#[async_trait]
impl JobStore for MongoJobStore {
    async fn create(&self, job: NewJob) -> Result<(), PortError> {
        self.run("record an upload", |jobs| uploads::create(jobs, job)).await
    }

    async fn renew_upload(&self, id: JobId) -> Result<bool, PortError> {
        self.run("renew an upload", |jobs| uploads::renew(jobs, id)).await
    }

    async fn commit_upload(&self, id: JobId, uploaded: Uploaded) -> Result<bool, PortError> {
        let call = |jobs| uploads::commit(jobs, id, uploaded);
        self.run("commit an upload", call).await
    }

    async fn fail_upload(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        self.run("fail an upload", |jobs| uploads::fail(jobs, id, reason)).await
    }

    async fn find_by_key(&self, owner: &Address, key: &IdempotencyKey) -> Result<Option<KeyedUpload>, PortError> {
        let (owner, key) = (owner.clone(), key.clone());
        let call = |jobs| uploads::find_by_key(jobs, owner, key);
        self.run("find an upload by its key", call).await
    }

    async fn lapsed_uploads(&self, limit: u32) -> Result<Vec<JobId>, PortError> {
        self.run("find lapsed uploads", |jobs| uploads::lapsed(jobs, limit))
            .await
    }

    async fn claim_due(&self, step: Step) -> Result<Option<Claim>, PortError> {
        let unreadable = Arc::clone(&self.unreadable);
        let call = |jobs| steps::claim_due(jobs, step, unreadable);
        self.run("claim a due job", call).await
    }

    async fn claim(&self, step: Step, id: JobId) -> Result<Option<Claim>, PortError> {
        self.run("claim a job", |jobs| steps::claim(jobs, step, id)).await
    }

    async fn renew(&self, claim: &Claim, progress: Option<f32>) -> Result<bool, PortError> {
        let hold = steps::Hold::of(claim);
        let call = |jobs| steps::renew(jobs, hold, super::share(progress));
        self.run("renew a claim", call).await
    }

    async fn settle(&self, claim: &Claim, settlement: Settlement) -> Result<bool, PortError> {
        super::check_settlement(claim.step(), &settlement)?;
        let hold = steps::Hold::of(claim);
        let call = |jobs| steps::settle(jobs, hold, settlement);
        self.run("settle a claim", call).await
    }

    async fn let_mails_go(&self, kind: VerdictKind, older_than: Duration) -> Result<u64, PortError> {
        let call = |jobs| verdicts::let_mails_go(jobs, kind, older_than);
        self.run("let old mails go", call).await
    }

    async fn take_charge_of_mails(&self) -> Result<(), PortError> {
        self.run("take charge of mails", verdicts::take_charge_of_mails).await
    }

    async fn adopt(&self, message: &JobMessage) -> Result<Job, PortError> {
        let message = message.clone();
        self.run("adopt a job", |jobs| adopt::adopt(jobs, message)).await
    }

    async fn claim_announcement(&self, announcement: Announcement) -> Result<Option<Job>, PortError> {
        let call = |jobs| adopt::claim_announcement(jobs, announcement);
        self.run("claim an announcement", call).await
    }

    async fn mark_announced(&self, id: JobId, announcement: Announcement) -> Result<(), PortError> {
        let call = |jobs| adopt::mark_announced(jobs, id, announcement);
        self.run("mark an announcement", call).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, PortError> {
        self.run("read a job", |jobs| record::get(jobs, id)).await
    }

    async fn find_by_mp3(&self, mp3_fid: Fid) -> Result<Option<Job>, PortError> {
        let call = |jobs| record::find_by_mp3(jobs, mp3_fid);
        self.run("find a job by its MP3", call).await
    }

    async fn list(
        &self,
        owner: Option<&Address>,
        state: Option<JobState>,
        limit: u32,
        before: Option<JobId>,
    ) -> Result<Vec<Job>, PortError> {
        let owner = owner.cloned();
        let call = |jobs| record::list(jobs, owner, state, limit, before);
        self.run("list jobs", call).await
    }

    async fn cancel(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        self.run("cancel a job", |jobs| verdicts::cancel(jobs, id, reason))
            .await
    }

    async fn replay(&self, id: JobId) -> Result<bool, PortError> {
        self.run("replay a job", |jobs| verdicts::replay(jobs, id)).await
    }

    async fn references(&self, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Reference>, PortError> {
        let ids = ids.to_vec();
        let call = |jobs| verdicts::references(jobs, bucket, ids);
        self.run("look up references", call).await
    }

    async fn backlog(&self, step: Step) -> Result<Backlog, PortError> {
        self.run("count what is due", |jobs| backlog::backlog(jobs, step)).await
    }

    async fn unannounced(&self, announcement: Announcement) -> Result<u64, PortError> {
        let call = |jobs| backlog::unannounced(jobs, announcement);
        self.run("count what is to be announced", call).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        let database = self.jobs.client().database("admin");
        let ping = async move { database.run_command(doc! { "ping": 1 }).await.map(drop) };
        crate::mongo::complete("ping the job records", ping).await
    }

    fn pool(&self) -> Option<Pool> {
        Some(crate::mongo::pool())
    }
}
