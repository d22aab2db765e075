//! Announcements: what queues are still to be told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use domain::{Announcement, Job, JobId, JobState, ReasonCode, Settlement};
use tokio::task::JoinSet;

use super::{Bench, converted, dead, failed, reason};

const NOT_YET: Duration = Duration::from_secs(20);
const LONG_AGO: Duration = Duration::from_secs(31);

/// What may be announced by others now, in their order; it is theirs then.
pub(super) async fn owed(bench: &Bench, announcement: Announcement) -> Result<Vec<JobId>> {
    let mut jobs = Vec::new();
    while let Some(job) = bench.other.claim_announcement(announcement).await? {
        jobs.push(job.id);
    }
    Ok(jobs)
}

/// The one who committed it has the first word.
pub async fn a_queued_job_is_announced_by_others_after_its_lease(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    bench.pass(NOT_YET).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?, []);
    assert_eq!(owed(&bench, Announcement::Video).await?, [id]);
    assert_eq!(
        owed(&bench, Announcement::Video).await?,
        [],
        "somebody makes it already"
    );
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, [id], "and was never heard of");

    bench.store.mark_announced(id, Announcement::Video).await?;
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    bench.store.mark_announced(id, Announcement::Video).await?;
    bench
        .store
        .mark_announced(domain::Fid::new(), Announcement::Video)
        .await?;
    Ok(())
}

/// Those under way included: until the broker has said so, nobody knows.
pub async fn unannounced_jobs_are_counted(bench: Bench) -> Result<()> {
    assert_eq!(bench.store.unannounced(Announcement::Video).await?, 0);
    let id = bench.queued().await?;
    bench.queued().await?;
    assert_eq!(bench.other.unannounced(Announcement::Video).await?, 2);
    assert_eq!(bench.other.unannounced(Announcement::Mp3).await?, 0);
    bench.store.mark_announced(id, Announcement::Video).await?;
    assert_eq!(bench.other.unannounced(Announcement::Video).await?, 1);
    Ok(())
}

/// Whether or not its video ever was announced.
pub async fn a_done_job_owes_the_announcement_of_its_mp3(bench: Bench) -> Result<()> {
    let id = bench.ended(converted).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?, []);
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?, [id]);
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    bench.store.mark_announced(id, Announcement::Mp3).await?;
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?, []);
    Ok(())
}

/// Nobody is woken for a job that is held or at its end.
pub async fn only_jobs_with_something_to_do_are_announced(bench: Bench) -> Result<()> {
    bench.receiving().await?;
    bench.ended(failed).await?;
    bench.ended(dead).await?;
    let cancelled = bench.queued().await?;
    assert!(bench.store.cancel(cancelled, reason(ReasonCode::Cancelled)).await?);
    let claim = bench.converting().await?;
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    assert_eq!(owed(&bench, Announcement::Mp3).await?, []);

    assert!(bench.store.settle(&claim, Settlement::Released).await?);
    assert_eq!(
        owed(&bench, Announcement::Video).await?,
        [claim.job.id],
        "still nobody confirmed it"
    );
    Ok(())
}

/// Nobody is forgotten behind newer ones.
pub async fn the_announcement_owed_longest_comes_first(bench: Bench) -> Result<()> {
    let (first, second) = (bench.receiving().await?, bench.receiving().await?);
    for id in [second, first] {
        assert!(bench.store.commit_upload(id, super::uploaded()).await?);
        bench.pass(LONG_AGO).await?;
    }
    assert_eq!(owed(&bench, Announcement::Video).await?, [second, first]);
    Ok(())
}

/// Replicas that look at the same moment.
pub async fn an_announcement_claimed_by_many_at_once_has_one_winner(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    for _ in 0..5 {
        bench.pass(LONG_AGO).await?;
        let mut claimers = JoinSet::new();
        for store in [&bench.store, &bench.other].into_iter().cycle().take(8) {
            let store = Arc::clone(store);
            claimers.spawn(async move { store.claim_announcement(Announcement::Video).await });
        }
        let claims = claimers.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let winners: Vec<Job> = claims.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!((winners[0].id, winners[0].state), (id, JobState::Queued));
        assert_eq!(winners[0].message().mp3_fid, None);
    }
    Ok(())
}

/// The video's confirmation arrives when the MP3 is done already; a replay owes the video again.
pub async fn a_late_mark_does_not_end_the_next_announcement(bench: Bench) -> Result<()> {
    let done = bench.ended(converted).await?;
    bench.store.mark_announced(done, Announcement::Video).await?;
    let replayed = bench.queued().await?;
    bench.store.mark_announced(replayed, Announcement::Video).await?;
    let claim = bench.claim(domain::Step::Convert, replayed).await?;
    assert!(bench.store.settle(&claim, failed(&claim)).await?);
    assert!(bench.store.replay(replayed).await?);
    bench.store.mark_announced(replayed, Announcement::Mp3).await?;
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?, [done]);
    assert_eq!(owed(&bench, Announcement::Video).await?, [replayed]);
    Ok(())
}
