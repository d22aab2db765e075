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
/// A whole file stays. Its upload stopped between the end of the file and the commit, or the records were restored from
/// a time when it was still arriving, and it was accepted since: nobody here can tell. It waits for
/// `gateway janitor --confirm`.
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
            if state.blobs.stat(Bucket::Videos, id).await?.is_some() {
                tracing::warn!(
                    job.id = %id,
                    "the file of an upload that was not committed is whole: it stays until `gateway janitor --confirm`"
                );
                continue;
            }
            state.blobs.delete(Bucket::Videos, id).await?;
        }
    }
    Ok(())
}
