//! Adoption: what queues say, whoever wrote it.

use std::sync::Arc;

use anyhow::Result;
use domain::{Announcement, Fid, JobId, JobMessage, JobState, Mp3, ReasonCode, Settlement, Step, VerdictKind, Work};
use tokio::task::JoinSet;

use super::announcing::owed;
use super::{BEYOND_A_LEASE, Bench, ada, address, converted, failed, mp3_of, reason, trace};

fn message(video_fid: JobId, mp3_fid: Option<Fid>) -> JobMessage {
    JobMessage {
        video_fid,
        mp3_fid,
        username: address("$ADA@example.COM"),
        trace: Some(trace()),
    }
}

/// What a foreign converter says of its MP3.
const fn foreign(fid: Fid) -> Mp3 {
    Mp3 {
        fid,
        size_bytes: None,
        duration_ms: None,
        notes: Vec::new(),
    }
}

/// A foreign gateway took the upload.
pub async fn an_unknown_video_becomes_a_queued_job(bench: Bench) -> Result<()> {
    let id = Fid::new();
    let job = bench.store.adopt(&message(id, None)).await?;
    assert_eq!((job.id, job.state), (id, JobState::Queued));
    assert_eq!(job.owner.as_str(), "$ADA@example.COM");
    assert_eq!((&job.filename, job.size_bytes, job.attempts), (&None, None, 0));
    assert_eq!(job.trace, Some(trace()));
    assert_eq!(bench.other.get(id).await?, Some(job));

    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, [], "it came from the queue");
    let claim = bench.claim(Step::Convert, id).await?;
    assert!(bench.store.settle(&claim, failed(&claim)).await?);
    assert!(bench.store.replay(id).await?, "its upload is whole");
    Ok(())
}

/// A foreign gateway and a foreign converter.
pub async fn an_unknown_mp3_becomes_a_done_job_with_a_mail(bench: Bench) -> Result<()> {
    let (id, mp3_fid) = (Fid::new(), Fid::new());
    let job = bench.store.adopt(&message(id, Some(mp3_fid))).await?;
    assert_eq!((job.state, job.progress), (JobState::Done, 1.0));
    assert_eq!(job.mp3, Some(foreign(mp3_fid)));
    assert!(job.finished_at.is_some());
    assert!(bench.store.claim(Step::Convert, id).await?.is_none());
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?, [], "it came from the queue");

    let mail = bench.claim(Step::Tell, id).await?;
    assert_eq!(mail.work, Work::Tell(VerdictKind::Done));
    assert!(bench.store.settle(&mail, Settlement::Told).await?);
    assert_eq!(
        bench.store.adopt(&message(id, Some(mp3_fid))).await?.state,
        JobState::Done
    );
    assert!(bench.store.claim(Step::Tell, id).await?.is_none(), "told once");
    Ok(())
}

/// Every delivery of our own messages.
pub async fn a_message_about_a_known_job_changes_nothing(bench: Bench) -> Result<()> {
    let interrupted = bench.receiving().await?;
    assert!(
        bench
            .store
            .fail_upload(interrupted, reason(ReasonCode::UploadInterrupted))
            .await?
    );
    let jobs = [
        bench.receiving().await?,
        bench.queued().await?,
        bench.converting().await?.job.id,
        bench.ended(converted).await?,
        bench.ended(failed).await?,
        interrupted,
    ];
    for id in jobs {
        let before = bench.job(id).await?;
        let adopted = bench.store.adopt(&message(id, None)).await?;
        assert_eq!(adopted.owner.as_str(), ada().as_str(), "the record's spelling");
        assert_eq!(adopted, before);
        assert_eq!(bench.job(id).await?, before);
    }
    Ok(())
}

/// A foreign converter stands in for ours.
pub async fn a_foreign_mp3_completes_a_job_that_has_none(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    let mp3_fid = Fid::new();
    let job = bench.store.adopt(&message(id, Some(mp3_fid))).await?;
    assert_eq!((job.state, job.progress), (JobState::Done, 1.0));
    assert_eq!(job.mp3, Some(foreign(mp3_fid)));
    assert_eq!(job.owner.as_str(), ada().as_str(), "the record's spelling");
    assert!(job.filename.is_some() && job.finished_at.is_some());
    assert!(
        bench.store.claim(Step::Convert, id).await?.is_none(),
        "nothing is left to convert"
    );
    assert_eq!(bench.claim(Step::Tell, id).await?.work, Work::Tell(VerdictKind::Done));
    bench.pass(BEYOND_A_LEASE).await?;
    for announcement in [Announcement::Video, Announcement::Mp3] {
        assert_eq!(owed(&bench, announcement).await?, []);
    }

    let receiving = bench.receiving().await?;
    bench.store.adopt(&message(receiving, Some(Fid::new()))).await?;
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(bench.job(receiving).await?.state, JobState::Done);
    assert_eq!(bench.store.lapsed_uploads(10).await?, []);
    Ok(())
}

