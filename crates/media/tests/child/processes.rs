//! Looking at processes, and waiting for them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use media::child::Program;

/// How long a test waits for what must happen before it calls it a hang.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// Whether the process is there and not only waits to be buried.
pub(crate) fn lives(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next());
    !matches!(state, Some("Z" | "X"))
}

/// Whether nothing at all is left of it: a child of ours that was waited for.
pub(crate) fn is_buried(pid: u32) -> bool {
    !fs::exists(format!("/proc/{pid}")).unwrap()
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < HANG, "hangs: {what}");
        std::thread::yield_now();
    }
}

/// This program.
pub(crate) fn this() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// This program under another name, by which it knows what to play.
pub(crate) fn under_the_name(name: &str) -> (tempfile::TempDir, Program) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join(name);
    fs::hard_link(this(), &path).unwrap();
    (folder, Program::at(path))
}

/// This program, doing something else, as nobody where that can be chosen.
pub(crate) fn as_nobody(argument: &str) -> Command {
    // Not by its path, which nobody may not be allowed to walk.
    let mut command = Command::new("/proc/self/exe");
    command.arg(argument);
    as_user_nobody(&mut command);
    command
}

#[cfg(target_os = "linux")]
fn as_user_nobody(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65534;
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    } else {
        println!("(not root: as the user of the tests only)");
    }
}
