//! What a conversion asks of the store: hardly more than the sound.

use std::ops::Range;
use std::sync::Arc;

use converter::DeleteSource;
use domain::{JobState, Options};
use testkit::media::ffmpeg;

use crate::Bench;
use crate::store::Watched;

/// GridFS keeps files in pieces of this length, and a store reads whole pieces.
const CHUNK_BYTES: u64 = 255 * 1024;

/// Converts a video of 30 Mbit/s, made by `ffmpeg` with these last arguments; gives its length and what was read of it.
async fn read_of(name: &str, arguments: &str) -> (u64, Vec<Range<u64>>) {
    let mut bench = Bench::new();
    let store = Watched::over(bench.blobs);
    let read = Arc::clone(&store.read);
    bench.blobs = Arc::new(store);
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
