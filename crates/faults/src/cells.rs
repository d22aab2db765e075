//! The crash cells: every step border times every way to fail there, one after the other, once each.
//!
//! The services are built with the feature `crashpoints` (`runtime::crashpoints`). A cell arms one point with one
//! action, uploads until somebody came by it, and goes on; what became of all the jobs is checked at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::campaign::Wish;
use crate::check;
use crate::fleet::Fleet;
use crate::load::Load;
use crate::plan::{Act, Fault, Service};
use crate::random::Random;
use crate::report::{self, Window};
use crate::say;

const ACTIONS: [&str; 4] = ["kill", "error", "lost-reply", "stall"];
/// How long a stopped process stays so: less than a lease, so that it and its successor may meet.
const STALL: Duration = Duration::from_secs(20);
/// How long it may take until somebody comes by a point.
const VISIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// What brings somebody to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// An upload of a second.
    Upload,
    /// One of ten minutes, whose claim is renewed.
    LongUpload,
    /// An upload that breaks off.
    BrokenUpload,
    /// An upload after this point failed once.
    After(&'static str),
    /// The janitor's cycle.
    Janitor,
}

/// Every point: 11 of the gateway, 13 of the converter, 7 of the notification, 3 of the janitor.
const POINTS: [(&str, Way); 34] = [
    ("gateway.create", Way::Upload),
    ("gateway.put", Way::Upload),
    ("gateway.write", Way::Upload),
    ("gateway.finish", Way::Upload),
    ("gateway.commit_upload", Way::Upload),
    ("gateway.publish", Way::Upload),
    ("gateway.mark_announced", Way::Upload),
    ("gateway.fail_upload", Way::BrokenUpload),
    ("gateway.lapsed_uploads", Way::Upload),
    ("gateway.claim_announcement", Way::Upload),
    // The announcer's, which repeats what was never confirmed.
    ("gateway.publish", Way::After("gateway.publish")),
    ("converter.claim_due", Way::Upload),
    ("converter.adopt", Way::Upload),
    ("converter.claim", Way::Upload),
    ("converter.delete", Way::After("converter.put")),
    ("converter.stat", Way::Upload),
    ("converter.put", Way::Upload),
    ("converter.read", Way::Upload),
    ("converter.write", Way::Upload),
    ("converter.renew", Way::LongUpload),
    ("converter.finish", Way::Upload),
    ("converter.settle", Way::Upload),
    ("converter.publish", Way::Upload),
    ("converter.mark_announced", Way::Upload),
    ("convert.ack", Way::Upload),
    ("notification.claim_due", Way::Upload),
    ("notification.adopt", Way::Upload),
    ("notification.claim", Way::Upload),
    ("notification.sent", Way::Upload),
    ("notification.settle", Way::Upload),
    ("tell.ack", Way::Upload),
    ("janitor.list_ours", Way::Janitor),
    ("janitor.references", Way::Janitor),
    ("janitor.list_unfinished", Way::Janitor),
];