/// The first MP3 wins, and the other converter hears of it.
pub async fn a_foreign_mp3_takes_the_job_from_our_converter(bench: Bench) -> Result<()> {
    let zombie = bench.converting().await?;
    let id = zombie.job.id;
    let mp3_fid = Fid::new();
    assert_eq!(
        bench.other.adopt(&message(id, Some(mp3_fid))).await?.state,
        JobState::Done
    );
    assert!(!bench.store.renew(&zombie, Some(0.5)).await?);
    for settlement in [converted(&zombie), failed(&zombie), Settlement::Released] {
        assert!(!bench.store.settle(&zombie, settlement).await?);
    }
    let job = bench.job(id).await?;
    assert_eq!((job.state, job.mp3), (JobState::Done, Some(foreign(mp3_fid))));
    bench.pass(BEYOND_A_LEASE).await?;
    assert!(bench.store.claim(Step::Convert, id).await?.is_none());
    Ok(())
}

/// The owner hears of the success, whatever was being said of the failure.
pub async fn a_foreign_mp3_revives_a_job_that_was_given_up(bench: Bench) -> Result<()> {
    let id = bench.ended(failed).await?;
    let old = bench.claim(Step::Tell, id).await?;
    let job = bench.store.adopt(&message(id, Some(Fid::new()))).await?;
    assert_eq!((job.state, job.reason), (JobState::Done, None));
    assert!(!bench.store.settle(&old, Settlement::Told).await?);
    assert_eq!(bench.claim(Step::Tell, id).await?.work, Work::Tell(VerdictKind::Done));
    Ok(())
}

/// A second converter was slower.
pub async fn a_done_job_keeps_its_mp3(bench: Bench) -> Result<()> {
    let claim = bench.converting().await?;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    let mail = bench.claim(Step::Tell, claim.job.id).await?;
    assert!(bench.store.settle(&mail, Settlement::Told).await?);
    let before = bench.job(claim.job.id).await?;
    let adopted = bench.other.adopt(&message(claim.job.id, Some(Fid::new()))).await?;
    assert_eq!(adopted.mp3, Some(mp3_of(&claim)));
    assert_eq!(adopted, before);
    assert!(
        bench.store.claim(Step::Tell, claim.job.id).await?.is_none(),
        "told once"
    );
    Ok(())
}

/// The owner's word stands.
pub async fn a_cancelled_job_stays_cancelled(bench: Bench) -> Result<()> {
    let id = bench.queued().await?;
    assert!(bench.store.cancel(id, reason(ReasonCode::Cancelled)).await?);
    let before = bench.job(id).await?;
    for mp3_fid in [None, Some(Fid::new())] {
        assert_eq!(bench.store.adopt(&message(id, mp3_fid)).await?, before);
    }
    assert!(bench.store.claim(Step::Tell, id).await?.is_none());
    Ok(())
}

/// The confirmation was lost, the message was not.
pub async fn what_comes_from_a_queue_counts_as_announced(bench: Bench) -> Result<()> {
    let queued = bench.queued().await?;
    let claim = bench.converting().await?;
    let done = claim.job.id;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?.len(), 1);
    assert_eq!(owed(&bench, Announcement::Mp3).await?.len(), 1);

    bench.store.adopt(&message(done, None)).await?;
    bench.store.adopt(&message(done, Some(Fid::new()))).await?;
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?.len(), 1, "other news");
    bench.store.adopt(&message(done, Some(mp3_of(&claim).fid))).await?;
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(owed(&bench, Announcement::Mp3).await?, []);
    bench.store.adopt(&message(queued, None)).await?;
    bench.pass(BEYOND_A_LEASE).await?;
    assert_eq!(owed(&bench, Announcement::Video).await?, []);
    Ok(())
}

/// By several consumers.
pub async fn adopting_one_message_many_times_at_once_makes_one_job(bench: Bench) -> Result<()> {
    for _ in 0..5 {
        let (id, mp3_fid) = (Fid::new(), Fid::new());
        let mut adopters = JoinSet::new();
        for (turn, store) in [&bench.store, &bench.other].into_iter().cycle().take(8).enumerate() {
            let store = Arc::clone(store);
            let message = message(id, (turn % 3 == 0).then_some(mp3_fid));
            adopters.spawn(async move { store.adopt(&message).await });
        }
        for adopted in adopters.join_all().await {
            assert_eq!(adopted?.id, id);
        }
        let job = bench.job(id).await?;
        assert_eq!((job.state, job.mp3), (JobState::Done, Some(foreign(mp3_fid))));
        assert!(bench.store.claim(Step::Convert, id).await?.is_none());
        let mail = bench.claim(Step::Tell, id).await?;
        assert!(bench.store.settle(&mail, Settlement::Told).await?);
    }
    assert!(bench.store.claim_due(Step::Tell).await?.is_none(), "one mail each");
    Ok(())
}
