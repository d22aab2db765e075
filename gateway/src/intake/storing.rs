//! The file of an upload on its way into the store, and the record that follows it.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    Address, BlobWriter, Bucket, IdempotencyKey, Job, JobId, JobState, NewBlob, NewJob, Options, PortError, Reason,
    ReasonCode, Timestamp, TraceParent, Uploaded,
};
use runtime::telemetry::trace;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{UploadError, interrupted};
use crate::{GatewayState, filename};

/// How often an upload's lease is renewed; it lasts 30 seconds.
const RENEW: Duration = Duration::from_secs(8);
/// The waits between tries to commit, or to learn whether a try did.
const COMMIT_PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// How long an answer waits for the remains of an upload to be removed.
const DISCARD_PATIENCE: Duration = Duration::from_secs(1);

/// An upload whose record is `receiving` and whose file is being written.
pub(super) struct Storing {
    state: GatewayState,
    id: JobId,
    owner: Address,
    filename: String,
    trace: Option<TraceParent>,
    began_at: Timestamp,
    size_bytes: u64,
    writer: Box<dyn BlobWriter>,
    _hold: DropGuard,
}

/// What the record says after a commit.
enum Committed {
    Yes,
    No,
    /// The store did not say; it may or may not be so.
    Unknown(PortError),
}

impl Storing {
    /// Makes the record, then begins the file. `given_up` is cancelled when the record is no longer `receiving`.
    pub(super) async fn begin(
        state: &GatewayState,
        owner: &Address,
        key: Option<IdempotencyKey>,
        sent_filename: &str,
        given_up: CancellationToken,
    ) -> Result<Self, UploadError> {
        let id = JobId::new();
        tracing::Span::current().record("job.id", tracing::field::display(id));
        let filename = filename::clean(sent_filename);
        let trace = trace::current();
        let job = NewJob {
            id,
            owner: owner.clone(),
            filename: filename.clone(),
            key: key.clone(),
            trace: trace.clone(),
        };
        let began_at = Timestamp::now();
        match state.jobs.create(job).await {
            Err(PortError::Conflict { .. }) if key.is_some() => return Err(UploadError::KeyInUse),
            created => created.map_err(UploadError::Store)?,
        }
        let hold = hold(state, id, given_up);
        let blob = NewBlob {
            id,
            job: id,
            owner: owner.clone(),
            filename: filename.clone(),
        };
        let writer = match state.blobs.put(Bucket::Videos, blob).await {
            Ok(writer) => writer,
            Err(error) => {
                fail(state, id, interrupted()).await;
                return Err(UploadError::Store(error));
            }
        };
        Ok(Self {
            state: state.clone(),
            id,
            owner: owner.clone(),
            filename,
            trace,
            began_at,
            size_bytes: 0,
            writer,
            _hold: hold,
        })
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        self.size_bytes += bytes.len() as u64;
        self.writer.write(bytes).await.map_err(UploadError::Store)
    }

    /// Makes the file visible and the job `queued`: from here on it will be converted.
    pub(super) async fn commit(self, options: Options) -> Result<Job, UploadError> {
        let Self {
            state,
            id,
            owner,
            filename,
            trace,
            began_at,
            size_bytes,
            writer,
            _hold,
        } = self;
        let sha256 = match finish(writer, size_bytes).await {
            Ok(sha256) => sha256,
            Err(error) => {
                discard(&state, id, None, interrupted()).await;
                return Err(UploadError::Store(error));
            }
        };
        let uploaded = Uploaded {
            size_bytes,
            options: options.clone(),
            sha256,
        };
        match commit_record(&state, id, uploaded).await {
            Committed::Yes => {}
            Committed::No => {
                discard(&state, id, None, interrupted()).await;
                return Err(UploadError::GivenUp);
            }
            // The file stays: the record may name it. If it does not, the lapsed lease tells, and the file goes then.
            Committed::Unknown(error) => return Err(UploadError::Store(error)),
        }
        tracing::info!(job.id = %id, size_bytes, "took an upload");
        Ok(Job {
            id,
            owner,
            state: JobState::Queued,
            progress: 0.0,
            filename: Some(filename),
            size_bytes: Some(size_bytes),
            options,
            mp3: None,
            reason: None,
            attempts: 0,
            created_at: began_at,
            updated_at: Timestamp::now(),
            finished_at: None,
            trace,
        })
    }

