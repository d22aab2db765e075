//! Scenes: one fault in one place, for what the campaign meets too seldom to be proof of anything, and what only shows
//! while the fault lasts. Some are about time; their limits are several times what a busy machine takes.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use mongodb::Client;
use mongodb::bson::doc;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::campaign::Wish;
use crate::cells::{self, Site, resume};
use crate::fleet::Fleet;
use crate::home::Home;
use crate::http::Manner;
use crate::inject::inject;
use crate::instance::Instance;
use crate::load::{Load, Sending};
use crate::plan::{Act, Fault, Server};
use crate::proxy::Weather;
use crate::say;

/// The names of all scenes.
pub(crate) const SCENES: [&str; 5] = ["long-stall", "neighbours", "alarm", "cut-line", "locked-store"];

/// Longer than a lease, and than it takes somebody else to do the job.
const LONG_STALL: Duration = Duration::from_secs(45);
/// How many jobs are uploaded beside one whose converter stands still, and how long they may take. A broker takes back
/// what a converter holds that has been silent for twenty seconds.
const NEIGHBOURS: usize = 4;
const NEIGHBOURS_PATIENCE: Duration = Duration::from_secs(16);
/// How many jobs wait when the alarm comes, how many of them are enough, and how long they may take.
const WAITING: usize = 30;
const ENOUGH_WAITING: usize = 6;
const ALARM: Duration = Duration::from_secs(90);
/// How long a line is dead before it is cut.
const DEAD_BEFORE_CUT: Duration = Duration::from_secs(3);
/// Long enough to be noticed, and over before anybody connects again.
const CUT: Duration = Duration::from_millis(20);
/// How long an answer may take while the store takes no writes: three times the deadline of its calls.
const ANSWER: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A scene under way.
struct Stage {
    fleet: Arc<Fleet>,
    load: Arc<Load>,
    site: Site,
    broken: Vec<String>,
}

