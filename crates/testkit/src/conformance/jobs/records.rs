//! What the owner, the operator and the janitor see and do.

use std::time::Duration;

use anyhow::Result;
use domain::{
    Announcement, Bucket, Fid, Job, JobId, JobMessage, JobState, NewJob, ReasonCode, Reference, Settlement, Step,
    VerdictKind, Work,
};

use super::announcing::owed;
use super::{
    BEYOND_A_LEASE, Bench, ada, address, attempt_of, converted, converted_for_good, dead, failed, new_job, reason,
    trace,
};

fn ids(jobs: Vec<Job>) -> Vec<JobId> {
    jobs.into_iter().map(|job| job.id).collect()
}

/// From the upload to the mail.
pub async fn whoever_works_on_a_job_learns_of_its_trace(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    bench.pass(BEYOND_A_LEASE).await?;
    let announced = bench.store.claim_announcement(Announcement::Video).await?;
    assert_eq!(announced.and_then(|job| job.message().trace), Some(trace()));
    let claim = bench.claim(Step::Convert, id).await?;
    assert_eq!(claim.job.trace, Some(trace()));
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    assert_eq!(bench.claim(Step::Tell, id).await?.job.trace, Some(trace()));

    let untraced = NewJob {
        trace: None,
        ..new_job(ada())
    };
    let id = untraced.id;
    bench.store.create(untraced).await?;
    assert_eq!(bench.job(id).await?.trace, None);
    Ok(())
}

/// Page by page, without a gap.
pub async fn jobs_are_listed_newest_first_in_pages(bench: Bench) -> Result<()> {
    assert_eq!(bench.store.list(None, None, 10, None).await?, []);
    let mut newest_first = Vec::new();
    for _ in 0..5 {
        newest_first.insert(0, bench.receiving().await?);
    }
    assert_eq!(ids(bench.store.list(None, None, 10, None).await?), newest_first);
    let mut paged = Vec::new();
    loop {
        let page = ids(bench.other.list(None, None, 2, paged.last().copied()).await?);
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        paged.extend(page);
    }
    assert_eq!(paged, newest_first);
    assert_eq!(bench.store.list(None, None, 0, None).await?, []);
    Ok(())
}

/// Both conditions hold, with the pages too.
pub async fn a_list_is_narrowed_by_owner_in_any_spelling_and_by_state(bench: Bench) -> Result<()> {
    let adas = [bench.queued().await?, bench.receiving().await?, bench.queued().await?];
    let eve = address("eve@example.com");
    let job = new_job(eve.clone());
    let eves = job.id;
    bench.store.create(job).await?;

    let ada = address(&ada().as_str().to_ascii_uppercase());
    let queued = Some(JobState::Queued);
    let list = |owner, state, before| bench.store.list(owner, state, 10, before);
    assert_eq!(ids(list(Some(&ada), None, None).await?), [adas[2], adas[1], adas[0]]);
    assert_eq!(ids(list(Some(&ada), queued, None).await?), [adas[2], adas[0]]);
    assert_eq!(ids(list(Some(&ada), queued, Some(adas[2])).await?), [adas[0]]);
    assert_eq!(ids(list(None, Some(JobState::Receiving), None).await?), [eves, adas[1]]);
    assert_eq!(ids(list(Some(&eve), None, None).await?), [eves]);
    assert_eq!(list(Some(&eve), queued, None).await?, []);
    assert_eq!(list(Some(&address("nobody@example.com")), None, None).await?, []);
    Ok(())
}

/// Not by an attempt that was never finished.
pub async fn a_job_is_found_by_its_finished_mp3(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    let mp3_fid = attempt_of(&claim);
    assert_eq!(bench.store.find_by_mp3(mp3_fid).await?, None);
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    assert_eq!(
        bench.other.find_by_mp3(mp3_fid).await?,
        Some(bench.job(claim.job.id).await?)
    );
    assert_eq!(bench.store.find_by_mp3(claim.job.id).await?, None);
    Ok(())
}

