//! Job records in SQLite.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adapters::jobs::SqliteJobStore;
use anyhow::Result;
use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use testkit::conformance::jobs::{Ageing, Bench};

/// A file that is there as long as its bench.
struct File {
    path: PathBuf,
    _directory: TempDir,
}

#[async_trait]
impl Ageing for File {
    async fn age(&self, by: Duration) -> Result<()> {
        let moved: Vec<String> = super::TIMES
            .iter()
            .map(|time| time.replace('.', "_"))
            .map(|column| format!("{column} = {column} - {}", by.as_millis()))
            .collect();
        let options = SqliteConnectOptions::new().filename(&self.path);
        let mut connection = options.busy_timeout(Duration::from_secs(30)).connect().await?;
        sqlx::query(AssertSqlSafe(format!("UPDATE jobs SET {}", moved.join(", "))))
            .execute(&mut connection)
            .await?;
        Ok(())
    }
}

pub(super) async fn open() -> Result<Bench> {
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

mod conformance {
    testkit::job_store_suite!(super::open);
}
