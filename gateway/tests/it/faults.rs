//! Real stores that fail on command.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Address, Announcement, Backlog, Blob, BlobStore, BlobStream, BlobWriter, Bucket, Claim, Fid, Head, IdempotencyKey,
    Job, JobId, JobMessage, JobState, JobStore, KeyedUpload, NewBlob, NewJob, PortError, Reason, Reference, Settlement,
    Space, Step, Uploaded, VerdictKind,
};

/// How a call of a store goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not made: the store is away.
    Away,
    /// It is not made: no space.
    Full,
    /// It is made, and its answer is lost.
    LostAnswer,
}

impl Fault {
    fn error(self) -> PortError {
        match self {
            Self::Full => PortError::Full {
                operation: "test".into(),
            },
            Self::Away | Self::LostAnswer => PortError::unavailable("test", "the connection broke"),
        }
    }
}

/// What is to go wrong: the next calls of that name, one fault each; `None` lets one pass.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    faults: Arc<Mutex<HashMap<&'static str, Faults>>>,
    /// What the blob store says of its space.
    pub(crate) space: Arc<Mutex<Option<Space>>>,
    /// How often it was asked for it.
    pub(crate) space_asked: Arc<AtomicUsize>,
}

type Faults = VecDeque<Option<Fault>>;

impl Plan {
    pub(crate) fn next(&self, call: &'static str, faults: &[Option<Fault>]) {
        self.faults
            .lock()
            .unwrap()
            .insert(call, faults.iter().copied().collect());
    }

    fn take(&self, call: &'static str) -> Option<Fault> {
        self.faults.lock().unwrap().get_mut(call)?.pop_front().flatten()
    }

    /// Makes a call, or not, and loses its answer, or not.
    async fn run<T>(
        &self,
        call: &'static str,
        made: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        match self.take(call) {
            None => made.await,
            Some(fault @ Fault::LostAnswer) => {
                made.await?;
                Err(fault.error())
            }
            Some(fault) => Err(fault.error()),
        }
    }
}

pub(crate) struct FaultyBlobs {
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) plan: Plan,
}

struct FaultyWriter {
    writer: Box<dyn BlobWriter>,
    plan: Plan,
}

#[async_trait]
impl BlobStore for FaultyBlobs {
    async fn put(&self, bucket: Bucket, blob: NewBlob) -> Result<Box<dyn BlobWriter>, PortError> {
        let writer = self.plan.run("put", self.store.put(bucket, blob)).await?;
        let plan = self.plan.clone();
        Ok(Box::new(FaultyWriter { writer, plan }))
    }

    async fn stat(&self, bucket: Bucket, id: Fid) -> Result<Option<Blob>, PortError> {
        self.plan.run("stat", self.store.stat(bucket, id)).await
    }

