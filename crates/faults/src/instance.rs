//! One instance of a service, whichever process it is at the moment, and somebody who starts it again, as a cluster does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use testkit::servers::{ServerProcess, Signal};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::plan::{Server, Service};
use crate::proxy::Proxy;

/// How often it is looked whether an instance has ended.
const LOOK: Duration = Duration::from_millis(200);
/// What a cluster waits before it starts an instance again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
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

    pub(crate) async fn signal(&self, signal: Signal) {
        self.process.lock().await.signal(signal);
    }

    pub(crate) async fn kill(&self) {
        self.process.lock().await.kill();
    }

    /// Replaces it as a rolling update does: asks it to end, waits, starts the next one.
    ///
    /// # Errors
    /// It had to be killed, or the next one cannot be started.
    pub(crate) async fn roll(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        let stopped = process.stop().await;
        *process = self.launch()?;
        stopped
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
