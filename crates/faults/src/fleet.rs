//! The real servers, and two of each service on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use serde_json::json;
use testkit::servers::{MariaDb, MongoDb, RabbitMq, free_ports, random_hexadecimal};
use testkit::until;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::instance::Instance;
use crate::ledger::Ledger;
use crate::plan::{INSTANCES, Server, Service, servers_of};
use crate::proxy::Proxy;
use crate::sink::Sink;

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

/// What is unlike the deployed system, for a run that asks for it.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    /// Variables for every service.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What the services' URL of MongoDB has beside its address, such as `&w=1`.
    pub(crate) mongodb_options: &'static str,
    /// Queues made by hand, classic ones, are there before the services.
    pub(crate) classic_queues: bool,
}

impl Fleet {
    /// Starts everything with its data and logs in `directory`; the services come from `programs`.
    ///
    /// # Errors
    /// Something does not come up.
    pub(crate) async fn start(
        directory: &Path,
        programs: &Path,
        surroundings: &Surroundings,
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
        let rabbitmq_management = rabbitmq.management("/")?;
        if surroundings.classic_queues {
            for queue in ["video", "mp3"] {
                rabbitmq_management.declare_queue(queue, json!({})).await?;
            }
        }
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
                // How full the machine is that this runs on is no part of it.
                ("MIN_FREE_PERCENT", "0".to_owned()),
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
                let options = surroundings.mongodb_options;
                let mongodb = format!("mongodb://127.0.0.1:{}/?directConnection=true{options}", proxy.port);
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
            variables.extend_from_slice(&surroundings.variables);
            instances.push(Instance::start(service, port, lines, programs, directory, variables)?);
        }
        let mongodb_url = mongodb.url();
        let fleet = Arc::new(Self {
            rabbitmq_management,
            variables: [("BLOBS_URL", mongodb_url.clone()), ("JOBS_URL", mongodb_url.clone())]
                .into_iter()
                .chain(surroundings.variables.iter().cloned())
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
            tokio::spawn(async move { keeper.instances[index].keep(&keeper.closing).await });
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

    /// The gateway's program, which is also a tool, on the same stores.
    pub(crate) fn gateway_command(&self) -> Command {
        let mut command = Command::new(self.programs.join("gateway"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The program that keeps the accounts.
    pub(crate) fn accounts_command(&self) -> Command {
        let mut command = Command::new(self.programs.join("auth"));
        command.envs(self.accounts.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts no process again from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }
}
