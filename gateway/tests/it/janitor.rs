//! The janitor: what it deletes, and what it never does.

use domain::{Bucket, Fid, JobId, NewBlob, Reason, ReasonCode};
use gateway::janitor::{Janitor, Report};

use crate::gateway::{ADA, Gateway, address};

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
    let reason = Reason {
        code: ReasonCode::UploadInterrupted,
        message: "The upload stopped.".to_owned(),
    };
    assert!(gateway.jobs.fail_upload(id, reason).await.unwrap());
    id
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
async fn a_lost_upload_and_a_file_without_a_job_are_deleted() {
    let gateway = Gateway::start().await;
    let needed = needed_videos(&gateway, 20).await;
    let lost = lost_upload(&gateway).await;
    gateway.store(Bucket::Videos, lost, ADA, "clip.mp4", b"video").await;
    let nobodys = Fid::new();
    gateway.store(Bucket::Videos, nobodys, ADA, "clip.mp4", b"video").await;
    let report = cycle(&gateway, false).await;
    assert!(!report.held_back, "{report}");
    assert_eq!((report.buckets[0].unneeded, report.buckets[0].deleted), (2, 2));
    for id in [lost, nobodys] {
        assert!(!exists(&gateway, Bucket::Videos, id).await);
    }
    for id in needed {
        assert!(exists(&gateway, Bucket::Videos, id).await);
    }
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
    assert_eq!((report.buckets[0].unneeded, report.buckets[0].deleted), (12, 0));
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
        let id = lost_upload(&gateway).await;
        gateway.store(Bucket::Videos, id, ADA, "clip.mp4", b"video").await;
    }
    for _ in 0..1000 {
        gateway.store_foreign(Bucket::Videos, b"theirs");
    }
    let report = cycle(&gateway, false).await;
    assert!(report.held_back, "{report}");
    assert_eq!((report.buckets[0].files, report.buckets[0].unneeded), (20, 20));
    assert_eq!(gateway.blobs.count(Bucket::Videos).await.unwrap(), 1020);
    assert_eq!(cycle(&gateway, true).await.buckets[0].deleted, 20);
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
