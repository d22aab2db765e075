//! The fault campaign: `make faults`.
//!
//! Starts the real servers and two of each service behind a proxy of its own, uploads, breaks things as the seed says,
//! waits for rest, and checks what was promised: nothing accepted is lost, doubled or stuck. `SEED=`, `JOBS=` and
//! `FAULTS=` choose; the same seed gives the same faults and uploads. See `docs/RELIABILITY.md`.

mod campaign;
mod cells;
mod check;
mod clips;
mod fire;
mod fleet;
mod home;
mod http;
mod inject;
mod instance;
mod ledger;
mod load;
mod memory;
mod plan;
mod proxy;
mod random;
mod report;
mod scenes;
mod selfcheck;
mod single;
mod sink;
mod store;
mod users;

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use campaign::Wish;
use plan::{KINDS, SPECIAL_KINDS};
use scenes::SCENES;
use testkit::servers::given;

const WRONG_USAGE: u8 = 64;
/// A mail that was refused twice waits for five minutes.
const PATIENCE_SECONDS: u64 = 420;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [] => run(wish("JOBS", 1500, "campaign"), campaign::run).await,
        ["cells"] => run(wish("CELLS", 1000, "cells"), cells::run).await,
        ["scene", scene] if SCENES.contains(&scene) => {
            run(wish("JOBS", 0, "scene"), async |wish| scenes::run(wish, scene).await).await
        }
        ["selfcheck"] => selfcheck::run().await,
        _ => {
            complain(format!(
                "usage: [SEED=N] [JOBS=N] [FAULTS=N] [KIND=F1] faults, [SEED=N] [CELLS=N] [CELL='POINT ACTION'] faults \
                 cells, faults scene {}, or [BUG=NAME] faults selfcheck",
                SCENES.join("|")
            ));
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What the environment asks for; `jobs` unless `JOBS`, or `CELLS`, says otherwise.
fn wish(count: &str, jobs: u64, directory: &str) -> anyhow::Result<Wish> {
    let programs = campaign::programs()?;
    let kind = given("KIND");
    if let Some(kind) = &kind {
        let mut kinds = KINDS.iter().chain(&SPECIAL_KINDS);
        ensure!(kinds.any(|other| other == kind), "KIND={kind} is none of the kinds");
    }
    let directory = given("DIRECTORY").map_or_else(|| programs.with_file_name("faults").join(directory), PathBuf::from);
    Ok(Wish {
        seed: seed()?,
        jobs: usize::try_from(number(count, jobs)?)?,
        faults: usize::try_from(number("FAULTS", 60)?)?,
        directory,
        programs,
        kind,
        cell: given("CELL"),
        bug: given("BUG"),
        queue_driven: given("QUEUE_DRIVEN").is_some(),
        classic_queues: given("CLASSIC").is_some(),
        patience: Duration::from_secs(number("PATIENCE", PATIENCE_SECONDS)?),
    })
}

async fn run<F>(wish: anyhow::Result<Wish>, campaign: impl FnOnce(Wish) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    campaign(wish?).await
}

/// The one given, or the time.
fn seed() -> anyhow::Result<u64> {
    number("SEED", SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> anyhow::Result<u64> {
    given(name).map_or(Ok(otherwise), |text| {
        text.parse().with_context(|| format!("{name}={text} is no number"))
    })
}

/// One line for the person who called. A reader that went away is no reason to stop half-way.
pub(crate) fn say(line: impl Display) {
    writeln!(std::io::stdout(), "{line}").ok();
}

fn complain(line: impl Display) {
    writeln!(std::io::stderr(), "{line}").ok();
}
