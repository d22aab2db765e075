//! Announcements: what queues are still to be told.

use std::time::Duration;

use anyhow::Result;
use domain::{Announcement, JobId, JobState, ReasonCode, Settlement};

use super::{Bench, converted, dead, failed, reason};

const NOT_YET: Duration = Duration::from_secs(5);
const LONG_AGO: Duration = Duration::from_secs(11);

async fn owed(bench: &Bench, announcement: Announcement) -> Result<Vec<JobId>> {
    let jobs = bench.other.unannounced(announcement, 10).await?;
    Ok(jobs.into_iter().map(|job| job.id).collect())
}

/// The one who committed it has the first word.
pub async fn a_queued_job_is_announced_by_others_after_ten_seconds(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    bench.pass(NOT_YET).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    bench.pass(LONG_AGO).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, [id]);
    assert_eq!(owed(&bench, Announcement::Mp3).await?, []);

    bench.store.mark_announced(id, Announcement::Video).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    bench.store.mark_announced(id, Announcement::Video).await?;
    bench
        .store
        .mark_announced(domain::Fid::new(), Announcement::Video)
        .await?;
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

/// In batches.
pub async fn announcements_are_listed_longest_owed_first(bench: Bench) -> Result<()> {
    let (first, second) = (bench.receiving().await?, bench.receiving().await?);
    for id in [second, first] {
        assert!(bench.store.commit_upload(id, super::uploaded()).await?);
        bench.pass(LONG_AGO).await?;
    }
    assert_eq!(owed(&bench, Announcement::Video).await?, [second, first]);
    let longest = bench.store.unannounced(Announcement::Video, 1).await?;
    assert_eq!((longest.len(), longest[0].id), (1, second));
    assert_eq!(
        (longest[0].state, longest[0].message().mp3_fid),
        (JobState::Queued, None)
    );
    assert_eq!(bench.store.unannounced(Announcement::Video, 0).await?, []);
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
