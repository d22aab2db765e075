//! The real servers, two of each service, and somebody who starts again what ended, as a cluster does.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use testkit::servers::{MariaDb, MongoDb, RabbitMq, ServerProcess, Signal, free_ports, random_hexadecimal};
use testkit::until;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::ledger::Ledger;
use crate::plan::{INSTANCES, Server, Service, servers_of};
use crate::proxy::Proxy;
use crate::sink::Sink;

/// How often it is looked whether an instance has ended.
const LOOK: Duration = Duration::from_millis(200);
/// What a cluster waits before it starts an instance again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// What a service may know of the caller's environment.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "LANG", "TMPDIR", "RUST_BACKTRACE"];

/// Everything that runs. Dropping it kills all of it.
pub(crate) struct Fleet {
    pub(crate) mariadb: Mutex<MariaDb>,
    pub(crate) rabbitmq: Mutex<RabbitMq>,
    pub(crate) mongodb: Mutex<MongoDb>,
    pub(crate) sink: Sink,
    pub(crate) mongodb_url: String,
    pub(crate) rabbitmq_management: testkit::servers::ManagementApi,
    pub(crate) instances: Vec<Instance>,
    variables: Vec<(&'static str, String)>,
    programs: PathBuf,
    accounts: Vec<(&'static str, String)>,
    closing: AtomicBool,
}

/// One instance of a service, whichever process it is at the moment.
pub(crate) struct Instance {
    pub(crate) service: Service,
    /// Where it listens, if it does.
    pub(crate) port: u16,
    lines: Vec<(Server, Proxy)>,
    program: PathBuf,
    log: PathBuf,
    variables: Vec<(&'static str, String)>,
    pub(crate) process: Mutex<ServerProcess>,
}

impl Fleet {
    /// Starts everything with its data and logs in `directory`; the services come from `programs` and get `extra`
    /// variables beside their own.
    ///
    /// # Errors
    /// Something does not come up.
    pub(crate) async fn start(
        directory: &Path,
        programs: &Path,
        extra: &[(&'static str, String)],
        ledger: Arc<Ledger>,
    ) -> anyhow::Result<Arc<Self>> {
        let homes = [
            directory.join("mariadb"),
            directory.join("rabbitmq"),
            directory.join("mongodb"),
        ];
        let (mariadb, rabbitmq, mongodb) = tokio::try_join!(
            MariaDb::start(&homes[0]),
            RabbitMq::start(&homes[1]),
            MongoDb::start(&homes[2]),
        )?;
        let password = random_hexadecimal()?;
        mariadb.prepare_accounts(&password).await?;
        let sink = Sink::start(ledger).await?;
        let accounts = |port: u16| {
            vec![
                ("MYSQL_HOST", "127.0.0.1".to_owned()),
                ("MYSQL_PORT", port.to_string()),
                ("MYSQL_USER", "auth_user".to_owned()),
                ("MYSQL_PASSWORD", password.clone()),
                ("MYSQL_DB", "auth".to_owned()),
            ]
        };
        let jwt_secret = random_hexadecimal()?;
        let listening: [u16; INSTANCES.len()] = free_ports()?;
        let operations: [u16; INSTANCES.len()] = free_ports()?;
        let auth_ports: Vec<u16> = INSTANCES
            .iter()
            .zip(listening)
            .filter(|(service, _)| service.0 == "auth")
            .map(|(_, port)| port)
            .collect();
        let broker_url = rabbitmq.url();
        let (broker_login, _) = broker_url.rsplit_once(':').context("the broker's URL has no port")?;

        let mut instances = Vec::new();
        for ((service, port), operations_port) in INSTANCES.into_iter().zip(listening).zip(operations) {
            let mut lines = Vec::new();
            let mut variables = vec![
                ("MP3_LISTEN", format!("127.0.0.1:{port}")),
                ("MP3_OPS_LISTEN", format!("127.0.0.1:{operations_port}")),
                ("LOG_FORMAT", "text".to_owned()),
                ("RUST_LOG", "info".to_owned()),
                ("PUBLIC_URL", "http://mp3converter.test".to_owned()),
            ];
            for server in servers_of(service.0) {
                let upstreams = match server {
                    Server::Mongo => vec![mongodb.port()],
                    Server::Broker => vec![rabbitmq.port()],
                    Server::Mail => vec![sink.port],
                    Server::Accounts => vec![mariadb.port()],
                    Server::Auth => auth_ports.clone(),
                };
                let proxy = Proxy::start(upstreams).await?;
                // Direct: the name of the set would lead the driver past the proxy.
                let mongodb = format!("mongodb://127.0.0.1:{}/?directConnection=true", proxy.port);
                variables.extend(match server {
                    Server::Mongo => vec![("BLOBS_URL", mongodb.clone()), ("JOBS_URL", mongodb)],
                    Server::Broker => vec![("QUEUE_URL", format!("{broker_login}:{}", proxy.port))],
                    Server::Mail => vec![
                        ("SMTP_URL", format!("smtp://127.0.0.1:{}", proxy.port)),
                        ("MAIL_FROM", "mp3converter@localhost".to_owned()),
                    ],
                    Server::Accounts => accounts(proxy.port),
                    Server::Auth => vec![("AUTH_SVC_ADDRESS", format!("127.0.0.1:{}", proxy.port))],
                });
                lines.push((*server, proxy));
            }
            if service.0 == "auth" {
                variables.push(("JWT_SECRET", jwt_secret.clone()));
            }
            variables.extend_from_slice(extra);
            let program = programs.join(service.0);
            ensure!(program.is_file(), "no program {}", program.display());
            let log = directory.join(format!("{}-{}.log", service.0, service.1));
            let process = launch(service.0, &program, &log, &variables)?;
            instances.push(Instance {
                service,
                port,
                lines,
                program,
                log,
                variables,
                process: Mutex::new(process),
            });
        }
        let mongodb_url = mongodb.url();
        let fleet = Arc::new(Self {
            rabbitmq_management: rabbitmq.management("/")?,
            variables: [("BLOBS_URL", mongodb_url.clone()), ("JOBS_URL", mongodb_url.clone())]
                .into_iter()
                .chain(extra.iter().cloned())
                .collect(),
            accounts: accounts(mariadb.port()),
            mariadb: Mutex::new(mariadb),
            rabbitmq: Mutex::new(rabbitmq),
            mongodb: Mutex::new(mongodb),
            sink,
            mongodb_url,
            instances,
            programs: programs.to_owned(),
            closing: AtomicBool::new(false),
        });
        for index in 0..fleet.instances.len() {
            let keeper = Arc::clone(&fleet);
            tokio::spawn(async move { keeper.keep(&keeper.instances[index]).await });
        }
        for gateway in fleet.gateways() {
            until("the gateway", async || {
                crate::http::get(gateway, "", "/readyz")
                    .await
                    .ok()
                    .filter(|answer| answer.status == 200)
            })
            .await;
        }
        Ok(fleet)
    }

    /// The ports of the gateways.
    pub(crate) fn gateways(&self) -> Vec<u16> {
        let gateways = self.instances.iter().filter(|instance| instance.service.0 == "gateway");
        gateways.map(|instance| instance.port).collect()
    }

    /// The instance of that name.
    pub(crate) fn instance(&self, service: Service) -> &Instance {
        let found = self.instances.iter().find(|instance| instance.service == service);
        found.unwrap_or(&self.instances[0])
    }

    /// Adds an account as an operator does.
    ///
    /// # Errors
    /// `auth user add` fails.
    pub(crate) async fn add_account(&self, email: &str, password: &str) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(self.programs.join("auth"));
        let mut child = command
            .args(["user", "add", email])
            .envs(self.accounts.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(format!("{password}\n").as_bytes()).await?;
        }
        ensure!(child.wait().await?.success(), "`auth user add` failed");
        Ok(())
    }

    /// Runs one cycle of the janitor and gives what it said.
    ///
    /// # Errors
    /// It fails.
    pub(crate) async fn janitor(&self, confirm: bool) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new(self.programs.join("gateway"));
        command.arg("janitor").args(confirm.then_some("--confirm"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.success(), "`gateway janitor` failed: {said} {complaint}");
        Ok(said)
    }

    /// Starts no process again from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Starts an instance again whenever it has ended.
    async fn keep(&self, instance: &Instance) {
        while !self.closing.load(Ordering::SeqCst) {
            sleep(LOOK).await;
            // Not while somebody stops it: then it is locked.
            if instance.process.lock().await.is_running() {
                continue;
            }
            sleep(RESTART_PAUSE).await;
            let mut process = instance.process.lock().await;
            if !process.is_running()
                && let Ok(started) = instance.launch()
            {
                *process = started;
            }
        }
    }
}

impl Instance {
    /// Its line to a server.
    pub(crate) fn line(&self, server: Server) -> Option<&Proxy> {
        self.lines
            .iter()
            .find(|(other, _)| *other == server)
            .map(|(_, proxy)| proxy)
    }

    pub(crate) async fn signal(&self, signal: Signal) {
        self.process.lock().await.signal(signal);
    }

    pub(crate) async fn kill(&self) {
        self.process.lock().await.kill();
    }

    /// Replaces it as a rolling update does: asks it to end, waits, starts the next one.
    ///
    /// # Errors
    /// It had to be killed, or the next one cannot be started.
    pub(crate) async fn roll(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        let stopped = process.stop().await;
        *process = self.launch()?;
        stopped
    }

    fn launch(&self) -> anyhow::Result<ServerProcess> {
        launch(self.service.0, &self.program, &self.log, &self.variables)
    }
}

fn launch(
    name: &'static str,
    program: &Path,
    log: &Path,
    variables: &[(&'static str, String)],
) -> anyhow::Result<ServerProcess> {
    ServerProcess::spawn(name, program, log, |command| {
        command.env_clear();
        for (name, value) in std::env::vars_os() {
            if PASSED_ON.iter().any(|passed| name == *passed) {
                command.env(name, value);
            }
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    })
}
