//! Going to one point after the other, with something armed there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::points::{Cell, LOSS, Set, Way};
use crate::load::Load;
use crate::say;
use crate::sink::Mood;

/// How long a stopped process stays so: less than a lease, so that it and its successor may meet.
const STALL: Duration = Duration::from_secs(20);
/// How long it may take until somebody comes by a point.
const VISIT: Duration = Duration::from_secs(90);
/// What the mail server waits before each of its answers, where it takes its time.
const SLOW_MAIL: Duration = Duration::from_millis(500);
/// How long to wait for somebody before the way is gone once more: what was asked a moment ago is not asked again.
const AGAIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Whoever visits the cells of one service.
pub(crate) struct Site {
    load: Arc<Load>,
    /// Where the scripts are; see `runtime::crashpoints`.
    directory: PathBuf,
    uploads: usize,
    /// Users and others that were sent and may still be under way.
    sent: JoinSet<()>,
    /// Wakes the process that stands still.
    stalled: Option<JoinHandle<()>>,
}

impl Site {
    /// A site whose uploads are numbered from `first_number`.
    pub(crate) fn new(load: &Arc<Load>, directory: &Path, first_number: usize) -> Self {
        Self {
            load: Arc::clone(load),
            directory: directory.to_owned(),
            uploads: first_number,
            sent: JoinSet::new(),
            stalled: None,
        }
    }

    /// Visits a cell; false when nobody came by.
    ///
    /// # Errors
    /// The script cannot be written.
    pub(super) async fn visit(&mut self, cell: &Cell) -> anyhow::Result<bool> {
        let began = self.load.ledger.now();
        self.load.ledger.note("cell", json!({ "cell": cell.to_string() }));
        if cell.action == "stall" {
            // One of two may stand still, not both.
            self.wake().await;
        }
        let pid = self.go_to(cell).await?;
        let verdict = if pid.is_some() { "visited" } else { "NOT VISITED" };
        say(format!(
            "{:6.1} s  {cell} by {:?}: {verdict}",
            began.as_secs_f64(),
            cell.way
        ));
        if let Some(pid) = &pid
            && cell.action == "stall"
        {
            let pid = pid.clone();
            self.stalled = Some(tokio::spawn(async move {
                sleep(STALL).await;
                resume(&pid).await;
            }));
            if cell.set == Set::Embedded {
                // There is no second one that goes on.
                self.wake().await;
            }
        }
        Ok(pid.is_some())
    }

    /// Waits until nothing stands still any more.
    pub(crate) async fn wake(&mut self) {
        if let Some(stalled) = self.stalled.take() {
            stalled.await.ok();
        }
    }

    /// Waits until everybody who was sent is through: whoever has to try again must not come in the middle of the
    /// checks.
    pub(crate) async fn rest(&mut self) {
        self.wake().await;
        while self.sent.join_next().await.is_some() {}
    }

    async fn go_to(&mut self, cell: &Cell) -> anyhow::Result<Option<String>> {
        let last = format!("{} {}", cell.point, cell.action);
        match cell.way {
            Way::After(first) => {
                let lines = [first, &[last.as_str()]].concat();
                self.go(&lines, Way::Upload).await
            }
            Way::JanitorAfterLoss => match self.go(LOSS, Way::Upload).await? {
                Some(_) => self.go(&[&last], Way::Janitor).await,
                None => Ok(None),
            },
            Way::SlowMail => {
                self.load.home.sink().set(Mood::Slow(SLOW_MAIL));
                let gone = self.go(&[&last], Way::SlowMail).await;
                self.load.home.sink().set(Mood::Kind);
                gone
            }
            way => self.go(&[&last], way).await,
        }
    }

    /// Arms these points, one after the other, goes there, and gives the id of the process that came by the last one.
    ///
    /// # Errors
    /// The script cannot be written.
    pub(super) async fn go(&mut self, lines: &[&str], way: Way) -> anyhow::Result<Option<String>> {
        let script = self.arm(lines)?;
        self.send(way);
        // To the other gateway too, for it may be the first that stands still.
        if self.stalled.as_ref().is_some_and(|stalled| !stalled.is_finished()) {
            self.send(way);
        }
        let give_up = Instant::now() + VISIT;
        let mut again = Instant::now() + AGAIN;
        while Instant::now() < give_up {
            if let Some(pid) = taken(&script) {
                return Ok(Some(pid));
            }
            if Instant::now() >= again {
                self.send(way);
                again += AGAIN;
            }
            sleep(POLL).await;
        }
        // Nobody is to come by it later.
        std::fs::remove_file(&script).ok();
        Ok(None)
    }

    /// Goes to a point and has the process that comes by stand still there.
    ///
    /// # Errors
    /// Nobody came by.
    pub(crate) async fn stop_at(&mut self, point: &str) -> anyhow::Result<String> {
        let stopped = self.go(&[&format!("{point} stall")], Way::Upload).await?;
        stopped.with_context(|| format!("nobody came by {point}"))
    }

    fn arm(&self, lines: &[&str]) -> anyhow::Result<PathBuf> {
        let service = lines.first().and_then(|line| line.split('.').next());
        let script = self.directory.join(format!("{}.script", service.context("no point")?));
        std::fs::remove_file(script.with_extension("taken")).ok();
        let part = script.with_extension("new");
        std::fs::write(&part, lines.join("\n"))?;
        std::fs::rename(&part, &script).context("cannot arm a crash point")?;
        Ok(script)
    }

    fn send(&mut self, way: Way) {
        self.uploads += 1;
        let (load, number) = (Arc::clone(&self.load), self.uploads);
        self.sent.spawn(async move {
            match way {
                Way::Janitor | Way::JanitorAfterLoss => drop(load.home.janitor().await),
                Way::LongUpload => drop(load.plain(number, "ten-minutes").await),
                Way::SlowUpload => drop(load.slow(number).await),
                Way::BrokenUpload => load.broken(number).await,
                Way::KeyedUpload => drop(load.keyed_upload(number).await),
                Way::Reading => drop(load.reading(number).await),
                Way::TakingBack => drop(load.taking_back(number).await),
                Way::Start => load.home.kill("notification").await,
                Way::Upload | Way::SlowMail | Way::After(_) => drop(load.plain(number, "second").await),
            }
        });
    }
}

/// Has a stopped process go on. By the command, for a process of its own may have ended meanwhile.
pub(crate) async fn resume(pid: &str) {
    Command::new("kill").args(["-CONT", pid]).output().await.ok();
}

/// The process that took the last line of a script.
fn taken(script: &Path) -> Option<String> {
    // While there are lines left, what was taken was an earlier one.
    let pid = std::fs::read_to_string(script.with_extension("taken")).ok()?;
    let pid = pid.parse::<u32>().ok()?;
    (!script.exists()).then(|| pid.to_string())
}
