//! Accounts in MySQL or MariaDB.

mod schema;

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Address, BackendUrl, Pool, PortError, User, UserStore};
use futures_util::future::BoxFuture;
use sqlx::MySqlPool;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions, MySqlQueryResult};
use tracing::Instrument as _;

use super::{Row, SETTING, next_second, now_seconds, port_error, user};
use crate::ConnectError;

/// How long a call waits for a connection; sqlx's own 30 s would make a login hang.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(2);
/// How long a statement may take; sqlx sets no limit.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(3);
/// How long making the table agree may take, once.
const PREPARATION_DEADLINE: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 10;

/// The first row counts where other writers stored one address in several spellings.
const FIND: &str = "SELECT CAST(id AS SIGNED), CONVERT(email USING utf8mb4), \
     CONVERT(password USING utf8mb4), disabled_at, tokens_valid_from \
     FROM user WHERE email_key = ? ORDER BY id LIMIT 1";
const LIST: &str = "SELECT CAST(id AS SIGNED), CONVERT(email USING utf8mb4), \
     CONVERT(password USING utf8mb4), disabled_at, tokens_valid_from \
     FROM user ORDER BY id";

/// The table `user` of a MySQL or MariaDB database; several processes may use it at once.
///
/// The database must exist (`init.sql`), the table need not. Comparison goes by the column `email_key`, the address in
/// ASCII lower case, which the server computes for rows of any writer: the collation of `email` does not matter.
pub struct MySqlUserStore {
    pool: MySqlPool,
    prepared: Arc<AtomicBool>,
}

impl MySqlUserStore {
    /// Makes a pool without connecting. Must be called within a tokio runtime.
    ///
    /// TLS is used where the server offers it, unless the URL's `ssl-mode` says otherwise.
    ///
    /// # Errors
    /// The driver cannot read the URL, or it names no database.
    pub fn new(url: &BackendUrl) -> Result<Self, ConnectError> {
        let invalid = |source: domain::Source| ConnectError::Invalid { port: SETTING, source };
        let options = MySqlConnectOptions::from_str(url.expose()).map_err(|error| invalid(Box::new(error)))?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(invalid("it names no database: expected mysql://HOST/auth".into()));
        }
        let pool = MySqlPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECTION_DEADLINE)
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            prepared: Arc::default(),
        })
    }

    /// Runs `statement` on a connection, in a task of its own: a caller that goes away does not cut it off half-way,
    /// and a connection whose answer is still out is closed, not used again.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        statement: impl for<'c> FnOnce(&'c mut MySqlConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    ) -> Result<T, PortError> {
        let pool = self.pool.clone();
        let prepared = Arc::clone(&self.prepared);
        let task = async move {
            let mut connection = pool.acquire().await?;
            let deadline = if prepared.load(Ordering::Acquire) {
                STATEMENT_DEADLINE
            } else {
                PREPARATION_DEADLINE
            };
            let work = async {
                if !prepared.load(Ordering::Acquire) {
                    schema::prepare(&mut connection).await?;
                    prepared.store(true, Ordering::Release);
                }
                statement(&mut connection).await
            };
            match tokio::time::timeout(deadline, work).await {
                Ok(answer) => answer,
                Err(elapsed) => {
                    connection.close_on_drop();
                    Err(sqlx::Error::Io(elapsed.into()))
                }
            }
        };
        match tokio::spawn(task.in_current_span()).await {
            Ok(answer) => answer.map_err(|error| port_error(operation, error)),
            Err(error) => Err(PortError::unavailable(operation, error)),
        }
    }

    /// Runs a statement that changes rows; whether there was one.
    async fn change(
        &self,
        operation: &'static str,
        statement: impl for<'c> FnOnce(&'c mut MySqlConnection) -> BoxFuture<'c, sqlx::Result<MySqlQueryResult>>
        + Send
        + 'static,
    ) -> Result<bool, PortError> {
        // The driver asks the server to count the rows found, not those that came out different.
        let result = self.run(operation, statement).await?;
        Ok(result.rows_affected() > 0)
    }
}

