//! The four services against real servers on this machine, without containers: `make stack` and `make stack-down`.
//!
//! `stack up` starts MariaDB, RabbitMQ, MongoDB and a mail sink on private ports, then the services beside this
//! program, and leaves them running; `stack down` stops exactly those; `stack status` shows them. Everything they write
//! is in `.stack/` of the workspace, or the directory named, which the next `up` begins anew.

mod down;
mod mail_sink;
mod record;
mod services;
mod up;

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use record::Record;
use testkit::servers::workspace_root;

const WRONG_USAGE: u8 = 64;
/// As init scripts say it: the thing asked about does not run.
const NOT_RUNNING: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let usual = workspace_root().join(".stack");
    let outcome = match arguments[..] {
        ["up"] => up::up(&usual).await,
        ["up", directory] => up::up(directory.as_ref()).await,
        ["down"] => down::down(&usual).await,
        ["down", directory] => down::down(directory.as_ref()).await,
        ["status"] => status(&usual),
        ["status", directory] => status(directory.as_ref()),
        ["mail-sink", port, directory] => mail_sink::run(port, directory.as_ref()).await,
        _ => {
            complain("usage: stack up|down|status [DIRECTORY]");
            Ok(ExitCode::from(WRONG_USAGE))
        }
    };
    outcome.unwrap_or_else(|error| {
        complain(format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn status(directory: &Path) -> anyhow::Result<ExitCode> {
    let Some(record) = Record::read(directory)? else {
        say("the stack is not running");
        return Ok(ExitCode::from(NOT_RUNNING));
    };
    for process in &record.processes {
        let state = if process.is_alive() { "running" } else { "ended" };
        say(format!("{:<14} {:>8}  {state}", process.name, process.pid));
    }
    let all_run = record.processes.iter().all(record::Process::is_alive);
    Ok(ExitCode::from(if all_run { 0 } else { NOT_RUNNING }))
}

/// One line for the person who called. A reader that went away is no reason to stop half-way.
fn say(line: impl Display) {
    writeln!(std::io::stdout(), "{line}").ok();
}

fn complain(line: impl Display) {
    writeln!(std::io::stderr(), "error: {line}").ok();
}
