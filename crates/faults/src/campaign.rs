//! The random campaign: load and faults side by side, then rest, then the invariants.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::check::{self, Findings};
use crate::fleet::{Fleet, Surroundings};
use crate::home::Home;
use crate::inject::inject;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::memory::{self, Peak};
use crate::plan::{self, Fault, NOT_INJECTED};
use crate::report::{self, Window};
use crate::say;

/// How many users upload at once.
const USERS: usize = 6;
/// How many faults overlap.
const OVERLAP: usize = 3;
/// More accepted jobs than this are not left unfinished: the point is faults, not queues.
const MAX_OUTSTANDING: usize = 30;
const TICK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(500);
/// The longest a fault may take with its healing before the campaign itself is called broken.
const FAULT_PATIENCE: Duration = Duration::from_secs(240);
/// The share of faults that must fall on work.
const MIN_HITS_PERCENT: usize = 80;

/// What is wanted. For crash cells, `jobs` is how many of them.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) seed: u64,
    pub(crate) jobs: usize,
    pub(crate) faults: usize,
    /// Where everything goes; emptied first.
    pub(crate) directory: PathBuf,
    /// Where the services' programs are.
    pub(crate) programs: PathBuf,
    /// Faults of this kind alone.
    pub(crate) kind: Option<String>,
    /// The crash cells to visit, `POINT ACTION`, instead of those the seed gives.
    pub(crate) cell: Option<String>,
    /// The bug that the services were given, if any.
    pub(crate) bug: Option<String>,
    /// The converters are woken by messages alone, as foreign ones are; needs the feature `seeded-bugs`.
    pub(crate) queue_driven: bool,
    /// The queues were made by hand.
    pub(crate) classic_queues: bool,
    /// How long jobs, and then mails, may take to come to rest.
    pub(crate) patience: Duration,
}

impl Wish {
    /// Empties the directory and begins a ledger there.
    ///
    /// # Errors
    /// The directory cannot be emptied or written to.
    pub(crate) fn empty_ledger(&self) -> anyhow::Result<Arc<Ledger>> {
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory)?;
        }
        std::fs::create_dir_all(&self.directory)?;
        Ok(Arc::new(Ledger::create(&self.directory.join("ledger.jsonl"))?))
    }

    /// The same in a directory of its own below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let directory = self.directory.join(name);
        Self {
            directory,
            ..self.clone()
        }
    }

    /// What the services find around them.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let bug = self.bug.iter().map(|bug| ("MP3_SEEDED_BUG", bug.clone()));
        let driven = self.queue_driven.then(|| ("MP3_QUEUE_DRIVEN", "1".to_owned()));
        Surroundings {
            variables: bug.chain(driven).collect(),
            // A bug that is one of configuration.
            mongodb_options: match self.bug.as_deref() {
                Some("w1") => "&w=1&journal=false&readConcernLevel=local",
                _ => "",
            },
            classic_queues: self.classic_queues,
        }
    }
}

/// Runs a campaign and tells how it went: success when every invariant held.
///
/// # Errors
/// The campaign itself does not work.
pub(crate) async fn run(wish: Wish) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let ledger = wish.empty_ledger()?;
    say(format!(
        "SEED={} JOBS={} FAULTS={}, ledger and logs in {}",
        wish.seed,
        wish.jobs,
        wish.faults,
        wish.directory.display()
    ));
    let fleet = Fleet::start(
        &wish.directory,
        &wish.programs,
        &wish.surroundings(),
        Arc::clone(&ledger),
    )
    .await?;
    let load = Arc::new(Load::start(Home::Services(Arc::clone(&fleet)), ledger, wish.seed).await?);
    let faults = plan::draw(wish.seed, wish.faults, wish.kind.as_deref());
    say(format!("everything runs after {:.0} s", begun.elapsed().as_secs_f64()));

    let looking = tokio::spawn({
        let load = Arc::clone(&load);
        async move {
            loop {
                load.look().await;
                sleep(LOOK).await;
            }
        }
    });
    let watching = memory::watch(Arc::clone(&fleet));
    let (windows, failed) = fire(&fleet, &load, &faults, wish.jobs).await?;
    looking.abort();
    say(format!(
        "{} uploads are accepted, now it may rest",
        load.accepted().len()
    ));
    check::quiesce(&load, wish.patience).await;
    let peak = watching.stop().await;
    let findings = check::check(&load, &windows, &wish.directory).await?;
    fleet.close();
    let code = tell(&wish, &load, &windows, &failed, &findings, &peak);
    say(format!("took {:.0} s", begun.elapsed().as_secs_f64()));
    say(report::HEAD);
    say(report::row(wish.seed, &load, &windows, &findings));
    Ok(code)
}

