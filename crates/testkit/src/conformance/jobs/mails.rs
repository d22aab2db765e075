//! Mails: what is told to owners, once.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::{JobState, ReasonCode, Settlement, Step, VerdictKind, Work};

use super::{BEYOND_A_LEASE, Bench, converted, dead, failed, reason};

/// About the state the job is in.
pub async fn every_verdict_owes_one_mail(bench: Bench) -> Result<()> {
    for (end, kind) in [
        (converted as fn(&_) -> _, VerdictKind::Done),
        (failed, VerdictKind::Failed),
        (dead, VerdictKind::Dead),
    ] {
        let id = bench.ended(end).await?;
        let before = bench.job(id).await?;
        let mail = bench.other.claim_due(Step::Tell).await?.context("a mail is owed")?;
        assert_eq!((mail.job.id, mail.step()), (id, Step::Tell));
        assert_eq!(mail.work, Work::Tell(kind));
        assert_eq!((mail.failures, mail.lapses), (0, 0));
        assert_eq!((mail.job.state, mail.job.attempts), (before.state, before.attempts));
        assert!(
            bench.store.claim(Step::Tell, id).await?.is_none(),
            "somebody sends it already"
        );

        assert!(bench.other.settle(&mail, Settlement::Told).await?);
        bench.pass(BEYOND_A_LEASE).await?;
        assert!(
            bench.store.claim_due(Step::Tell).await?.is_none(),
            "nothing is left to say"
        );
        assert!(bench.store.claim(Step::Tell, id).await?.is_none());
    }
    Ok(())
}

/// The conversion's failures are not the mail's.
pub async fn a_mail_is_retried_on_its_own_count(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    assert!(bench.store.settle(&claim, Settlement::Retry(Duration::ZERO)).await?);
    let claim = bench.claim(Step::Convert, claim.job.id).await?;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);

    let mail = bench.claim(Step::Tell, claim.job.id).await?;
    assert_eq!((mail.failures, mail.lapses), (0, 0));
    assert!(
        bench
            .store
            .settle(&mail, Settlement::Retry(Duration::from_secs(60)))
            .await?
    );
    assert!(bench.store.claim_due(Step::Tell).await?.is_none(), "not yet due");
    assert_eq!(bench.job(claim.job.id).await?.state, JobState::Done);
    bench.pass(Duration::from_secs(61)).await?;

    let mail = bench.store.claim_due(Step::Tell).await?.context("the mail is due")?;
    assert_eq!((mail.failures, mail.lapses), (1, 0));
    assert!(bench.store.settle(&mail, Settlement::Released).await?);
    let mail = bench.claim(Step::Tell, claim.job.id).await?;
    assert_eq!((mail.failures, mail.lapses), (1, 0), "given back, not counted");
    assert!(bench.store.settle(&mail, Settlement::Told).await?);
    Ok(())
}

/// By a claim of its own, that the first one cannot end.
pub async fn a_mail_whose_sender_vanished_is_sent_by_another(bench: Bench) -> Result<()> {
    let id = bench.ended(converted).await?;
    let lost = bench.claim(Step::Tell, id).await?;
    assert!(bench.store.renew(&lost, None).await?);
    bench.pass(BEYOND_A_LEASE).await?;
    let taken = bench
        .other
        .claim_due(Step::Tell)
        .await?
        .context("the lease has ended")?;
    assert_eq!((taken.failures, taken.lapses), (1, 1));
    assert!(!bench.store.renew(&lost, None).await?);
    assert!(!bench.store.settle(&lost, Settlement::Told).await?);
    assert!(bench.other.renew(&taken, None).await?);
    assert!(bench.other.settle(&taken, Settlement::Told).await?);
    Ok(())
}

/// A worker renews any claim with some share.
pub async fn a_mail_does_not_touch_the_conversions_progress(bench: Bench) -> Result<()> {
    let id = bench.ended(converted).await?;
    let mail = bench.claim(Step::Tell, id).await?;
    assert!(bench.store.renew(&mail, Some(0.0)).await?);
    assert_eq!(bench.job(id).await?.progress, 1.0);
    Ok(())
}

/// The job was replayed while somebody told its owner that it had failed.
pub async fn a_mail_about_an_old_verdict_does_not_end_the_mail_about_the_new_one(bench: Bench) -> Result<()> {
    let id = bench.ended(dead).await?;
    let old = bench.claim(Step::Tell, id).await?;
    assert!(bench.store.replay(id).await?);
    assert!(!bench.store.renew(&old, None).await?);
    assert!(
        bench.store.claim(Step::Tell, id).await?.is_none(),
        "nothing to say about a queued job"
    );

    let claim = bench.claim(Step::Convert, id).await?;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    assert!(!bench.other.settle(&old, Settlement::Told).await?);
    let new = bench.claim(Step::Tell, id).await?;
    assert_eq!(new.work, Work::Tell(VerdictKind::Done));
    assert!(!bench.other.settle(&old, Settlement::Told).await?);
    assert!(bench.store.settle(&new, Settlement::Told).await?);
    Ok(())
}

/// Its owner knows.
pub async fn nobody_is_told_of_a_cancelled_job(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    assert!(bench.store.cancel(id, reason(ReasonCode::Cancelled)).await?);
    assert!(bench.store.claim(Step::Tell, id).await?.is_none());
    assert!(bench.store.claim_due(Step::Tell).await?.is_none());
    Ok(())
}