/// The claim on it is lost.
pub async fn an_unfinished_job_can_be_cancelled_once(bench: Bench) -> Result<()> {
    let cancelled = || reason(ReasonCode::Cancelled);
    let claim = bench.converting().await?;
    let queued = bench.queued().await?;
    for id in [claim.job.id, queued] {
        assert!(bench.other.cancel(id, cancelled()).await?);
        let job = bench.job(id).await?;
        assert_eq!((job.state, &job.reason), (JobState::Cancelled, &Some(cancelled())));
        assert!(job.finished_at.is_some());
        assert!(!bench.store.cancel(id, cancelled()).await?);
        assert!(!bench.store.replay(id).await?);
    }
    assert!(!bench.store.renew(&claim, Some(0.5)).await?);
    assert!(!bench.store.settle(&claim, converted(&claim)).await?);
    assert!(!bench.store.settle(&claim, Settlement::Released).await?);
    assert_eq!(bench.job(claim.job.id).await?.state, JobState::Cancelled);
    bench.pass(BEYOND_A_LEASE).await?;
    assert!(bench.store.claim_due(Step::Convert).await?.is_none());

    for id in [
        bench.receiving().await?,
        bench.ended(converted).await?,
        bench.ended(failed).await?,
        Fid::new(),
    ] {
        assert!(!bench.store.cancel(id, cancelled()).await?);
    }
    Ok(())
}

/// As if it had just been uploaded; the success is told like any other.
pub async fn a_replay_begins_anew(bench: Bench) -> Result<()> {
    for (end, told) in [(failed as fn(&_) -> _, true), (dead, false)] {
        let claim = bench.converting().await?;
        let id = claim.job.id;
        assert!(bench.store.settle(&claim, Settlement::Retry(Duration::ZERO)).await?);
        let claim = bench.claim(Step::Convert, id).await?;
        assert!(bench.store.settle(&claim, end(&claim)).await?);
        if told {
            let mail = bench.claim(Step::Tell, id).await?;
            assert!(bench.store.settle(&mail, Settlement::Told).await?);
        }
        bench.store.mark_announced(id, Announcement::Video).await?;

        assert!(bench.other.replay(id).await?);
        let job = bench.job(id).await?;
        assert_eq!((job.state, job.progress, job.attempts), (JobState::Queued, 0.0, 0));
        assert_eq!((job.reason, job.finished_at), (None, None));
        assert_eq!(job.filename, Some(new_job(ada()).filename));
        assert!(!bench.store.replay(id).await?, "it is queued already");
        bench.pass(BEYOND_A_LEASE).await?;
        assert_eq!(owed(&bench, Announcement::Video).await?, [id]);

        let again = bench.claim(Step::Convert, id).await?;
        assert_eq!((again.failures, again.lapses, again.job.attempts), (0, 0, 1));
        assert!(again.fence > claim.fence, "fences never repeat");
        assert!(matches!(again.work, Work::Convert { predecessor: Some(before), .. } if before == attempt_of(&claim)));
        assert!(bench.store.settle(&again, converted(&again)).await?);
        let mail = bench.claim(Step::Tell, id).await?;
        assert_eq!((mail.work, mail.failures), (Work::Tell(VerdictKind::Done), 0));
        assert!(!bench.store.replay(id).await?, "done is done");
    }
    assert!(!bench.store.replay(Fid::new()).await?);
    Ok(())
}

/// There is nothing to convert.
pub async fn a_job_without_its_whole_upload_is_never_replayed(bench: Bench) -> Result<()> {
    let id = bench.receiving().await?;
    assert!(!bench.store.replay(id).await?);
    assert!(
        bench
            .store
            .fail_upload(id, reason(ReasonCode::UploadInterrupted))
            .await?
    );
    assert!(!bench.store.replay(id).await?);
    assert_eq!(bench.job(id).await?.state, JobState::Failed);
    Ok(())
}

