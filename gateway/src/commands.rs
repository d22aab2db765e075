//! `gateway jobs` and `gateway janitor`, as a process sees them: output, and an exit status.

use std::error::Error;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use domain::{BlobStore, JobStore};
use runtime::settings::{EXIT_TROUBLE, chain};

use crate::janitor::Janitor;
use crate::{JobsCommand, run_jobs_command};

/// Runs `jobs list|show|retry` on standard output.
pub async fn jobs(command: JobsCommand, jobs: Arc<dyn JobStore>) -> ExitCode {
    match run_jobs_command(command, jobs, &mut stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, error.exit_code()),
    }
}

/// Runs one cycle of the janitor and says on standard output what it did.
pub async fn janitor(blobs: Arc<dyn BlobStore>, jobs: Arc<dyn JobStore>, confirm: bool) -> ExitCode {
    #[cfg(feature = "seeded-bugs")]
    if runtime::seeded_bugs::is_on("no-janitor") {
        return ExitCode::SUCCESS;
    }
    match Janitor::new(blobs, jobs).cycle(confirm).await {
        Ok(report) => match writeln!(stdout(), "{report}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error, EXIT_TROUBLE),
        },
        Err(error) => complain(&error, EXIT_TROUBLE),
    }
}

fn complain(error: &(dyn Error + 'static), code: u8) -> ExitCode {
    // Nothing is left to do when standard error is closed.
    let _closed = writeln!(stderr(), "error: {}", chain(error));
    ExitCode::from(code)
}
