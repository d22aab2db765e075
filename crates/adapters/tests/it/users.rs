//! `UserStore`: SQLite and MariaDB.

#![expect(clippy::unwrap_used, reason = "the steps tests share fail as tests do: by panicking")]

use std::sync::Arc;
use std::time::Duration;

use adapters::users::connect;
use domain::{Address, BackendUrl, PortError, User, UserStore};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};
use tempfile::TempDir;
use testkit::conformance::users as suite;
use testkit::servers::{Home as _, MariaDb, MariaDbHome, Signal, TestDatabase, mysql_database};

/// A database of one test, whichever adapter is behind it.
struct Database {
    url: BackendUrl,
    _directory: Option<TempDir>,
}

impl Database {
    fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("users.db").display());
        Self {
            url: url.parse().unwrap(),
            _directory: Some(directory),
        }
    }

    async fn mysql() -> Self {
        let TestDatabase { url, .. } = mysql_database().await;
        Self { url, _directory: None }
    }

    fn store(&self) -> Arc<dyn UserStore> {
        connect(&self.url).unwrap()
    }

    /// Stores as of several processes: none shares a connection.
    fn stores(&self) -> Vec<Arc<dyn UserStore>> {
        (0..6).map(|_| self.store()).collect()
    }
}

macro_rules! conformance {
    ($($behaviour:ident($store:ident)),+ $(,)?) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let database = Database::sqlite();
                suite::$behaviour(database.$store()).await;
            })+
        }
        mod mariadb {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let database = Database::mysql().await;
                suite::$behaviour(database.$store()).await;
            })+
        }
    };
}

