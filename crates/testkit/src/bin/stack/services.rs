//! The four services: which program, which environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use testkit::servers::{ServerProcess, free_port, random_hexadecimal};
use tokio::io::AsyncWriteExt as _;

const READY_DEADLINE: Duration = Duration::from_secs(60);
/// What a service may know of the caller's environment; the rest could be meant for another deployment.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "RUST_LOG",
    "LOG_FORMAT",
    "RUST_BACKTRACE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_BSP_SCHEDULE_DELAY",
];

/// Where the services find what they stand on, and each other.
pub(crate) struct Surroundings {
    /// Where this program and the services' are, such as `target/debug`.
    pub(crate) programs: PathBuf,
    /// Where their output goes.
    pub(crate) logs: PathBuf,
    /// The port of MariaDB, whose database `auth` belongs to `auth_user`.
    pub(crate) mysql_port: u16,
    /// The password of `auth_user`.
    pub(crate) mysql_password: String,
    /// `mongodb://...`.
    pub(crate) mongodb_url: String,
    /// `amqp://...`.
    pub(crate) amqp_url: String,
    /// `smtp://...`.
    pub(crate) smtp_url: String,
    /// The port people's curl goes to.
    pub(crate) gateway_port: u16,
    /// The port of auth.
    pub(crate) auth_port: u16,
}

/// A service that was started.
pub(crate) struct Service {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its process.
    pub(crate) process: ServerProcess,
    operations_port: u16,
}

impl Surroundings {
    /// Starts the four.
    pub(crate) fn start(&self) -> anyhow::Result<Vec<Service>> {
        let jwt_secret = random_hexadecimal()?;
        let gateway_url = self.gateway_url();
        let auth = {
            let mut variables = self.accounts();
            variables.push(("JWT_SECRET", jwt_secret));
            variables.push(("MP3_LISTEN", local(self.auth_port)));
            self.launch("auth", &variables)?
        };
        let mut variables = self.stores();
        variables.push(("AUTH_SVC_ADDRESS", local(self.auth_port)));
        variables.push(("MP3_LISTEN", local(self.gateway_port)));
        variables.push(("PUBLIC_URL", gateway_url.clone()));
        let gateway = self.launch("gateway", &variables)?;

        let converter = self.launch("converter", &self.stores())?;

        let mut variables = self.stores();
        variables.push(("SMTP_URL", self.smtp_url.clone()));
        variables.push(("MAIL_FROM", "mp3converter@localhost".into()));
        variables.push(("PUBLIC_URL", gateway_url));
        let notification = self.launch("notification", &variables)?;
        Ok(vec![auth, gateway, converter, notification])
    }

    /// Adds an account as an operator does: the password goes through standard input.
    pub(crate) async fn add_account(&self, email: &str, password: &str) -> anyhow::Result<()> {
        let mut command = Command::new(self.program("auth")?);
        self.set_environment(&mut command, &self.accounts());
        command.args(["user", "add", email]);
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A program that ends without reading says why itself.
            input.write_all(format!("{password}\n").as_bytes()).await.ok();
        }
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "`auth user add` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn gateway_url(&self) -> String {
        format!("http://{}", local(self.gateway_port))
    }

    fn accounts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("MYSQL_HOST", "127.0.0.1".into()),
            ("MYSQL_PORT", self.mysql_port.to_string()),
            ("MYSQL_USER", "auth_user".into()),
            ("MYSQL_PASSWORD", self.mysql_password.clone()),
            ("MYSQL_DB", "auth".into()),
        ]
    }

    fn stores(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BLOBS_URL", self.mongodb_url.clone()),
            ("JOBS_URL", self.mongodb_url.clone()),
            ("QUEUE_URL", self.amqp_url.clone()),
        ]
    }

    fn launch(&self, name: &'static str, variables: &[(&'static str, String)]) -> anyhow::Result<Service> {
        let operations_port = free_port()?;
        let log = self.logs.join(format!("{name}.log"));
        let process = ServerProcess::spawn(name, self.program(name)?, &log, |command| {
            self.set_environment(command, variables);
            command.env("MP3_OPS_LISTEN", local(operations_port));
        })?;
        Ok(Service {
            name,
            process,
            operations_port,
        })
    }

    fn set_environment(&self, command: &mut Command, variables: &[(&'static str, String)]) {
        command.env_clear().env("LOG_FORMAT", "text");
        for (name, value) in std::env::vars_os() {
            if PASSED_ON.iter().any(|passed| name == *passed) {
                command.env(name, value);
            }
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    }

    fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let program = self.programs.join(name);
        ensure!(
            program.is_file(),
            "no program {}: run `make stack`, which builds it",
            program.display()
        );
        Ok(program)
    }
}

impl Service {
    /// Waits until `/readyz` is green.
    pub(crate) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let address = local(self.operations_port);
        self.process
            .wait_until_ready(READY_DEADLINE, || is_ready(&address))
            .await
            .with_context(|| format!("{} does not become ready", self.name))
    }
}

/// `127.0.0.1:PORT`.
fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

async fn is_ready(address: &str) -> anyhow::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(format!("http://{address}/readyz").parse()?).await?;
    ensure!(response.status().is_success(), "/readyz says {}", response.status());
    Ok(())
}

/// The directory this program runs from, where cargo puts the services too.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new(".")).to_owned())
}
