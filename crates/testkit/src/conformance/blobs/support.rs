//! Bytes that are easy to make and hard to confuse, and the steps the behaviours share.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use domain::{Blob, BlobStore, BlobWriter, Bucket, Fid, NewBlob, PortError};
use futures_util::StreamExt;

/// The most a head can replace, and the size of GridFS's chunks.
pub const CHUNK_BYTES: u64 = 255 * 1024;

/// More than any adapter keeps in memory, so that parts of it are in the store before it is finished.
pub const LARGE_BYTES: u64 = 40 * CHUNK_BYTES + 1;

/// A prime, so that no two chunks are alike.
const PERIOD: usize = 1_000_003;

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state: u32 = 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(PERIOD).collect()
});

/// The bytes `range` of an endless file.
pub fn pattern(range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let from = usize::try_from(at % PERIOD as u64).unwrap();
        let most = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let piece = &BLOCK[from..PERIOD.min(from.saturating_add(most))];
        bytes.extend_from_slice(piece);
        at += piece.len() as u64;
    }
    bytes
}

/// A new file of somebody's.
pub fn new_blob() -> NewBlob {
    NewBlob {
        id: Fid::new(),
        job: Fid::new(),
        owner: "Ada@example.com".parse().unwrap(),
        filename: "Übung 1.mp4".to_owned(),
    }
}

/// Writes `bytes` in pieces whose size fits no chunk.
pub async fn write_all(writer: &mut Box<dyn BlobWriter>, bytes: &[u8]) {
    for piece in bytes.chunks(77_777) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
}

/// Stores `bytes` as `blob`.
pub async fn put(store: &dyn BlobStore, bucket: Bucket, blob: &NewBlob, bytes: &[u8]) -> Blob {
    let mut writer = store.put(bucket, blob.clone()).await.unwrap();
    write_all(&mut writer, bytes).await;
    writer.finish(None).await.unwrap()
}

/// Begins a file and writes so much of it that parts are in the store.
pub async fn begin_large(store: &dyn BlobStore, bucket: Bucket, blob: &NewBlob) -> Box<dyn BlobWriter> {
    let mut writer = store.put(bucket, blob.clone()).await.unwrap();
    write_all(&mut writer, &pattern(0..LARGE_BYTES)).await;
    writer
}

/// The bytes of a range, None when there is no such file.
///
/// # Errors
/// The stream's.
pub async fn read(
    store: &dyn BlobStore,
    bucket: Bucket,
    id: Fid,
    range: Range<u64>,
) -> Result<Option<Vec<u8>>, PortError> {
    let Some(mut stream) = store.read(bucket, id, range).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(Some(bytes))
}

/// The whole of a file that must exist.
pub async fn read_all(store: &dyn BlobStore, bucket: Bucket, id: Fid) -> Vec<u8> {
    read(store, bucket, id, 0..u64::MAX).await.unwrap().unwrap()
}

/// Fails unless there is no file and no part of one.
pub async fn assert_gone(store: &dyn BlobStore, bucket: Bucket, id: Fid) {
    assert_eq!(store.stat(bucket, id).await.unwrap(), None);
    assert!(read(store, bucket, id, 0..1).await.unwrap().is_none());
    let unfinished = store.list_unfinished(bucket, None, 1000).await.unwrap();
    assert!(!unfinished.contains(&id), "parts of {id} are left");
}
