//! Ends uploads whose gateway went away: their lease has lapsed.

use std::time::Duration;

use domain::{Bucket, PortError};

use crate::GatewayState;
use crate::intake::interrupted;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(5);
/// How many it ends at a time.
const BATCH: u32 = 100;

/// Ends lapsed uploads every few seconds until the life stops.
pub async fn run(state: GatewayState) {
    let stopping = state.life.stopping();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if let Err(error) = end_lapsed(&state).await {
            let error = domain::Chain(&error).to_string();
            tracing::warn!(error, "cannot end lapsed uploads yet");
        }
    }
}

/// Ends every upload that is lapsed now.
///
/// The record first, which only one can win, and then the file: the other way round, an upload that comes back to life
/// between the two would be committed without its file. What a crash leaves between them the janitor finds.
///
/// # Errors
/// A store is away. What is left is done the next time, or by the janitor.
pub async fn end_lapsed(state: &GatewayState) -> Result<(), PortError> {
    for id in state.jobs.lapsed_uploads(BATCH).await? {
        if state.jobs.fail_upload(id, interrupted()).await? {
            tracing::info!(job.id = %id, "ended an upload whose gateway went away");
            #[cfg(feature = "seeded-bugs")]
            if runtime::seeded_bugs::is_on("no-janitor") {
                continue;
            }
            state.blobs.delete(Bucket::Videos, id).await?;
        }
    }
    Ok(())
}
