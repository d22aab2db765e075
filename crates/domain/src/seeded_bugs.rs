//! Bugs that are put in on purpose, to prove that the fault campaign finds them. Only with the feature `seeded-bugs`;
//! nothing ships with it.

use std::sync::OnceLock;

/// Whether `MP3_SEEDED_BUG` names this bug.
pub fn is_on(bug: &str) -> bool {
    static ON: OnceLock<Option<String>> = OnceLock::new();
    variable(&ON, "MP3_SEEDED_BUG") == Some(bug)
}

/// Whether the converter works as a foreign one does, which `MP3_QUEUE_DRIVEN` asks for: only messages wake it, and
/// each is held until its job has ended. No bug, but the neighbour in which some bugs do harm.
pub fn is_queue_driven() -> bool {
    static DRIVEN: OnceLock<Option<String>> = OnceLock::new();
    variable(&DRIVEN, "MP3_QUEUE_DRIVEN").is_some()
}

#[expect(
    clippy::disallowed_methods,
    reason = "no setting of the product: it is not there without the feature"
)]
fn variable<'a>(kept: &'a OnceLock<Option<String>>, name: &str) -> Option<&'a str> {
    kept.get_or_init(|| std::env::var(name).ok()).as_deref()
}
