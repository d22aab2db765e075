//! The ports with points at their calls.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Address, Announcement, Backlog, Blob, BlobStore, BlobStream, BlobWriter, Bucket, Claim, Consumer, Fid, Head,
    IdempotencyKey, Job, JobId, JobMessage, JobState, JobStore, KeyedUpload, NewBlob, NewJob, PortError, Queue, Reason,
    Reference, Settlement, Space, Step, Uploaded, VerdictKind,
};

use super::at;

/// A port as one service sees it.
pub(super) struct Crashing<P: ?Sized> {
    pub(super) service: &'static str,
    pub(super) inner: Arc<P>,
}

struct CrashingWriter {
    service: &'static str,
    inner: Box<dyn BlobWriter>,
}

#[async_trait]
impl JobStore for Crashing<dyn JobStore> {
    async fn create(&self, job: NewJob) -> Result<(), PortError> {
        at(self.service, "create", self.inner.create(job)).await
    }

    async fn renew_upload(&self, id: JobId) -> Result<bool, PortError> {
        at(self.service, "renew_upload", self.inner.renew_upload(id)).await
    }

    async fn commit_upload(&self, id: JobId, uploaded: Uploaded) -> Result<bool, PortError> {
        at(self.service, "commit_upload", self.inner.commit_upload(id, uploaded)).await
    }

    async fn fail_upload(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        at(self.service, "fail_upload", self.inner.fail_upload(id, reason)).await
    }

    async fn lapsed_uploads(&self, limit: u32) -> Result<Vec<JobId>, PortError> {
        at(self.service, "lapsed_uploads", self.inner.lapsed_uploads(limit)).await
    }

    async fn claim_due(&self, step: Step) -> Result<Option<Claim>, PortError> {
        at(self.service, "claim_due", self.inner.claim_due(step)).await
    }

    async fn claim(&self, step: Step, id: JobId) -> Result<Option<Claim>, PortError> {
        at(self.service, "claim", self.inner.claim(step, id)).await
    }

    async fn renew(&self, claim: &Claim, progress: Option<f32>) -> Result<bool, PortError> {
        at(self.service, "renew", self.inner.renew(claim, progress)).await
    }

    async fn settle(&self, claim: &Claim, settlement: Settlement) -> Result<bool, PortError> {
        at(self.service, "settle", self.inner.settle(claim, settlement)).await
    }

    async fn let_mails_go(&self, kind: VerdictKind, older_than: Duration) -> Result<u64, PortError> {
        at(self.service, "let_mails_go", self.inner.let_mails_go(kind, older_than)).await
    }

    async fn take_charge_of_mails(&self) -> Result<(), PortError> {
        at(self.service, "take_charge_of_mails", self.inner.take_charge_of_mails()).await
    }

    async fn adopt(&self, message: &JobMessage) -> Result<Job, PortError> {
        at(self.service, "adopt", self.inner.adopt(message)).await
    }

    async fn claim_announcement(&self, announcement: Announcement) -> Result<Option<Job>, PortError> {
        at(
            self.service,
            "claim_announcement",
            self.inner.claim_announcement(announcement),
        )
        .await
    }

    async fn mark_announced(&self, id: JobId, announcement: Announcement) -> Result<(), PortError> {
        at(
            self.service,
            "mark_announced",
            self.inner.mark_announced(id, announcement),
        )
        .await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, PortError> {
        at(self.service, "get", self.inner.get(id)).await
    }

    async fn find_by_mp3(&self, mp3_fid: Fid) -> Result<Option<Job>, PortError> {
        at(self.service, "find_by_mp3", self.inner.find_by_mp3(mp3_fid)).await
    }

    async fn find_by_key(&self, owner: &Address, key: &IdempotencyKey) -> Result<Option<KeyedUpload>, PortError> {
        at(self.service, "find_by_key", self.inner.find_by_key(owner, key)).await
    }

    async fn cancel(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        at(self.service, "cancel", self.inner.cancel(id, reason)).await
    }

    async fn replay(&self, id: JobId) -> Result<bool, PortError> {
        at(self.service, "replay", self.inner.replay(id)).await
    }

    async fn references(&self, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Reference>, PortError> {
        at(self.service, "references", self.inner.references(bucket, ids)).await
    }

    async fn list(
        &self,
        owner: Option<&Address>,
        state: Option<JobState>,
        limit: u32,
        before: Option<JobId>,
    ) -> Result<Vec<Job>, PortError> {
        at(self.service, "list", self.inner.list(owner, state, limit, before)).await
    }

    async fn backlog(&self, step: Step) -> Result<Backlog, PortError> {
        self.inner.backlog(step).await
    }

    async fn unannounced(&self, announcement: Announcement) -> Result<u64, PortError> {
        self.inner.unannounced(announcement).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.inner.ping().await
    }
}

#[async_trait]
impl BlobStore for Crashing<dyn BlobStore> {
    async fn put(&self, bucket: Bucket, blob: NewBlob) -> Result<Box<dyn BlobWriter>, PortError> {
        let inner = at(self.service, "put", self.inner.put(bucket, blob)).await?;
        let service = self.service;
        Ok(Box::new(CrashingWriter { service, inner }))
    }

    async fn stat(&self, bucket: Bucket, id: Fid) -> Result<Option<Blob>, PortError> {
        at(self.service, "stat", self.inner.stat(bucket, id)).await
    }

    async fn read(&self, bucket: Bucket, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError> {
        at(self.service, "read", self.inner.read(bucket, id, range)).await
    }

    async fn delete(&self, bucket: Bucket, id: Fid) -> Result<(), PortError> {
        at(self.service, "delete", self.inner.delete(bucket, id)).await
    }

    async fn list_ours(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Blob>, PortError> {
        at(self.service, "list_ours", self.inner.list_ours(bucket, after, limit)).await
    }

    async fn list_unfinished(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Fid>, PortError> {
        at(
            self.service,
            "list_unfinished",
            self.inner.list_unfinished(bucket, after, limit),
        )
        .await
    }

    async fn space(&self) -> Result<Option<Space>, PortError> {
        at(self.service, "space", self.inner.space()).await
    }

    async fn count(&self, bucket: Bucket) -> Result<u64, PortError> {
        self.inner.count(bucket).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.inner.ping().await
    }
}

#[async_trait]
impl BlobWriter for CrashingWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        at(self.service, "write", self.inner.write(bytes)).await
    }

    async fn finish(self: Box<Self>, head: Option<Head>) -> Result<Blob, PortError> {
        at(self.service, "finish", self.inner.finish(head)).await
    }

    async fn abort(self: Box<Self>) {
        self.inner.abort().await;
    }
}

#[async_trait]
impl Queue for Crashing<dyn Queue> {
    async fn publish(&self, queue: &str, message: &JobMessage) -> Result<(), PortError> {
        at(self.service, "publish", self.inner.publish(queue, message)).await
    }

    fn consume(&self, queue: &str, prefetch: u16) -> Box<dyn Consumer> {
        self.inner.consume(queue, prefetch)
    }

    async fn depth(&self, queue: &str) -> Result<u64, PortError> {
        self.inner.depth(queue).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.inner.ping().await
    }
}
