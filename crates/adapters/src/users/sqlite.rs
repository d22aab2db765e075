//! Accounts in a SQLite file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Address, PortError, User, UserStore};
use sqlx::SqlitePool;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqlitePoolOptions};

use super::{Row, SETTING, next_second, now_seconds, port_error, sqlite_code, user};
use crate::ConnectError;

/// How long a statement waits for another process's write, and a call for a connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often switching to the write-ahead log is tried again: SQLite does not wait for that lock by itself.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const READERS: u32 = 4;

/// The table; addresses compare without regard to ASCII case, which is what `NOCASE` means.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS user (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL,
    disabled_at INTEGER DEFAULT NULL,
    tokens_valid_from INTEGER DEFAULT NULL
)";

/// What a table of an older version or of another writer may lack.
const LATER_COLUMNS: [(&str, &str); 2] = [
    (
        "disabled_at",
        "ALTER TABLE user ADD COLUMN disabled_at INTEGER DEFAULT NULL",
    ),
    (
        "tokens_valid_from",
        "ALTER TABLE user ADD COLUMN tokens_valid_from INTEGER DEFAULT NULL",
    ),
];

/// The table `user` in a SQLite file, in write-ahead mode; several processes may use it at once.
pub struct SqliteUserStore {
    readers: SqlitePool,
    /// One connection: writers of this process wait here, in order, and not for SQLite's lock.
    writer: SqlitePool,
    prepared: AtomicBool,
}

impl SqliteUserStore {
    /// Opens the file, or makes an empty one (and its directory) that only its owner may read.
    ///
    /// # Errors
    /// The path names no file, or the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, ConnectError> {
        if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
            return Err(ConnectError::Invalid {
                port: SETTING,
                source: "expected the path of a file, as in `sqlite:data/users.db`".into(),
            });
        }
        make_file(path).map_err(|source| ConnectError::Io {
            path: path.display().to_string(),
            source,
        })?;
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(PATIENCE)
                .connect_lazy_with(options.clone())
        };
        Ok(Self {
            readers: pool(READERS),
            writer: pool(1),
            prepared: AtomicBool::new(false),
        })
    }

    async fn reader(&self) -> sqlx::Result<PoolConnection<Sqlite>> {
        if !self.prepared.load(Ordering::Acquire) {
            drop(self.writer().await?);
        }
        self.readers.acquire().await
    }

    async fn writer(&self) -> sqlx::Result<PoolConnection<Sqlite>> {
        let mut connection = self.writer.acquire().await?;
        if !self.prepared.load(Ordering::Acquire) {
            prepare(&mut connection).await?;
            self.prepared.store(true, Ordering::Release);
        }
        Ok(connection)
    }
}

/// Makes an empty file, which SQLite takes for an empty database; its companions get the same permissions.
fn make_file(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    Ok(())
}

