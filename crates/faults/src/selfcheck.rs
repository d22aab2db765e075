//! Whether the campaign can fail: each seeded bug must turn the smallest run that can show it red, and the same run
//! without the bug must be green.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use testkit::servers::given;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{campaign, say};

/// How many runs are under way at a time: they mostly wait.
const AT_ONCE: usize = 3;

/// A bug, and the run that is to find it.
struct Case {
    bug: &'static str,
    run: Run,
    /// The invariant that is to break.
    breaks: &'static str,
}

/// The arguments of this program, and what its environment says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
}

/// The bug that is none.
const NONE: &str = "none";

const CASES: [Case; 15] = [
    load(
        "confirm-off",
        &[
            ("JOBS", "24"),
            ("FAULTS", "2"),
            ("KIND", "F4-frozen"),
            ("QUEUE_DRIVEN", "1"),
            ("CLASSIC", "1"),
        ],
        "I1",
    ),
    load(
        "w1",
        &[("JOBS", "24"), ("FAULTS", "4"), ("KIND", "F7-at-success")],
        "I1",
    ),
    cell(
        "ack-first",
        &[("CELL", "converter.settle kill"), ("QUEUE_DRIVEN", "1")],
        "I1",
    ),
    scene("no-fence", &["scene", "long-stall"], &[], "I2"),
    cell("shared-mp3-id", &[("CELL", "converter.settle kill")], "I1"),
    cell(
        "no-relay",
        &[("CELL", "gateway.publish error"), ("QUEUE_DRIVEN", "1")],
        "I1",
    ),
    cell("no-reconciler", &[("CELL", "converter.put error")], "I1"),
    cell("no-janitor", &[("CELL", "gateway.commit_upload kill")], "I3"),
    load("random-message-id", &[("JOBS", "5"), ("FAULTS", "0")], "I5"),
    scene("prefetch-10", &["scene", "neighbours"], &[("QUEUE_DRIVEN", "1")], "I7"),
    load(
        "nack-loop",
        &[
            ("JOBS", "12"),
            ("FAULTS", "2"),
            ("KIND", "F17-garbage"),
            ("CLASSIC", "1"),
        ],
        "I6",
    ),
    scene("shared-connection", &["scene", "alarm"], &[("QUEUE_DRIVEN", "1")], "I7"),
    scene("cancel-on-write", &["scene", "cut-line"], &[], "I3"),
    scene("no-deadline", &["scene", "locked-store"], &[], "I8"),
    load("no-verdicts", &[("JOBS", "40"), ("FAULTS", "0")], "I1"),
];

const fn load(bug: &'static str, variables: &'static [(&'static str, &'static str)], breaks: &'static str) -> Case {
    scene(bug, &[], variables, breaks)
}

const fn cell(bug: &'static str, variables: &'static [(&'static str, &'static str)], breaks: &'static str) -> Case {
    scene(bug, &["cells"], variables, breaks)
}

const fn scene(
    bug: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    breaks: &'static str,
) -> Case {
    let run = Run { arguments, variables };
    Case { bug, run, breaks }
}

/// Runs all cases, or the one that `BUG` names, and prints a table; success when each ended as it should.
///
/// # Errors
/// This program cannot be run again.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let directory = campaign::programs()?.with_file_name("faults").join("selfcheck");
    let only = given("BUG");
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| only.as_deref().is_none_or(|only| only == case.bug))
        .collect();
    // Each environment once without a bug: red there would prove nothing.
    let runs: BTreeSet<Run> = cases.iter().map(|case| case.run).collect();
    let controls = runs.into_iter().map(|run| (NONE, run, None));
    let bugs = cases.iter().map(|case| (case.bug, case.run, Some(case.breaks)));
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut attempts = JoinSet::new();
    for (number, (bug, run, breaks)) in controls.chain(bugs).enumerate() {
        let (program, at_once) = (program.clone(), Arc::clone(&at_once));
        let directory = directory.join(number.to_string());
        attempts.spawn(async move {
            let _turn = at_once.acquire().await?;
            attempt(&program, directory, bug, run, breaks)
                .await
                .map(|row| (number, row))
        });
    }
    let mut rows = Vec::new();
    let mut all_as_they_should = true;
    while let Some(attempted) = attempts.join_next().await {
        let (number, (row, as_it_should)) = attempted??;
        say(&row);
        all_as_they_should &= as_it_should;
        rows.push((number, row));
    }
    rows.sort_unstable();
    say("\n| seeded bug | run | outcome | first breach |\n|---|---|---|---|");
    rows.iter().for_each(|(_, row)| say(row));
    Ok(if all_as_they_should {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A row of the table, and whether the run ended as it should. What it said is kept beside its directory.
async fn attempt(
    program: &Path,
    directory: PathBuf,
    bug: &str,
    run: Run,
    breaks: Option<&str>,
) -> anyhow::Result<(String, bool)> {
    let output = Command::new(program)
        .args(run.arguments)
        .envs(run.variables.iter().copied())
        .env("DIRECTORY", &directory)
        .env("BUG", bug)
        .env("SEED", "5")
        // What is stuck is stuck; what heals does so within the lease and the longest early pause.
        .env("PATIENCE", "90")
        .kill_on_drop(true)
        .output()
        .await?;
    let said = [output.stdout, output.stderr].concat();
    std::fs::write(directory.with_extension("txt"), &said).context("cannot keep what a run said")?;
    let said = String::from_utf8_lossy(&said);
    let broken = said.lines().find(|line| match breaks {
        Some(invariant) => line.starts_with(&format!("BROKEN {invariant}:")),
        None => line.starts_with("BROKEN"),
    });
    let as_it_should = match breaks {
        None => output.status.success(),
        Some(_) => !output.status.success() && broken.is_some(),
    };
    if as_it_should {
        // A red run's data is of no use to anybody, nor a green one's.
        std::fs::remove_dir_all(&directory).ok();
    }
    let outcome = match (as_it_should, breaks) {
        (true, None) => "green",
        (true, Some(_)) => "red",
        (false, _) => "**NOT AS IT SHOULD**",
    };
    let otherwise = if output.status.success() {
        "every invariant held"
    } else {
        said.lines().last().unwrap_or("failed without a word")
    };
    let row = format!("| `{bug}` | {run} | {outcome} | {} |", broken.unwrap_or(otherwise));
    Ok((row, as_it_should))
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let variables = self.variables.iter().map(|(name, value)| match value.contains(' ') {
            true => format!("{name}=\"{value}\""),
            false => format!("{name}={value}"),
        });
        let words: Vec<String> = variables
            .chain(self.arguments.iter().map(|word| (*word).to_owned()))
            .collect();
        write!(f, "`{}`", words.join(" "))
    }
}
