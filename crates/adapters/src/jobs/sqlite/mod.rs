//! Job records in one SQLite file, used by several processes at once: `serve` and the commands beside it.
//!
//! One connection writes, in transactions that take the write lock at their beginning: a transaction that starts by
//! reading and then wants to write fails at once when somebody else wrote in between, whatever the busy timeout.
//! Other connections read. Every write is flushed to the disk before it is acknowledged (`synchronous=FULL`), so it
//! survives a power cut: 230 to 570 commits a second on a virtual disk, against 12,000 that a power cut may take back.
//! A job needs about ten.
//!
//! Times are this machine's clock.

mod adopt;
mod backlog;
mod record;
mod steps;
mod uploads;
mod verdicts;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Address, Announcement, Backlog, Bucket, Claim, Fid, IdempotencyKey, Job, JobId, JobMessage, JobState, JobStore,
    KeyedUpload, NewJob, PortError, Reason, Reference, Settlement, Step, Uploaded, VerdictKind,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use tokio::sync::OnceCell;

use crate::ConnectError;

/// How long a caller waits for one call before it hears `Unavailable`.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long SQLite waits for another process's write; below the deadline, so that its own error is the one reported.
const BUSY_TIMEOUT: Duration = Duration::from_secs(8);
/// Between two tries to open a file that others are opening.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Readers at a time. They never wait for the writer.
const READERS: u32 = 4;
/// The layout this program writes, in the file's `user_version`.
const SCHEMA_VERSION: i64 = 6;
/// What takes each layout to the next one, from 1 on.
const CHANGES: [&str; 5] = [
    "ALTER TABLE jobs ADD COLUMN video_unneeded INTEGER NOT NULL DEFAULT FALSE;
     PRAGMA user_version = 2;",
    "ALTER TABLE jobs ADD COLUMN idempotency_key TEXT;
     ALTER TABLE jobs ADD COLUMN video_sha256 TEXT;
     CREATE UNIQUE INDEX jobs_by_key ON jobs (owner_key, idempotency_key) WHERE idempotency_key IS NOT NULL;
     PRAGMA user_version = 3;",
    "ALTER TABLE jobs ADD COLUMN tell_in_doubt INTEGER NOT NULL DEFAULT FALSE;
     CREATE TABLE charges (step TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     PRAGMA user_version = 4;",
    "ALTER TABLE jobs ADD COLUMN trace TEXT;
     PRAGMA user_version = 5;",
    "ALTER TABLE jobs ADD COLUMN mp3_notes TEXT NOT NULL DEFAULT '[]';
     PRAGMA user_version = 6;",
];

/// The job records in one SQLite file.
pub struct SqliteJobStore {
    writer: SqlitePool,
    readers: SqlitePool,
    prepared: OnceCell<()>,
    /// Jobs that were due and whose records could not be read.
    unreadable: Mutex<BTreeSet<String>>,
}

impl SqliteJobStore {
    /// Opens the records in the file `path`, which is made, readable by this user alone, when there is none. Its
    /// tables are made at the first use. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The file cannot be opened for writing, for one because its directory is missing.
    pub fn open(path: &Path) -> Result<Self, ConnectError> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| ConnectError::Io {
                path: path.display().to_string(),
                source,
            })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let readers = options.clone().pragma("query_only", "on");
        let pool = |connections, options| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(DEADLINE)
                .connect_lazy_with(options)
        };
        Ok(Self {
            writer: pool(1, options),
            readers: pool(READERS, readers),
            prepared: OnceCell::new(),
            unreadable: Mutex::default(),
        })
    }

    /// Runs `call` on a file whose tables are there, for at most ten seconds.
    async fn run<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, PortError> {
        let prepared_call = async {
            self.prepared.get_or_try_init(|| prepare(&self.writer)).await?;
            call.await.map_err(|error| record::port_error(operation, error))
        };
        tokio::time::timeout(DEADLINE, prepared_call)
            .await
            .unwrap_or_else(|elapsed| Err(PortError::unavailable(operation, elapsed)))
    }
}

