//! The job records: the truth, and the schedule.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Address, Bucket, Fid, IdempotencyKey, Job, JobId, JobMessage, JobState, Mp3, Options, Pool, PortError, Reason,
    TraceParent, VerdictKind,
};

/// What a worker does to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The converter's: `queued` to `done`, `failed` or `dead`.
    Convert,
    /// The notification's: a final state to a mail.
    Tell,
}

/// A worker's hold on one step of one job: a lease with a fence.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The job as it was claimed.
    pub job: Job,
    /// What is to be done.
    pub work: Work,
    /// Grows with every claim of this step; whoever holds an older one has lost the job.
    pub fence: i64,
    /// How often this step ended in our own trouble since it was first due, or replayed: the place in the retry
    /// schedule.
    pub failures: u32,
    /// How many of the last ones in a row ended without a word although they were renewed: the worker crashed or was
    /// cut off at work. A claim that was never renewed was never worked on, and counts nowhere.
    pub lapses: u32,
    /// Of a mail: a copy of it may have arrived, as [`Settlement::InDoubt`] noted. One more may be sent, and no third.
    pub in_doubt: bool,
}

impl Claim {
    /// Which step is claimed.
    pub const fn step(&self) -> Step {
        match self.work {
            Work::Convert { .. } => Step::Convert,
            Work::Tell(_) => Step::Tell,
        }
    }
}

/// What a claim is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Convert the video.
    Convert {
        /// The id this attempt stores its MP3 under: new for each attempt, and noted in the record.
        mp3_fid: Fid,
        /// The id of the attempt before, whose remains are to be deleted.
        predecessor: Option<Fid>,
    },
    /// Tell the owner.
    Tell(VerdictKind),
}

/// How a claim ends.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// `Convert`: the MP3 is stored. The job is `done`, its owner is to be told, and `mp3` is to be announced.
    Converted(Mp3),
    /// The same, and the video is not needed any more: it may be deleted.
    ConvertedForGood(Mp3),
    /// `Convert`: the upload is at fault. The job is `failed`, its owner is to be told.
    Failed(Reason),
    /// `Convert`: our trouble has no end. The job is `dead`, its owner is to be told.
    Dead(Reason),
    /// `Tell`: the owner is told, or can never be. Nothing is left to do.
    Told,
    /// `Tell`: the whole mail went out, and nobody knows whether it arrived. Due again at once, no failure counted;
    /// every later claim of this mail is `in_doubt`. Ends a row of lapses.
    InDoubt,
    /// Our own trouble: due again after this time, a day at most (longer ones are cut), `failures` one higher. Ends a
    /// row of lapses.
    Retry(Duration),
    /// Given back undone, due at once, no failure counted: the worker shuts down. Ends a row of lapses. (`attempts` of
    /// the record still counts that a conversion was begun.)
    Released,
}

/// What a new job begins with.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub owner: Address,
    /// The upload's file name, without directories.
    pub filename: String,
    /// What its owner calls this upload, if anything.
    pub key: Option<IdempotencyKey>,
    /// The upload's place in a trace.
    pub trace: Option<TraceParent>,
}

/// What the gateway knows when the last byte is stored.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The video's length in bytes.
    pub size_bytes: u64,
    /// The options sent along.
    pub options: Options,
    /// The SHA-256 of the video, 64 lower-case hexadecimal digits, where it is known.
    pub sha256: Option<String>,
}

/// The upload an owner's key names.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedUpload {
    /// Its job.
    pub job: Job,
    /// The SHA-256 of its video, as [`Uploaded`] had it; None while it is `receiving`.
    pub sha256: Option<String>,
}

/// Which announcement of a job a queue owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// `video`: there is something to convert. The gateway's.
    Video,
    /// `mp3`: there is something to tell. The converter's.
    Mp3,
}

/// What the records say of a stored file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A job needs it, or is just writing it.
    Live,
    /// A job names it, and will never need it again: an upload or an attempt that came to nothing, the video of a
    /// cancelled job or of one converted for good.
    Lost,
    /// No job names it.
    Unknown,
}

/// How much of one step waits to be claimed: jobs that are due and that no living worker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub due: u64,
    /// The age of the oldest of them, from its creation: what was put off for a day and is due again is a day old.
    pub oldest: Option<Duration>,
}

/// The job records: SQLite or MongoDB.
///
/// Every time is the store's own clock, so workers with wrong clocks cannot steal or lose a lease. When that clock is
/// set back, or a server with a slower one takes over, a lease lasts a minute at most, what was due at once stays so,
/// and a retry waits a day at most. Every change of state is one atomic compare-and-set. Leases last 30 seconds from
/// the claim or the last renewal; a lease that has ended still holds until somebody else claims the job.
///
/// After an error nobody knows whether the change was made. Every call may then be repeated: [`commit_upload`] and
/// [`settle`] answer true again when it was, [`create`] answers `Conflict` to the one who made the id, a claim whose
/// answer was lost ends with its lease and counts nowhere. Never take an error for a no: what was stored may be
/// referred to.
///
/// [`create`]: Self::create
/// [`commit_upload`]: Self::commit_upload
/// [`settle`]: Self::settle
#[async_trait]
pub trait JobStore: Send + Sync {
    // --- the gateway's: an upload

    /// Records an upload that begins: `receiving`, leased.
    ///
    /// # Errors
    /// `Conflict` when the job exists, or another one of this owner has its key; after an error it may be the one from
    /// before.
    async fn create(&self, job: NewJob) -> Result<(), PortError>;

    /// Holds a `receiving` job for another 30 seconds; false when it is no longer receiving.
    async fn renew_upload(&self, id: JobId) -> Result<bool, PortError>;

