//! Bugs that are put in on purpose, to prove that the fault campaign finds them. Only with the feature `seeded-bugs`;
//! nothing ships with it. `MP3_SEEDED_BUG` names the one that is on.

use std::sync::OnceLock;

/// Whether this bug is on.
#[expect(
    clippy::disallowed_methods,
    reason = "no setting of the product: it is not there without the feature"
)]
pub fn is_on(bug: &str) -> bool {
    static ON: OnceLock<Option<String>> = OnceLock::new();
    ON.get_or_init(|| std::env::var("MP3_SEEDED_BUG").ok()).as_deref() == Some(bug)
}
