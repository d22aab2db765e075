//! Whether the campaign can fail: each seeded bug must turn the smallest run that can show it red.

use std::process::ExitCode;

use tokio::process::Command;

use crate::say;

/// A bug, and the run that is to find it.
struct Case {
    bug: &'static str,
    /// None for the campaign.
    cell: Option<&'static str>,
    variables: &'static [(&'static str, &'static str)],
    /// The invariant that is to break; none where all must hold.
    breaks: Option<&'static str>,
}

const CASES: [Case; 9] = [
    campaign("none", &[("JOBS", "30"), ("FAULTS", "0")], None),
    cell("none", "converter.settle kill", None),
    campaign("random-message-id", &[("JOBS", "5"), ("FAULTS", "0")], Some("I5")),
    campaign("no-verdicts", &[("JOBS", "40"), ("FAULTS", "0")], Some("I1")),
    cell("no-reconciler", "converter.put error", Some("I1")),
    cell("shared-mp3-id", "converter.settle kill", Some("I1")),
    cell("no-janitor", "gateway.commit_upload kill", Some("I3")),
    campaign(
        "nack-loop",
        &[("JOBS", "24"), ("FAULTS", "6"), ("KIND", "F17")],
        Some("I6"),
    ),
    campaign(
        "ack-first",
        &[("JOBS", "40"), ("FAULTS", "4"), ("KIND", "F13")],
        Some("I5"),
    ),
];

const fn campaign(
    bug: &'static str,
    variables: &'static [(&'static str, &'static str)],
    breaks: Option<&'static str>,
) -> Case {
    Case {
        bug,
        cell: None,
        variables,
        breaks,
    }
}

const fn cell(bug: &'static str, name: &'static str, breaks: Option<&'static str>) -> Case {
    Case {
        bug,
        cell: Some(name),
        variables: &[],
        breaks,
    }
}

/// Runs all cases and prints a table; success when each ended as it should.
///
/// # Errors
/// This program cannot be run again.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let mut rows = Vec::new();
    let mut all_as_they_should = true;
    for case in &CASES {
        let mut command = Command::new(&program);
        command
            .envs(case.variables.iter().copied())
            .env("BUG", case.bug)
            .env("SEED", "5")
            // What is stuck is stuck; what heals does so within the lease and the longest early pause.
            .env("PATIENCE", "75")
            .kill_on_drop(true);
        if let Some(cell) = case.cell {
            command.arg("cells").env("CELL", cell);
        }
        let output = command.output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let broken = text.lines().find(|line| line.starts_with("BROKEN"));
        let as_it_should = match case.breaks {
            None => output.status.success(),
            Some(invariant) => !output.status.success() && text.contains(&format!("BROKEN {invariant}:")),
        };
        all_as_they_should &= as_it_should;
        let run = case.cell.map_or_else(
            || {
                case.variables
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            },
            ToOwned::to_owned,
        );
        let row = format!(
            "| {} | {run} | {} | {} |",
            case.bug,
            if as_it_should {
                "as it should"
            } else {
                "**NOT AS IT SHOULD**"
            },
            broken.unwrap_or(if output.status.success() {
                "every invariant held"
            } else {
                "failed without a word"
            })
        );
        say(&row);
        if !as_it_should {
            say(text);
            say(String::from_utf8_lossy(&output.stderr));
        }
        rows.push(row);
    }
    say("\n| seeded bug | run | outcome | first breach |\n|---|---|---|---|");
    rows.iter().for_each(say);
    Ok(if all_as_they_should {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
