//! How a file becomes visible.

use std::sync::Arc;

use bytes::Bytes;
use domain::{Blob, BlobOwner, BlobStore, Bucket, Head, PortError, Timestamp};
use futures_util::future::join_all;

use super::support::{CHUNK_BYTES, LARGE_BYTES, assert_gone, begin_large, new_blob, pattern, put, read_all, write_all};
use crate::until;

/// The SHA-256 of `pattern(0..40 chunks and one byte)`.
const LARGE_SHA256: &str = "58e8659f9f68f060ca7566e213c7ad2c2ad1f0e44b46f2c5415bfaedfc6140b8";
/// The same with the first 100 bytes zero.
const LARGE_WITH_HEAD_SHA256: &str = "b5d980576542adfc79f6d522ceb4d9e2fde121f0b05b46214e08b3c17e2276e6";

/// A head of so many zeros.
fn zeros(at: u64, length: u64) -> Head {
    let bytes = vec![0; usize::try_from(length).unwrap()].into();
    Head { at, bytes }
}

/// Everything given to `put`, and what the store found out, is told by `finish`, `stat` and `list_ours` alike.
pub async fn a_finished_file_is_described_as_it_was_put(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    let before = Timestamp::now();
    let stored = put(&**store, Bucket::Videos, &new, &pattern(0..LARGE_BYTES)).await;
    let after = Timestamp::now();

    assert!(before <= stored.created_at && stored.created_at <= after);
    let expected = Blob {
        id: new.id,
        len_bytes: LARGE_BYTES,
        filename: Some(new.filename),
        created_at: stored.created_at,
        ours: true,
        job: Some(new.job),
        owner: BlobOwner::Stated(new.owner),
        sha256: Some(LARGE_SHA256.to_owned()),
    };
    assert_eq!(stored, expected);
    assert_eq!(
        store.stat(Bucket::Videos, new.id).await.unwrap(),
        Some(expected.clone())
    );
    assert_eq!(store.list_ours(Bucket::Videos, None, 10).await.unwrap(), [expected]);
}

/// Nothing, one byte, and everything around the borders of chunks and of batches of chunks.
pub async fn a_file_of_any_size_comes_back_whole(store: &Arc<dyn BlobStore>) {
    let borders = [1, 2, 3, 8, 9, 10, 17].map(|chunks| chunks * CHUNK_BYTES);
    let sizes = borders.iter().flat_map(|size| [size - 1, *size, size + 1]);
    for size in [0, 1].into_iter().chain(sizes) {
        let bytes = pattern(0..size);
        let blob = put(&**store, Bucket::Mp3s, &new_blob(), &bytes).await;
        assert_eq!(blob.len_bytes, size);
        assert!(read_all(&**store, Bucket::Mp3s, blob.id).await == bytes, "{size} bytes");
    }
}

/// In its place are the bytes of the head, at the beginning or behind it, within a chunk or across a border; the
/// others are untouched, and the digest is that of the same bytes written plainly.
pub async fn a_head_replaces_bytes_in_its_place_and_the_digest_is_of_what_is_stored(store: &Arc<dyn BlobStore>) {
    for (size, at, length) in [
        (0, 0, 0),
        (1, 0, 1),
        (1000, 0, 0),
        (1000, 2000, 0),
        (1000, 0, 417),
        (1000, 583, 417),
        (CHUNK_BYTES, 0, CHUNK_BYTES),
        (CHUNK_BYTES + 1, 0, CHUNK_BYTES),
        (CHUNK_BYTES + 1, 1, CHUNK_BYTES),
        (2 * CHUNK_BYTES, 0, 1),
        (2 * CHUNK_BYTES, CHUNK_BYTES, 417),
        (2 * CHUNK_BYTES, CHUNK_BYTES - 1, 2),
        (2 * CHUNK_BYTES + 100, 2 * CHUNK_BYTES - 317, 417),
        (LARGE_BYTES, 0, 100),
        (LARGE_BYTES, 20 * CHUNK_BYTES + 7, CHUNK_BYTES),
        (LARGE_BYTES, LARGE_BYTES - 2, 2),
    ] {
        let mut bytes = pattern(0..size);
        let mut writer = store.put(Bucket::Mp3s, new_blob()).await.unwrap();
        write_all(&mut writer, &bytes).await;
        let head = zeros(at, length);
        if length > 0 {
            let start = usize::try_from(at).unwrap();
            bytes[start..start + head.bytes.len()].fill(0);
        }
        let blob = writer.finish(Some(head)).await.unwrap();

        let case = format!("{length} bytes at {at} of {size}");
        assert_eq!(blob.len_bytes, size, "{case}");
        assert!(read_all(&**store, Bucket::Mp3s, blob.id).await == bytes, "{case}");
        let plain = put(&**store, Bucket::Mp3s, &new_blob(), &bytes).await;
        assert_eq!(blob.sha256, plain.sha256, "{case}");
        assert_eq!(
            store.stat(Bucket::Mp3s, blob.id).await.unwrap(),
            Some(blob.clone()),
            "{case}"
        );
        if (size, at) == (LARGE_BYTES, 0) {
            assert_eq!(blob.sha256.as_deref(), Some(LARGE_WITH_HEAD_SHA256));
        }
    }
}

