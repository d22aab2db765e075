//! The janitor: what it deletes, and what it never does.

use std::sync::Arc;
use std::time::Duration;

use domain::{Bucket, Claim, Fid, JobId, Mp3, NewBlob, Reason, ReasonCode, Settlement, Step, Work};
use gateway::janitor::{Janitor, Report};

use crate::faults::{Fault, FaultyBlobs, Plan};
use crate::gateway::{ADA, Gateway, Setup, address};

async fn cycle(gateway: &Gateway, confirmed: bool) -> Report {
    let janitor = Janitor::new(gateway.blobs.clone(), gateway.jobs.clone());
    janitor.cycle(confirmed).await.unwrap()
}

/// Videos that jobs refer to, so that a few others are no large share.
async fn needed_videos(gateway: &Gateway, count: usize) -> Vec<JobId> {
    let token = gateway.login(ADA).await;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(gateway.uploaded(&token).await);
    }
    ids
}

async fn exists(gateway: &Gateway, bucket: Bucket, id: Fid) -> bool {
    gateway.blobs.stat(bucket, id).await.unwrap().is_some()
}

/// An upload that failed, whose file a crash kept from being deleted.
async fn lost_upload(gateway: &Gateway) -> JobId {
    let id = gateway.receiving().await;
    let interrupted = reason(ReasonCode::UploadInterrupted);
    assert!(gateway.jobs.fail_upload(id, interrupted).await.unwrap());
    id
}

fn reason(code: ReasonCode) -> Reason {
    Reason {
        code,
        message: "It stopped.".to_owned(),
    }
}

/// The id a claimed conversion stores its MP3 under.
fn attempt(claim: &Claim) -> Fid {
    match claim.work {
        Work::Convert { mp3_fid, .. } => mp3_fid,
        Work::Tell(_) => panic!("not a conversion"),
    }
}

/// The parts of a file that is being written, by a writer that is never heard of again.
async fn unfinished(gateway: &Gateway, id: Fid) {
    let blob = NewBlob {
        id,
        job: id,
        owner: address(ADA),
        filename: "clip.mp4".to_owned(),
    };
    let mut writer = gateway.blobs.put(Bucket::Videos, blob).await.unwrap();
    writer.write(vec![7; 600_000].into()).await.unwrap();
    std::mem::forget(writer);
}

/// An id that was made so long ago.
fn id_of_age(seconds: u32) -> Fid {
    let mut bytes = Fid::new().bytes();
    let made = Fid::new().created_unix_seconds() - seconds;
    bytes[..4].copy_from_slice(&made.to_be_bytes());
    Fid::from(bytes)
}

#[tokio::test]
async fn files_that_jobs_need_stay() {
    let gateway = Gateway::start().await;
    let ids = needed_videos(&gateway, 3).await;
    let report = cycle(&gateway, true).await;
    assert!(report.buckets.iter().all(|bucket| bucket.unneeded == 0), "{report}");
    for id in ids {
        assert!(exists(&gateway, Bucket::Videos, id).await);
    }
}

