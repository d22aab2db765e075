//! One instance of a service, whichever process it is at the moment, and somebody who starts it again, as a cluster
//! does.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use testkit::servers::{ServerProcess, Signal};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::plan::{Server, Service};
use crate::proxy::Proxy;

/// How often it is looked whether an instance has ended.
const LOOK: Duration = Duration::from_millis(200);
/// What a cluster waits before it starts an instance again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long a process may take until it hears SIGTERM.
const FIRST_MOMENT: Duration = Duration::from_secs(10);
/// What a service has after its grace to give back what it holds, and for a machine that is busy.
const LEEWAY: Duration = Duration::from_secs(10);
/// What a service may know of the caller's environment.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "LANG", "TMPDIR", "RUST_BACKTRACE"];

/// One instance of a service.
pub(crate) struct Instance {
    pub(crate) service: Service,
    /// Where it listens, if it does.
    pub(crate) port: u16,
    lines: Vec<(Server, Proxy)>,
    program: PathBuf,
    log: PathBuf,
    variables: Vec<(&'static str, String)>,
    pub(crate) process: Mutex<ServerProcess>,
}

impl Instance {
    /// Starts it from the program of that name in `programs`, with its log in `directory`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn start(
        service: Service,
        port: u16,
        lines: Vec<(Server, Proxy)>,
        programs: &Path,
        directory: &Path,
        variables: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        let program = programs.join(service.0);
        ensure!(program.is_file(), "no program {}", program.display());
        let log = directory.join(format!("{}-{}.log", service.0, service.1));
        let process = launch(service.0, &program, &log, &variables)?;
        Ok(Self {
            service,
            port,
            lines,
            program,
            log,
            variables,
            process: Mutex::new(process),
        })
    }

    /// Its line to a server.
    pub(crate) fn line(&self, server: Server) -> Option<&Proxy> {
        self.lines
            .iter()
            .find(|(other, _)| *other == server)
            .map(|(_, proxy)| proxy)
    }

    /// Freezes it.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) async fn freeze(&self) -> anyhow::Result<()> {
        let process = self.process.lock().await;
        ensure!(process.is_running(), "{:?} does not run", self.service);
        process.signal(Signal::STOP);
        Ok(())
    }

    /// Lets it go on.
    pub(crate) async fn thaw(&self) {
        self.process.lock().await.signal(Signal::CONT);
    }

    /// Kills it.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        ensure!(process.is_running(), "{:?} does not run", self.service);
        process.kill();
        Ok(())
    }

    /// Replaces it as a rolling update does: asks it to end, waits, starts the next one. What was wrong with the way in
    /// which it ended, if anything.
    ///
    /// # Errors
    /// It does not run, or the next one cannot be started.
    pub(crate) async fn roll(&self) -> anyhow::Result<Option<String>> {
        let mut process = self.process.lock().await;
        ensure!(process.is_running(), "{:?} does not run", self.service);
        // As long as it is in its first moment, the kernel would end it on its own.
        let give_up = Instant::now() + FIRST_MOMENT;
        while !process.pid().is_some_and(hears_sigterm) && Instant::now() < give_up {
            sleep(LOOK).await;
        }
        let stopped = process.stop_within(grace(self.service) + LEEWAY).await;
        *process = self.launch()?;
        Ok(fault_of_ending(self.service, stopped))
    }

    /// Starts it again whenever it has ended, until `closing`.
    pub(crate) async fn keep(&self, closing: &AtomicBool) {
        while !closing.load(Ordering::SeqCst) {
            sleep(LOOK).await;
            // Not while somebody stops it: then it is locked.
            if self.process.lock().await.is_running() {
                continue;
            }
            sleep(RESTART_PAUSE).await;
            let mut process = self.process.lock().await;
            if !process.is_running()
                && let Ok(started) = self.launch()
            {
                *process = started;
            }
        }
    }

    fn launch(&self) -> anyhow::Result<ServerProcess> {
        launch(self.service.0, &self.program, &self.log, &self.variables)
    }
}

/// What a service promises to need after SIGTERM: see each `main.rs`, and the gateway's `SHUTDOWN_GRACE`.
fn grace(service: Service) -> Duration {
    Duration::from_secs(match service.0 {
        "auth" => 10,
        "notification" => 20,
        "converter" => 60,
        _ => 30,
    })
}

/// What is wrong with how a service ended on SIGTERM.
fn fault_of_ending(service: Service, ended: anyhow::Result<Option<ExitStatus>>) -> Option<String> {
    match ended {
        Ok(Some(status)) if status.success() => None,
        Ok(Some(status)) => Some(format!("{service:?} ended on SIGTERM with {status}")),
        Ok(None) => None,
        Err(error) => Some(format!("{service:?} did not end on SIGTERM: {error:#}")),
    }
}

/// Whether a process has a handler for SIGTERM.
fn hears_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 15 is the bit after fourteen others.
    caught.is_some_and(|mask| mask >> 14 & 1 == 1)
}

fn launch(
    name: &'static str,
    program: &Path,
    log: &Path,
    variables: &[(&'static str, String)],
) -> anyhow::Result<ServerProcess> {
    ServerProcess::spawn(name, program, log, |command| {
        command.env_clear();
        for (name, value) in std::env::vars_os() {
            if PASSED_ON.iter().any(|passed| name == *passed) {
                command.env(name, value);
            }
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn end_of(script: &str) -> anyhow::Result<Option<ExitStatus>> {
        let log = std::env::temp_dir().join(format!("faults-instance-{}.log", std::process::id()));
        let mut process = ServerProcess::spawn("shell", "sh", &log, |command| {
            command.args(["-c", script]);
        })?;
        while !process
            .pid()
            .is_some_and(|pid| hears_sigterm(pid) || ignores_sigterm(pid))
        {
            tokio::task::yield_now().await;
        }
        let ended = process.stop_within(Duration::from_millis(500)).await;
        std::fs::remove_file(log).ok();
        ended
    }

    fn ignores_sigterm(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask >> 14 & 1 == 1)
    }

    #[tokio::test]
    async fn whoever_does_not_end_well_on_sigterm_is_told_of() {
        let service = Service("auth", 0);
        let well = end_of("trap 'exit 0' TERM; while :; do sleep 0.01; done").await;
        assert_eq!(fault_of_ending(service, well), None);
        let badly = end_of("trap 'exit 3' TERM; while :; do sleep 0.01; done").await;
        assert!(fault_of_ending(service, badly).is_some_and(|fault| fault.contains("exit status: 3")));
        let never = end_of("trap '' TERM; while :; do sleep 0.01; done").await;
        assert!(fault_of_ending(service, never).is_some_and(|fault| fault.contains("did not end")));
    }
}