/// A head that does not fit is an error, and the file stays invisible.
pub async fn a_head_beyond_the_end_or_longer_than_one_chunk_is_refused(store: &Arc<dyn BlobStore>) {
    for (size, at, length) in [
        (0, 0, 1),
        (10, 0, 11),
        (10, 10, 1),
        (10, 9, 2),
        (10, u64::MAX, 2),
        (CHUNK_BYTES, CHUNK_BYTES - 1, 2),
        (2 * CHUNK_BYTES, 0, CHUNK_BYTES + 1),
    ] {
        let new = new_blob();
        let mut writer = store.put(Bucket::Mp3s, new.clone()).await.unwrap();
        write_all(&mut writer, &pattern(0..size)).await;
        let outcome = writer.finish(Some(zeros(at, length))).await;
        assert!(matches!(outcome, Err(PortError::Corrupt { .. })), "{outcome:?}");
        assert_gone(&**store, Bucket::Mp3s, new.id).await;
    }
}

/// A second file of an id is a conflict, at the latest when it is finished, and harms the first in no way.
pub async fn an_id_is_never_overwritten(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    let first = put(&**store, Bucket::Videos, &new, b"first").await;
    let second = async {
        let mut writer = store.put(Bucket::Videos, new.clone()).await?;
        writer.write(Bytes::from_static(b"other")).await?;
        writer.finish(None).await
    };
    assert!(matches!(second.await, Err(PortError::Conflict { .. })));
    assert_eq!(store.stat(Bucket::Videos, new.id).await.unwrap(), Some(first));
    assert_eq!(read_all(&**store, Bucket::Videos, new.id).await, b"first");
}

/// Ids are not reused, but if two writers ever have one, the loser's cleaning up spares the winner.
pub async fn of_two_writers_of_one_id_at_most_one_wins_and_leaves_a_whole_file(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    let write = |from: u64| {
        let (store, new) = (Arc::clone(store), new.clone());
        async move {
            let bytes = pattern(from..from + LARGE_BYTES);
            let mut writer = store.put(Bucket::Videos, new).await?;
            for piece in bytes.chunks(100_000) {
                writer.write(Bytes::copy_from_slice(piece)).await?;
            }
            writer.finish(None).await.map(|_| bytes)
        }
    };
    let (one, other) = tokio::join!(write(0), write(1));
    let winners: Vec<_> = [one, other].into_iter().flatten().collect();
    assert!(winners.len() <= 1);
    match winners.first() {
        Some(bytes) => assert!(&read_all(&**store, Bucket::Videos, new.id).await == bytes),
        None => assert_eq!(store.stat(Bucket::Videos, new.id).await.unwrap(), None),
    }
}

/// Writers of different ids do not get in each other's way.
pub async fn many_files_are_written_at_once(store: &Arc<dyn BlobStore>) {
    let writes = (0..16_u64).map(|number| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let bytes = pattern(number..number + 3 * CHUNK_BYTES + number);
            let blob = put(&*store, Bucket::Videos, &new_blob(), &bytes).await;
            (blob.id, bytes)
        })
    });
    for written in join_all(writes).await {
        let (id, bytes) = written.unwrap();
        assert!(read_all(&**store, Bucket::Videos, id).await == bytes);
    }
    assert_eq!(store.count(Bucket::Videos).await.unwrap(), 16);
}

/// Ids are unique within a bucket; a file of one bucket is not seen in the other.
pub async fn both_buckets_may_use_one_id(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    put(&**store, Bucket::Videos, &new, b"video").await;
    assert_eq!(store.stat(Bucket::Mp3s, new.id).await.unwrap(), None);
    put(&**store, Bucket::Mp3s, &new, b"mp3").await;
    store.delete(Bucket::Videos, new.id).await.unwrap();
    assert_eq!(read_all(&**store, Bucket::Mp3s, new.id).await, b"mp3");
}

/// A caller that leaves while the file is being finished finds, in the end, the whole file or nothing at all.
pub async fn a_finish_nobody_waits_for_ends_whole_or_not_at_all(store: &Arc<dyn BlobStore>) {
    let new = new_blob();
    let writer = begin_large(&**store, Bucket::Videos, &new).await;
    let mut finish = Box::pin(writer.finish(None));
    assert!(futures_util::poll!(&mut finish).is_pending());
    drop(finish);

    until("the file is whole or gone", async || {
        let found = store.stat(Bucket::Videos, new.id).await.unwrap();
        let unfinished = store.list_unfinished(Bucket::Videos, None, 10).await.unwrap();
        (found.is_some() || unfinished.is_empty()).then_some(())
    })
    .await;
    if let Some(blob) = store.stat(Bucket::Videos, new.id).await.unwrap() {
        assert_eq!(blob.sha256.as_deref(), Some(LARGE_SHA256));
        assert!(read_all(&**store, Bucket::Videos, new.id).await == pattern(0..LARGE_BYTES));
    }
}
