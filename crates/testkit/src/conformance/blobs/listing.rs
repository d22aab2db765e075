//! What the janitor sees.

use std::sync::Arc;

use domain::{BlobStore, Bucket, Fid};

use super::support::{begin_large, new_blob, put};
use crate::until;

/// Ascending by id, each once, whatever the page size; counted exactly.
pub async fn our_files_are_listed_in_pages_and_counted(store: &Arc<dyn BlobStore>) {
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(put(&**store, Bucket::Mp3s, &new_blob(), b"x").await);
    }
    expected.sort_by_key(|blob| blob.id);
    for limit in [1, 2, 3, 7, 8] {
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|blob: &domain::Blob| blob.id);
            let page = store.list_ours(Bucket::Mp3s, after, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
    assert_eq!(store.list_ours(Bucket::Mp3s, None, 0).await.unwrap(), []);
    assert_eq!(store.count(Bucket::Mp3s).await.unwrap(), 7);
    assert_eq!(store.count(Bucket::Videos).await.unwrap(), 0);
}

/// An upload in flight is listed, and a finished file is not.
pub async fn an_unfinished_file_is_listed_until_it_is_finished(store: &Arc<dyn BlobStore>) {
    put(&**store, Bucket::Videos, &new_blob(), b"finished before").await;
    let new = new_blob();
    let writer = begin_large(&**store, Bucket::Videos, &new).await;
    put(&**store, Bucket::Videos, &new_blob(), b"finished after").await;
    until("it is listed", async || {
        let unfinished = store.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
        (unfinished == [new.id]).then_some(())
    })
    .await;
    writer.finish(None).await.unwrap();
    assert_eq!(store.list_unfinished(Bucket::Videos, None, 10).await.unwrap(), []);
}

/// Ascending by id, each once, whatever the page size and whatever finished files lie between.
pub async fn unfinished_files_are_listed_in_pages(store: &Arc<dyn BlobStore>) {
    let mut writers = Vec::new();
    let mut expected: Vec<Fid> = Vec::new();
    for _ in 0..5 {
        let new = new_blob();
        writers.push(begin_large(&**store, Bucket::Videos, &new).await);
        expected.push(new.id);
        put(&**store, Bucket::Videos, &new_blob(), b"finished").await;
    }
    expected.sort();
    until("all are listed", async || {
        let unfinished = store.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
        (unfinished.len() == 5).then_some(())
    })
    .await;
    for limit in [1, 2, 5, 6] {
        let mut found: Vec<Fid> = Vec::new();
        loop {
            let after = found.last().copied();
            let page = store.list_unfinished(Bucket::Videos, after, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
    assert_eq!(store.list_unfinished(Bucket::Videos, None, 0).await.unwrap(), []);
    for writer in writers {
        writer.abort().await;
    }
}
