//! Claims: who works on what, for how long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::{Announcement, Backlog, Fid, JobId, JobState, ReasonCode, Settlement, Step, Work};
use tokio::task::JoinSet;

use super::{BEYOND_A_LEASE, Bench, WITHIN_A_LEASE, attempt_of, converted, failed, reason};

/// From two processes, until nothing is left.
pub async fn many_claimers_at_once_never_share_a_job(bench: Bench) -> Result<()> {
    let mut jobs = BTreeSet::new();
    for _ in 0..24 {
        jobs.insert(bench.queued().await?);
    }
    let mut claimers = JoinSet::new();
    for store in [&bench.store, &bench.other].into_iter().cycle().take(8) {
        let store = Arc::clone(store);
        claimers.spawn(async move {
            let mut claimed = Vec::new();
            while let Some(claim) = store.claim_due(Step::Convert).await? {
                claimed.push((claim.job.id, attempt_of(&claim), claim.fence));
            }
            Ok::<_, domain::PortError>(claimed)
        });
    }
    let claims: Vec<_> = claimers
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    assert_eq!(claims.len(), jobs.len(), "each job is claimed once");
    assert_eq!(claims.iter().map(|claim| claim.0).collect::<BTreeSet<_>>(), jobs);
    let attempts: BTreeSet<Fid> = claims.iter().map(|claim| claim.1).collect();
    assert_eq!(attempts.len(), jobs.len(), "each attempt has an id of its own");
    Ok(())
}

/// Again and again, as the claim goes from worker to worker.
pub async fn one_job_claimed_by_many_at_once_has_one_winner(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    let mut fence_before = 0;
    for _ in 0..5 {
        let mut claimers = JoinSet::new();
        for store in [&bench.store, &bench.other].into_iter().cycle().take(12) {
            let store = Arc::clone(store);
            claimers.spawn(async move { store.claim(Step::Convert, id).await });
        }
        let claims = claimers.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let winners: Vec<_> = claims.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert!(winners[0].fence > fence_before, "the fence grows");
        fence_before = winners[0].fence;
        bench.pass(BEYOND_A_LEASE).await?;
    }
    Ok(())
}

/// A job keeps its place when it is given back, retried or lost by its worker.
pub async fn the_oldest_job_is_claimed_first(bench: Bench) -> Result<()> {
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(bench.queued().await?);
    }
    let next = || async { bench.store.claim_due(Step::Convert).await?.context("a job is due") };

    let claim = next().await?;
    assert_eq!(claim.job.id, jobs[0]);
    assert!(bench.store.settle(&claim, Settlement::Released).await?);

    let claim = next().await?;
    assert_eq!(claim.job.id, jobs[0], "given back");
    assert!(bench.store.settle(&claim, Settlement::Retry(Duration::ZERO)).await?);

    let claim = next().await?;
    assert_eq!(claim.job.id, jobs[0], "to be retried");
    assert_eq!(next().await?.job.id, jobs[1]);

    bench.pass(BEYOND_A_LEASE).await?;
    for job in jobs {
        assert_eq!(next().await?.job.id, job, "lost by its worker");
    }
    assert!(bench.store.claim_due(Step::Convert).await?.is_none());
    Ok(())
}

/// So that two attempts never write the same file.
pub async fn a_claim_begins_an_attempt_with_an_mp3_id_of_its_own(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    let first = bench.claim(Step::Convert, id).await?;
    assert_eq!(first.step(), Step::Convert);
    assert_eq!(first.job, bench.job(id).await?);
    assert_eq!(first.job.state, JobState::Converting);
    assert_eq!((first.job.attempts, first.failures, first.lapses), (1, 0, 0));
    let Work::Convert { mp3_fid, predecessor } = first.work else {
        anyhow::bail!("a claim of the wrong step");
    };
    assert_eq!(predecessor, None);
    assert_ne!(mp3_fid, id);

    assert!(bench.store.settle(&first, Settlement::Released).await?);
    let second = bench.claim(Step::Convert, id).await?;
    assert_eq!(second.job.attempts, 2);
    assert!(second.fence > first.fence);
    let Work::Convert {
        mp3_fid: new_mp3_fid,
        predecessor,
    } = second.work
    else {
        anyhow::bail!("a claim of the wrong step");
    };
    assert_eq!(predecessor, Some(mp3_fid));
    assert_ne!(new_mp3_fid, mp3_fid);
    Ok(())
}