#[tokio::test]
async fn what_our_records_call_lost_is_deleted_however_much_it_is() {
    let gateway = Gateway::start().await;
    let mut lost = Vec::new();
    for turn in 0..110 {
        let id = lost_upload(&gateway).await;
        if turn % 2 == 0 {
            gateway.store(Bucket::Videos, id, ADA, "clip.mp4", b"video").await;
        } else {
            unfinished(&gateway, id).await;
        }
        lost.push(id);
    }
    let cancelled = needed_videos(&gateway, 1).await[0];
    assert!(
        gateway
            .jobs
            .cancel(cancelled, reason(ReasonCode::Cancelled))
            .await
            .unwrap()
    );
    let report = cycle(&gateway, false).await;
    assert!(!report.held_back, "{report}");
    assert_eq!((report.buckets[0].unneeded, report.buckets[0].deleted), (111, 111));
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn remains_of_attempts_and_videos_that_were_to_go_are_deleted() {
    let gateway = Gateway::start().await;
    let id = needed_videos(&gateway, 1).await[0];
    let mut attempts = Vec::new();
    for end in [Settlement::Retry(Duration::ZERO), Settlement::Released] {
        let claim = gateway.jobs.claim(Step::Convert, id).await.unwrap().unwrap();
        attempts.push(
            gateway
                .store(Bucket::Mp3s, attempt(&claim), ADA, "clip.mp3", b"late")
                .await,
        );
        assert!(gateway.jobs.settle(&claim, end).await.unwrap());
    }
    let claim = gateway.jobs.claim(Step::Convert, id).await.unwrap().unwrap();
    let fid = gateway
        .store(Bucket::Mp3s, attempt(&claim), ADA, "clip.mp3", b"mp3")
        .await;
    let mp3 = Mp3 {
        fid,
        size_bytes: None,
        duration_ms: None,
        notes: Vec::new(),
    };
    // The converter crashed before it deleted the video.
    assert!(
        gateway
            .jobs
            .settle(&claim, Settlement::ConvertedForGood(mp3))
            .await
            .unwrap()
    );
    let report = cycle(&gateway, false).await;
    assert_eq!(
        (report.buckets[0].deleted, report.buckets[1].deleted),
        (1, 2),
        "{report}"
    );
    gateway.assert_no_videos().await;
    assert!(exists(&gateway, Bucket::Mp3s, fid).await);
}

#[tokio::test]
async fn a_file_whose_job_no_record_knows_waits_to_be_confirmed_however_few_it_is() {
    let gateway = Gateway::start().await;
    needed_videos(&gateway, 20).await;
    let nobodys = Fid::new();
    gateway.store(Bucket::Videos, nobodys, ADA, "clip.mp4", b"video").await;
    let report = cycle(&gateway, false).await;
    assert!(report.held_back, "{report}");
    assert_eq!((report.buckets[0].waiting, report.buckets[0].deleted), (1, 0));
    assert!(report.to_string().contains("gateway janitor --confirm"), "{report}");
    assert!(exists(&gateway, Bucket::Videos, nobodys).await);

    let report = cycle(&gateway, true).await;
    assert_eq!((report.held_back, report.buckets[0].deleted), (false, 1), "{report}");
    assert!(!exists(&gateway, Bucket::Videos, nobodys).await);
}

#[tokio::test]
async fn a_file_that_cannot_be_deleted_keeps_no_other_from_it() {
    let plan = Plan::default();
    let mut setup = Setup::new().await;
    setup.ports.blobs = Arc::new(FaultyBlobs {
        store: setup.ports.blobs,
        plan: plan.clone(),
    });
    let gateway = setup.start().await;
    for _ in 0..3 {
        let id = lost_upload(&gateway).await;
        gateway.store(Bucket::Videos, id, ADA, "clip.mp4", b"video").await;
    }
    plan.next("delete", &[Some(Fault::Away)]);
    let report = cycle(&gateway, false).await;
    assert_eq!(
        (report.buckets[0].deleted, report.buckets[0].failed),
        (2, 1),
        "{report}"
    );
    let report = cycle(&gateway, false).await;
    assert_eq!(
        (report.buckets[0].deleted, report.buckets[0].failed),
        (1, 0),
        "{report}"
    );
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn unfinished_files_go_when_they_are_lost_or_forgotten() {
    let gateway = Gateway::start().await;
    needed_videos(&gateway, 30).await;
    let lost = lost_upload(&gateway).await;
    let live = gateway.receiving().await;
    let (young, old) = (id_of_age(60 * 60), id_of_age(25 * 60 * 60));
    for id in [lost, live, young, old] {
        unfinished(&gateway, id).await;
    }
    let report = cycle(&gateway, false).await;
    assert_eq!(report.buckets[0].deleted, 2, "{report}");
    let mut left = gateway.blobs.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
    left.sort();
    assert_eq!(left, [young, live]);
}

#[tokio::test]
async fn files_of_others_are_never_touched() {
    let gateway = Gateway::start().await;
    let foreign: Vec<_> = Bucket::ALL
        .into_iter()
        .map(|bucket| (bucket, gateway.store_foreign(bucket, b"theirs")))
        .collect();
    for confirmed in [false, true] {
        let report = cycle(&gateway, confirmed).await;
        assert!(report.buckets.iter().all(|bucket| bucket.unneeded == 0), "{report}");
    }
    for (bucket, id) in foreign {
        assert_eq!(gateway.bytes(bucket, id).await, b"theirs");
    }
}

#[tokio::test]
async fn an_emptied_job_store_costs_nobody_a_byte() {
    let gateway = Gateway::start().await;
    let ids = needed_videos(&gateway, 12).await;
    let mp3 = gateway.store_mp3(ADA, "clip.mp3", b"mp3").await;
    gateway.empty_job_store().await;
    let report = cycle(&gateway, false).await;
    assert!(report.held_back);
    assert_eq!((report.buckets[0].waiting, report.buckets[0].deleted), (12, 0));
    assert!(report.to_string().contains("gateway janitor --confirm"), "{report}");
    for id in &ids {
        assert!(exists(&gateway, Bucket::Videos, *id).await);
    }
    assert!(exists(&gateway, Bucket::Mp3s, mp3).await);

    let report = cycle(&gateway, true).await;
    assert_eq!((report.buckets[0].deleted, report.buckets[1].deleted), (12, 1));
    gateway.assert_no_videos().await;
}

#[tokio::test]
async fn foreign_files_do_not_make_the_share_of_ours_look_small() {
    let gateway = Gateway::start().await;
    for _ in 0..20 {
        unfinished(&gateway, id_of_age(25 * 60 * 60)).await;
    }
    for _ in 0..1000 {
        gateway.store_foreign(Bucket::Videos, b"theirs");
    }
    let report = cycle(&gateway, false).await;
    assert!(report.held_back, "{report}");
    assert_eq!((report.buckets[0].files, report.buckets[0].waiting), (20, 20));
    let left = gateway.blobs.list_unfinished(Bucket::Videos, None, 100).await.unwrap();
    assert_eq!(left.len(), 20);
    assert_eq!(cycle(&gateway, true).await.buckets[0].deleted, 20);
    assert_eq!(gateway.blobs.count(Bucket::Videos).await.unwrap(), 1000);
}

#[tokio::test]
async fn two_janitors_at_once_are_as_good_as_one() {
    let gateway = Gateway::start().await;
    let needed = needed_videos(&gateway, 20).await;
    let lost = lost_upload(&gateway).await;
    gateway.store(Bucket::Videos, lost, ADA, "clip.mp4", b"video").await;
    tokio::join!(cycle(&gateway, false), cycle(&gateway, false));
    assert!(!exists(&gateway, Bucket::Videos, lost).await);
    assert_eq!(gateway.blobs.count(Bucket::Videos).await.unwrap(), needed.len() as u64);
}
