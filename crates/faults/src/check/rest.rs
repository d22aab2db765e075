//! Waiting until nothing is under way.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{POLL, everything, owes_mail, text};
use crate::load::Load;

/// Waits until no job and no mail is under way, or patience ends.
pub(crate) async fn quiesce(load: &Load, patience: Duration) {
    let give_up = Instant::now() + patience;
    while Instant::now() < give_up {
        load.look().await;
        load.look_closely().await;
        if load.outstanding() == 0 && unended(load).await == Some(0) {
            break;
        }
        sleep(POLL).await;
    }
    let give_up = Instant::now() + patience;
    while Instant::now() < give_up && untold(load).await != Some(0) {
        sleep(POLL).await;
    }
}

/// How many jobs, accepted or not, are under way.
async fn unended(load: &Load) -> Option<usize> {
    let under_way = |job: &&Value| matches!(job["state"].as_str(), Some("receiving" | "queued" | "converting"));
    Some(everything(load).await.ok()?.iter().filter(under_way).count())
}

/// How many verdicts have not been mailed.
async fn untold(load: &Load) -> Option<usize> {
    let told: BTreeSet<String> = load
        .home
        .sink()
        .mails()
        .into_iter()
        .map(|mail| mail.message_id)
        .collect();
    let jobs = everything(load).await.ok()?;
    let owed = jobs.iter().filter(|job| owes_mail(job));
    let is_untold = |job: &&Value| {
        let begins = format!("<{}.", text(job, "id"));
        !told.iter().any(|id| id.starts_with(&begins))
    };
    Some(owed.filter(is_untold).count())
}