    /// The commit point: `receiving` to `queued`, due at once, its announcement owed and for thirty seconds the
    /// caller's. True again, and nothing changes, when it is repeated; false when the upload was failed.
    async fn commit_upload(&self, id: JobId, uploaded: Uploaded) -> Result<bool, PortError>;

    /// The upload of this owner that has this key. Of several creations with one key at most one succeeds; the key is
    /// free again when its upload failed, and else as long taken as its record exists.
    async fn find_by_key(&self, owner: &Address, key: &IdempotencyKey) -> Result<Option<KeyedUpload>, PortError>;

    /// `receiving` to `failed` for `reason`, without telling anybody: whoever was uploading knows, or is gone. Its key
    /// is free again. False when it is no longer receiving.
    async fn fail_upload(&self, id: JobId, reason: Reason) -> Result<bool, PortError>;

    /// At most `limit` jobs that are `receiving` although their lease has ended, oldest first.
    async fn lapsed_uploads(&self, limit: u32) -> Result<Vec<JobId>, PortError>;

    // --- both workers': a step

    /// Claims the oldest job, by its creation, whose `step` may run now: due, and not leased by a living worker. None
    /// when there is none. Two claimers never both win; a claim of `Convert` makes the job `converting`. A job whose
    /// record cannot be read is passed over, said once, and left to the operator.
    async fn claim_due(&self, step: Step) -> Result<Option<Claim>, PortError>;

    /// The same for one job: None when it does not exist or its `step` may not run now.
    async fn claim(&self, step: Step, id: JobId) -> Result<Option<Claim>, PortError>;

    /// Holds a claim for another 30 seconds and records a conversion's progress, 0 to 1; false when the claim is lost:
    /// somebody else took it, or the owner cancelled. From the first renewal on the claim counts as a failure and a
    /// lapse, unless it is settled: so a worker renews before it begins.
    async fn renew(&self, claim: &Claim, progress: Option<f32>) -> Result<bool, PortError>;

    /// Ends a claim, once: false when it is lost, and nothing has changed then. The same settlement repeated answers
    /// true again.
    ///
    /// # Errors
    /// `Corrupt` when the settlement belongs to the other step.
    async fn settle(&self, claim: &Claim, settlement: Settlement) -> Result<bool, PortError>;

    /// Lets mails of this kind go that are owed since longer than `older_than`, that nobody ever claimed, and whose
    /// jobs ended when nobody was [in charge](Self::take_charge_of_mails); says how many. They are not due any more;
    /// [`adopt`](Self::adopt) brings one back.
    async fn let_mails_go(&self, kind: VerdictKind, older_than: Duration) -> Result<u64, PortError>;

    /// Notes that a notification of ours is at work: whatever jobs ended before now, or end within 20 seconds, are
    /// for us to tell of, however long it takes. To be repeated more often than that.
    async fn take_charge_of_mails(&self) -> Result<(), PortError>;

    /// Makes the record agree with a message from a queue, whoever wrote it, and returns it.
    ///
    /// Creates the record when there is none: `queued` and due, or `done` and to be told when the message has an MP3.
    /// A message with an MP3 also completes a record that has none (unless it is cancelled), and any claim on it is
    /// lost. A message about the MP3 of a job whose mail was let go owes the mail again: nobody took that message. What
    /// comes from a queue counts as announced. Otherwise changes nothing.
    async fn adopt(&self, message: &JobMessage) -> Result<Job, PortError>;

    // --- announcing

    /// Claims the announcement that is owed longest and that nobody is making: whoever committed or settled the job has
    /// thirty seconds for it, and so has everybody who claims it here; then it is the next one's. Two claimers never
    /// both get it. None when there is none. Of a `queued` job for `Video`, of a `done` one for `Mp3`.
    ///
    /// # Errors
    /// `Corrupt` when the record cannot be read; its turn is over then, and the next call gives the next one.
    async fn claim_announcement(&self, announcement: Announcement) -> Result<Option<Job>, PortError>;

    /// The broker confirmed it.
    async fn mark_announced(&self, id: JobId, announcement: Announcement) -> Result<(), PortError>;

    // --- the owner's and the operator's

    /// The record, if it exists.
    async fn get(&self, id: JobId) -> Result<Option<Job>, PortError>;

    /// The job that names this file as its finished MP3.
    async fn find_by_mp3(&self, mp3_fid: Fid) -> Result<Option<Job>, PortError>;

    /// At most `limit` jobs, newest first, those before `before`; of one owner, in one state, or all.
    async fn list(
        &self,
        owner: Option<&Address>,
        state: Option<JobState>,
        limit: u32,
        before: Option<JobId>,
    ) -> Result<Vec<Job>, PortError>;

    /// `queued` or `converting` to `cancelled` with this reason; a claim on it is lost. Nobody is told. False when it
    /// is in another state.
    async fn cancel(&self, id: JobId, reason: Reason) -> Result<bool, PortError>;

    /// `failed` or `dead` back to `queued`: due at once, to be announced, counters (`attempts` too) at zero, owner to
    /// be told again; a mail under way about the old verdict loses its claim.
    /// False when it is in another state, or its upload never finished.
    async fn replay(&self, id: JobId) -> Result<bool, PortError>;

    // --- the janitor's

    /// What the records say of these files of one bucket, in the same order.
    async fn references(&self, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Reference>, PortError>;

    // --- for those who watch

    /// How much of a step waits to be claimed.
    async fn backlog(&self, step: Step) -> Result<Backlog, PortError>;

    /// How many announcements of this kind no broker has confirmed yet, those under way included.
    async fn unannounced(&self, announcement: Announcement) -> Result<u64, PortError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), PortError>;

    /// How busy the way to it is; None where there is no bound that could be reached.
    fn pool(&self) -> Option<Pool> {
        None
    }
}
