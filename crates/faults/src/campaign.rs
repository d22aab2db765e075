//! The random campaign: load and faults side by side, then rest, then the invariants.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::check::{self, Findings};
use crate::fire::{Fired, fire};
use crate::fleet::{Fleet, Surroundings};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::memory::{self, Memory};
use crate::plan::{self, Fault, NOT_INJECTED};
use crate::report::{self, Window};
use crate::say;

const LOOK: Duration = Duration::from_millis(500);
/// The share of faults that must fall on work.
const MIN_HITS_PERCENT: usize = 80;
/// A kind that was drawn more often than this may fail to be injected, as long as so many were.
const ENOUGH_OF_A_KIND: usize = 10;

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
    let fired = fire(&fleet, &load, &faults, wish.jobs).await?;
    looking.abort();
    say(format!(
        "{} uploads are accepted, now it may rest",
        load.accepted().len()
    ));
    check::quiesce(&load, wish.patience).await;
    let memory = watching.stop().await;
    let findings = check::check(&load, &fired.windows, &wish.directory).await?;
    fleet.close();
    let code = tell(&wish, &load, &faults, &fired, &findings, &memory);
    say(format!("took {:.0} s", begun.elapsed().as_secs_f64()));
    say(report::HEAD);
    say(report::row(wish.seed, &fired.windows, &findings));
    Ok(code)
}

/// Says what was found, and whether that is a success.
fn tell(wish: &Wish, load: &Load, drawn: &[Fault], fired: &Fired, findings: &Findings, memory: &Memory) -> ExitCode {
    say(format!("janitor: {}", findings.janitor));
    say_of_users(load, findings);
    say(memory);
    for kind in NOT_INJECTED {
        say(format!("not injected: {kind}"));
    }
    for error in &fired.failed {
        say(format!("could not be injected, not counted: {error}"));
    }
    findings.say_breaches(load);
    let mut broken: Vec<String> = Vec::new();
    broken.extend(fired.wrong.iter().map(|what| format!("I7: {what}")));
    broken.extend(findings.recovery.judge().into_iter().map(|what| format!("I7: {what}")));
    broken.extend(memory.broken().into_iter().map(|what| format!("I8: {what}")));
    broken.extend(shortfalls(drawn, &fired.windows));
    let jobs: Vec<(Duration, Duration)> = load
        .accepted()
        .values()
        .map(|job| (job.at, job.ended.as_ref().map_or(Duration::MAX, |(_, at)| *at)))
        .collect();
    let (hits, faults) = (report::hits(&fired.windows, &jobs), fired.windows.len());
    say(format!(
        "{hits} of {faults} faults began while an accepted job had not ended"
    ));
    if hits * 100 < faults * MIN_HITS_PERCENT {
        broken.push(format!(
            "only {hits} of {faults} faults fell on work, this proves nothing"
        ));
    }
    let failures = load.failures();
    if wish.faults == 0 && !failures.is_empty() {
        broken.push(format!(
            "nothing was wrong, and uploads were not answered with success: {failures:?}"
        ));
    }
    for what in &broken {
        say(format!("BROKEN {what}"));
    }
    if findings.breaches.is_empty() && broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Says what the users did, and what they heard instead of success.
fn say_of_users(load: &Load, findings: &Findings) {
    let count = |number: &std::sync::atomic::AtomicUsize| number.load(Ordering::SeqCst);
    say(format!(
        "{} uploads were tried; F16: {} slow, {} broken off, {} sent twice, {} sent twice under a key",
        count(&load.tried),
        count(&load.slow),
        count(&load.aborted),
        count(&load.twice),
        count(&load.repeated),
    ));
    let poison = load.accepted().values().filter(|job| job.clip.plays.is_none()).count();
    say(format!(
        "F15: {poison} of {} accepted uploads were poison",
        findings.jobs
    ));
    say(format!(
        "{} users had no success at their first try; heard instead of success in all tries: {:?}",
        count(&load.first_try_failures),
        load.failures()
    ));
}

/// The kinds of which fewer were injected than drawn, where that is fewer than enough.
fn shortfalls(drawn: &[Fault], injected: &[Window]) -> Vec<String> {
    let injected = report::by_kind(injected.iter().map(|window| &window.fault));
    let short = report::by_kind(drawn).into_iter().filter_map(|(kind, wanted)| {
        let count = injected.get(kind).copied().unwrap_or(0);
        let is_short = count < wanted.min(ENOUGH_OF_A_KIND);
        is_short.then(|| format!("{kind} was injected {count} times instead of {wanted}"))
    });
    short.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_which_too_few_were_injected_is_told_of() {
        let injected = |faults: &[Fault]| -> Vec<Window> {
            let window = |fault: &Fault| Window {
                fault: *fault,
                began: Duration::ZERO,
                ended: Duration::ZERO,
            };
            faults.iter().map(window).collect()
        };
        let few = plan::draw(1, 3, Some("F6"));
        assert!(shortfalls(&few, &injected(&few)).is_empty());
        assert_eq!(shortfalls(&few, &injected(&few[1..])).len(), 1);
        assert_eq!(shortfalls(&few, &[]).len(), 1);
        let many = plan::draw(1, 20, Some("F6"));
        assert!(shortfalls(&many, &injected(&many[10..])).is_empty());
        assert_eq!(shortfalls(&many, &injected(&many[11..])).len(), 1);
    }
}