    /// Leaves nothing of the upload but a record that says why.
    pub(super) async fn discard(self, reason: Reason) {
        discard(&self.state, self.id, Some(self.writer), reason).await;
    }
}

/// Renews the lease in a task of its own until the returned guard is dropped.
fn hold(state: &GatewayState, id: JobId, given_up: CancellationToken) -> DropGuard {
    let released = CancellationToken::new();
    let guard = released.clone().drop_guard();
    let jobs = state.jobs.clone();
    state.life.spawn(async move {
        loop {
            tokio::select! {
                () = released.cancelled() => return,
                () = tokio::time::sleep(RENEW) => {}
            }
            match jobs.renew_upload(id).await {
                Ok(true) => {}
                Ok(false) => return given_up.cancel(),
                Err(error) => {
                    let error = domain::Chain(&error).to_string();
                    tracing::warn!(job.id = %id, error, "cannot renew the lease of an upload");
                }
            }
        }
    });
    guard
}

/// Makes the file visible; its SHA-256.
async fn finish(writer: Box<dyn BlobWriter>, size_bytes: u64) -> Result<Option<String>, PortError> {
    let blob = writer.finish(None).await?;
    if blob.len_bytes == size_bytes {
        return Ok(blob.sha256);
    }
    let what = format!("{size_bytes} bytes were written, {} stored", blob.len_bytes);
    Err(PortError::corrupt("store an upload", what))
}

/// Commits, asking again for as long as the store does not say what became of it.
async fn commit_record(state: &GatewayState, id: JobId, uploaded: Uploaded) -> Committed {
    let mut pauses = COMMIT_PAUSES.into_iter();
    let aborting = state.life.aborting();
    loop {
        let error = match try_commit(state, id, uploaded.clone()).await {
            Ok(true) => return Committed::Yes,
            Ok(false) => return Committed::No,
            Err(error) => error,
        };
        let Some(pause) = pauses.next() else {
            return Committed::Unknown(error);
        };
        tracing::warn!(job.id = %id, error = %domain::Chain(&error), "cannot commit an upload yet");
        tokio::select! {
            () = aborting.cancelled() => return Committed::Unknown(error),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether the record says that the upload is committed, by this call or by an earlier one whose answer was lost.
async fn try_commit(state: &GatewayState, id: JobId, uploaded: Uploaded) -> Result<bool, PortError> {
    if state.jobs.commit_upload(id, uploaded).await? {
        return Ok(true);
    }
    let job = state.jobs.get(id).await?;
    Ok(job.is_some_and(|job| {
        let interrupted = |reason: &Reason| reason.code == ReasonCode::UploadInterrupted;
        job.state != JobState::Receiving && !job.reason.as_ref().is_some_and(interrupted)
    }))
}

/// Removes what was written, then says so in the record. Waits a moment for it; it goes on by itself, since a store in
/// trouble must not hold up the answer that says so.
async fn discard(state: &GatewayState, id: JobId, writer: Option<Box<dyn BlobWriter>>, reason: Reason) {
    let (done, was_done) = oneshot::channel::<()>();
    let task_state = state.clone();
    state.life.spawn(async move {
        match writer {
            Some(writer) => writer.abort().await,
            None => {
                if let Err(error) = task_state.blobs.delete(Bucket::Videos, id).await {
                    let error = domain::Chain(&error).to_string();
                    tracing::warn!(job.id = %id, error, "cannot delete a spoilt upload; the janitor will");
                }
            }
        }
        fail(&task_state, id, reason).await;
        drop(done);
    });
    // Either it is done, which closes the channel, or the answer goes ahead of it.
    let _done_or_not = tokio::time::timeout(DISCARD_PATIENCE, was_done).await;
}

/// Ends the record of an upload that came to nothing. Whoever was uploading hears it from the answer, or is gone.
async fn fail(state: &GatewayState, id: JobId, reason: Reason) {
    if let Err(error) = state.jobs.fail_upload(id, reason).await {
        let error = domain::Chain(&error).to_string();
        tracing::warn!(job.id = %id, error, "cannot end the record of an upload; its lease will");
    }
}