#[async_trait]
impl UserStore for MySqlUserStore {
    async fn find(&self, email: &Address) -> Result<Option<User>, PortError> {
        let key = email.key();
        let row = self
            .run("find an account", move |connection| {
                Box::pin(sqlx::query_as::<_, Row>(FIND).bind(key).fetch_optional(connection))
            })
            .await?;
        // A collation that pads takes trailing spaces for nothing; an address does not.
        Ok(row.and_then(user).filter(|user| user.email == *email))
    }

    async fn create(&self, email: &Address, password_hash: &str) -> Result<(), PortError> {
        let (email, password_hash) = (email.to_string(), password_hash.to_owned());
        self.change("add an account", move |connection| {
            Box::pin(
                sqlx::query("INSERT INTO user (email, password, tokens_valid_from) VALUES (?, ?, ?)")
                    .bind(email)
                    .bind(password_hash)
                    .bind(next_second())
                    .execute(connection),
            )
        })
        .await?;
        Ok(())
    }

    async fn set_password(&self, email: &Address, password_hash: &str) -> Result<bool, PortError> {
        let (key, password_hash) = (email.key(), password_hash.to_owned());
        self.change("set a password", move |connection| {
            Box::pin(
                sqlx::query(
                    "UPDATE user SET password = ?,
                         tokens_valid_from = GREATEST(COALESCE(tokens_valid_from + 1, 0), ?)
                     WHERE email_key = ?",
                )
                .bind(password_hash)
                .bind(next_second())
                .bind(key)
                .execute(connection),
            )
        })
        .await
    }

    async fn rehash(&self, email: &Address, stored: &str, password_hash: &str) -> Result<bool, PortError> {
        let (key, stored, password_hash) = (email.key(), stored.to_owned(), password_hash.to_owned());
        self.change("rehash a password", move |connection| {
            Box::pin(
                sqlx::query(
                    "UPDATE user SET password = ? WHERE email_key = ?
                     AND CONVERT(password USING utf8mb4) COLLATE utf8mb4_bin = ?",
                )
                .bind(password_hash)
                .bind(key)
                .bind(stored)
                .execute(connection),
            )
        })
        .await
    }

    async fn set_disabled(&self, email: &Address, disabled: bool) -> Result<bool, PortError> {
        let key = email.key();
        self.change("disable or enable an account", move |connection| {
            let query = if disabled {
                sqlx::query(
                    "UPDATE user SET disabled_at = COALESCE(disabled_at, ?),
                         tokens_valid_from = GREATEST(COALESCE(tokens_valid_from + 1, 0), ?)
                     WHERE email_key = ?",
                )
                .bind(now_seconds())
                .bind(next_second())
            } else {
                sqlx::query("UPDATE user SET disabled_at = NULL WHERE email_key = ?")
            };
            Box::pin(query.bind(key).execute(connection))
        })
        .await
    }

    async fn remove(&self, email: &Address) -> Result<bool, PortError> {
        let key = email.key();
        self.change("remove an account", move |connection| {
            Box::pin(
                sqlx::query("DELETE FROM user WHERE email_key = ?")
                    .bind(key)
                    .execute(connection),
            )
        })
        .await
    }

    async fn list(&self) -> Result<Vec<User>, PortError> {
        let rows = self
            .run("list the accounts", |connection| {
                Box::pin(sqlx::query_as::<_, Row>(LIST).fetch_all(connection))
            })
            .await?;
        Ok(rows.into_iter().filter_map(user).collect())
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.run("reach the accounts", |connection| {
            Box::pin(sqlx::query("SELECT 1").execute(connection))
        })
        .await?;
        Ok(())
    }

    fn pool(&self) -> Option<Pool> {
        let idle = u64::try_from(self.pool.num_idle()).unwrap_or_default();
        Some(Pool {
            places: CONNECTIONS.into(),
            busy: u64::from(self.pool.size()).saturating_sub(idle),
        })
    }
}