/// Held, finished, or not there.
pub async fn a_job_that_may_not_run_now_cannot_be_claimed(bench: Bench) -> Result<()> {
    let unknown = Fid::new();
    let receiving = bench.receiving().await?;
    let held = bench.converting().await?.job.id;
    let done = bench.ended(converted).await?;
    let hopeless = bench.ended(failed).await?;
    let cancelled = bench.queued().await?;
    assert!(bench.store.cancel(cancelled, reason(ReasonCode::Cancelled)).await?);
    for id in [unknown, receiving, held, done, hopeless, cancelled] {
        assert!(bench.other.claim(Step::Convert, id).await?.is_none());
    }
    assert!(bench.other.claim_due(Step::Convert).await?.is_none());
    for id in [unknown, receiving, held, cancelled] {
        assert!(bench.other.claim(Step::Tell, id).await?.is_none());
    }
    Ok(())
}

/// A worker that crashed, or was cut off.
pub async fn a_lapsed_claim_can_be_taken_over_and_is_counted(bench: Bench) -> Result<()> {
    let lost = bench.converting().await?;
    assert!(bench.store.renew(&lost, None).await?);
    bench.pass(WITHIN_A_LEASE).await?;
    assert!(
        bench.other.claim_due(Step::Convert).await?.is_none(),
        "held by its lease"
    );
    bench.pass(WITHIN_A_LEASE).await?;
    let taken = bench
        .other
        .claim_due(Step::Convert)
        .await?
        .context("the lease has ended")?;
    assert_eq!(taken.job.id, lost.job.id);
    assert_eq!((taken.failures, taken.lapses, taken.job.attempts), (1, 1, 2));
    assert!(taken.fence > lost.fence);

    assert!(!bench.store.renew(&lost, Some(0.9)).await?, "the zombie hears of it");
    assert_eq!(bench.job(lost.job.id).await?.progress, 0.0);
    for _ in 0..3 {
        assert!(bench.other.renew(&taken, None).await?, "counted once");
    }
    bench.pass(BEYOND_A_LEASE).await?;
    let third = bench.claim(Step::Convert, lost.job.id).await?;
    assert_eq!((third.failures, third.lapses), (2, 2));

    assert!(bench.store.renew(&third, None).await?);
    assert!(bench.store.settle(&third, Settlement::Retry(Duration::ZERO)).await?);
    let fourth = bench.claim(Step::Convert, lost.job.id).await?;
    assert_eq!((fourth.failures, fourth.lapses), (3, 0), "a word ends the row");
    Ok(())
}

/// Its answer was lost, or its worker ended before it began: nobody worked on the job.
pub async fn a_claim_that_was_never_renewed_counts_nowhere(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    for _ in 0..10 {
        let claim = bench.claim(Step::Convert, id).await?;
        assert_eq!((claim.failures, claim.lapses), (0, 0));
        bench.pass(BEYOND_A_LEASE).await?;
    }
    Ok(())
}

/// For as long as its worker lives.
pub async fn a_renewed_claim_is_held_for_another_lease(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    for _ in 0..3 {
        bench.pass(WITHIN_A_LEASE).await?;
        assert!(bench.store.renew(&claim, None).await?);
        assert!(bench.other.claim(Step::Convert, claim.job.id).await?.is_none());
    }
    Ok(())
}

/// A worker that was only slow may go on.
pub async fn a_lapsed_claim_that_nobody_took_over_still_holds(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    bench.pass(BEYOND_A_LEASE).await?;
    assert!(bench.store.renew(&claim, Some(0.5)).await?);
    assert!(bench.other.claim(Step::Convert, claim.job.id).await?.is_none());
    bench.pass(BEYOND_A_LEASE).await?;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    Ok(())
}

