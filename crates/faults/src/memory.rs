//! I8: whether a gateway grows: its own memory, and its open files.

use std::collections::BTreeMap;
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
const MAX_FILES: u64 = 500;
/// How much more a process may hold at rest at the end of its life than at the beginning. Allocators keep some.
const MAX_KIBIBYTES_GROWN: u64 = 32 * 1024;
const MAX_FILES_GROWN: u64 = 50;
/// A process that was seen less often says nothing about growth.
const ENOUGH_LOOKS: usize = 90;

/// What a process held at one time.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// What is the process's own; the program's file does not count, which is large in a debug build.
    kibibytes: u64,
    files: u64,
}

/// What was seen of every gateway process, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    looks: BTreeMap<u32, Vec<Look>>,
    has_died: bool,
}

/// A watch that runs.
pub(crate) struct Watch {
    task: JoinHandle<Memory>,
    stop: oneshot::Sender<()>,
}

impl Memory {
    /// What is wrong with it.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.has_died || self.looks.values().all(Vec::is_empty) {
            broken.push("nobody watched the gateways' memory".to_owned());
        }
        let [kibibytes, files] = self.peaks();
        if kibibytes > MAX_KIBIBYTES || files > MAX_FILES {
            broken.push(format!("a gateway took too much: {self}"));
        }
        let [kibibytes, files] = self.growth();
        if kibibytes > MAX_KIBIBYTES_GROWN || files > MAX_FILES_GROWN {
            broken.push(format!("a gateway grows: {self}"));
        }
        broken
    }

    /// The most of any process at any time.
    fn peaks(&self) -> [u64; 2] {
        let most = |number: fn(&Look) -> u64| self.looks.values().flatten().map(number).max().unwrap_or(0);
        [most(|look| look.kibibytes), most(|look| look.files)]
    }

    /// The most by which the least in the last third of a process's life is above the least in its second third; in its
    /// first it makes its connections.
    fn growth(&self) -> [u64; 2] {
        let of = |number: fn(&Look) -> u64| {
            let long_lived = self.looks.values().filter(|looks| looks.len() >= ENOUGH_LOOKS);
            let grown = long_lived.map(|looks| {
                let third = looks.len() / 3;
                let least = |looks: &[Look]| looks.iter().map(number).min().unwrap_or(0);
                least(&looks[2 * third..]).saturating_sub(least(&looks[third..2 * third]))
            });
            grown.max().unwrap_or(0)
        };
        [of(|look| look.kibibytes), of(|look| look.files)]
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([kibibytes, files], [more_kibibytes, more_files]) = (self.peaks(), self.growth());
        write!(
            f,
            "a gateway held at most {kibibytes} KiB of memory and {files} open files, and grew by at most {more_kibibytes} KiB \
             and {more_files} files at rest"
        )
    }
}

impl Watch {
    /// Ends the watch and gives what it saw.
    pub(crate) async fn stop(self) -> Memory {
        drop(self.stop);
        self.task.await.unwrap_or(Memory {
            looks: BTreeMap::new(),
            has_died: true,
        })
    }
}

/// Looks at the gateways every second.
pub(crate) fn watch(fleet: Arc<Fleet>) -> Watch {
    let (stop, mut stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let mut memory = Memory::default();
        loop {
            tokio::select! {
                _ = &mut stopped => return memory,
                () = sleep(LOOK) => {}
            }
            let gateways = fleet
                .instances
                .iter()
                .filter(|instance| instance.service.0 == "gateway");
            for instance in gateways {
                let pid = instance.process.lock().await.pid();
                // One that has just been killed has no memory.
                if let Some((pid, look)) = pid.and_then(|pid| Some((pid, look(pid)?))) {
                    memory.looks.entry(pid).or_default().push(look);
                }
            }
        }
    });
    Watch { task, stop }
}

fn look(pid: u32) -> Option<Look> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(Look {
        kibibytes: line.split_whitespace().next()?.parse().ok()?,
        files: files.count() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that was seen 90 times, each time with this.
    fn memory(kibibytes: impl Fn(u64) -> u64, files: impl Fn(u64) -> u64) -> Memory {
        let look = |second| Look {
            kibibytes: kibibytes(second),
            files: files(second),
        };
        Memory {
            looks: BTreeMap::from([(7, (0..90).map(look).collect())]),
            has_died: false,
        }
    }

    #[test]
    fn a_watch_that_saw_nothing_or_died_proves_nothing() {
        assert_eq!(Memory::default().broken().len(), 1);
        let mut died = memory(|_| 10_000, |_| 40);
        assert!(died.broken().is_empty());
        died.has_died = true;
        assert_eq!(died.broken().len(), 1);
    }

    #[test]
    fn a_peak_or_growth_at_rest_is_too_much_and_a_busy_moment_is_not() {
        let busy = |second: u64| if second % 10 == 9 { 90_000 } else { 10_000 };
        assert!(memory(busy, |_| 40).broken().is_empty());
        assert_eq!(memory(|second| 10_000 + 1_400 * second, |_| 40).broken().len(), 1);
        assert_eq!(memory(|_| 10_000, |second| 40 + 2 * second).broken().len(), 1);
        assert_eq!(memory(|_| MAX_KIBIBYTES + 1, |_| 40).broken().len(), 1);
    }
}
