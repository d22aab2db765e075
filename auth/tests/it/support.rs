//! What the tests share.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use auth::{AuthService, PlaintextPasswords, TokenSigner};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{BackendUrl, UserStore};
use tempfile::TempDir;

pub(crate) const SECRET: &str = "a secret of thirty-two bytes or more";

/// Accounts in a file of one test.
pub(crate) struct Accounts {
    pub(crate) store: Arc<dyn UserStore>,
    _directory: TempDir,
}

impl Accounts {
    /// With one account, `Ada@example.com`, whose password is `hunter2`.
    pub(crate) async fn with_ada() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("users.db").display());
        let store = connect(&url);
        auth::accounts::create(&*store, &"Ada@example.com".parse().unwrap(), "hunter2")
            .await
            .unwrap();
        Self {
            store,
            _directory: directory,
        }
    }

    pub(crate) fn service(&self) -> Arc<AuthService> {
        service(Arc::clone(&self.store))
    }
}

pub(crate) fn connect(url: &str) -> Arc<dyn UserStore> {
    let url: BackendUrl = url.parse().unwrap();
    adapters::users::connect(&url).unwrap()
}

pub(crate) fn service(store: Arc<dyn UserStore>) -> Arc<AuthService> {
    let signer = TokenSigner::new(SECRET).unwrap();
    Arc::new(AuthService::new(store, signer, PlaintextPasswords::Accept))
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The binary, with these variables and no others.
pub(crate) fn binary(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth"));
    command.env_clear().envs(variables.iter().copied());
    command
}

/// Runs the binary to its end, with `input` on its standard input.
pub(crate) fn run(variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut child = binary(variables)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