/// None leaves it as it was, nonsense too; a new attempt begins at zero.
pub async fn progress_is_recorded_as_a_share(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    let id = claim.job.id;
    for (given, recorded) in [
        (Some(0.25), 0.25),
        (None, 0.25),
        (Some(f32::NAN), 0.25),
        (Some(7.0), 1.0),
        (Some(-1.0), 0.0),
        (Some(0.75), 0.75),
    ] {
        assert!(bench.store.renew(&claim, given).await?);
        assert_eq!(bench.job(id).await?.progress, recorded, "{given:?}");
    }
    bench.pass(BEYOND_A_LEASE).await?;
    let taken = bench.claim(Step::Convert, id).await?;
    assert_eq!(taken.job.progress, 0.0);
    Ok(())
}

/// Nor does a server that takes over and whose clock is slower. A retry due in ten hours may have been asked for just
/// now, and waits; none can be due in two days.
pub async fn a_clock_that_is_set_back_holds_nothing_up(bench: Bench) -> Result<()> {
    let receiving = bench.receiving().await?;
    let held = bench.converting().await?.job.id;
    let retried = bench.converting().await?;
    let waiting = bench.queued().await?;
    let done = bench.ended(converted).await?;
    let told_of = bench.ended(failed).await?;
    bench.claim(Step::Tell, told_of).await?;
    let delay = Duration::from_secs(8 * 3600);
    assert!(bench.store.settle(&retried, Settlement::Retry(delay)).await?);
    bench.ageing.set_clock_back(Duration::from_secs(2 * 3600)).await?;

    assert_eq!(bench.other.lapsed_uploads(9).await?, [receiving]);
    assert!(bench.other.claim_announcement(Announcement::Video).await?.is_some());
    assert!(bench.other.claim_announcement(Announcement::Mp3).await?.is_some());
    claim_all(&bench, Step::Convert, &[held, waiting]).await?;
    claim_all(&bench, Step::Tell, &[done, told_of]).await?;
    assert!(
        bench.other.claim(Step::Convert, retried.job.id).await?.is_none(),
        "it may wait a day"
    );

    bench.ageing.set_clock_back(Duration::from_secs(2 * 86_400)).await?;
    claim_all(&bench, Step::Convert, &[held, retried.job.id, waiting]).await?;
    Ok(())
}

/// These can be claimed, oldest first, no others, and so says the count.
async fn claim_all(bench: &Bench, step: Step, ids: &[JobId]) -> Result<()> {
    let backlog = bench.other.backlog(step).await?;
    assert_eq!(backlog.due, u64::try_from(ids.len())?);
    assert_eq!(
        backlog.oldest,
        Some(Duration::ZERO),
        "made in a time that is still to come"
    );
    for id in ids {
        let claim = bench.other.claim_due(step).await?;
        assert_eq!(claim.map(|claim| claim.job.id), Some(*id));
    }
    assert!(bench.other.claim_due(step).await?.is_none());
    assert_eq!(bench.other.backlog(step).await?, Backlog::default());
    Ok(())
}

/// What is held, or finished, does not wait.
pub async fn what_waits_to_be_claimed_is_counted_and_its_oldest_has_an_age(bench: Bench) -> Result<()> {
    assert_eq!(bench.other.backlog(Step::Convert).await?, Backlog::default());
    let first = bench.queued().await?;
    bench.queued().await?;
    bench.receiving().await?;
    let both = bench.other.backlog(Step::Convert).await?;
    assert_eq!(both.due, 2);
    let oldest = both.oldest.context("two jobs wait")?;
    assert!(oldest < Duration::from_secs(3600), "{oldest:?}");

    let claim = bench.claim(Step::Convert, first).await?;
    assert_eq!(bench.other.backlog(Step::Convert).await?.due, 1);
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(
        bench.other.backlog(Step::Convert).await?.due,
        2,
        "nobody is at it any more"
    );
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    assert_eq!(bench.other.backlog(Step::Convert).await?.due, 1);
    assert_eq!(bench.other.backlog(Step::Tell).await?.due, 1);
    Ok(())
}
