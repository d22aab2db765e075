//! How claims end.

use std::time::Duration;

use anyhow::Result;
use domain::{JobState, PortError, ReasonCode, Settlement, Step};

use super::{BEYOND_A_LEASE, Bench, converted, converted_for_good, dead, failed, mp3_of, reason};

/// With everything that follows from it.
pub async fn a_conversion_ends_as_done(bench: Bench) -> Result<()> {
    for end in [converted as fn(&_) -> _, converted_for_good] {
        let claim = bench.converting().await?;
        assert!(bench.store.settle(&claim, end(&claim)).await?);
        let job = bench.job(claim.job.id).await?;
        assert_eq!((job.state, job.progress), (JobState::Done, 1.0));
        assert_eq!(job.mp3, Some(mp3_of(&claim)));
        assert_eq!((job.reason, job.attempts), (None, 1));
        assert!(job.finished_at.is_some_and(|finished_at| finished_at >= job.created_at));
        assert!(job.filename.is_some(), "nothing is forgotten");
    }
    bench.pass(BEYOND_A_LEASE).await?;
    assert!(bench.store.claim_due(Step::Convert).await?.is_none());
    Ok(())
}

/// Either verdict.
pub async fn a_verdict_ends_the_job_with_its_reason(bench: Bench) -> Result<()> {
    for (end, state, code) in [
        (failed as fn(&_) -> _, JobState::Failed, ReasonCode::NoAudio),
        (dead, JobState::Dead, ReasonCode::Dead),
    ] {
        let id = bench.ended(end).await?;
        let job = bench.job(id).await?;
        assert_eq!((job.state, job.reason), (state, Some(reason(code))));
        assert_eq!(job.mp3, None);
        assert!(job.finished_at.is_some());
    }
    bench.pass(BEYOND_A_LEASE).await?;
    assert!(bench.store.claim_due(Step::Convert).await?.is_none());
    Ok(())
}

/// And counts as one failure, not as a lapse.
pub async fn a_retry_waits_for_its_delay(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    let id = claim.job.id;
    assert!(bench.store.renew(&claim, Some(0.5)).await?);
    assert!(
        bench
            .store
            .settle(&claim, Settlement::Retry(Duration::from_secs(60)))
            .await?
    );
    let job = bench.job(id).await?;
    assert_eq!((job.state, job.progress, job.attempts), (JobState::Queued, 0.0, 1));

    bench.pass(Duration::from_secs(40)).await?;
    assert!(bench.store.claim_due(Step::Convert).await?.is_none(), "not yet due");
    assert!(bench.store.claim(Step::Convert, id).await?.is_none(), "not yet due");
    bench.pass(Duration::from_secs(21)).await?;
    let again = bench.claim(Step::Convert, id).await?;
    assert_eq!((again.failures, again.lapses, again.job.attempts), (1, 0, 2));

    assert!(
        bench.store.settle(&again, Settlement::Retry(Duration::MAX)).await?,
        "cut, not refused"
    );
    assert!(bench.store.claim(Step::Convert, id).await?.is_none());
    Ok(())
}

/// A worker that shuts down.
pub async fn a_released_claim_is_due_at_once_and_not_counted(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    assert!(bench.store.renew(&claim, Some(0.5)).await?);
    assert!(bench.store.settle(&claim, Settlement::Released).await?);
    let job = bench.job(claim.job.id).await?;
    assert_eq!((job.state, job.progress), (JobState::Queued, 0.0));

    let again = bench.claim(Step::Convert, claim.job.id).await?;
    assert_eq!((again.failures, again.lapses), (0, 0));
    assert_eq!(again.job.attempts, 2, "two conversions were begun");

    assert!(bench.store.renew(&again, None).await?);
    bench.pass(BEYOND_A_LEASE).await?;
    let taken = bench.claim(Step::Convert, claim.job.id).await?;
    assert_eq!((taken.failures, taken.lapses), (1, 1));
    assert!(bench.store.settle(&taken, Settlement::Released).await?);
    let after = bench.claim(Step::Convert, claim.job.id).await?;
    assert_eq!(
        (after.failures, after.lapses),
        (1, 0),
        "giving back ends a row of lapses"
    );
    Ok(())
}

