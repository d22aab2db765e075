//! A private MariaDB.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use super::environment::workspace_root;
use super::ports::free_port;
use super::process::ServerProcess;
use super::running::{Home, Running};

const START_DEADLINE: Duration = Duration::from_secs(120);

/// A prepared data directory and the port its server uses, also after a restart.
#[derive(Debug, Clone)]
pub struct MariaDbHome {
    directory: PathBuf,
    port: u16,
}

/// A running MariaDB whose user `root` has no password.
pub type MariaDb = Running<MariaDbHome>;

impl MariaDbHome {
    /// Fills `directory` with an empty database system and chooses a port.
    pub async fn prepare(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let home = Self {
            directory: std::path::absolute(directory)?,
            port: free_port()?,
        };
        let mut command = tokio::process::Command::new("mariadb-install-db");
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", home.data().display()))
            .arg(format!("--tmpdir={}", home.directory.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            // A machine may be unable to look its own name up.
            .arg("--force")
            .args(as_root())
            .kill_on_drop(true);
        let output = command
            .output()
            .await
            .context("cannot run mariadb-install-db: is mariadb-server installed?")?;
        anyhow::ensure!(
            output.status.success(),
            "mariadb-install-db failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(home)
    }

    /// Starts the server and waits until it answers.
    pub async fn start(self) -> anyhow::Result<MariaDb> {
        MariaDb::launch(self).await
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn configure(&self, command: &mut Command) {
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.data().display()))
            .arg(format!("--tmpdir={}", self.directory.display()))
            .arg(format!("--port={}", self.port))
            .arg("--bind-address=127.0.0.1")
            // Relative to the data directory: an absolute path may be longer than a socket's name can be.
            .args(["--socket=server.sock", "--pid-file=server.pid"])
            .args(["--skip-name-resolve", "--max-connections=500"])
            .arg("--innodb-buffer-pool-size=64M")
            .args(as_root());
    }
}

impl MariaDb {
    /// Prepares `directory` and starts a server in it.
    ///
    /// # Errors
    ///
    /// When MariaDB is not installed or does not come up; with the end of its log.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        MariaDbHome::prepare(directory).await?.start().await
    }

    /// Runs `init.sql`, as an operator would, and makes auth's own login `auth_user` with the rights `init.sql` asks
    /// for.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn prepare_accounts(&self, password: &str) -> anyhow::Result<()> {
        let path = workspace_root().join("init.sql");
        let script = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let login = format!(
            "CREATE USER auth_user@'127.0.0.1' IDENTIFIED BY '{password}';
             GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON auth.* TO auth_user@'127.0.0.1';"
        );
        let mut connection = MySqlConnection::connect(&self.url()).await?;
        for sql in [script, login] {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .context("cannot prepare the database of accounts")?;
        }
        connection.close().await?;
        Ok(())
    }
}

impl Home for MariaDbHome {
    async fn launch(&self) -> anyhow::Result<ServerProcess> {
        let log = self.directory.join("mariadb.log");
        let mut process = ServerProcess::spawn("mariadbd", program(), &log, |command| {
            self.configure(command);
        })?;
        let url = self.url();
        process
            .wait_until_ready(START_DEADLINE, || async {
                MySqlConnection::connect(&url).await?.close().await?;
                Ok(())
            })
            .await?;
        Ok(process)
    }

    /// `mysql://root@127.0.0.1:PORT`.
    fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}", self.port)
    }

    fn port(&self) -> u16 {
        self.port
    }
}

/// The server refuses to run as root unless told to.
fn as_root() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// The server's program, which Debian keeps out of an ordinary user's search path.
fn program() -> &'static Path {
    let usual = Path::new("/usr/sbin/mariadbd");
    if usual.is_file() { usual } else { Path::new("mariadbd") }
}
