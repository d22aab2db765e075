//! I6: the queues are empty, and only garbage is among the dead letters.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Findings, POLL};
use crate::load::Load;
use crate::report::Window;

/// The counts of the management API are a moment old.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the broker until it is so, or patience ends.
///
/// # Errors
/// The broker does not answer.
pub(super) async fn check(load: &Load, faults: &[Window], findings: &mut Findings) -> anyhow::Result<()> {
    let garbage = faults.iter().filter(|window| window.is_garbage()).count() as u64;
    let give_up = Instant::now() + PATIENCE;
    loop {
        let queues = load.home.queues().await?;
        let (work, dead): (Vec<_>, Vec<_>) = queues
            .into_iter()
            .partition(|queue| ["video", "mp3"].contains(&&*queue.name));
        let waiting: u64 = work.iter().map(|queue| queue.messages).sum();
        let dead: u64 = dead.iter().map(|queue| queue.messages).sum();
        if waiting == 0 && dead <= garbage {
            return Ok(());
        }
        if Instant::now() > give_up {
            let what = format!("{waiting} messages wait, and {dead} dead letters of {garbage} garbage messages");
            findings.breach("I6", &[], what);
            return Ok(());
        }
        sleep(POLL).await;
    }
}
