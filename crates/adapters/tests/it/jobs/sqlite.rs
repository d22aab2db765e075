//! Job records in SQLite: the suite, and what a file shared by processes adds.

mod model;
mod story;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adapters::ConnectError;
use adapters::jobs::SqliteJobStore;
use anyhow::Result;
use async_trait::async_trait;
use domain::{Bucket, JobStore, PortError, Reference, Step};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;
use testkit::conformance::jobs::{Ageing, Bench, ada, converted_for_good, new_job, uploaded};
use tokio::task::JoinSet;

mod conformance {
    testkit::job_store_suite!(super::open);
}

/// A file that is there as long as its bench.
struct File {
    path: PathBuf,
    _directory: TempDir,
}

#[async_trait]
impl Ageing for File {
    async fn age(&self, by: Duration) -> Result<()> {
        self.move_times(-i64::try_from(by.as_millis())?).await
    }

    async fn set_clock_back(&self, by: Duration) -> Result<()> {
        self.move_times(i64::try_from(by.as_millis())?).await
    }
}

impl File {
    /// Moves every time of every record that is not 1970 by this much.
    async fn move_times(&self, milliseconds: i64) -> Result<()> {
        let moved: Vec<String> = super::TIMES
            .iter()
            .map(|time| time.replace('.', "_"))
            .map(|column| format!("{column} = iif({column} = 0, 0, {column} + {milliseconds})"))
            .collect();
        let update = format!("UPDATE jobs SET {}", moved.join(", "));
        let mut connection = connection(&self.path).await?;
        sqlx::query(AssertSqlSafe(update)).execute(&mut connection).await?;
        let update = format!("UPDATE charges SET until = until + {milliseconds}");
        sqlx::query(AssertSqlSafe(update)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}

/// What another program would open.
async fn connection(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path);
    Ok(options.busy_timeout(Duration::from_secs(30)).connect().await?)
}

async fn open() -> Result<Bench> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    Ok(Bench {
        store: Arc::new(SqliteJobStore::open(&path)?),
        other: Arc::new(SqliteJobStore::open(&path)?),
        ageing: Box::new(File {
            path,
            _directory: directory,
        }),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_open_a_new_file_at_once() -> Result<()> {
    for _ in 0..5 {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("jobs.db");
        let mut starts = JoinSet::new();
        for _ in 0..8 {
            let store = SqliteJobStore::open(&path)?;
            starts.spawn(async move { store.create(new_job(ada())).await });
        }
        for started in starts.join_all().await {
            started?;
        }
        let jobs = SqliteJobStore::open(&path)?.list(None, None, 100, None).await?;
        assert_eq!(jobs.len(), 8);
    }
    Ok(())
}

#[tokio::test]
async fn records_outlive_the_process() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    let job = new_job(ada());
    let id = job.id;
    let store = SqliteJobStore::open(&path)?;
    store.create(job).await?;
    store.commit_upload(id, uploaded()).await?;
    // Without closing it, as a crash would.
    std::mem::forget(store);
    let claim = SqliteJobStore::open(&path)?.claim_due(Step::Convert).await?;
    assert_eq!(claim.map(|claim| claim.job.id), Some(id));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_another_programs_write_and_a_read_does_not() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    let store = Arc::new(SqliteJobStore::open(&path)?);
    let (first, second) = (new_job(ada()), new_job(ada()));
    let (first_id, second_id) = (first.id, second.id);
    store.create(first).await?;

    let mut writer = connection(&path).await?;
    let lock = writer.begin_with("BEGIN IMMEDIATE").await?;
    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.create(second).await }
    });
    assert!(store.get(first_id).await?.is_some());
    assert!(store.get(second_id).await?.is_none());
    lock.commit().await?;
    writing.await??;
    assert!(store.get(second_id).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn the_records_are_readable_by_their_user_alone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    SqliteJobStore::open(&path)?.create(new_job(ada())).await?;
    for file in std::fs::read_dir(directory.path())? {
        let file = file?;
        assert_eq!(file.metadata()?.permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
    Ok(())
}

#[tokio::test]
async fn a_file_in_a_missing_directory_cannot_be_opened() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let opened = SqliteJobStore::open(&directory.path().join("missing/jobs.db"));
    assert!(matches!(opened, Err(ConnectError::Io { .. })));
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_database_or_of_a_newer_program_is_left_alone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    std::fs::write(
        &path,
        "Dear diary, today I learnt what a file header is for. ".repeat(100),
    )?;
    let refused = SqliteJobStore::open(&path)?.ping().await;
    assert!(matches!(refused, Err(PortError::Corrupt { .. })), "{refused:?}");

    let path = directory.path().join("newer.db");
    SqliteJobStore::open(&path)?.ping().await?;
    let mut connection = connection(&path).await?;
    sqlx::query("PRAGMA user_version = 99").execute(&mut connection).await?;
    let refused = SqliteJobStore::open(&path)?.ping().await;
    assert!(matches!(refused, Err(PortError::Corrupt { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_file_of_an_older_program_is_brought_up_to_date_with_its_records() -> Result<()> {
    for (version, added_since) in [
        (5, &["mp3_notes"][..]),
        (4, &["mp3_notes", "trace"]),
        (3, &["mp3_notes", "trace", "tell_in_doubt"]),
        (
            2,
            &["mp3_notes", "trace", "tell_in_doubt", "idempotency_key", "video_sha256"],
        ),
        (
            1,
            &[
                "mp3_notes",
                "trace",
                "tell_in_doubt",
                "idempotency_key",
                "video_sha256",
                "video_unneeded",
            ],
        ),
    ] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("jobs.db");
        let store = SqliteJobStore::open(&path)?;
        let job = new_job(ada());
        let id = job.id;
        store.create(job).await?;
        let mut connection = connection(&path).await?;
        if version < 4 {
            sqlx::raw_sql("DROP TABLE charges").execute(&mut connection).await?;
        }
        if version < 3 {
            sqlx::raw_sql("DROP INDEX jobs_by_key").execute(&mut connection).await?;
        }
        for column in added_since {
            let drop = format!("ALTER TABLE jobs DROP COLUMN {column}");
            sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&mut connection).await?;
        }
        let pragma = format!("PRAGMA user_version = {version}");
        sqlx::query(sqlx::AssertSqlSafe(pragma))
            .execute(&mut connection)
            .await?;
        drop((store, connection));

        let store = SqliteJobStore::open(&path)?;
        assert!(store.commit_upload(id, uploaded()).await?, "layout {version}");
        let key: domain::IdempotencyKey = "key".parse()?;
        let keyed = || domain::NewJob {
            key: Some(key.clone()),
            ..new_job(ada())
        };
        store.create(keyed()).await?;
        assert!(store.create(keyed()).await.is_err(), "layout {version}");
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_reported_as_damaged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    let store = SqliteJobStore::open(&path)?;
    let job = new_job(ada());
    let id = job.id;
    store.create(job).await?;
    let mut connection = connection(&path).await?;
    sqlx::query("UPDATE jobs SET options = 'nonsense'")
        .execute(&mut connection)
        .await?;
    let read = store.get(id).await;
    assert!(matches!(read, Err(PortError::Corrupt { .. })), "{read:?}");
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_other_job_waiting() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    let store = SqliteJobStore::open(&path)?;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let job = new_job(ada());
        ids.push(job.id);
        store.create(job).await?;
        store.commit_upload(*ids.last().unwrap(), uploaded()).await?;
    }
    let mut connection = connection(&path).await?;
    let spoil = "UPDATE jobs SET options = 'nonsense' WHERE id IN (?1, ?2)";
    let spoil = sqlx::query(spoil).bind(ids[0].to_string()).bind(ids[2].to_string());
    spoil.execute(&mut connection).await?;
    for id in [ids[1], ids[3]] {
        let claim = store.claim_due(Step::Convert).await?;
        assert_eq!(claim.map(|claim| claim.job.id), Some(id));
    }
    assert!(store.claim_due(Step::Convert).await?.is_none());
    let asked = store.claim(Step::Convert, ids[0]).await;
    assert!(matches!(asked, Err(PortError::Corrupt { .. })), "{asked:?}");

    // As it was, for who mends it.
    sqlx::query("UPDATE jobs SET options = '{}'")
        .execute(&mut connection)
        .await?;
    let claim = SqliteJobStore::open(&path)?.claim_due(Step::Convert).await?.unwrap();
    assert_eq!((claim.job.id, claim.job.attempts), (ids[0], 1));
    Ok(())
}

#[tokio::test]
async fn records_of_the_first_layout_are_taken_over() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("jobs.db");
    let store = SqliteJobStore::open(&path)?;
    let job = new_job(ada());
    let id = job.id;
    store.create(job).await?;
    store.commit_upload(id, uploaded()).await?;
    let mut connection = connection(&path).await?;
    let first_layout = "DROP INDEX jobs_by_key; ALTER TABLE jobs DROP COLUMN idempotency_key;
         ALTER TABLE jobs DROP COLUMN video_sha256; ALTER TABLE jobs DROP COLUMN video_unneeded;
         ALTER TABLE jobs DROP COLUMN tell_in_doubt; ALTER TABLE jobs DROP COLUMN trace; ALTER TABLE jobs DROP COLUMN mp3_notes;
         DROP TABLE charges;
         PRAGMA user_version = 1";
    sqlx::raw_sql(first_layout).execute(&mut connection).await?;
    drop(store);
    let store = SqliteJobStore::open(&path)?;
    let claim = store.claim_due(Step::Convert).await?.unwrap();
    assert!(store.settle(&claim, converted_for_good(&claim)).await?);
    assert_eq!(store.references(Bucket::Videos, &[id]).await?, [Reference::Lost]);
    Ok(())
}
