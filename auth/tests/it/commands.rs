//! `auth user ...` on a real MariaDB, and settings that are refused.

use domain::BackendUrl;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};
use testkit::servers::mysql_database;

use crate::support::{SECRET, run, stderr, stdout};

async fn sql(url: &BackendUrl, statements: &str) {
    let mut connection = MySqlConnection::connect(url.expose()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn accounts_are_added_listed_changed_and_removed() {
    let database = mysql_database().await;
    let environment = [("USERS_URL", database.url.expose())];
    let user = |arguments: &[&str], input: &str| {
        let output = run(&environment, &[&["user"], arguments].concat(), input);
        (output.status.code().unwrap(), stdout(&output), stderr(&output))
    };

    assert_eq!(user(&["list"], "").1, "");
    assert_eq!(
        user(&["add", "Ada@example.com"], "hunter2\n"),
        (0, "added Ada@example.com\n".to_owned(), String::new())
    );
    assert_eq!(user(&["add", "bob@example.com"], "no line end").0, 0);
    let (status, _, complaint) = user(&["add", "ADA@example.com"], "x\n");
    assert_eq!(
        (status, complaint.as_str()),
        (64, "error: there is an account ADA@example.com already\n")
    );

    assert_eq!(user(&["disable", "ada@example.com"], "").0, 0);
    assert_eq!(
        user(&["list"], "").1,
        "1\tAda@example.com\tdisabled\thashed\n2\tbob@example.com\tenabled\thashed\n"
    );
    assert_eq!(user(&["enable", "ada@example.com"], "").0, 0);
    assert_eq!(user(&["passwd", "ada@example.com"], "hunter3\r\n").0, 0);
    assert_eq!(user(&["remove", "bob@example.com"], "").0, 0);
    for command in ["passwd", "disable", "enable", "remove"] {
        let (status, _, complaint) = user(&[command, "bob@example.com"], "x\n");
        assert_eq!(
            (status, complaint.as_str()),
            (64, "error: there is no account bob@example.com\n"),
            "{command}"
        );
    }

    let store = adapters::users::connect(&database.url).unwrap();
    let service = crate::support::service(store);
    let credentials = |password: &str| domain::Credentials {
        username: "ada@example.com".to_owned(),
        password: password.to_owned(),
    };
    assert!(
        domain::Authenticator::login(&*service, &credentials("hunter3"))
            .await
            .is_ok()
    );
    assert!(
        domain::Authenticator::login(&*service, &credentials("hunter2"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn plain_text_passwords_are_migrated_and_still_work() {
    let database = mysql_database().await;
    sql(
        &database.url,
        "CREATE TABLE user (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(255) NOT NULL UNIQUE,
                            password VARCHAR(255) NOT NULL);
         INSERT INTO user (email, password) VALUES ('a@email.com', 'Admin123'), ('b@email.com', '')",
    )
    .await;
    let environment = [("USERS_URL", database.url.expose())];
    assert_eq!(
        stdout(&run(&environment, &["user", "list"], "")),
        "1\ta@email.com\tenabled\tplain text\n2\tb@email.com\tenabled\tno password\n"
    );
    let migrated = run(&environment, &["user", "migrate-passwords"], "");
    assert_eq!(
        stdout(&migrated),
        "left b@email.com as it is: the password is empty\nhashed 1 passwords, left 1\n",
        "{}",
        stderr(&migrated)
    );
    assert!(stdout(&run(&environment, &["user", "list"], "")).starts_with("1\ta@email.com\tenabled\thashed\n"));
    let service = crate::support::service(adapters::users::connect(&database.url).unwrap());
    let credentials = domain::Credentials {
        username: "a@email.com".to_owned(),
        password: "Admin123".to_owned(),
    };
    assert!(domain::Authenticator::login(&*service, &credentials).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_a_password_or_an_address_is_refused() {
    let database = mysql_database().await;
    let environment = [("USERS_URL", database.url.expose())];
    let long = "x".repeat(1025);
    for (email, password, reason) in [
        ("a@x.com", "", "the password is empty"),
        ("a@x.com", "\n", "the password is empty"),
        ("a@x.com", "tab\there\n", "control character"),
        ("a@x.com", &long, "longer than 1024 bytes"),
        ("a:b@x.com", "hunter2\n", "an address with a colon cannot log in"),
        ("", "hunter2\n", "not an address"),
    ] {
        let refused = run(&environment, &["user", "add", email], password);
        assert_eq!(refused.status.code(), Some(64), "{email:?} {password:?}");
        assert!(stderr(&refused).contains(reason), "{}", stderr(&refused));
    }
    assert_eq!(stdout(&run(&environment, &["user", "list"], "")), "");
}

#[test]
fn a_store_that_is_away_is_our_trouble() {
    let output = run(
        &[("USERS_URL", "mysql://u:hunter2@127.0.0.1:1/auth")],
        &["user", "list"],
        "",
    );
    assert_eq!(output.status.code(), Some(70));
    assert!(
        stderr(&output).contains("list the accounts: not available"),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("hunter2"));
}

#[test]
fn a_password_is_never_an_argument() {
    let output = run(
        &[("USERS_URL", "mysql://127.0.0.1:1/auth")],
        &["user", "add", "a@x.com", "hunter2"],
        "",
    );
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn missing_and_contradictory_settings_are_one_sentence_and_status_64() {
    let url = ("USERS_URL", "mysql://127.0.0.1:1/auth");
    let secret = ("JWT_SECRET", SECRET);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[secret], "set USERS_URL, or MYSQL_USER"),
        (&[url], "JWT_SECRET is not set"),
        (
            &[url, ("JWT_SECRET", "sarcasm")],
            "JWT_SECRET has 7 bytes and needs at least 32",
        ),
        (&[url, ("JWT_SECRET", "")], "JWT_SECRET is not set"),
        (
            &[secret, ("USERS_URL", "sqlite:users.db")],
            "works only inside the single process",
        ),
        (&[secret, ("USERS_URL", "postgres://x/y")], "unknown scheme `postgres:`"),
        (
            &[secret, ("USERS_URL", "mysql://hunter2@127.0.0.1")],
            "it names no database",
        ),
        (&[secret, ("MYSQL_USER", "u"), ("MYSQL_PORT", "udp://x")], "MYSQL_PORT"),
        (&[secret, ("MYSQL_USER", "u"), ("MYSQL_HOST", "a b")], "MYSQL_HOST"),
        (
            &[url, secret, ("MP3_ADMIN_EMAIL", "a@x.com")],
            "MP3_ADMIN_PASSWORD is not",
        ),
        (
            &[url, secret, ("MP3_ADMIN_PASSWORD", "hunter2")],
            "MP3_ADMIN_EMAIL is not",
        ),
        (&[url, secret, ("MP3_LISTEN", "nowhere")], "--listen"),
        (&[url, secret, ("PLAINTEXT_PASSWORDS", "maybe")], "accept, refuse"),
        (
            &[url, secret, ("JWT_SECRET_FILE", "/nowhere")],
            "both JWT_SECRET and JWT_SECRET_FILE",
        ),
    ];
    for (variables, sentence) in cases {
        let output = run(variables, &[], "");
        let complaint = stderr(&output);
        assert_eq!(output.status.code(), Some(64), "{variables:?}: {complaint}");
        assert!(complaint.contains(sentence), "{variables:?}: {complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
    }
}
