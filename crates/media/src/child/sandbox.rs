//! The lock-down: what a process gives up before it touches media. None of it can be taken back.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetStatus, Scope,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_name, set_no_new_privs};
use serde::{Deserialize, Serialize};

use super::{filter, system};

/// How many files may be open: the socket twice, two times `/dev/null`, and what Landlock needs for a moment.
const FILES: u64 = 8;
/// Of the first thread, which does not count as data.
const STACK_BYTES: u64 = 8 << 20;
/// Addresses, used or not: their tables are memory that no other limit counts. The allocator reserves 64 MiB a thread.
const ADDRESS_BYTES: u64 = 16 << 30;
/// The memory of a child that has no job yet.
const IDLE_DATA_BYTES: u64 = 128 * 1024 * 1024;

/// A part of the lock-down that only some kernels have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// Landlock: no file is opened. Since Linux 5.13.
    Files,
    /// Landlock: no TCP. Since Linux 6.7.
    Network,
    /// The list of system calls, seccomp. Since Linux 3.17, where it was built in.
    SystemCalls,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Files, Self::Network, Self::SystemCalls];

    /// Its name for an operator.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "sandbox: Landlock files",
            Self::Network => "sandbox: Landlock network",
            Self::SystemCalls => "sandbox: seccomp",
        }
    }
}

/// What a process has that is locked down.
#[derive(Debug)]
pub struct LockedDown {
    /// Standard input again: inside, nothing can be opened a second time.
    pub input: OwnedFd,
    /// What this kernel lacks of the lock-down.
    pub missing: Vec<Layer>,
}

/// Locks this process down as the child is before it says that it is ready.
///
/// No new privileges and no capabilities, no files but standard input, output and error, no file to be opened, no
/// network, no new process, no core dump; it dies with the thread that started it. Whatever runs in it afterwards can
/// use memory, threads, the clock, and what is open. Must be called while the process has one thread.
///
/// # Errors
/// A part that every kernel has cannot be had. The process is then half locked down, and good for nothing.
pub fn lock_down() -> io::Result<LockedDown> {
    system::ignore_stop_signals();
    // When the machine runs out of memory this process goes, not the one that can try again. Not every system lets it.
    let _more_is_not_needed = std::fs::write("/proc/self/oom_score_adj", "1000");
    system::close_inherited_files()?;
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    std::env::set_current_dir("/")?;
    // A name for `ps`; the program's own would be `exe`.
    set_name(c"mp3-conversion")?;
    bound(Resource::Core, 0)?;
    bound(Resource::Fsize, 0)?;
    bound(Resource::Nofile, FILES)?;
    bound(Resource::Memlock, 0)?;
    bound(Resource::As, ADDRESS_BYTES)?;
    lower(Resource::Data, IDLE_DATA_BYTES)?;
    lower(Resource::Stack, STACK_BYTES)?;
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    let without = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, without)?;
    // Both after the capabilities: a change of these can undo them.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let mut missing = landlock()?;
    if !filter::apply()? {
        missing.push(Layer::SystemCalls);
    }
    Ok(LockedDown { input, missing })
}

/// A limit that stays.
fn bound(resource: Resource, most: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(resource, limit)?)
}

/// A limit that the parent changes when there is a job.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let maximum = rustix::process::getrlimit(resource).maximum;
    let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// Forbids the thread all that Landlock can forbid on this kernel, and says what it cannot.
fn landlock() -> io::Result<Vec<Layer>> {
    let newest = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(newest)))
        .and_then(|rules| rules.scope(Scope::from_all(newest)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(io::Error::other)?;
    let known = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            effective_abi
        }
        _ => ABI::Unsupported,
    };
    let since = [(ABI::V1, Layer::Files), (ABI::V4, Layer::Network)];
    Ok(since
        .into_iter()
        .filter(|(abi, _)| known < *abi)
        .map(|(_, layer)| layer)
        .collect())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    /// Landlock holds one thread; the others go on.
    #[test]
    fn landlock_alone_opens_no_file_and_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            TcpStream::connect(address).unwrap();
            File::open("/etc/passwd").unwrap();
            let missing = landlock().unwrap();
            assert_eq!(missing, [], "this kernel cannot show it");
            for denied in [
                File::open("/etc/passwd").map(drop),
                File::create("/tmp/landlock").map(drop),
                TcpStream::connect(address).map(drop),
                TcpListener::bind("127.0.0.1:0").map(drop),
            ] {
                assert_eq!(denied.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            }
        })
        .join()
        .unwrap();
        drop(listener);
    }
}
