//! Where a worker with a seeded bug, or one that is driven by its queue alone, departs from the usual one.

use domain::seeded_bugs::is_on;
use domain::{Job, Step};

/// Whether nobody asks the job store for due jobs.
pub(super) fn asks_nobody(step: Step) -> bool {
    is_on("no-reconciler") || is_queue_driven(step)
}

/// Whether only messages wake this worker, as they do a foreign converter.
pub(super) fn is_queue_driven(step: Step) -> bool {
    step == Step::Convert && domain::seeded_bugs::is_queue_driven()
}

/// Whether the message of a job that cannot be claimed now is held until it can, or has ended: what is acknowledged
/// wakes nobody again.
pub(super) fn holds(step: Step, job: &Job) -> bool {
    is_queue_driven(step) && !job.state.is_final()
}

/// How many messages are taken at a time.
pub(super) fn prefetch(usual: u16) -> u16 {
    if is_on("prefetch-10") { 10 } else { usual }
}