/// A video that may be replayed is kept, and one that is done unless it was to go.
pub async fn videos_are_live_until_nothing_can_come_of_them(bench: Bench) -> Result<()> {
    let interrupted = bench.receiving().await?;
    assert!(
        bench
            .store
            .fail_upload(interrupted, reason(ReasonCode::UploadInterrupted))
            .await?
    );
    let cancelled = bench.queued().await?;
    assert!(bench.store.cancel(cancelled, reason(ReasonCode::Cancelled)).await?);
    for (id, reference) in [
        (bench.receiving().await?, Reference::Live),
        (bench.queued().await?, Reference::Live),
        (bench.converting().await?.job.id, Reference::Live),
        (bench.ended(converted).await?, Reference::Live),
        (bench.ended(failed).await?, Reference::Live),
        (bench.ended(dead).await?, Reference::Live),
        (cancelled, Reference::Lost),
        (bench.ended(converted_for_good).await?, Reference::Lost),
        (interrupted, Reference::Lost),
        (Fid::new(), Reference::Unknown),
    ] {
        let answer = bench.store.references(Bucket::Videos, &[id]).await?;
        assert_eq!(answer, [reference], "{:?}", bench.store.get(id).await?);
    }
    Ok(())
}

/// Every other attempt is lost.
pub async fn mp3s_are_live_while_written_or_finished(bench: Bench) -> Result<()> {
    let reference = async |fid: Fid| {
        let answer = bench.other.references(Bucket::Mp3s, &[fid]).await?;
        anyhow::ensure!(answer.len() == 1, "one answer to one question");
        Ok(answer[0])
    };
    let first = bench.converting().await?;
    let id = first.job.id;
    assert_eq!(reference(attempt_of(&first)).await?, Reference::Live, "being written");
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(
        reference(attempt_of(&first)).await?,
        Reference::Live,
        "its worker may only be slow"
    );
    let second = bench.claim(Step::Convert, id).await?;
    assert_eq!(reference(attempt_of(&first)).await?, Reference::Lost, "taken over");
    assert_eq!(reference(attempt_of(&second)).await?, Reference::Live);
    assert!(bench.store.settle(&second, Settlement::Retry(Duration::ZERO)).await?);
    assert_eq!(
        reference(attempt_of(&second)).await?,
        Reference::Lost,
        "came to nothing"
    );
    let third = bench.claim(Step::Convert, id).await?;
    assert!(bench.store.settle(&third, converted(&third)).await?);
    assert_eq!(reference(attempt_of(&third)).await?, Reference::Live, "finished");
    for lost in [&first, &second] {
        assert_eq!(reference(attempt_of(lost)).await?, Reference::Lost);
    }

    let zombie = bench.converting().await?;
    let foreign = Fid::new();
    let message = JobMessage {
        video_fid: zombie.job.id,
        mp3_fid: Some(foreign),
        username: ada(),
        trace: None,
    };
    bench.store.adopt(&message).await?;
    assert_eq!(reference(foreign).await?, Reference::Live, "finished elsewhere");
    assert_eq!(reference(attempt_of(&zombie)).await?, Reference::Lost);

    let cancelled = bench.converting().await?;
    assert!(
        bench
            .store
            .cancel(cancelled.job.id, reason(ReasonCode::Cancelled))
            .await?
    );
    assert_eq!(reference(attempt_of(&cancelled)).await?, Reference::Lost);
    assert_eq!(reference(id).await?, Reference::Unknown, "a video is no MP3");
    Ok(())
}

/// Even a long one with repetitions.
pub async fn references_keep_the_order_of_the_question(bench: Bench) -> Result<()> {
    for bucket in Bucket::ALL {
        assert_eq!(bench.store.references(bucket, &[]).await?, []);
    }
    let live = bench.queued().await?;
    let question: Vec<Fid> = (0..2_500)
        .map(|turn| if turn % 1_000 == 7 { live } else { Fid::new() })
        .collect();
    let answer = bench.store.references(Bucket::Videos, &question).await?;
    assert_eq!(answer.len(), question.len());
    for (id, reference) in question.iter().zip(answer) {
        let expected = if *id == live {
            Reference::Live
        } else {
            Reference::Unknown
        };
        assert_eq!(reference, expected);
    }
    Ok(())
}

/// And says nothing of what it does not know.
pub async fn the_store_answers(bench: Bench) -> Result<()> {
    bench.store.ping().await?;
    bench.other.ping().await?;
    assert_eq!(bench.store.get(Fid::new()).await?, None);
    Ok(())
}
