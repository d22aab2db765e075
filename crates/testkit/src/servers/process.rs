//! One server process and everything it starts, ended together.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::time::{Instant, sleep, timeout_at};

const POLL: Duration = Duration::from_millis(20);
/// Long enough for a broker with data to close it; a server that needs more is taken for hung.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
const LOG_TAIL_BYTES: usize = 4_000;

/// A child in a session of its own, with its output in a log file.
///
/// Dropping it kills the whole session's process group at once. Should this program itself be killed, a small guard
/// process notices and does the same, so that no server outlives the tests.
#[derive(Debug)]
pub struct ServerProcess {
    name: &'static str,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    pid: Pid,
    guard: Child,
}

impl ServerProcess {
    /// Starts `program` with what `configure` adds to its command; its output is appended to `log`.
    ///
    /// # Errors
    ///
    /// When the log or the program cannot be opened.
    pub fn spawn(
        name: &'static str,
        program: impl AsRef<OsStr>,
        log: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let output = append_to(log)?;
        let mut command = Command::new("setsid");
        command
            .arg(program)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        configure(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = Pid::from_child(&child);
        let guard = guard(pid)?;
        Ok(Self {
            name,
            log: log.to_owned(),
            running: Some(Running { child, pid, guard }),
        })
    }

    /// The process id, which is also the id of the session and its process group. `None` once it was seen to end.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Whether the process has not ended yet. A frozen one is running.
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            matches!(waitid(WaitId::Pid(running.pid), options), Ok(None))
        })
    }

    /// Waits until `ready` says so, asking again after every failure.
    ///
    /// # Errors
    ///
    /// When the process ends first, or `deadline` passes: with the end of its log and `ready`'s last word.
    pub async fn wait_until_ready<Attempt>(
        &mut self,
        deadline: Duration,
        ready: impl Fn() -> Attempt,
    ) -> anyhow::Result<()>
    where
        Attempt: Future<Output = anyhow::Result<()>>,
    {
        let give_up = Instant::now() + deadline;
        let mut last = anyhow!("no answer");
        loop {
            if !self.is_running() {
                bail!("{} ended while starting:\n{}", self.name, self.log_tail());
            }
            match timeout_at(give_up, ready()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = error,
                Err(_) => {}
            }
            if Instant::now() >= give_up {
                let context = format!("{} is not ready, its log ends:\n{}", self.name, self.log_tail());
                return Err(last.context(context));
            }
            sleep(POLL).await;
        }
    }

    /// Sends a signal to every process of the group, for example [`Signal::STOP`] to freeze the server and
    /// [`Signal::CONT`] to let it go on. Does nothing when it has ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            // A group without members is what the sender wanted or can do nothing about.
            kill_process_group(running.pid, signal).ok();
        }
    }

    /// Asks the process to end, as an operator would (SIGTERM), and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end within a minute; it is killed then.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop_within(STOP_DEADLINE).await.map(drop)
    }

    /// The same, and how it ended; nothing when it was seen to end before.
    ///
    /// # Errors
    ///
    /// When it does not end within `deadline`; it is killed then.
    pub async fn stop_within(&mut self, deadline: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let Some(running) = &self.running else {
            return Ok(None);
        };
        kill_process(running.pid, Signal::TERM).ok();
        kill_process_group(running.pid, Signal::CONT).ok();
        let give_up = Instant::now() + deadline;
        while self.is_running() {
            if Instant::now() > give_up {
                self.kill();
                bail!("{} had to be killed:\n{}", self.name, self.log_tail());
            }
            sleep(POLL).await;
        }
        Ok(self.kill())
    }

    /// Kills the whole group (SIGKILL) and waits until its leader is gone.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let Running {
            mut child,
            pid,
            mut guard,
        } = self.running.take()?;
        // The group first: while its leader is not waited for, its id cannot belong to anybody else.
        kill_process_group(pid, Signal::KILL).ok();
        kill_process(pid, Signal::KILL).ok();
        guard.kill().ok();
        guard.wait().ok();
        child.wait().ok()
    }

    /// Lets the process live on after this program ends. Returns its id.
    pub fn detach(mut self) -> Option<u32> {
        let mut running = self.running.take()?;
        running.guard.kill().ok();
        running.guard.wait().ok();
        Some(running.child.id())
    }

    /// The end of the log, for error messages.
    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let start = bytes.len().saturating_sub(LOG_TAIL_BYTES);
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Opens a log for appending.
fn append_to(log: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open log {}", log.display()))
}

/// A shell that waits for its input to close, which the kernel does when this program dies, and then kills the group.
fn guard(group: Pid) -> anyhow::Result<Child> {
    Command::new("setsid")
        .args(["sh", "-c", "read -r _; kill -KILL \"-$1\"", "guard"])
        .arg(group.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the guard of a server")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(directory: &Path, script: &str) -> ServerProcess {
        ServerProcess::spawn("shell", "sh", &directory.join("log"), |command| {
            command.args(["-c", script]);
        })
        .unwrap()
    }

    fn alive(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn read_line_of(log: &Path) -> String {
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            if let Some(line) = text.lines().next()
                && text.ends_with('\n')
            {
                return line.to_owned();
            }
            sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn dropping_kills_what_the_server_started_too() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell(directory.path(), "sleep 1000 & echo $!; wait");
        let grandchild = read_line_of(&directory.path().join("log")).await;
        assert!(alive(&grandchild));
        drop(process);
        while alive(&grandchild) {
            sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn the_guard_kills_the_server_when_its_owner_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell(directory.path(), "echo $$; sleep 1000 & wait");
        read_line_of(&directory.path().join("log")).await;
        // What the kernel does to the pipe when the owner is killed.
        let running = process.running.as_mut().unwrap();
        drop(running.guard.stdin.take());
        while process.is_running() {
            sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_while_starting_shows_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell(directory.path(), "echo out of luck; exit 3");
        let error = process
            .wait_until_ready(Duration::from_secs(30), || async { bail!("not yet") })
            .await
            .unwrap_err();
        assert!(error.to_string().contains("out of luck"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_never_becomes_ready_shows_why_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell(directory.path(), "sleep 1000");
        let error = process
            .wait_until_ready(Duration::from_millis(100), || async { bail!("still warming up") })
            .await
            .unwrap_err();
        assert!(format!("{error:#}").contains("still warming up"), "{error:#}");
    }

    #[tokio::test]
    async fn stopping_is_a_request_and_works_on_a_frozen_server() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
        let mut process = shell(directory.path(), script);
        read_line_of(&directory.path().join("log")).await;
        process.signal(Signal::STOP);
        process.stop().await.unwrap();
        assert!(process.log_tail().ends_with("bye\n"));
        assert_eq!(process.pid(), None);
    }
}
