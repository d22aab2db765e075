//! A private MongoDB, a replica set of one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, ensure};
use mongodb::Client;
use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;

use super::environment::mongod;
use super::ports::free_port;
use super::process::ServerProcess;
use super::running::{Home, Running};

pub(super) const START_DEADLINE: Duration = Duration::from_secs(120);
const ALREADY_INITIALIZED: i32 = 23;

/// A data directory and the port its server uses, also after a restart.
#[derive(Debug, Clone)]
pub struct MongoDbHome {
    directory: PathBuf,
    port: u16,
    program: PathBuf,
}

/// A running MongoDB without access control, the only member of the replica set `rs0`.
pub type MongoDb = Running<MongoDbHome>;

impl MongoDbHome {
    /// Finds the program and chooses a port.
    ///
    /// # Errors
    ///
    /// When there is no mongod, with the way to get one.
    pub fn prepare(directory: &Path) -> anyhow::Result<Self> {
        let home = Self {
            directory: std::path::absolute(directory)?,
            port: free_port()?,
            program: mongod()?,
        };
        std::fs::create_dir_all(home.data())?;
        Ok(home)
    }

    /// Starts the server and waits until it takes writes.
    pub async fn start(self) -> anyhow::Result<MongoDb> {
        MongoDb::launch(self).await
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn configure(&self, command: &mut Command) {
        command
            .args(["--replSet", "rs0", "--bind_ip", "127.0.0.1"])
            .args(["--port", &self.port.to_string()])
            .arg("--dbpath")
            .arg(self.data())
            .args(["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"])
            .args(["--oplogSize", "128"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
    }

    pub(super) fn spawn(&self) -> anyhow::Result<ServerProcess> {
        let log = self.directory.join("mongodb.log");
        ServerProcess::spawn("mongod", &self.program, &log, |command| self.configure(command))
    }

    /// A client that talks to this server whatever state the replica set is in.
    pub(super) async fn direct_client(&self) -> anyhow::Result<Client> {
        let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port);
        let mut options = ClientOptions::parse(url).await?;
        options.server_selection_timeout = Some(Duration::from_millis(500));
        options.connect_timeout = Some(Duration::from_secs(2));
        Ok(Client::with_options(options)?)
    }

    async fn become_primary(&self, client: &Client) -> anyhow::Result<()> {
        let admin = client.database("admin");
        let hello = admin.run_command(doc! { "hello": 1 }).await?;
        if hello.get_bool("isWritablePrimary").unwrap_or(false) {
            return Ok(());
        }
        if hello.contains_key("setName") {
            bail!("the replica set has no primary yet");
        }
        let member = format!("127.0.0.1:{}", self.port);
        let set = doc! { "_id": "rs0", "members": [{ "_id": 0, "host": member }] };
        if let Err(error) = admin.run_command(doc! { "replSetInitiate": set }).await {
            let initialized = matches!(&*error.kind,
                ErrorKind::Command(command) if command.code == ALREADY_INITIALIZED);
            ensure!(initialized, error);
        }
        bail!("the replica set was initiated just now");
    }
}

impl MongoDb {
    /// Prepares `directory` and starts a server in it; returns when it is a writable primary.
    ///
    /// # Errors
    ///
    /// When there is no mongod or it does not come up; with the end of its log.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        MongoDbHome::prepare(directory)?.start().await
    }
}

impl Home for MongoDbHome {
    async fn launch(&self) -> anyhow::Result<ServerProcess> {
        let mut process = self.spawn()?;
        let client = self.direct_client().await?;
        let ready = process
            .wait_until_ready(START_DEADLINE, || self.become_primary(&client))
            .await;
        client.shutdown().await;
        ready?;
        Ok(process)
    }

    /// `mongodb://127.0.0.1:PORT/?replicaSet=rs0`.
    fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", self.port)
    }

    fn port(&self) -> u16 {
        self.port
    }
}
