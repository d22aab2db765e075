//! What a conversion asks of the store: hardly more than the sound.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use converter::DeleteSource;
use domain::{Blob, BlobStore, BlobStream, BlobWriter, Bucket, Fid, JobState, NewBlob, Options, PortError};
use futures_util::StreamExt as _;
use testkit::media::ffmpeg;

use crate::Bench;

/// GridFS keeps files in pieces of this length, and a store reads whole pieces.
const CHUNK_BYTES: u64 = 255 * 1024;

/// A store that remembers what was read of videos: the bytes that went out, one range for each call.
struct Remembering {
    store: Arc<dyn BlobStore>,
    read: Arc<Mutex<Vec<Range<u64>>>>,
}

#[async_trait]
impl BlobStore for Remembering {
    async fn put(&self, bucket: Bucket, blob: NewBlob) -> Result<Box<dyn BlobWriter>, PortError> {
        self.store.put(bucket, blob).await
    }

    async fn stat(&self, bucket: Bucket, id: Fid) -> Result<Option<Blob>, PortError> {
        self.store.stat(bucket, id).await
    }

    async fn read(&self, bucket: Bucket, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError> {
        let number = {
            let mut read = self.read.lock().unwrap();
            read.push(range.start..range.start);
            read.len() - 1
        };
        let read = Arc::clone(&self.read);
        let stream = self.store.read(bucket, id, range).await?;
        Ok(stream.map(|stream| -> BlobStream {
            Box::pin(stream.inspect(move |piece| {
                if let Ok(bytes) = piece {
                    read.lock().unwrap()[number].end += bytes.len() as u64;
                }
            }))
        }))
    }

    async fn delete(&self, bucket: Bucket, id: Fid) -> Result<(), PortError> {
        self.store.delete(bucket, id).await
    }

    async fn list_ours(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Blob>, PortError> {
        self.store.list_ours(bucket, after, limit).await
    }

    async fn count(&self, bucket: Bucket) -> Result<u64, PortError> {
        self.store.count(bucket).await
    }

    async fn list_unfinished(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Fid>, PortError> {
        self.store.list_unfinished(bucket, after, limit).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.store.ping().await
    }
}

/// Converts a video of 30 Mbit/s, made by `ffmpeg` with these last arguments; gives its length and what was read of it.
async fn read_of(name: &str, arguments: &str) -> (u64, Vec<Range<u64>>) {
    let mut bench = Bench::new();
    let read = Arc::default();
    bench.blobs = Arc::new(Remembering {
        store: bench.blobs,
        read: Arc::clone(&read),
    });
    let path = bench.scratch.path().join(name);
    ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size=320x180:rate=30:duration=12 -f lavfi -i sine=frequency=440:duration=12 \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -threads 2 -g 30 -b:v 30M -minrate 30M -maxrate 30M \
             -bufsize 500k -x264-params nal-hrd=cbr -c:a aac -b:a 160k {arguments}"
        ),
        &path,
    );
    let length_bytes = std::fs::metadata(&path).unwrap().len();
    bench.start(DeleteSource::Never);
    let id = bench.upload(&path, Options::default()).await;
    let job = bench.ended(id).await;
    assert_eq!(job.state, JobState::Done, "{:?}", job.reason);
    bench.stop().await;
    let read = std::mem::take(&mut *read.lock().unwrap());
    (length_bytes, read)
}

/// How many chunks of GridFS these ranges fetch; a chunk that is fetched again counts again.
fn chunks(read: &[Range<u64>]) -> u64 {
    let touched = |range: &Range<u64>| range.end.div_ceil(CHUNK_BYTES) - range.start / CHUNK_BYTES;
    read.iter().filter(|range| !range.is_empty()).map(touched).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_video_in_runs_of_a_second_few_chunks_are_fetched() {
    let (length_bytes, read) = read_of("runs.mp4", "-chunk_duration 1000000").await;
    let (fetched, all) = (chunks(&read), length_bytes.div_ceil(CHUNK_BYTES));
    assert!(fetched * 4 <= all, "{fetched} of {all} chunks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_read_whole_is_asked_for_in_one_go() {
    let (length_bytes, read) = read_of("whole.mkv", "").await;
    let fetched: u64 = read.iter().map(|range| range.end - range.start).sum();
    assert!(read.len() < 10, "{} questions", read.len());
    assert!(
        fetched < length_bytes + length_bytes / 4,
        "{fetched} of {length_bytes} bytes"
    );
}
