//! How bytes come back.

use std::sync::Arc;

use bytes::Bytes;
use domain::{BlobStore, Bucket, Fid};
use futures_util::StreamExt;

use super::support::{CHUNK_BYTES, LARGE_BYTES, new_blob, pattern, put, read};

const MEBIBYTE: u64 = 1024 * 1024;

/// An id nobody stored has no description and no bytes.
pub async fn an_absent_file_is_none(store: &Arc<dyn BlobStore>) {
    let id = Fid::new();
    for bucket in Bucket::ALL {
        assert_eq!(store.stat(bucket, id).await.unwrap(), None);
        assert!(store.read(bucket, id, 0..1).await.unwrap().is_none());
        assert!(store.read(bucket, id, 0..0).await.unwrap().is_none());
        assert_eq!(store.count(bucket).await.unwrap(), 0);
        assert_eq!(store.list_ours(bucket, None, 10).await.unwrap(), []);
        assert_eq!(store.list_unfinished(bucket, None, 10).await.unwrap(), []);
    }
}

/// Empty, within a chunk, across borders, past the end, beyond the end.
pub async fn a_range_gives_its_bytes_and_no_others(store: &Arc<dyn BlobStore>) {
    let length = 9 * CHUNK_BYTES + 100;
    let id = new_blob();
    put(&**store, Bucket::Videos, &id, &pattern(0..length)).await;
    for range in [
        0..0,
        0..1,
        5..9,
        CHUNK_BYTES - 1..CHUNK_BYTES,
        CHUNK_BYTES..CHUNK_BYTES + 1,
        CHUNK_BYTES - 1..CHUNK_BYTES + 1,
        CHUNK_BYTES..2 * CHUNK_BYTES,
        CHUNK_BYTES + 7..6 * CHUNK_BYTES + 3,
        length - 1..length,
        9 * CHUNK_BYTES..length,
        0..length,
        length - 5..length + 5,
        0..u64::MAX,
        length..length + 1,
        length + CHUNK_BYTES..u64::MAX,
        7..7,
    ] {
        let expected = pattern(range.start.min(length)..range.end.min(length));
        let found = read(&**store, Bucket::Videos, id.id, range.clone()).await.unwrap();
        assert!(found == Some(expected), "{range:?}");
    }

    let empty = new_blob();
    put(&**store, Bucket::Videos, &empty, b"").await;
    for range in [0..0, 0..1, 3..u64::MAX] {
        let found = read(&**store, Bucket::Videos, empty.id, range).await.unwrap();
        assert_eq!(found, Some(Vec::new()));
    }
}

/// What a reader holds does not grow with the file.
pub async fn a_file_of_64_mebibytes_streams_in_small_pieces(store: &Arc<dyn BlobStore>) {
    let length = 64 * MEBIBYTE;
    let new = new_blob();
    let mut writer = store.put(Bucket::Videos, new.clone()).await.unwrap();
    for at in (0..length).step_by(usize::try_from(MEBIBYTE).unwrap()) {
        writer.write(Bytes::from(pattern(at..at + MEBIBYTE))).await.unwrap();
    }
    let blob = writer.finish(None).await.unwrap();
    assert_eq!(blob.len_bytes, length);

    let mut stream = store.read(Bucket::Videos, new.id, 0..length).await.unwrap().unwrap();
    let mut at = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        let end = at + piece.len() as u64;
        assert!((1..=4 * MEBIBYTE).contains(&(end - at)));
        assert!(piece == pattern(at..end), "at {at}");
        at = end;
    }
    assert_eq!(at, length);
}

/// A reader that stops early harms nobody: the store goes on answering.
pub async fn a_stream_may_be_dropped(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    put(&**store, Bucket::Videos, &new, &pattern(0..LARGE_BYTES)).await;
    for pieces in 0..3 {
        let stream = store.read(Bucket::Videos, new.id, 0..u64::MAX).await.unwrap().unwrap();
        let taken: Vec<_> = stream.take(pieces).collect().await;
        assert_eq!(taken.len(), pieces);
    }
    let whole = read(&**store, Bucket::Videos, new.id, 0..u64::MAX).await.unwrap();
    assert!(whole == Some(pattern(0..LARGE_BYTES)));
}

/// Before anything is stored too.
pub async fn the_space_is_told(store: &Arc<dyn BlobStore>) {
    let space = store.space().await.unwrap().expect("this store knows");
    assert!(space.total_bytes > 1024 * 1024, "bytes, not blocks: {space:?}");
    assert!((1..=space.total_bytes).contains(&space.free_bytes), "{space:?}");
}

/// The probe.
pub async fn the_store_answers(store: &Arc<dyn BlobStore>) {
    store.ping().await.unwrap();
}