/// A foreign notification stood in: it took the messages, and cannot say so in the records.
pub async fn old_mails_that_nobody_tried_are_let_go(bench: Bench) -> Result<()> {
    let done = VerdictKind::Done;
    let untried = bench.ended(converted).await?;
    let unlucky = bench.ended(failed).await?;
    let (retried, held) = (bench.ended(converted).await?, bench.ended(converted).await?);
    let mail = bench.claim(Step::Tell, retried).await?;
    assert!(bench.store.settle(&mail, Settlement::Retry(Duration::ZERO)).await?);
    let held = bench.claim(Step::Tell, held).await?;

    assert_eq!(
        bench.store.let_mails_go(done, Duration::from_secs(3600)).await?,
        0,
        "too young"
    );
    assert_eq!(bench.store.let_mails_go(done, Duration::ZERO).await?, 1);
    assert_eq!(bench.other.let_mails_go(done, Duration::ZERO).await?, 0, "gone already");
    assert!(bench.store.claim(Step::Tell, untried).await?.is_none());
    assert_eq!(bench.job(untried).await?.state, JobState::Done);

    assert!(bench.store.settle(&held, Settlement::Told).await?);
    for id in [unlucky, retried] {
        let mail = bench.claim(Step::Tell, id).await?;
        assert!(bench.store.settle(&mail, Settlement::Told).await?);
    }
    assert_eq!(bench.store.let_mails_go(done, Duration::ZERO).await?, 0, "told is told");
    Ok(())
}

/// Whoever claimed it was no foreign notification, and gave it back untold.
pub async fn a_mail_that_was_ever_claimed_is_never_let_go(bench: Bench) -> Result<()> {
    let done = VerdictKind::Done;
    let given_back = bench.ended(converted).await?;
    let mail = bench.claim(Step::Tell, given_back).await?;
    assert!(bench.store.settle(&mail, Settlement::Released).await?);
    let lost = bench.ended(converted).await?;
    bench.claim(Step::Tell, lost).await?;
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(bench.store.let_mails_go(done, Duration::ZERO).await?, 0);
    for id in [given_back, lost] {
        let mail = bench.claim(Step::Tell, id).await?;
        assert!(bench.store.settle(&mail, Settlement::Told).await?);
    }
    Ok(())
}

/// Nobody stood in when the job ended, so nobody else told its owner.
pub async fn a_mail_owed_while_we_were_in_charge_is_never_let_go(bench: Bench) -> Result<()> {
    let done = VerdictKind::Done;
    let ours = bench.ended(converted).await?;
    for _ in 0..2 {
        bench.store.take_charge_of_mails().await?;
    }
    assert_eq!(bench.other.let_mails_go(done, Duration::ZERO).await?, 0);
    bench.pass(BEYOND_A_LEASE).await?;
    let theirs = bench.ended(converted).await?;
    assert_eq!(bench.store.let_mails_go(done, Duration::ZERO).await?, 1);
    assert!(bench.store.claim(Step::Tell, theirs).await?.is_none());
    bench.claim(Step::Tell, ours).await?;
    Ok(())
}

/// Also for whoever claims it next, and after our own trouble.
pub async fn a_mail_in_doubt_is_due_at_once_and_stays_in_doubt(bench: Bench) -> Result<()> {
    let id = bench.ended(converted).await?;
    let mail = bench.claim(Step::Tell, id).await?;
    assert!(!mail.in_doubt);
    assert!(bench.store.renew(&mail, None).await?);
    assert!(bench.store.settle(&mail, Settlement::InDoubt).await?);
    for settlement in [
        Settlement::Released,
        Settlement::Retry(Duration::ZERO),
        Settlement::InDoubt,
    ] {
        let mail = bench.other.claim_due(Step::Tell).await?.context("it is due at once")?;
        assert!(mail.in_doubt, "{settlement:?}");
        assert!(bench.other.settle(&mail, settlement).await?);
    }
    let lapsing = bench.claim(Step::Tell, id).await?;
    assert_eq!((lapsing.failures, lapsing.lapses), (1, 0), "only the trouble counts");
    bench.pass(BEYOND_A_LEASE).await?;
    let mail = bench.claim(Step::Tell, id).await?;
    assert!(mail.in_doubt);
    assert!(bench.store.settle(&mail, Settlement::Told).await?);
    Ok(())
}

/// The doubt was about other news.
pub async fn a_new_verdict_is_in_no_doubt(bench: Bench) -> Result<()> {
    let id = bench.ended(dead).await?;
    let mail = bench.claim(Step::Tell, id).await?;
    assert!(bench.store.settle(&mail, Settlement::InDoubt).await?);
    assert!(bench.store.replay(id).await?);
    let claim = bench.claim(Step::Convert, id).await?;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    assert!(!bench.claim(Step::Tell, id).await?.in_doubt);
    Ok(())
}

/// Nobody took the message, so nobody told the owner.
pub async fn a_message_brings_a_mail_back_that_was_let_go(bench: Bench) -> Result<()> {
    let id = bench.ended(converted).await?;
    let message = bench.job(id).await?.message();
    assert_eq!(bench.store.let_mails_go(VerdictKind::Done, Duration::ZERO).await?, 1);
    let without_mp3 = domain::JobMessage {
        mp3_fid: None,
        ..message.clone()
    };
    bench.store.adopt(&without_mp3).await?;
    assert!(bench.store.claim(Step::Tell, id).await?.is_none(), "other news");

    bench.store.adopt(&message).await?;
    let mail = bench.claim(Step::Tell, id).await?;
    assert_eq!(mail.work, Work::Tell(VerdictKind::Done));
    bench.store.adopt(&message).await?;
    assert!(
        bench.store.renew(&mail, None).await?,
        "a copy of the message takes nothing away"
    );
    assert!(bench.store.settle(&mail, Settlement::Told).await?);
    bench.store.adopt(&message).await?;
    assert!(bench.store.claim(Step::Tell, id).await?.is_none(), "told once");
    Ok(())
}
