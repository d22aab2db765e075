//! The accounts: the table `user`, in a SQLite file for one machine or in MySQL or MariaDB for a cluster.
//!
//! Both make the table when it is missing and add what an older one lacks, at the first call that reaches the
//! database: two processes that do so at once both succeed, and a server that is away is asked again at the next call.

mod mysql;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use domain::{Address, BackendUrl, PortError, Timestamp, User, UserStore};

use crate::ConnectError;
pub use mysql::MySqlUserStore;
pub use sqlite::SqliteUserStore;

/// The setting this port's URL comes from.
const SETTING: &str = "USERS_URL";

/// The account store behind `url`. Its server need not be up. Must be called within a tokio runtime.
///
/// # Errors
/// The scheme is neither `sqlite:` nor `mysql:`, the URL cannot be used, or the file cannot be opened.
pub fn connect(url: &BackendUrl) -> Result<Arc<dyn UserStore>, ConnectError> {
    match url.scheme() {
        "sqlite" => Ok(Arc::new(SqliteUserStore::open(Path::new(url.path()))?)),
        "mysql" => Ok(Arc::new(MySqlUserStore::new(url)?)),
        scheme => Err(ConnectError::UnknownScheme {
            port: SETTING,
            scheme: scheme.to_owned(),
            expected: "sqlite: or mysql:",
        }),
    }
}

/// `id, email, password, disabled_at, tokens_valid_from`, as both adapters select them; moments in seconds since 1970.
type Row = (i64, String, String, Option<i64>, Option<i64>);

/// The account of a row; None when its address is none, as only a foreign writer can have made it.
fn user((id, email, password, disabled_at, tokens_valid_from): Row) -> Option<User> {
    let Ok(email) = Address::try_from(email) else {
        tracing::warn!(
            user.id = id,
            "the account is ignored: its e-mail column holds no address"
        );
        return None;
    };
    let moment = |seconds: i64| Timestamp::from_unix_ms(seconds.saturating_mul(1000));
    Some(User {
        id,
        email,
        password,
        disabled_at: disabled_at.map(moment),
        tokens_valid_from: tokens_valid_from.map(moment),
    })
}

/// The present in whole seconds since 1970.
fn now_seconds() -> i64 {
    Timestamp::now().unix_ms().div_euclid(1000)
}

/// The first whole second that begins after the present one: what was issued until now carries an earlier one.
///
/// A second change within one second goes one further, since a login in between carries the first change's second.
fn next_second() -> i64 {
    now_seconds() + 1
}

/// Sorts a driver's error by what the caller does next.
fn port_error(operation: &'static str, error: sqlx::Error) -> PortError {
    const MYSQL_DISK_FULL: [u16; 2] = [1021, 1114];
    const SQLITE_FULL: u32 = 13;
    const SQLITE_DAMAGED: [u32; 2] = [11, 26];

    match &error {
        sqlx::Error::Database(database) => {
            let mysql = database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
            let sqlite = sqlite_code(&**database);
            let full =
                mysql.is_some_and(|error| MYSQL_DISK_FULL.contains(&error.number())) || sqlite == Some(SQLITE_FULL);
            let damaged = sqlite.is_some_and(|code| SQLITE_DAMAGED.contains(&code));
            if database.is_unique_violation() {
                // The driver's message quotes the address: it is not kept.
                return PortError::conflict(operation);
            }
            if full {
                return PortError::Full {
                    operation: operation.into(),
                };
            }
            if damaged {
                return PortError::corrupt(operation, "the file is not a sound SQLite database");
            }
        }
        sqlx::Error::ColumnDecode { index, .. } => {
            return PortError::corrupt(operation, format!("table user, column {index}"));
        }
        _ => {}
    }
    PortError::unavailable(operation, error)
}

/// SQLite's primary result code, without the detail its upper bits add.
fn sqlite_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}