    async fn read(&self, bucket: Bucket, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError> {
        use futures_util::StreamExt as _;

        let stream = self.plan.run("read", self.store.read(bucket, id, range)).await?;
        let plan = self.plan.clone();
        let broken = move |piece| plan.take("read piece").map_or(piece, |fault| Err(fault.error()));
        Ok(stream.map(|stream| stream.map(broken).boxed()))
    }

    async fn delete(&self, bucket: Bucket, id: Fid) -> Result<(), PortError> {
        self.plan.run("delete", self.store.delete(bucket, id)).await
    }

    async fn list_ours(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Blob>, PortError> {
        self.store.list_ours(bucket, after, limit).await
    }

    async fn count(&self, bucket: Bucket) -> Result<u64, PortError> {
        self.store.count(bucket).await
    }

    async fn list_unfinished(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Fid>, PortError> {
        self.store.list_unfinished(bucket, after, limit).await
    }

    async fn space(&self) -> Result<Option<Space>, PortError> {
        self.plan.space_asked.fetch_add(1, Ordering::Relaxed);
        self.plan
            .run("space", async { Ok(*self.plan.space.lock().unwrap()) })
            .await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.plan.run("ping", self.store.ping()).await
    }
}

#[async_trait]
impl BlobWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.plan.run("write", self.writer.write(bytes)).await
    }

    async fn finish(self: Box<Self>, head: Option<Head>) -> Result<Blob, PortError> {
        self.plan.run("finish", self.writer.finish(head)).await
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}

pub(crate) struct FaultyJobs {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) plan: Plan,
}

#[async_trait]
impl JobStore for FaultyJobs {
    async fn create(&self, job: NewJob) -> Result<(), PortError> {
        self.plan.run("create", self.store.create(job)).await
    }
    async fn renew_upload(&self, id: JobId) -> Result<bool, PortError> {
        self.store.renew_upload(id).await
    }
    async fn commit_upload(&self, id: JobId, uploaded: Uploaded) -> Result<bool, PortError> {
        self.plan.run("commit", self.store.commit_upload(id, uploaded)).await
    }
    async fn find_by_key(&self, owner: &Address, key: &IdempotencyKey) -> Result<Option<KeyedUpload>, PortError> {
        self.plan.run("key", self.store.find_by_key(owner, key)).await
    }
    async fn fail_upload(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        self.plan.run("fail", self.store.fail_upload(id, reason)).await
    }
    async fn lapsed_uploads(&self, limit: u32) -> Result<Vec<JobId>, PortError> {
        self.store.lapsed_uploads(limit).await
    }
    async fn claim_due(&self, step: Step) -> Result<Option<Claim>, PortError> {
        self.store.claim_due(step).await
    }
    async fn claim(&self, step: Step, id: JobId) -> Result<Option<Claim>, PortError> {
        self.store.claim(step, id).await
    }
    async fn renew(&self, claim: &Claim, progress: Option<f32>) -> Result<bool, PortError> {
        self.store.renew(claim, progress).await
    }
    async fn settle(&self, claim: &Claim, settlement: Settlement) -> Result<bool, PortError> {
        self.store.settle(claim, settlement).await
    }
    async fn let_mails_go(&self, kind: VerdictKind, older_than: Duration) -> Result<u64, PortError> {
        self.store.let_mails_go(kind, older_than).await
    }

    async fn take_charge_of_mails(&self) -> Result<(), PortError> {
        self.store.take_charge_of_mails().await
    }
    async fn adopt(&self, message: &JobMessage) -> Result<Job, PortError> {
        self.store.adopt(message).await
    }
    async fn claim_announcement(&self, announcement: Announcement) -> Result<Option<Job>, PortError> {
        self.store.claim_announcement(announcement).await
    }
    async fn mark_announced(&self, id: JobId, announcement: Announcement) -> Result<(), PortError> {
        self.store.mark_announced(id, announcement).await
    }
    async fn get(&self, id: JobId) -> Result<Option<Job>, PortError> {
        self.plan.run("get", self.store.get(id)).await
    }
    async fn find_by_mp3(&self, mp3_fid: Fid) -> Result<Option<Job>, PortError> {
        self.plan.run("find", self.store.find_by_mp3(mp3_fid)).await
    }
    async fn list(
        &self,
        owner: Option<&Address>,
        state: Option<JobState>,
        limit: u32,
        before: Option<JobId>,
    ) -> Result<Vec<Job>, PortError> {
        self.plan
            .run("list", self.store.list(owner, state, limit, before))
            .await
    }
    async fn cancel(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        self.store.cancel(id, reason).await
    }
    async fn replay(&self, id: JobId) -> Result<bool, PortError> {
        self.store.replay(id).await
    }
    async fn references(&self, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Reference>, PortError> {
        self.store.references(bucket, ids).await
    }
    async fn backlog(&self, step: Step) -> Result<Backlog, PortError> {
        self.store.backlog(step).await
    }
    async fn unannounced(&self, announcement: Announcement) -> Result<u64, PortError> {
        self.store.unannounced(announcement).await
    }
    async fn ping(&self) -> Result<(), PortError> {
        self.plan.run("ping", self.store.ping()).await
    }
}