conformance! {
    an_absent_account_is_none(store),
    a_created_account_is_found_as_it_was_spelt(store),
    a_taken_address_is_a_conflict_in_any_spelling(store),
    letters_beyond_ascii_never_match_each_other(store),
    an_address_is_never_read_as_sql(store),
    a_new_password_voids_earlier_tokens(store),
    a_rehash_replaces_only_what_was_read(store),
    repeating_a_change_finds_the_account_again(store),
    a_disabled_account_can_be_enabled_but_its_tokens_stay_void(store),
    a_removed_account_is_gone_and_its_tokens_stay_void(store),
    the_list_is_whole_and_ordered_by_id(store),
    the_longest_address_fits(store),
    several_replicas_prepare_at_once(stores),
    one_of_several_gets_an_address(stores),
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

async fn sql(url: &BackendUrl, statements: &str) {
    let mut connection = MySqlConnection::connect(url.expose()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// The table as the original system's users have it, under a collation of theirs.
fn original_table(collation: &str) -> String {
    let charset = collation.split('_').next().unwrap();
    format!(
        "CREATE TABLE user (
            id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
            email VARCHAR(255) NOT NULL UNIQUE,
            password VARCHAR(255) NOT NULL
        ) CHARACTER SET {charset} COLLATE {collation};
        INSERT INTO user (email, password) VALUES ('A@Email.com', 'Admin123');"
    )
}

#[tokio::test]
async fn an_original_table_is_extended_and_compares_by_ascii_case_whatever_its_collation() {
    let collations: Vec<(String,)> = sqlx::query_as(
        "SELECT CONVERT(collation_name USING utf8mb4) FROM information_schema.collations WHERE collation_name IN
         ('utf8mb4_general_ci', 'utf8mb4_unicode_ci', 'utf8mb4_0900_ai_ci', 'utf8mb4_bin', 'latin1_swedish_ci')",
    )
    .fetch_all(
        &mut MySqlConnection::connect(Database::mysql().await.url.expose())
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    assert!(collations.len() >= 4, "only MySQL knows one of them: {collations:?}");
    for collation in collations.iter().map(|(name,)| name.as_str()) {
        let database = Database::mysql().await;
        sql(&database.url, &original_table(collation)).await;
        let store = database.store();

        let user = store.find(&address("a@EMAIL.com")).await.unwrap().expect(collation);
        assert_eq!(
            (user.email.as_str(), user.password.as_str()),
            ("A@Email.com", "Admin123")
        );
        assert!(user.disabled_at.is_none() && user.tokens_valid_from.is_none());
        assert!(
            store.find(&address("á@email.com")).await.unwrap().is_none(),
            "{collation}"
        );

        assert!(
            !store.rehash(&user.email, "admin123", "$argon2id$").await.unwrap(),
            "{collation}"
        );
        assert!(
            store.rehash(&user.email, "Admin123", "$argon2id$").await.unwrap(),
            "{collation}"
        );
        assert!(store.set_disabled(&user.email, true).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_replicas_extend_one_original_table_at_once() {
    let database = Database::mysql().await;
    sql(&database.url, &original_table("utf8mb4_general_ci")).await;
    let stores = database.stores();
    let ada = address("a@email.com");
    let found = futures_util::future::join_all(stores.iter().map(|store| store.find(&ada))).await;
    for user in found {
        assert_eq!(user.unwrap().unwrap().password, "Admin123");
    }
}

#[tokio::test]
async fn rows_that_other_programs_insert_are_accounts() {
    let database = Database::mysql().await;
    let store = database.store();
    store.ping().await.unwrap();
    sql(
        &database.url,
        "INSERT INTO user (email, password) VALUES ('New@x.com', 'pw'), ('', 'no account')",
    )
    .await;
    assert_eq!(store.find(&address("new@X.com")).await.unwrap().unwrap().password, "pw");
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), 1, "a row without an address is passed over: {listed:?}");
}

#[tokio::test]
async fn one_address_stored_in_two_spellings_means_the_older_row() {
    let database = Database::mysql().await;
    sql(&database.url, &original_table("utf8mb4_bin")).await;
    sql(
        &database.url,
        "INSERT INTO user (email, password) VALUES ('a@email.com', 'second')",
    )
    .await;
    let store = database.store();
    for spelling in ["a@email.com", "A@Email.com"] {
        assert_eq!(
            store.find(&address(spelling)).await.unwrap().unwrap().password,
            "Admin123"
        );
    }
}

#[tokio::test]
async fn init_sql_runs_twice_and_makes_the_table_the_store_expects() {
    let database = Database::mysql().await;
    let name = database.url.expose().rsplit('/').next().unwrap().to_owned();
    let init = include_str!("../../../../init.sql")
        .replace("EXISTS auth", &format!("EXISTS {name}"))
        .replace("USE auth", &format!("USE {name}"));
    for _ in 0..2 {
        sql(&database.url, &init).await;
    }
    // Without the rights to change the table: nothing must be missing.
    sql(
        &database.url,
        &format!(
            "CREATE USER IF NOT EXISTS 'u{name}'@'%' IDENTIFIED BY 'pw';
             GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO 'u{name}'@'%';"
        ),
    )
    .await;
    let limited = database.url.expose().replace("root@", &format!("u{name}:pw@"));
    let store = connect(&limited.parse().unwrap()).unwrap();
    suite::a_taken_address_is_a_conflict_in_any_spelling(store).await;
    sql(&database.url, &format!("DROP USER 'u{name}'@'%'")).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_found_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let home = MariaDbHome::prepare(directory.path()).await.unwrap();
    let url: BackendUrl = format!("{}/auth", home.url()).parse().unwrap();
    let store = connect(&url).unwrap();
    let ada = address("ada@example.com");
    assert!(matches!(store.find(&ada).await, Err(PortError::Unavailable { .. })));

    let server = home.start().await.unwrap();
    assert!(
        matches!(store.find(&ada).await, Err(PortError::Unavailable { .. })),
        "the database does not exist yet"
    );
    let mut connection = MySqlConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("CREATE DATABASE auth")
        .execute(&mut connection)
        .await
        .unwrap();
    store.create(&ada, "hash").await.unwrap();
    assert_eq!(store.find(&ada).await.unwrap().unwrap().password, "hash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_unavailable_and_no_answer_reaches_another_question() {
    let directory = tempfile::tempdir().unwrap();
    let server = MariaDb::start(directory.path()).await.unwrap();
    let mut connection = MySqlConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("CREATE DATABASE auth")
        .execute(&mut connection)
        .await
        .unwrap();
    let store = connect(&format!("{}/auth", server.url()).parse().unwrap()).unwrap();
    let emails: Vec<Address> = (0..50).map(|n| address(&format!("user{n}@example.com"))).collect();
    for email in &emails {
        store.create(email, email.as_str()).await.unwrap();
    }

    let store = &store;
    let ask_everyone = || async {
        let questions = emails.iter().map(|email| async move {
            let answer = tokio::time::timeout(Duration::from_secs(60), store.find(email)).await;
            (email, answer.expect("every question is answered"))
        });
        futures_util::future::join_all(questions).await
    };
    let check = |answers: Vec<(&Address, Result<Option<User>, PortError>)>| {
        let mut unavailable = 0;
        for (email, answer) in answers {
            match answer {
                Ok(user) => assert_eq!(user.expect("it exists").password, email.as_str()),
                Err(error) => {
                    assert!(matches!(error, PortError::Unavailable { .. }), "{error:?}");
                    unavailable += 1;
                }
            }
        }
        unavailable
    };

    let asked = ask_everyone();
    let frozen = async { server.process().signal(Signal::STOP) };
    let (answers, ()) = tokio::join!(asked, frozen);
    check(answers);
    assert_eq!(
        check(ask_everyone().await),
        emails.len(),
        "nobody hears a frozen server"
    );
    server.process().signal(Signal::CONT);
    check(ask_everyone().await);
    while check(ask_everyone().await) > 0 {}
}

#[tokio::test]
async fn a_server_that_never_answers_is_unavailable() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mysql://root@{}/auth", silent.local_addr().unwrap());
    let store = connect(&url.parse().unwrap()).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(30), store.ping()).await;
    assert!(matches!(
        answer.expect("it gives up by itself"),
        Err(PortError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn an_unusable_url_is_refused_with_its_reason() {
    for url in [
        "postgres://x/y",
        "mysql://localhost",
        "mysql:",
        "sqlite:",
        "sqlite::memory:",
    ] {
        let refused = connect(&url.parse().unwrap());
        assert!(refused.is_err(), "{url}");
    }
    let refused = connect(&"sqlite:/proc/nowhere/users.db".parse().unwrap());
    assert!(matches!(refused, Err(adapters::ConnectError::Io { .. })));
}

#[tokio::test]
async fn a_sqlite_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/users.db");
    let store = connect(&format!("sqlite:{}", path.display()).parse().unwrap()).unwrap();
    store.create(&address("ada@example.com"), "hash").await.unwrap();
    for name in ["users.db", "users.db-wal", "users.db-shm"] {
        let mode = std::fs::metadata(path.with_file_name(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.db");
    std::fs::write(&path, "this is not a database, and it is longer than a header would be").unwrap();
    let store = connect(&format!("sqlite:{}", path.display()).parse().unwrap()).unwrap();
    assert!(matches!(store.ping().await, Err(PortError::Corrupt { .. })));
}