/// Uploads all and injects all, each fault when its share of the uploads is under way.
async fn fire(
    fleet: &Arc<Fleet>,
    load: &Arc<Load>,
    faults: &[Fault],
    jobs: usize,
) -> anyhow::Result<(Vec<Window>, Vec<String>)> {
    let released = Arc::new(Semaphore::new(0));
    let mut users = JoinSet::new();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..USERS.min(jobs) {
        let (load, next, released) = (Arc::clone(load), Arc::clone(&next), Arc::clone(&released));
        users.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= jobs {
                    return anyhow::Ok(());
                }
                released.acquire().await?.forget();
                while load.outstanding() >= MAX_OUTSTANDING {
                    sleep(TICK).await;
                }
                load.user(number).await?;
            }
        });
    }
    let overlap = Arc::new(Semaphore::new(OVERLAP));
    let results: Arc<Mutex<(Vec<Window>, Vec<String>)>> = Arc::default();
    let mut injections = JoinSet::new();
    for (number, fault) in faults.iter().enumerate() {
        let (from, to) = (jobs * number / faults.len(), jobs * (number + 1) / faults.len());
        released.add_permits(to - from);
        let permit = Arc::clone(&overlap).acquire_owned().await?;
        // In the middle of its share, so that uploads and conversions are under way.
        while load.done() < from + (to - from) / 3 || (load.outstanding() == 0 && load.done() < to) {
            if let Some(ended) = users.try_join_next() {
                ended??;
            }
            sleep(TICK).await;
        }
        let (fleet, load, fault, results) = (Arc::clone(fleet), Arc::clone(load), *fault, Arc::clone(&results));
        injections.spawn(async move {
            let hit_work = load.outstanding() > 0;
            let began = load.ledger.now();
            say(format!("{:6.1} s  {fault}", began.as_secs_f64()));
            load.ledger
                .note("fault", json!({ "fault": fault.to_string(), "number": number }));
            let outcome = timeout(FAULT_PATIENCE, inject(&fleet, &load, &fault)).await;
            let ended = load.ledger.now();
            let error = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{fault}: {error:#}")),
                Err(_) => Some(format!("{fault}: it does not end")),
            };
            load.ledger.note(
                "healed",
                json!({ "fault": fault.to_string(), "number": number, "error": error }),
            );
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            match error {
                None => results.0.push(Window {
                    fault,
                    began,
                    ended,
                    hit_work,
                }),
                Some(error) => results.1.push(error),
            }
            drop(permit);
        });
    }
    if faults.is_empty() {
        released.add_permits(jobs);
    }
    while let Some(ended) = injections.join_next().await {
        ended?;
    }
    while let Some(ended) = users.join_next().await {
        ended??;
    }
    let results = results.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(results)
}

/// Says what was found, and whether that is a success.
fn tell(wish: &Wish, load: &Load, windows: &[Window], failed: &[String], findings: &Findings, peak: &Peak) -> ExitCode {
    for line in &findings.janitor {
        say(format!("janitor: {line}"));
    }
    let hits = windows.iter().filter(|window| window.hit_work).count();
    say(format!(
        "{hits} of {} faults fell on jobs between steps; {} uploads were tried, {} slow, {} broken off, {} sent twice, \
         {} sent twice under a key",
        windows.len(),
        load.tried.load(Ordering::SeqCst),
        load.slow.load(Ordering::SeqCst),
        load.aborted.load(Ordering::SeqCst),
        load.twice.load(Ordering::SeqCst),
        load.repeated.load(Ordering::SeqCst),
    ));
    let poison = load.accepted().values().filter(|job| job.clip.plays.is_none()).count();
    say(format!(
        "{poison} of {} accepted uploads were poison (F15)",
        findings.jobs
    ));
    say(format!("gateway at most: {peak}"));
    for kind in NOT_INJECTED {
        say(format!("not injected: {kind}"));
    }
    for error in failed {
        say(format!("could not be injected, not counted: {error}"));
    }
    findings.say_breaches(load);
    let too_few_hits = hits * 100 < windows.len() * MIN_HITS_PERCENT;
    if too_few_hits {
        say("BROKEN: too few faults fell on work, this proves nothing");
    }
    let too_many_failed = failed.len() * 10 > wish.faults;
    if too_many_failed {
        say("BROKEN: too many faults could not be injected, this proves nothing");
    }
    let peak_broken = peak.is_too_much();
    if peak_broken {
        say("BROKEN I8: a gateway took too much");
    }
    if findings.breaches.is_empty() && !too_few_hits && !too_many_failed && !peak_broken {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Where cargo put the services: beside this program.
///
/// # Errors
/// This program does not know where it is.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let directory = program.parent().map(Path::to_owned).context("no directory")?;
    if !directory.join("gateway").is_file() {
        bail!(
            "no services in {}: run `make faults`, which builds them",
            directory.display()
        );
    }
    Ok(directory)
}
