//! How a file that is not finished goes away.

use std::sync::Arc;

use bytes::Bytes;
use domain::{BlobStore, Bucket};

use super::support::{LARGE_BYTES, assert_gone, begin_large, new_blob, pattern, put};
use crate::until;

/// While it is written it is invisible; once aborted no part of it is left.
pub async fn an_aborted_file_was_never_there(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    let writer = begin_large(&**store, Bucket::Videos, &new).await;
    assert_eq!(store.stat(Bucket::Videos, new.id).await.unwrap(), None);
    assert!(store.read(Bucket::Videos, new.id, 0..1).await.unwrap().is_none());
    assert_eq!(store.count(Bucket::Videos).await.unwrap(), 0);
    assert_eq!(store.list_ours(Bucket::Videos, None, 10).await.unwrap(), []);
    writer.abort().await;
    assert_gone(&**store, Bucket::Videos, new.id).await;

    let untouched = store.put(Bucket::Videos, new_blob()).await.unwrap();
    untouched.abort().await;
    assert_eq!(store.list_unfinished(Bucket::Videos, None, 10).await.unwrap(), []);
}

/// Dropping a writer is aborting it, a little later.
pub async fn a_dropped_writer_takes_its_parts_back(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    drop(begin_large(&**store, Bucket::Videos, &new).await);
    until("the parts are gone", async || {
        let unfinished = store.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
        unfinished.is_empty().then_some(())
    })
    .await;
    assert_gone(&**store, Bucket::Videos, new.id).await;
}

/// What a timeout does to a write must never become a file with a hole: it can no longer be finished.
pub async fn a_write_that_is_dropped_spoils_the_file(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    let mut writer = store.put(Bucket::Videos, new.clone()).await.unwrap();
    let bytes = Bytes::from(pattern(0..LARGE_BYTES));
    let mut write = writer.write(bytes);
    assert!(
        futures_util::poll!(&mut write).is_pending(),
        "the write must not end at once"
    );
    drop(write);

    assert!(writer.write(Bytes::from_static(b"more")).await.is_err());
    assert!(writer.finish(None).await.is_err());
    assert_gone(&**store, Bucket::Videos, new.id).await;
}

/// The janitor may take an upload for lost that is not: it then fails, rather than end as half a file.
pub async fn a_file_deleted_while_it_is_written_does_not_come_back(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    let writer = begin_large(&**store, Bucket::Videos, &new).await;
    until("a part is in the store", async || {
        let unfinished = store.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
        (unfinished == [new.id]).then_some(())
    })
    .await;
    store.delete(Bucket::Videos, new.id).await.unwrap();
    assert!(writer.finish(None).await.is_err());
    assert_gone(&**store, Bucket::Videos, new.id).await;
}

/// A deleted file is gone whole; deleting what is not there, or no longer, is fine.
pub async fn deleting_is_idempotent(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    put(&**store, Bucket::Mp3s, &new, &pattern(0..LARGE_BYTES)).await;
    for _ in 0..2 {
        store.delete(Bucket::Mp3s, new.id).await.unwrap();
        assert_gone(&**store, Bucket::Mp3s, new.id).await;
    }
    assert_eq!(store.count(Bucket::Mp3s).await.unwrap(), 0);
}
