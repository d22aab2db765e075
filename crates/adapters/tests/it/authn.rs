//! `Authenticator`: in the same process, behind our auth service, and behind the original's.

#![expect(clippy::unwrap_used, reason = "the steps tests share fail as tests do: by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adapters::authn::HttpAuthenticator;
use auth::{AuthService, PlaintextPasswords, TokenSigner};
use domain::{AuthError, Authenticator, BackendUrl, Credentials, PortError, UserStore};
use runtime::Lifecycle;
use sqlx::{Connection as _, MySqlConnection};
use tempfile::TempDir;
use testkit::conformance::authenticator::{self as suite, LEGACY_ACCOUNT, Subject};
use testkit::original::Original;
use testkit::servers::mysql_database;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const SECRET: &str = "a secret of thirty-two bytes or more";

/// Accounts in a file of one test.
struct Accounts {
    store: Arc<dyn UserStore>,
    _directory: TempDir,
}

impl Accounts {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("users.db").display());
        let store = adapters::users::connect(&url.parse().unwrap()).unwrap();
        let (email, password) = LEGACY_ACCOUNT;
        store.create(&email.parse().unwrap(), password).await.unwrap();
        Self {
            store,
            _directory: directory,
        }
    }

    fn service(&self) -> Arc<AuthService> {
        service_over(Arc::clone(&self.store))
    }

    fn in_process(&self) -> Subject {
        Subject {
            authenticator: self.service(),
            accounts: Arc::clone(&self.store),
        }
    }

    async fn behind_http(&self) -> Subject {
        let authenticator = Arc::new(client(serve(self.service()).await));
        Subject {
            authenticator,
            accounts: Arc::clone(&self.store),
        }
    }
}

fn service_over(store: Arc<dyn UserStore>) -> Arc<AuthService> {
    let signer = TokenSigner::new(SECRET).unwrap();
    Arc::new(AuthService::new(store, signer, PlaintextPasswords::Accept))
}

/// The auth service's real router on a port of its own, for as long as the test's runtime lives.
async fn serve(service: Arc<AuthService>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(runtime::http::serve(
        listener,
        auth::http::router(service),
        Lifecycle::new(),
    ));
    address
}

fn client(address: SocketAddr) -> HttpAuthenticator {
    HttpAuthenticator::new(&address.to_string()).unwrap()
}

fn legacy() -> Credentials {
    let (username, password) = LEGACY_ACCOUNT;
    Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

macro_rules! conformance {
    ($($behaviour:ident($($replica:ident),+)),+ $(,)?) => {
        mod in_process {
            use super::*;
            $(#[tokio::test]
            async fn $behaviour() {
                let accounts = Accounts::new().await;
                $(let $replica = accounts.in_process();)+
                suite::$behaviour($($replica),+).await;
            })+
        }
        mod behind_http {
            use super::*;
            $(#[tokio::test]
            async fn $behaviour() {
                let accounts = Accounts::new().await;
                $(let $replica = accounts.behind_http().await;)+
                suite::$behaviour($($replica),+).await;
            })+
        }
    };
}

conformance! {
    a_token_says_who_logged_in(subject),
    wrong_user_and_wrong_password_look_alike(subject),
    a_legacy_password_is_hashed_at_the_first_success(subject),
    a_disabled_account_looks_like_a_wrong_password(subject),
    a_token_is_void_after_a_change(issuer, judge),
    a_token_is_void_without_its_account(issuer, judge),
    garbage_is_not_a_token(subject),
}

#[tokio::test]
async fn the_original_auth_service_is_understood() {
    let database = mysql_database().await;
    let accounts = adapters::users::connect(&database.url).unwrap();
    // The row as the original's users write it.
    accounts.ping().await.unwrap();
    let mut connection = MySqlConnection::connect(database.url.expose()).await.unwrap();
    sqlx::query("INSERT INTO user (email, password) VALUES (?, ?)")
        .bind(LEGACY_ACCOUNT.0)
        .bind(LEGACY_ACCOUNT.1)
        .execute(&mut connection)
        .await
        .unwrap();
    let original = Original::auth(&database.url, SECRET).await.unwrap();
    let authenticator = client(original.address());

    authenticator.ping().await.unwrap();
    let token = authenticator.login(&legacy()).await.unwrap();
    let claims = authenticator.validate(&token).await.unwrap();
    assert_eq!(claims.username.as_str(), LEGACY_ACCOUNT.0);
    assert!(claims.admin && claims.exp > claims.iat && claims.iat > 0);
    let wrong = Credentials {
        password: "wrong".to_owned(),
        ..legacy()
    };
    assert!(matches!(authenticator.login(&wrong).await, Err(AuthError::Refused)));
    let tampered = token.replacen('.', "A.", 1);
    assert!(matches!(
        authenticator.validate(&tampered).await,
        Err(AuthError::Refused)
    ));

    // Tokens cross over: a mixed deployment shares the secret.
    let ours = service_over(accounts);
    assert_eq!(ours.validate(&token).await.unwrap(), claims);
    let token = ours.login(&legacy()).await.unwrap();
    assert_eq!(authenticator.validate(&token).await.unwrap().username, claims.username);
}

/// A store whose server is away.
fn away() -> Arc<dyn UserStore> {
    let url: BackendUrl = "mysql://root@127.0.0.1:1/auth".parse().unwrap();
    adapters::users::connect(&url).unwrap()
}

#[tokio::test]
async fn with_the_account_store_away_logins_are_unavailable_and_tokens_go_on() {
    let accounts = Accounts::new().await;
    let token = accounts.service().login(&legacy()).await.unwrap();
    let service = service_over(away());
    let address = serve(Arc::clone(&service)).await;
    let subjects: [Arc<dyn Authenticator>; 2] = [service, Arc::new(client(address))];
    for authenticator in subjects {
        assert!(matches!(
            authenticator.login(&legacy()).await,
            Err(AuthError::Unavailable(_))
        ));
        assert!(matches!(authenticator.ping().await, Err(PortError::Unavailable { .. })));
        assert!(authenticator.validate(&token).await.is_ok());
        assert!(matches!(authenticator.validate("x.y.z").await, Err(AuthError::Refused)));
    }
}

#[tokio::test]
async fn an_auth_service_that_is_away_or_silent_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let (authenticator, legacy) = (client(address), legacy());
        let (login, validate, ping) = tokio::time::timeout(Duration::from_secs(30), async {
            tokio::join!(
                authenticator.login(&legacy),
                authenticator.validate("x.y.z"),
                authenticator.ping()
            )
        })
        .await
        .expect("it gives up by itself");
        assert!(matches!(login, Err(AuthError::Unavailable(_))), "{login:?}");
        assert!(matches!(validate, Err(AuthError::Unavailable(_))), "{validate:?}");
        assert!(matches!(ping, Err(PortError::Unavailable { .. })), "{ping:?}");
    }
}

/// A service that gives each connection one scripted answer.
async fn scripted(answers: Vec<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).await.unwrap();
            assert!(read > 0);
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_tried_once_more() {
    let address = scripted(vec![
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nx.y.z",
    ])
    .await;
    assert_eq!(client(address).login(&legacy()).await.unwrap(), "x.y.z");
}

#[tokio::test]
async fn an_answer_that_is_neither_yes_nor_no_is_unavailable() {
    for answer in [
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 503 Away\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n{}",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let validated = client(scripted(vec![answer, answer]).await).validate("x.y.z").await;
        assert!(
            matches!(validated, Err(AuthError::Unavailable(_))),
            "{answer:?}: {validated:?}"
        );
    }
}
