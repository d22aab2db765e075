//! What runs, written down: `.stack/processes.json`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use testkit::servers::ServerProcess;

/// One running stack. Holds passwords: the file is its owner's alone.
#[derive(Debug)]
pub(crate) struct Record {
    /// `http://127.0.0.1:PORT`, where people's curl goes.
    pub(crate) gateway_url: String,
    /// The one account.
    pub(crate) email: String,
    /// Its password.
    pub(crate) password: String,
    /// `http://127.0.0.1:PORT`, RabbitMQ's management page, without its login.
    pub(crate) management_url: String,
    /// The management page's password; the user is `mp3`.
    pub(crate) management_password: String,
    /// In the order they were started.
    pub(crate) processes: Vec<Process>,
}

/// A process, told from a later one of the same id by when it started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Process {
    /// What it is, such as `converter` or `mariadb`.
    pub(crate) name: String,
    /// Its id, also of its session.
    pub(crate) pid: u32,
    /// Clock ticks since the machine's boot, from `/proc/PID/stat`.
    pub(crate) started_ticks: u64,
}

impl Record {
    /// The record in `directory`, or `None` when nothing was started, or not since the machine booted.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Option<Self>> {
        let path = path(directory);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        if value["boot_id"].as_str() != Some(&boot_id()?) {
            return Ok(None);
        }
        Self::from_json(&value)
            .with_context(|| format!("{} is damaged", path.display()))
            .map(Some)
    }

    /// Writes the record into `directory`, whole or not at all.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let part = directory.join("processes.json.part");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        writeln!(file, "{:#}", self.to_json(&boot_id()?))?;
        file.sync_all()?;
        std::fs::rename(part, path(directory))?;
        Ok(())
    }

    /// Forgets what ran in `directory`.
    pub(crate) fn remove(directory: &Path) -> anyhow::Result<()> {
        std::fs::remove_file(path(directory))?;
        Ok(())
    }

    fn to_json(&self, boot_id: &str) -> Value {
        let processes: Vec<Value> = self
            .processes
            .iter()
            .map(|process| json!({ "name": process.name, "pid": process.pid, "started_ticks": process.started_ticks }))
            .collect();
        // By name as well, for scripts that watch one process.
        let pids: serde_json::Map<String, Value> = self
            .processes
            .iter()
            .map(|process| (process.name.clone(), process.pid.into()))
            .collect();
        json!({
            "boot_id": boot_id,
            "gateway_url": self.gateway_url,
            "email": self.email,
            "password": self.password,
            "management_url": self.management_url,
            "management_password": self.management_password,
            "pids": pids,
            "processes": processes,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| Some(value[key].as_str()?.to_owned());
        let process = |value: &Value| {
            Some(Process {
                name: value["name"].as_str()?.to_owned(),
                pid: u32::try_from(value["pid"].as_u64()?).ok()?,
                started_ticks: value["started_ticks"].as_u64()?,
            })
        };
        Some(Self {
            gateway_url: text("gateway_url")?,
            email: text("email")?,
            password: text("password")?,
            management_url: text("management_url")?,
            management_password: text("management_password")?,
            processes: value["processes"]
                .as_array()?
                .iter()
                .map(process)
                .collect::<Option<_>>()?,
        })
    }
}

impl Process {
    /// Describes a process that runs now.
    pub(crate) fn describe(name: &str, process: &ServerProcess) -> anyhow::Result<Self> {
        let pid = process.pid().with_context(|| format!("{name} has ended"))?;
        let stat = Stat::of(pid).with_context(|| format!("{name} has ended"))?;
        Ok(Self {
            name: name.to_owned(),
            pid,
            started_ticks: stat.started_ticks,
        })
    }

    /// Whether this very process still runs; another one with its id does not count, nor does a corpse.
    pub(crate) fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started_ticks == self.started_ticks && !stat.is_dead)
    }
}

/// What `/proc/PID/stat` says of a process.
pub(crate) struct Stat {
    /// The session it belongs to.
    pub(crate) session: u32,
    /// Clock ticks since boot.
    pub(crate) started_ticks: u64,
    /// Ended and not yet waited for.
    pub(crate) is_dead: bool,
}

impl Stat {
    /// Of the process `pid`, or `None` when there is none.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    // proc_pid_stat(5): the name, in parentheses, may itself hold spaces and parentheses; field 3 follows it.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            is_dead: matches!(*fields.first()?, "Z" | "X"),
            session: fields.get(3)?.parse().ok()?,
            started_ticks: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Which run of the machine this is: process ids and start times mean nothing in another one.
fn boot_id() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

fn path(directory: &Path) -> PathBuf {
    directory.join("processes.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            gateway_url: "http://127.0.0.1:8080".into(),
            email: "admin@localhost".into(),
            password: "secret".into(),
            management_url: "http://127.0.0.1:15672".into(),
            management_password: "other".into(),
            processes: vec![Process {
                name: "auth".into(),
                pid: std::process::id(),
                started_ticks: Stat::of(std::process::id()).unwrap().started_ticks,
            }],
        }
    }

    #[test]
    fn what_was_written_is_read_again_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Record::read(directory.path()).unwrap().is_none());
        record().write(directory.path()).unwrap();
        let read = Record::read(directory.path()).unwrap().unwrap();
        assert_eq!(read.processes, record().processes);
        assert_eq!(read.password, "secret");
        Record::remove(directory.path()).unwrap();
        assert!(Record::read(directory.path()).unwrap().is_none());
    }

    #[test]
    fn nothing_runs_any_more_after_the_machine_booted() {
        let directory = tempfile::tempdir().unwrap();
        record().write(directory.path()).unwrap();
        let path = path(directory.path());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&boot_id().unwrap(), "another")).unwrap();
        assert!(Record::read(directory.path()).unwrap().is_none());
    }

    #[test]
    fn another_process_of_the_same_id_is_not_ours() {
        let mut process = record().processes.remove(0);
        assert!(process.is_alive());
        process.started_ticks += 1;
        assert!(!process.is_alive());
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "7 (a) b (c) S 1 7 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.session, stat.started_ticks, stat.is_dead), (5, 4242, false));
    }
}