/// Whatever came first stays.
pub async fn a_claim_is_settled_once(bench: Bench) -> Result<()> {
    let ends = [
        converted as fn(&_) -> _,
        failed,
        dead,
        |_: &_| Settlement::Released,
        |_: &_| Settlement::Retry(Duration::ZERO),
    ];
    for (first, end) in ends.iter().enumerate() {
        let claim = bench.converting().await?;
        assert!(bench.store.settle(&claim, end(&claim)).await?);
        let settled = bench.job(claim.job.id).await?;
        for (other, end) in ends.iter().enumerate() {
            if other != first {
                assert!(!bench.other.settle(&claim, end(&claim)).await?, "{first} then {other}");
            }
        }
        assert!(!bench.store.renew(&claim, Some(0.5)).await?);
        assert_eq!(bench.job(claim.job.id).await?, settled);
    }
    Ok(())
}

/// True again, and nothing changes: the caller may ask as often as it must.
pub async fn a_settlement_repeated_after_a_lost_answer_is_recognised(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    assert!(bench.store.settle(&claim, Settlement::Retry(Duration::ZERO)).await?);
    assert!(bench.store.settle(&claim, Settlement::Retry(Duration::ZERO)).await?);
    let claim = bench.claim(Step::Convert, claim.job.id).await?;
    assert_eq!(claim.failures, 1, "counted once");

    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    let done = bench.job(claim.job.id).await?;
    assert!(bench.other.settle(&claim, converted(&claim)).await?);
    assert_eq!(bench.job(claim.job.id).await?, done);

    let mail = bench.claim(Step::Tell, claim.job.id).await?;
    assert!(bench.store.settle(&mail, Settlement::Told).await?);
    assert!(bench.other.settle(&mail, Settlement::Told).await?);
    assert!(bench.store.claim(Step::Tell, claim.job.id).await?.is_none());
    Ok(())
}

/// A zombie that comes back after its job went on without it.
pub async fn an_older_claim_changes_nothing(bench: Bench) -> Result<()> {
    let zombie = bench.converting().await?;
    bench.pass(BEYOND_A_LEASE).await?;
    let holder = bench.claim(Step::Convert, zombie.job.id).await?;
    let before = bench.job(zombie.job.id).await?;
    for settlement in [converted(&zombie), failed(&zombie), dead(&zombie), Settlement::Released] {
        assert!(!bench.store.settle(&zombie, settlement).await?);
    }
    assert_eq!(bench.job(zombie.job.id).await?, before);
    assert!(bench.store.settle(&holder, converted(&holder)).await?);
    assert!(!bench.store.settle(&zombie, converted(&zombie)).await?);
    assert_eq!(bench.job(zombie.job.id).await?.mp3, Some(mp3_of(&holder)));
    Ok(())
}

/// Two different words about one claim.
pub async fn settlements_at_once_have_one_winner(bench: Bench) -> Result<()> {
    for _ in 0..10 {
        let claim = bench.converting().await?;
        let (done, given_up) = tokio::join!(
            bench.store.settle(&claim, converted(&claim)),
            bench.other.settle(&claim, dead(&claim)),
        );
        let (done, given_up) = (done?, given_up?);
        assert_ne!(done, given_up);
        let state = if done { JobState::Done } else { JobState::Dead };
        assert_eq!(bench.job(claim.job.id).await?.state, state);
    }
    Ok(())
}

/// The caller's mistake, not a lost claim.
pub async fn a_settlement_of_the_other_step_is_refused(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    let refused = bench.store.settle(&claim, Settlement::Told).await;
    assert!(matches!(refused, Err(PortError::Corrupt { .. })), "{refused:?}");
    let done = converted(&claim);
    assert!(bench.store.settle(&claim, done.clone()).await?);
    let mail = bench.claim(Step::Tell, claim.job.id).await?;
    let refused = bench.store.settle(&mail, done).await;
    assert!(matches!(refused, Err(PortError::Corrupt { .. })), "{refused:?}");
    assert!(
        bench.store.settle(&mail, Settlement::Told).await?,
        "the claim still holds"
    );
    Ok(())
}
