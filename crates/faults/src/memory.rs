//! Whether a gateway grows: its own memory, and its open files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::fleet::Fleet;

const LOOK: Duration = Duration::from_secs(1);
/// With six uploads at a time: 64 MiB and 12 MiB for each.
const MAX_KIBIBYTES: u64 = (64 + 6 * 12) * 1024;
const MAX_FILES: usize = 500;

/// The most of any gateway at any time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    /// What is the process's own; the program's file does not count, which is large in a debug build.
    kibibytes: u64,
    files: usize,
}

/// A watch that runs.
pub(crate) struct Watch {
    task: JoinHandle<Peak>,
    stop: oneshot::Sender<()>,
}

impl Peak {
    pub(crate) const fn is_too_much(&self) -> bool {
        self.kibibytes > MAX_KIBIBYTES || self.files > MAX_FILES
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB of memory, {} open files", self.kibibytes, self.files)
    }
}

impl Watch {
    /// Ends the watch and gives the peak.
    pub(crate) async fn stop(self) -> Peak {
        drop(self.stop);
        self.task.await.unwrap_or_default()
    }
}

/// Looks at the gateways every second.
pub(crate) fn watch(fleet: Arc<Fleet>) -> Watch {
    let (stop, mut stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let mut peak = Peak::default();
        loop {
            tokio::select! {
                _ = &mut stopped => return peak,
                () = sleep(LOOK) => {}
            }
            for instance in fleet
                .instances
                .iter()
                .filter(|instance| instance.service.0 == "gateway")
            {
                let pid = instance.process.lock().await.pid();
                if let Some(pid) = pid {
                    peak.kibibytes = peak.kibibytes.max(kibibytes(pid).unwrap_or(0));
                    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
                    peak.files = peak.files.max(files);
                }
            }
        }
    });
    Watch { task, stop }
}

fn kibibytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}
