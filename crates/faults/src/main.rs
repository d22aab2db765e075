//! The fault campaign: `make faults`.
//!
//! Starts the real servers and two of each service behind a proxy of its own, uploads, breaks things as the seed says,
//! waits for rest, and checks what was promised: nothing accepted is lost, doubled or stuck. `SEED=`, `JOBS=` and
//! `FAULTS=` choose; the same seed gives the same faults and uploads. See `docs/RELIABILITY.md`.

mod campaign;
mod check;
mod clips;
mod fleet;
mod http;
mod inject;
mod ledger;
mod load;
mod memory;
mod plan;
mod proxy;
mod random;
mod report;
mod sink;
mod store;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use campaign::Wish;
use testkit::servers::{given, workspace_root};

const WRONG_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.is_empty() {
        complain("usage: [SEED=N] [JOBS=N] [FAULTS=N] faults");
        return ExitCode::from(WRONG_USAGE);
    }
    match run().await {
        Ok(code) => code,
        Err(error) => {
            complain(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let wish = Wish {
        seed: number("SEED", now)?,
        jobs: usize::try_from(number("JOBS", 1500)?)?,
        faults: usize::try_from(number("FAULTS", 60)?)?,
        directory: workspace_root().join("target/faults/campaign"),
        programs: campaign::programs()?,
        extra: Vec::new(),
        plan: None,
    };
    campaign::run(wish).await
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