/// Makes the tables, where they are missing. Several processes may do so at once: the write lock puts them in a row.
async fn prepare(writer: &SqlitePool) -> Result<(), PortError> {
    let operation = "open the job records";
    let failed = |error| record::port_error(operation, error);
    let mut transaction = begin_first(writer).await.map_err(failed)?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    if version > SCHEMA_VERSION {
        return Err(PortError::corrupt(
            operation,
            format!("layout {version} is newer than this program's {SCHEMA_VERSION}"),
        ));
    }
    let changes: &[&'static str] = match usize::try_from(version) {
        Ok(0) => &[include_str!("schema.sql")],
        Ok(version) => CHANGES.get(version - 1..).unwrap_or_default(),
        Err(_) => &[],
    };
    for change in changes {
        sqlx::raw_sql(*change)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// Begins to write to a file that others may be opening for the first time: the switch to the write-ahead log, which
/// each connection makes, does not wait for a lock but fails.
async fn begin_first(writer: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    loop {
        match begin(writer).await {
            Err(error) if record::is_busy(&error) => tokio::time::sleep(BUSY_PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// Begins to write: waits for the write lock now rather than failing for it later.
async fn begin(writer: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    writer.begin_with("BEGIN IMMEDIATE").await
}

#[async_trait]
impl JobStore for SqliteJobStore {
    async fn create(&self, job: NewJob) -> Result<(), PortError> {
        self.run("record an upload", uploads::create(&self.writer, &job)).await
    }

    async fn renew_upload(&self, id: JobId) -> Result<bool, PortError> {
        self.run("renew an upload", uploads::renew(&self.writer, id)).await
    }

    async fn commit_upload(&self, id: JobId, uploaded: Uploaded) -> Result<bool, PortError> {
        let call = uploads::commit(&self.writer, id, &uploaded);
        self.run("commit an upload", call).await
    }

    async fn fail_upload(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        self.run("fail an upload", uploads::fail(&self.writer, id, &reason))
            .await
    }

    async fn find_by_key(&self, owner: &Address, key: &IdempotencyKey) -> Result<Option<KeyedUpload>, PortError> {
        let call = uploads::find_by_key(&self.readers, owner, key);
        self.run("find an upload by its key", call).await
    }

    async fn lapsed_uploads(&self, limit: u32) -> Result<Vec<JobId>, PortError> {
        self.run("find lapsed uploads", uploads::lapsed(&self.readers, limit))
            .await
    }

    async fn claim_due(&self, step: Step) -> Result<Option<Claim>, PortError> {
        let call = steps::claim_due(&self.writer, step, &self.unreadable);
        self.run("claim a due job", call).await
    }

    async fn claim(&self, step: Step, id: JobId) -> Result<Option<Claim>, PortError> {
        self.run("claim a job", steps::claim(&self.writer, step, id)).await
    }

    async fn renew(&self, claim: &Claim, progress: Option<f32>) -> Result<bool, PortError> {
        let call = steps::renew(&self.writer, claim, super::share(progress));
        self.run("renew a claim", call).await
    }

    async fn settle(&self, claim: &Claim, settlement: Settlement) -> Result<bool, PortError> {
        super::check_settlement(claim.step(), &settlement)?;
        let call = steps::settle(&self.writer, claim, &settlement);
        self.run("settle a claim", call).await
    }

    async fn let_mails_go(&self, kind: VerdictKind, older_than: Duration) -> Result<u64, PortError> {
        let call = verdicts::let_mails_go(&self.writer, kind, older_than);
        self.run("let old mails go", call).await
    }

    async fn take_charge_of_mails(&self) -> Result<(), PortError> {
        let call = verdicts::take_charge_of_mails(&self.writer);
        self.run("take charge of mails", call).await
    }

    async fn adopt(&self, message: &JobMessage) -> Result<Job, PortError> {
        self.run("adopt a job", adopt::adopt(&self.writer, message)).await
    }

    async fn claim_announcement(&self, announcement: Announcement) -> Result<Option<Job>, PortError> {
        let call = adopt::claim_announcement(&self.writer, announcement);
        self.run("claim an announcement", call).await
    }

    async fn mark_announced(&self, id: JobId, announcement: Announcement) -> Result<(), PortError> {
        let call = adopt::mark_announced(&self.writer, id, announcement);
        self.run("mark an announcement", call).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, PortError> {
        self.run("read a job", record::get(&self.readers, id)).await
    }

    async fn find_by_mp3(&self, mp3_fid: Fid) -> Result<Option<Job>, PortError> {
        let call = record::find_by_mp3(&self.readers, mp3_fid);
        self.run("find a job by its MP3", call).await
    }

    async fn list(
        &self,
        owner: Option<&Address>,
        state: Option<JobState>,
        limit: u32,
        before: Option<JobId>,
    ) -> Result<Vec<Job>, PortError> {
        let call = record::list(&self.readers, owner, state, limit, before);
        self.run("list jobs", call).await
    }

    async fn cancel(&self, id: JobId, reason: Reason) -> Result<bool, PortError> {
        self.run("cancel a job", verdicts::cancel(&self.writer, id, &reason))
            .await
    }

    async fn replay(&self, id: JobId) -> Result<bool, PortError> {
        self.run("replay a job", verdicts::replay(&self.writer, id)).await
    }

    async fn references(&self, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Reference>, PortError> {
        let call = verdicts::references(&self.readers, bucket, ids);
        self.run("look up references", call).await
    }

    async fn backlog(&self, step: Step) -> Result<Backlog, PortError> {
        self.run("count what is due", backlog::backlog(&self.readers, step))
            .await
    }

    async fn unannounced(&self, announcement: Announcement) -> Result<u64, PortError> {
        let call = backlog::unannounced(&self.readers, announcement);
        self.run("count what is to be announced", call).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        let call = async {
            let one = sqlx::query("SELECT 1 FROM clock");
            one.execute(&self.readers).await.map(drop)
        };
        self.run("ping the job records", call).await
    }
}
