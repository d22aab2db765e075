//! The other reader and writer of GridFS.

use std::path::PathBuf;

use crate::servers::{given, workspace_root};

/// A Python with PyMongo: `MP3_TEST_PYTHON`, or the one the setup script made.
///
/// # Panics
///
/// When there is none.
pub fn python() -> PathBuf {
    const PYTHON: &str = "MP3_TEST_PYTHON";

    let program = given(PYTHON).map_or_else(|| workspace_root().join(".cache/venv/bin/python"), PathBuf::from);
    assert!(
        program.is_file(),
        "no Python at {}: run `scripts/setup.sh test`, or name one that has pymongo in {PYTHON}",
        program.display()
    );
    program
}
