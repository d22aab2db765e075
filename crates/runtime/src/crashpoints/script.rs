//! Who fails where: a line in a file, for one process, once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{Signal, getpid, kill_process};

/// What happens at a point.
pub(super) enum Action {
    /// The call is not made, and fails.
    Error,
    /// The call is made, and fails all the same.
    LostReply,
    /// The process is killed, or stopped until somebody wakes it.
    Signal(Signal),
}

/// The action at this point, if it is this one's turn.
pub(super) fn take(service: &str, call: &str) -> Option<Action> {
    let path = directory()?.join(format!("{service}.script"));
    let script = std::fs::read_to_string(&path).ok()?;
    let (line, rest) = script.split_once('\n').unwrap_or((&script, ""));
    let action = action(line, service, call)?;
    let taken = path.with_extension("taken");
    // Whoever renames it has it, of all processes.
    std::fs::rename(&path, &taken).ok()?;
    if !rest.is_empty() {
        let part = path.with_extension("part");
        std::fs::write(&part, rest).ok();
        std::fs::rename(part, path).ok();
    }
    std::fs::write(&taken, getpid().as_raw_nonzero().to_string()).ok();
    Some(action)
}

pub(super) fn strike_self(signal: Signal) {
    kill_process(getpid(), signal).ok();
}

fn action(line: &str, service: &str, call: &str) -> Option<Action> {
    let (point, action) = line.trim().split_once(' ')?;
    if point.split_once('.') != Some((service, call)) {
        return None;
    }
    match action {
        "error" => Some(Action::Error),
        "lost-reply" => Some(Action::LostReply),
        "kill" => Some(Action::Signal(Signal::KILL)),
        "stall" => Some(Action::Signal(Signal::STOP)),
        _ => None,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no setting of the product: it is not there without the feature"
)]
fn directory() -> Option<&'static Path> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIRECTORY
        .get_or_init(|| std::env::var("MP3_CRASH_DIRECTORY").ok().map(PathBuf::from))
        .as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_one_point_only() {
        assert!(matches!(
            action("converter.put error\n", "converter", "put"),
            Some(Action::Error)
        ));
        assert!(action("converter.put error", "gateway", "put").is_none());
        assert!(action("converter.put dance", "converter", "put").is_none());
    }
}
