//! The directory: the port's promises, and what is particular to it.

use std::sync::Arc;

use adapters::blobs::local::LocalBlobStore;
use domain::{BlobOwner, BlobStore, Bucket, PortError};
use tempfile::TempDir;
use testkit::conformance::blobs::support::{new_blob, pattern, put, read};

async fn fresh() -> (Arc<dyn BlobStore>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Arc::new(LocalBlobStore::open(directory.path()).unwrap()), directory)
}

testkit::blob_store_conformance!(fresh);

#[tokio::test]
async fn another_process_is_kept_from_an_id_that_is_being_written() {
    let (ours, directory) = fresh().await;
    let theirs = LocalBlobStore::open(directory.path()).unwrap();
    let new = new_blob();
    let writer = ours.put(Bucket::Videos, new.clone()).await.unwrap();
    let second = theirs.put(Bucket::Videos, new.clone()).await;
    assert!(matches!(second, Err(PortError::Conflict { .. })));
    writer.finish(None).await.unwrap();
    assert!(theirs.stat(Bucket::Videos, new.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_finished_file_is_its_bytes_and_one_sidecar() {
    let (store, directory) = fresh().await;
    let new = new_blob();
    put(&*store, Bucket::Mp3s, &new, b"audio").await;
    let mut names: Vec<_> = std::fs::read_dir(directory.path().join("mp3s"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [new.id.to_string(), format!("{}.json", new.id)]);
    let bytes = std::fs::read(directory.path().join("mp3s").join(new.id.to_string())).unwrap();
    assert_eq!(bytes, b"audio");
}

#[tokio::test]
async fn a_file_without_a_sidecar_is_somebody_elses() {
    let (store, directory) = fresh().await;
    let id = new_blob().id;
    std::fs::write(directory.path().join("videos").join(id.to_string()), b"video").unwrap();
    let blob = store.stat(Bucket::Videos, id).await.unwrap().unwrap();
    assert!(!blob.ours);
    assert_eq!((blob.len_bytes, blob.owner), (5, BlobOwner::Unstated));
    assert_eq!(store.list_ours(Bucket::Videos, None, 10).await.unwrap(), []);
    assert_eq!(store.count(Bucket::Videos).await.unwrap(), 1);
}

#[tokio::test]
async fn a_file_cut_short_is_an_error_and_not_a_short_file() {
    let (store, directory) = fresh().await;
    let new = new_blob();
    put(&*store, Bucket::Videos, &new, &pattern(0..10_000)).await;
    let path = directory.path().join("videos").join(new.id.to_string());
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(9_999)
        .unwrap();
    let outcome = read(&*store, Bucket::Videos, new.id, 0..u64::MAX).await;
    assert!(matches!(outcome, Err(PortError::Corrupt { .. })));
    assert_eq!(store.list_ours(Bucket::Videos, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn what_a_crash_left_behind_is_listed_and_can_be_deleted() {
    let (store, directory) = fresh().await;
    let place = directory.path().join("videos");
    let (early, late) = (new_blob().id, new_blob().id);
    std::fs::write(place.join(format!("{early}.part")), b"half").unwrap();
    std::fs::write(place.join(format!("{late}.part")), b"whole").unwrap();
    std::fs::write(place.join(format!("{late}.json")), b"{}").unwrap();
    assert_eq!(
        store.list_unfinished(Bucket::Videos, None, 10).await.unwrap(),
        [early, late]
    );
    for id in [early, late] {
        store.delete(Bucket::Videos, id).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
}

#[tokio::test]
async fn a_store_whose_directory_went_away_does_not_answer() {
    let (store, directory) = fresh().await;
    directory.close().unwrap();
    assert!(matches!(store.ping().await, Err(PortError::Unavailable { .. })));
}