/// Switches to the write-ahead log and makes the table agree with this version.
async fn prepare(connection: &mut PoolConnection<Sqlite>) -> sqlx::Result<()> {
    tokio::time::timeout(PATIENCE, write_ahead(connection))
        .await
        .map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;

    // Immediate: whoever asks second waits, and then finds everything in place.
    let mut transaction = sqlx::Connection::begin_with(&mut **connection, "BEGIN IMMEDIATE").await?;
    sqlx::query(TABLE).execute(&mut *transaction).await?;
    let columns: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info('user')")
        .fetch_all(&mut *transaction)
        .await?;
    for (column, addition) in LATER_COLUMNS {
        if !columns.iter().any(|(name,)| name == column) {
            sqlx::query(addition).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

async fn write_ahead(connection: &mut PoolConnection<Sqlite>) -> sqlx::Result<()> {
    const SQLITE_BUSY: u32 = 5;
    loop {
        match sqlx::query("PRAGMA journal_mode = WAL")
            .execute(&mut **connection)
            .await
        {
            Err(sqlx::Error::Database(error)) if sqlite_code(&*error) == Some(SQLITE_BUSY) => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            ended => return ended.map(|_| ()),
        }
    }
}

#[async_trait]
impl UserStore for SqliteUserStore {
    async fn find(&self, email: &Address) -> Result<Option<User>, PortError> {
        let found = async {
            let mut connection = self.reader().await?;
            sqlx::query_as::<_, Row>(
                "SELECT id, email, password, disabled_at, tokens_valid_from FROM user
                 WHERE email = ? COLLATE NOCASE ORDER BY id LIMIT 1",
            )
            .bind(email.as_str())
            .fetch_optional(&mut *connection)
            .await
        };
        let row = found.await.map_err(|error| port_error("find an account", error))?;
        Ok(row.and_then(user))
    }

    async fn create(&self, email: &Address, password_hash: &str) -> Result<(), PortError> {
        let created = async {
            let mut connection = self.writer().await?;
            sqlx::query("INSERT INTO user (email, password, tokens_valid_from) VALUES (?, ?, ?)")
                .bind(email.as_str())
                .bind(password_hash)
                .bind(next_second())
                .execute(&mut *connection)
                .await
        };
        created.await.map_err(|error| port_error("add an account", error))?;
        Ok(())
    }

    async fn set_password(&self, email: &Address, password_hash: &str) -> Result<bool, PortError> {
        let changed = async {
            let mut connection = self.writer().await?;
            sqlx::query(
                "UPDATE user SET password = ?, tokens_valid_from = MAX(COALESCE(tokens_valid_from + 1, 0), ?)
                 WHERE email = ? COLLATE NOCASE",
            )
            .bind(password_hash)
            .bind(next_second())
            .bind(email.as_str())
            .execute(&mut *connection)
            .await
        };
        let changed = changed.await.map_err(|error| port_error("set a password", error))?;
        Ok(changed.rows_affected() > 0)
    }

    async fn rehash(&self, email: &Address, stored: &str, password_hash: &str) -> Result<bool, PortError> {
        let changed = async {
            let mut connection = self.writer().await?;
            sqlx::query("UPDATE user SET password = ? WHERE email = ? COLLATE NOCASE AND password = ?")
                .bind(password_hash)
                .bind(email.as_str())
                .bind(stored)
                .execute(&mut *connection)
                .await
        };
        let changed = changed.await.map_err(|error| port_error("rehash a password", error))?;
        Ok(changed.rows_affected() > 0)
    }

    async fn set_disabled(&self, email: &Address, disabled: bool) -> Result<bool, PortError> {
        let changed = async {
            let mut connection = self.writer().await?;
            let query = if disabled {
                sqlx::query(
                    "UPDATE user SET disabled_at = COALESCE(disabled_at, ?),
                         tokens_valid_from = MAX(COALESCE(tokens_valid_from + 1, 0), ?)
                     WHERE email = ? COLLATE NOCASE",
                )
                .bind(now_seconds())
                .bind(next_second())
            } else {
                sqlx::query("UPDATE user SET disabled_at = NULL WHERE email = ? COLLATE NOCASE")
            };
            query.bind(email.as_str()).execute(&mut *connection).await
        };
        let changed = changed
            .await
            .map_err(|error| port_error("disable or enable an account", error))?;
        Ok(changed.rows_affected() > 0)
    }

    async fn remove(&self, email: &Address) -> Result<bool, PortError> {
        let removed = async {
            let mut connection = self.writer().await?;
            sqlx::query("DELETE FROM user WHERE email = ? COLLATE NOCASE")
                .bind(email.as_str())
                .execute(&mut *connection)
                .await
        };
        let removed = removed.await.map_err(|error| port_error("remove an account", error))?;
        Ok(removed.rows_affected() > 0)
    }

    async fn list(&self) -> Result<Vec<User>, PortError> {
        let listed = async {
            let mut connection = self.reader().await?;
            sqlx::query_as::<_, Row>("SELECT id, email, password, disabled_at, tokens_valid_from FROM user ORDER BY id")
                .fetch_all(&mut *connection)
                .await
        };
        let rows = listed.await.map_err(|error| port_error("list the accounts", error))?;
        Ok(rows.into_iter().filter_map(user).collect())
    }

    async fn ping(&self) -> Result<(), PortError> {
        let answered = async {
            let mut connection = self.reader().await?;
            sqlx::query("SELECT 1").execute(&mut *connection).await
        };
        answered
            .await
            .map_err(|error| port_error("reach the accounts", error))?;
        Ok(())
    }
}
