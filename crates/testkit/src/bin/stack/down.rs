//! Stopping exactly what was started.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::record::{Process, Record, Stat};
use crate::say;

const POLL: Duration = Duration::from_millis(50);
/// More than the services' own grace period and what a broker needs to close its data.
const GENTLE_DEADLINE: Duration = Duration::from_secs(60);
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Stops the stack recorded in `directory`: the services first, then what they stand on.
///
/// # Errors
///
/// When a process cannot be ended; the record stays then.
pub(crate) async fn down(directory: &Path) -> anyhow::Result<ExitCode> {
    let Some(record) = Record::read(directory)? else {
        say("the stack is not running");
        return Ok(ExitCode::SUCCESS);
    };
    let is_service = |process: &Process| ["auth", "gateway", "converter", "notification"].contains(&&*process.name);
    let is_last = |process: &Process| process.name == "epmd";
    let (services, rest): (Vec<_>, Vec<_>) = record.processes.into_iter().partition(is_service);
    let (last, servers): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_last);
    for group in [services, servers, last] {
        stop(&group).await?;
    }
    Record::remove(directory)?;
    say("the stack is down");
    Ok(ExitCode::SUCCESS)
}

/// Asks all of them to end, waits, and kills what does not listen.
async fn stop(group: &[Process]) -> anyhow::Result<()> {
    for process in group.iter().filter(|process| process.is_alive()) {
        say(format!("stopping {}", process.name));
        signal(process.pid, Signal::TERM);
    }
    wait_until_gone(group, GENTLE_DEADLINE).await;
    for process in group.iter().filter(|process| process.is_alive()) {
        say(format!("killing {}, which did not stop", process.name));
        signal(process.pid, Signal::KILL);
    }
    if !wait_until_gone(group, KILL_DEADLINE).await {
        bail!("cannot end every process; `stack status` shows which");
    }
    for process in group {
        kill_session(process);
    }
    Ok(())
}

async fn wait_until_gone(group: &[Process], deadline: Duration) -> bool {
    let give_up = Instant::now() + deadline;
    while group.iter().any(Process::is_alive) {
        if Instant::now() > give_up {
            return false;
        }
        sleep(POLL).await;
    }
    true
}

/// Kills what a process left behind in its session. While it holds anybody, its id is given to no other process.
fn kill_session(leader: &Process) {
    if Stat::of(leader.pid).is_some_and(|stat| stat.started_ticks != leader.started_ticks) {
        return;
    }
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return;
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.filter(|pid| *pid != leader.pid) {
        let left_behind =
            Stat::of(pid).is_some_and(|stat| stat.session == leader.pid && stat.started_ticks >= leader.started_ticks);
        if left_behind {
            signal(pid, Signal::KILL);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that has just ended is what we wanted.
        kill_process(pid, signal).ok();
    }
}