/// Plays one scene, waits for rest and checks everything.
///
/// # Errors
/// The scene itself does not work.
pub(crate) async fn run(wish: Wish, scene: &str) -> anyhow::Result<ExitCode> {
    let ledger = wish.empty_ledger()?;
    let (directory, surroundings) = cells::with_crash_points(&wish)?;
    let fleet = Fleet::start(&wish.directory, &wish.programs, &surroundings, Arc::clone(&ledger)).await?;
    let home = Home::Services(Arc::clone(&fleet));
    let load = Arc::new(Load::start(home, Arc::clone(&ledger), wish.seed).await?);
    let mut stage = Stage {
        site: Site::new(&load, &directory, 0),
        fleet,
        load,
        broken: Vec::new(),
    };
    let began = ledger.now();
    ledger.note("scene", json!({ "scene": scene }));
    let hit = match scene {
        "long-stall" => stage.long_stall().await?,
        "neighbours" => stage.neighbours().await?,
        "alarm" => stage.alarm().await?,
        "cut-line" => stage.cut_line().await?,
        "locked-store" => stage.locked_store().await?,
        _ => bail!("there is no scene `{scene}`"),
    };
    stage.site.rest().await;
    let window = cells::window(hit, began, ledger.now());
    let findings = cells::conclude(&stage.load, &wish, &[window]).await?;
    stage.broken.iter().for_each(say);
    say(format!("{scene}: {} jobs, {} lost", findings.jobs, findings.lost));
    let whole = findings.breaches.is_empty() && stage.broken.is_empty();
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Stage {
    /// A converter stands still between its MP3 and its record, until somebody else has done the job.
    async fn long_stall(&mut self) -> anyhow::Result<&'static str> {
        let pid = self.site.stop_at("converter.settle").await?;
        sleep(LONG_STALL).await;
        resume(&pid).await;
        Ok("converter")
    }

    /// A converter stands still, and other jobs come: they are the other converter's.
    async fn neighbours(&mut self) -> anyhow::Result<&'static str> {
        let pid = self.site.stop_at("converter.put").await?;
        let left = self
            .upload_and_wait(1, NEIGHBOURS, "second", NEIGHBOURS_PATIENCE)
            .await?;
        resume(&pid).await;
        // One is the job of the converter that stood still.
        if left > 1 {
            let waited = left - 1;
            self.broken.push(format!(
                "BROKEN I7: {waited} of {NEIGHBOURS} jobs waited for a converter that stood still while another was free"
            ));
        }
        Ok("converter")
    }

    /// The broker takes no messages any more while there are jobs for the converters.
    async fn alarm(&mut self) -> anyhow::Result<&'static str> {
        self.upload(0, WAITING, "minute").await?;
        let alarm = Fault {
            kind: "F6",
            act: Act::Alarm { disk: false },
            lasts: ALARM,
        };
        let (fleet, load) = (Arc::clone(&self.fleet), Arc::clone(&self.load));
        let alarm = tokio::spawn(async move { inject(&fleet, &load, &alarm).await });
        self.load.look().await;
        let waiting = self.load.outstanding();
        ensure!(
            waiting >= ENOUGH_WAITING,
            "only {waiting} jobs wait, this proves nothing"
        );
        // The alarm's own time is the limit.
        while !alarm.is_finished() && self.load.outstanding() > 0 {
            self.load.look().await;
            sleep(POLL).await;
        }
        let left = self.load.outstanding();
        drop(alarm.await??);
        if left > 0 {
            self.broken.push(format!(
                "BROKEN I7: {left} of {waiting} jobs that waited in the queue waited until the broker took messages again"
            ));
        }
        Ok("converter")
    }

    /// The line to MongoDB goes dead in the middle of an upload, and is cut: what was on it never arrives.
    async fn cut_line(&mut self) -> anyhow::Result<&'static str> {
        let pid = self.site.stop_at("gateway.finish").await?;
        let gateway = self.instance(&pid).await.context("no instance has this id")?;
        let line = gateway.line(Server::Mongo).context("no such line")?.clone();
        line.set(Weather::BlackHole {
            requests: true,
            replies: false,
        });
        resume(&pid).await;
        sleep(DEAD_BEFORE_CUT).await;
        line.set(Weather::Reset);
        sleep(CUT).await;
        line.set(Weather::Calm);
        Ok("gateway")
    }

    /// MongoDB takes no writes, as during a backup, and otherwise looks well; and somebody uploads. (Of a line that is
    /// dead the driver's own monitor frees whoever waits.)
    async fn locked_store(&mut self) -> anyhow::Result<&'static str> {
        let client = Client::with_uri_str(&self.fleet.mongodb_url).await?;
        let admin = client.database("admin");
        admin.run_command(doc! { "fsync": 1, "lock": true }).await?;
        let sending = Sending {
            owner: 0,
            clip: self.load.named("second")?,
            filename: "n0-locked-store.mkv",
            key: None,
            manner: Manner::Quick,
        };
        let answer = timeout(ANSWER, self.load.upload(self.fleet.gateways()[0], sending)).await;
        admin.run_command(doc! { "fsyncUnlock": 1 }).await?;
        client.shutdown().await;
        // What nobody waits for any more goes on all the same, and its record appears only now.
        let give_up = Instant::now() + ANSWER;
        while Instant::now() < give_up {
            let jobs = self.load.list(0, None).await.unwrap_or_default();
            if jobs.iter().any(|job| job["filename"] == sending.filename) {
                break;
            }
            sleep(POLL).await;
        }
        match answer {
            Ok(answer) => drop(answer?),
            Err(_) => self.broken.push(format!(
                "BROKEN I8: an upload had no answer for {} s while MongoDB took no writes",
                ANSWER.as_secs()
            )),
        }
        Ok("gateway")
    }

    /// Uploads so many of a clip at once.
    async fn upload(&self, first_number: usize, count: usize, clip: &'static str) -> anyhow::Result<()> {
        let mut uploads = JoinSet::new();
        for number in 0..count {
            let load = Arc::clone(&self.load);
            // Numbers of its own, beside those of the site.
            uploads.spawn(async move { load.plain(1000 + first_number + number, clip).await });
        }
        while let Some(uploaded) = uploads.join_next().await {
            uploaded??;
        }
        Ok(())
    }

    /// Uploads, and says how many jobs have not ended in time.
    async fn upload_and_wait(
        &self,
        may_stay: usize,
        count: usize,
        clip: &'static str,
        patience: Duration,
    ) -> anyhow::Result<usize> {
        self.upload(0, count, clip).await?;
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up && self.load.outstanding() > may_stay {
            self.load.look().await;
            sleep(POLL).await;
        }
        Ok(self.load.outstanding())
    }

    async fn instance(&self, pid: &str) -> Option<&Instance> {
        for instance in &self.fleet.instances {
            let own = instance.process.lock().await.pid();
            if own.is_some_and(|own| own.to_string() == pid) {
                return Some(instance);
            }
        }
        None
    }
}