/// Visits `wish.jobs` cells of all, in the seed's order.
///
/// # Errors
/// The campaign itself does not work.
pub(crate) async fn run(wish: Wish) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let ledger = wish.empty_ledger()?;
    let script = wish.directory.join("crash.script");
    let mut extra = wish.extra();
    extra.push(("MP3_CRASH_FILE", script.display().to_string()));
    let fleet = Fleet::start(&wish.directory, &wish.programs, &extra, Arc::clone(&ledger)).await?;
    let load = Arc::new(Load::start(Arc::clone(&fleet), Arc::clone(&ledger), wish.seed).await?);

    let mut cells: Vec<_> = POINTS
        .into_iter()
        .flat_map(|point| ACTIONS.map(|action| (point, action)))
        .collect();
    match &wish.cell {
        Some(only) => {
            cells.retain(|((point, _), action)| format!("{point} {action}") == *only);
            cells.truncate(1);
        }
        None => Random::of(wish.seed, 0).shuffle(&mut cells),
    }
    cells.truncate(wish.jobs);
    say(format!(
        "SEED={} CELLS={} of {}",
        wish.seed,
        cells.len(),
        POINTS.len() * ACTIONS.len()
    ));
    let mut site = Site {
        load: Arc::clone(&load),
        script,
        uploads: 0,
    };
    let mut windows = Vec::new();
    let mut unvisited = Vec::new();
    for ((point, way), action) in cells {
        let began = ledger.now();
        ledger.note(
            "cell",
            json!({ "point": point, "way": format!("{way:?}"), "action": action }),
        );
        let visited = site.visit(point, way, action).await?;
        let verdict = if visited { "visited" } else { "NOT VISITED" };
        say(format!(
            "{:6.1} s  {point} {way:?} {action}: {verdict}",
            began.as_secs_f64()
        ));
        if !visited {
            unvisited.push(format!("{point} {action}"));
        }
        let service = match point.split_once('.') {
            Some(("notification" | "tell", _)) => "notification",
            _ => "converter",
        };
        windows.push(Window {
            fault: Fault {
                kind: "F1",
                act: Act::Kill(Service(service, 0)),
                lasts: Duration::ZERO,
            },
            began,
            ended: ledger.now(),
            hit_work: true,
        });
    }
    check::quiesce(&load, wish.patience).await;
    // Deliveries whose acknowledgement was lost come back when their connection ends.
    fleet.rabbitmq_management.close_connections().await?;
    let findings = check::check(&load, &windows, &wish.directory).await?;
    fleet.close();
    for breach in &findings.breaches {
        say(format!("BROKEN {}: {}", breach.invariant, breach.what));
        let words: Vec<&str> = breach.words.iter().map(String::as_str).collect();
        load.ledger
            .story(&words)
            .iter()
            .for_each(|line| say(format!("    {line}")));
    }
    let [p50, p99, longest] = report::recovery(&load, &windows);
    say(format!(
        "{} cells, {} not visited: {} jobs, {} lost, {} doubled, {} orphans, {} mail copies, recovery {p50:.1} / {p99:.1} / {longest:.1} s; took {:.0} s",
        windows.len(),
        unvisited.len(),
        findings.jobs,
        findings.lost,
        findings.doubled,
        findings.orphans,
        findings.copies,
        begun.elapsed().as_secs_f64(),
    ));
    let whole = findings.breaches.is_empty() && unvisited.is_empty();
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Site {
    load: Arc<Load>,
    script: PathBuf,
    uploads: usize,
}

impl Site {
    /// Arms a point and goes there; false when nobody came by.
    async fn visit(&mut self, point: &str, way: Way, action: &str) -> anyhow::Result<bool> {
        if let Way::After(first) = way {
            self.arm(first, "error")?;
            if self.go(Way::Upload).await?.is_none() {
                return Ok(false);
            }
        }
        self.arm(point, action)?;
        let Some(pid) = self.go(way).await? else {
            return Ok(false);
        };
        if action == "stall" {
            sleep(STALL).await;
            // By the command, for a process of its own may have ended meanwhile.
            Command::new("kill").args(["-CONT", &pid]).output().await?;
        }
        Ok(true)
    }

    fn arm(&self, point: &str, action: &str) -> anyhow::Result<()> {
        let part = self.script.with_extension("part");
        std::fs::remove_file(self.script.with_extension("taken")).ok();
        std::fs::write(&part, format!("{point} {action}\n"))?;
        std::fs::rename(&part, &self.script).context("cannot arm a crash point")
    }

    /// Goes there, and gives the id of the process that came by.
    async fn go(&mut self, way: Way) -> anyhow::Result<Option<String>> {
        self.uploads += 1;
        let (load, number) = (Arc::clone(&self.load), self.uploads);
        tokio::spawn(async move {
            match way {
                Way::Janitor => drop(load.fleet.janitor(false).await),
                Way::LongUpload => drop(load.plain(number, "ten-minutes").await),
                Way::BrokenUpload => load.broken(number).await,
                Way::Upload | Way::After(_) => drop(load.plain(number, "second").await),
            }
        });
        let give_up = Instant::now() + VISIT;
        while Instant::now() < give_up {
            if let Some(pid) = taken(&self.script) {
                return Ok(Some(pid));
            }
            sleep(POLL).await;
        }
        // Nobody is to come by it later.
        std::fs::remove_file(&self.script).ok();
        Ok(None)
    }
}

fn taken(script: &Path) -> Option<String> {
    let pid = std::fs::read_to_string(script.with_extension("taken")).ok()?;
    pid.parse::<u32>().ok().map(|pid| pid.to_string())
}
