//! An upload, from its first byte to the commit point.

use anyhow::{Context, Result};
use domain::{Announcement, JobState, PortError, ReasonCode, Step};

use super::{BEYOND_A_LEASE, Bench, WITHIN_A_LEASE, ada, address, new_job, reason, uploaded};

/// The record stands before the first byte.
pub async fn an_upload_begins_as_receiving_and_exists_once(bench: Bench) -> Result<()> {
    let id = bench.receiving().await?;
    let job = bench.other.get(id).await?.context("the job exists")?;
    assert_eq!(job.id, id);
    assert_eq!(job.owner.as_str(), ada().as_str());
    assert_eq!(job.state, JobState::Receiving);
    assert_eq!((job.progress, job.attempts), (0.0, 0));
    assert_eq!((job.filename, job.size_bytes), (Some(new_job(ada()).filename), None));
    assert_eq!((job.mp3, job.reason, job.finished_at), (None, None, None));
    assert_eq!(job.created_at, job.updated_at);
    assert!(job.created_at.unix_ms() > 1_700_000_000_000, "milliseconds since 1970");

    let mut eves = new_job(address("eve@example.com"));
    eves.id = id;
    let again = bench.store.create(eves).await;
    assert!(matches!(again, Err(PortError::Conflict { .. })), "{again:?}");
    assert_eq!(bench.job(id).await?.owner, ada());
    Ok(())
}

/// The commit point.
pub async fn a_commit_queues_the_job_and_keeps_what_is_known_of_the_upload(bench: Bench) -> Result<()> {
    let id = bench.receiving().await?;
    assert!(
        bench.store.claim(Step::Convert, id).await?.is_none(),
        "nothing to convert yet"
    );
    assert!(bench.store.commit_upload(id, uploaded()).await?);

    let job = bench.other.get(id).await?.context("the job exists")?;
    assert_eq!(job.state, JobState::Queued);
    assert_eq!(job.filename, Some(new_job(ada()).filename));
    assert_eq!(job.size_bytes, Some(uploaded().size_bytes));
    assert_eq!(job.options, uploaded().options);
    assert_eq!(job.finished_at, None);
    assert!(bench.store.claim(Step::Convert, id).await?.is_some(), "due at once");
    Ok(())
}

/// The uploader must not take a lost answer for a lost upload.
pub async fn a_commit_repeated_after_a_lost_answer_is_still_a_commit(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    assert!(bench.store.commit_upload(id, uploaded()).await?);
    let claim = bench.claim(Step::Convert, id).await?;
    assert!(bench.store.commit_upload(id, uploaded()).await?);
    assert_eq!(bench.job(id).await?.state, JobState::Converting, "nothing changed");
    assert!(bench.store.renew(&claim, None).await?);
    assert!(!bench.store.commit_upload(domain::Fid::new(), uploaded()).await?);
    Ok(())
}

/// Renewals hold it, and end with the upload.
pub async fn an_upload_is_held_until_its_lease_ends(bench: Bench) -> Result<()> {
    let id = bench.receiving().await?;
    bench.pass(WITHIN_A_LEASE).await?;
    assert!(bench.other.renew_upload(id).await?);
    bench.pass(WITHIN_A_LEASE).await?;
    assert_eq!(bench.store.lapsed_uploads(10).await?, []);
    bench.pass(WITHIN_A_LEASE).await?;
    assert_eq!(bench.store.lapsed_uploads(10).await?, [id]);

    assert!(bench.store.renew_upload(id).await?, "the uploader was only slow");
    assert_eq!(bench.store.lapsed_uploads(10).await?, []);
    assert!(bench.store.commit_upload(id, uploaded()).await?);
    assert!(!bench.store.renew_upload(id).await?);
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(bench.store.lapsed_uploads(10).await?, []);
    assert!(!bench.store.renew_upload(domain::Fid::new()).await?);
    Ok(())
}

/// In batches.
pub async fn lapsed_uploads_are_listed_oldest_first(bench: Bench) -> Result<()> {
    let (first, second) = (bench.receiving().await?, bench.receiving().await?);
    let third = bench.receiving().await?;
    bench.queued().await?;
    bench.pass(BEYOND_A_LEASE).await?;
    bench.receiving().await?;
    assert_eq!(bench.store.lapsed_uploads(2).await?, [first, second]);
    assert_eq!(bench.store.lapsed_uploads(10).await?, [first, second, third]);
    assert_eq!(bench.store.lapsed_uploads(0).await?, []);
    Ok(())
}

/// Whoever was uploading knows, or is gone.
pub async fn a_failed_upload_tells_nobody_and_cannot_be_committed(bench: Bench) -> Result<()> {
    let id = bench.receiving().await?;
    let interrupted = reason(ReasonCode::UploadInterrupted);
    assert!(bench.store.fail_upload(id, interrupted.clone()).await?);

    let job = bench.job(id).await?;
    assert_eq!((job.state, job.reason), (JobState::Failed, Some(interrupted.clone())));
    assert!(job.finished_at.is_some());
    assert!(!bench.other.commit_upload(id, uploaded()).await?, "too late");
    assert!(!bench.store.fail_upload(id, interrupted.clone()).await?);
    assert!(!bench.store.renew_upload(id).await?);
    bench.pass(BEYOND_A_LEASE).await?;
    assert!(bench.store.claim_due(Step::Tell).await?.is_none(), "nobody is told");
    assert_eq!(bench.store.lapsed_uploads(10).await?, []);
    for announcement in [Announcement::Video, Announcement::Mp3] {
        assert_eq!(bench.store.claim_announcement(announcement).await?, None);
    }

    let queued = bench.queued().await?;
    assert!(
        !bench.store.fail_upload(queued, interrupted).await?,
        "committed is committed"
    );
    Ok(())
}

/// The uploader against whoever cleans up after it.
pub async fn a_commit_and_a_failure_at_once_have_one_winner(bench: Bench) -> Result<()> {
    for _ in 0..10 {
        let id = bench.receiving().await?;
        let (committed, failed) = tokio::join!(
            bench.store.commit_upload(id, uploaded()),
            bench.other.fail_upload(id, reason(ReasonCode::UploadInterrupted)),
        );
        let (committed, failed) = (committed?, failed?);
        assert_ne!(committed, failed);
        let state = if committed { JobState::Queued } else { JobState::Failed };
        assert_eq!(bench.job(id).await?.state, state);
    }
    Ok(())
}
