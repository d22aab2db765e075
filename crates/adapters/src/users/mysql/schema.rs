//! Makes the table `user` agree with this version.
//!
//! Asks before it changes anything, so that an account without the right to do so can run beside a table that is
//! complete. Whoever comes second meets "exists already", which is what was wanted.

use std::sync::LazyLock;

use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, Row as _};

const DUPLICATE_COLUMN: u16 = 1060;
const DUPLICATE_INDEX_NAME: u16 = 1061;
const DUPLICATE_VALUE: u16 = 1062;

/// What a table may lack, in the order in which it is added. All of it has defaults, so other writers need not know.
static LATER_COLUMNS: LazyLock<[(&str, String); 3]> = LazyLock::new(|| {
    [
        (
            "disabled_at",
            "BIGINT NULL DEFAULT NULL COMMENT 'seconds since 1970'".to_owned(),
        ),
        (
            "tokens_valid_from",
            "BIGINT NULL DEFAULT NULL COMMENT 'seconds since 1970'".to_owned(),
        ),
        (
            "email_key",
            format!(
                "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin \
                 GENERATED ALWAYS AS ({}) STORED",
                ascii_lower_case("email")
            ),
        ),
    ]
});

/// An SQL expression: `column` with the letters A to Z in lower case and everything else as it is.
///
/// `LOWER` folds more letters than these, and how many depends on the collation and the server.
fn ascii_lower_case(column: &str) -> String {
    ('A'..='Z').fold(column.to_owned(), |expression, letter| {
        format!("REPLACE({expression},'{letter}','{}')", letter.to_ascii_lowercase())
    })
}

/// Makes the table, or adds what it lacks.
pub(super) async fn prepare(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let columns = names(
        connection,
        "SELECT CONVERT(column_name USING utf8mb4) FROM information_schema.columns
         WHERE table_schema = DATABASE() AND table_name = 'user'",
    )
    .await?;
    if columns.is_empty() {
        make_table(connection).await?;
        tracing::info!("made the table user");
        return Ok(());
    }
    for (column, definition) in &*LATER_COLUMNS {
        if !columns.iter().any(|name| name.eq_ignore_ascii_case(column)) {
            add_column(connection, column, definition).await?;
        }
    }
    let indexed = names(
        connection,
        "SELECT CONVERT(column_name USING utf8mb4) FROM information_schema.statistics
         WHERE table_schema = DATABASE() AND table_name = 'user' AND seq_in_index = 1",
    )
    .await?;
    if !indexed.iter().any(|name| name.eq_ignore_ascii_case("email_key")) {
        add_index(connection).await;
    }
    Ok(())
}

async fn names(connection: &mut MySqlConnection, sql: &'static str) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The original's columns and ours. `email` compares byte for byte whatever the server's default, so that an accent
/// makes another account; `email_key` takes care of case.
async fn make_table(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let additions: String = LATER_COLUMNS
        .iter()
        .map(|(column, definition)| format!("{column} {definition}, "))
        .collect();
    let statement = format!(
        "CREATE TABLE IF NOT EXISTS user (
            id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
            email VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
            password VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
            {additions}
            UNIQUE KEY email_key (email_key)
        ) CHARACTER SET utf8mb4"
    );
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

async fn add_column(connection: &mut MySqlConnection, column: &str, definition: &str) -> sqlx::Result<()> {
    let statement = format!("ALTER TABLE user ADD COLUMN {column} {definition}");
    match sqlx::query(AssertSqlSafe(statement)).execute(connection).await {
        Ok(_) => tracing::info!(column, "added a column to the table user"),
        Err(error) if number(&error) == Some(DUPLICATE_COLUMN) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The index speeds the look-up and keeps two spellings of one address out. A table works without: slower, and with
/// nobody guarding what other programs insert.
async fn add_index(connection: &mut MySqlConnection) {
    let unique = sqlx::query("ALTER TABLE user ADD UNIQUE INDEX email_key (email_key)")
        .execute(&mut *connection)
        .await;
    let Err(error) = unique else { return };
    let outcome = match number(&error) {
        Some(DUPLICATE_INDEX_NAME) => return,
        Some(DUPLICATE_VALUE) => {
            tracing::warn!(
                "the table user holds one address in several spellings, and the oldest row counts: \
                 remove the others, then the index email_key, and restart"
            );
            sqlx::query("ALTER TABLE user ADD INDEX email_key (email_key)")
                .execute(connection)
                .await
        }
        _ => Err(error),
    };
    match outcome {
        Ok(_) => {}
        Err(error) if number(&error) == Some(DUPLICATE_INDEX_NAME) => {}
        Err(error) => tracing::warn!(
            error = %domain::Chain(&error),
            "cannot index the column email_key of the table user: every login reads the whole table"
        ),
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let database = error.as_database_error()?;
    Some(database.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_init_sql_is_the_key_of_the_service() {
        let init = include_str!("../../../../../init.sql");
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        for (column, definition) in &*LATER_COLUMNS {
            let wanted = squeeze(&format!("{column} {definition}"));
            assert!(squeeze(init).contains(&wanted), "{column}");
        }
    }
}
