//! What the users and the checks see of whatever runs: the four services on their servers, or the single process.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::ensure;
use testkit::servers::{QueueState, ReceivedMessage};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::fleet::Fleet;
use crate::plan::Service;
use crate::single::Single;
use crate::sink::Sink;
use crate::store::Stores;

/// Everything that runs.
#[derive(Clone)]
pub(crate) enum Home {
    /// Two of each service, on MariaDB, RabbitMQ and MongoDB.
    Services(Arc<Fleet>),
    /// `mp3converter serve`, on SQLite and local files.
    Single(Arc<Single>),
}

impl Home {
    /// The ports of the gateways.
    pub(crate) fn gateways(&self) -> Vec<u16> {
        match self {
            Self::Services(fleet) => fleet.gateways(),
            Self::Single(single) => vec![single.port()],
        }
    }

    /// Where the mails go.
    pub(crate) fn sink(&self) -> &Sink {
        match self {
            Self::Services(fleet) => &fleet.sink,
            Self::Single(single) => &single.sink,
        }
    }

    /// Adds an account as an operator does.
    ///
    /// # Errors
    /// `user add` fails.
    pub(crate) async fn add_account(&self, email: &str, password: &str) -> anyhow::Result<()> {
        let mut command = match self {
            Self::Services(fleet) => fleet.accounts_command(),
            Self::Single(single) => single.command(),
        };
        let mut child = command
            .args(["user", "add", email])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(format!("{password}\n").as_bytes()).await?;
        }
        ensure!(child.wait().await?.success(), "`user add` failed");
        Ok(())
    }

    /// Runs one cycle of the janitor and gives what it said.
    ///
    /// # Errors
    /// It fails.
    pub(crate) async fn janitor(&self) -> anyhow::Result<String> {
        let mut command: Command = match self {
            Self::Services(fleet) => fleet.gateway_command(),
            Self::Single(single) => single.command(),
        };
        let output = command.arg("janitor").kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.success(), "`janitor` failed: {said} {complaint}");
        Ok(said)
    }

    /// What the stores hold.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) async fn stores(&self) -> anyhow::Result<Stores> {
        match self {
            Self::Services(fleet) => Stores::look(&fleet.mongodb_url).await,
            Self::Single(single) => Stores::look_below(&single.files()),
        }
    }

    /// The broker's queues; none where there is no broker.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(crate) async fn queues(&self) -> anyhow::Result<Vec<QueueState>> {
        match self {
            Self::Services(fleet) => fleet.rabbitmq_management.queues().await,
            Self::Single(_) => Ok(Vec::new()),
        }
    }

    /// The bodies of at most `limit` messages of a queue, which stay there.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(crate) async fn bodies(&self, queue: &str, limit: u32) -> anyhow::Result<Vec<String>> {
        let Self::Services(fleet) = self else {
            return Ok(Vec::new());
        };
        let messages = fleet.rabbitmq_management.peek(queue, limit).await?;
        let text = |message: ReceivedMessage| String::from_utf8_lossy(&message.body).into_owned();
        Ok(messages.into_iter().map(text).collect())
    }

    /// Kills whatever runs the first instance of this service; it is started again.
    pub(crate) async fn kill(&self, service: &'static str) {
        match self {
            Self::Services(fleet) => fleet.instance(Service(service, 0)).kill().await.ok(),
            Self::Single(single) => single.instance.kill().await.ok(),
        };
    }

    /// Starts no process again from now on.
    pub(crate) fn close(&self) {
        match self {
            Self::Services(fleet) => fleet.close(),
            Self::Single(single) => single.close(),
        }
    }
}
