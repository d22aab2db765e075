//! What tests take from the environment. Nothing else in this crate reads it.

use std::path::{Path, PathBuf};

/// `mysql://root@127.0.0.1:PORT`, without a database.
pub const MYSQL_URL: &str = "TEST_MYSQL_URL";
/// `mongodb://127.0.0.1:PORT/?replicaSet=rs0`.
pub const MONGODB_URL: &str = "TEST_MONGODB_URL";
/// `amqp://mp3:SECRET@127.0.0.1:PORT`, without a virtual host.
pub const AMQP_URL: &str = "TEST_AMQP_URL";
/// `http://mp3:SECRET@127.0.0.1:PORT`.
pub const AMQP_MANAGEMENT_URL: &str = "TEST_AMQP_MANAGEMENT_URL";
/// A mongod program to use instead of the one the setup script fetched.
const MONGOD: &str = "MP3_TEST_MONGOD";

/// The value of an environment variable; an empty one counts as absent.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are configured by their environment, and this is the one place that reads it"
)]
pub fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of a variable that tests cannot do without.
///
/// # Panics
///
/// Without it, with the command that sets it: a test is never skipped in silence.
pub(super) fn required(name: &str) -> String {
    given(name).unwrap_or_else(|| {
        panic!(
            "{name} is not set: run `make test`, or for some tests only \
             `cargo run -q -p testkit --bin with-servers -- cargo test -p PACKAGE FILTER`"
        )
    })
}

/// The directory of the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory.ancestors().nth(2).unwrap_or(crate_directory).to_owned()
}

/// The mongod program: `MP3_TEST_MONGOD`, or what the setup script left in `.cache/mongod/`.
pub(super) fn mongod() -> anyhow::Result<PathBuf> {
    let program = given(MONGOD).map_or_else(|| workspace_root().join(".cache/mongod/mongod"), PathBuf::from);
    anyhow::ensure!(
        program.is_file(),
        "no mongod at {}: run `scripts/setup.sh test`, or name one in {MONGOD}",
        program.display()
    );
    Ok(program)
}
