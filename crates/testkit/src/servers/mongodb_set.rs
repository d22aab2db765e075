//! A private replica set of three, whose primary can be deposed and killed.

use std::path::Path;

use anyhow::{Context, ensure};
use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::mongodb::{MongoDbHome, START_DEADLINE};
use super::process::ServerProcess;
use super::running::Home as _;
use crate::until;

/// How long a secondary waits for the primary before it calls an election.
const ELECTION_TIMEOUT_MS: i32 = 2_000;
/// How long a deposed primary does not stand for election again.
const DEPOSED_SECONDS: i32 = 20;

/// Three members of the replica set `rs0`, each a server of its own. Dropping it kills them.
pub struct MongoDbSet {
    members: Vec<Member>,
}

struct Member {
    home: MongoDbHome,
    process: ServerProcess,
    client: Client,
}

impl MongoDbSet {
    /// Starts three servers in `directory`; returns when one of them is a writable primary.
    ///
    /// # Errors
    ///
    /// When there is no mongod or one does not come up; with the end of its log.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for name in ["one", "two", "three"] {
            let home = MongoDbHome::prepare(&directory.join(name))?;
            let client = home.direct_client().await?;
            let process = home.spawn()?;
            members.push(Member { home, process, client });
        }
        let mut set = Self { members };
        for member in &mut set.members {
            member.answers().await?;
        }
        let hosts: Vec<Document> = (0_i32..)
            .zip(&set.members)
            .map(|(id, member)| doc! { "_id": id, "host": format!("127.0.0.1:{}", member.home.port()) })
            .collect();
        let settings = doc! { "electionTimeoutMillis": ELECTION_TIMEOUT_MS };
        let initiate = doc! { "replSetInitiate": { "_id": "rs0", "members": hosts, "settings": settings } };
        set.members[0].command(initiate).await?;
        set.primary().await;
        Ok(set)
    }

    /// `mongodb://HOST,HOST,HOST/?replicaSet=rs0`.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("127.0.0.1:{}", member.home.port()))
            .collect();
        format!("mongodb://{}/?replicaSet=rs0", hosts.join(","))
    }

    /// Has the primary step down, and waits until another one is elected.
    ///
    /// # Errors
    ///
    /// When it refuses.
    pub async fn depose(&self) -> anyhow::Result<()> {
        let deposed = self.primary().await;
        let step_down = doc! { "replSetStepDown": DEPOSED_SECONDS, "secondaryCatchUpPeriodSecs": 10 };
        self.members[deposed].command(step_down).await?;
        until("another primary is elected", async || {
            (self.primary().await != deposed).then_some(())
        })
        .await;
        Ok(())
    }

    /// Kills the primary as a power cut would, waits until another one is elected, and starts the killed one again.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub async fn kill_primary(&mut self) -> anyhow::Result<()> {
        let killed = self.primary().await;
        self.members[killed].process.kill();
        self.primary().await;
        let member = &mut self.members[killed];
        member.process = member.home.spawn()?;
        member.answers().await
    }

    /// The member that takes writes.
    async fn primary(&self) -> usize {
        until("a primary is elected", async || {
            for (index, member) in self.members.iter().enumerate() {
                let hello = member.command(doc! { "hello": 1 }).await;
                if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return Some(index);
                }
            }
            None
        })
        .await
    }
}

impl Member {
    async fn command(&self, command: Document) -> anyhow::Result<Document> {
        Ok(self.client.database("admin").run_command(command).await?)
    }

    async fn answers(&mut self) -> anyhow::Result<()> {
        let client = self.client.clone();
        let ping = || async {
            let answer = client.database("admin").run_command(doc! { "ping": 1 }).await?;
            ensure!(answer.get("ok").is_some(), "{answer}");
            Ok(())
        };
        let answers = self.process.wait_until_ready(START_DEADLINE, ping).await;
        answers.context("a member of the replica set does not come up")
    }
}
