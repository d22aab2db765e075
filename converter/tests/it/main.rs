//! The converter over the embedded adapters: real media in, real MP3s out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod children;
mod reading;
mod store;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use ::media::child::Program;
use async_trait::async_trait;
use bytes::Bytes;
use converter::{Children, ConversionSettings, ConvertHandler, Converter, DeleteSource};
use domain::{
    Address, Announcement, BlobOwner, BlobStore, Bucket, Consumer, Fid, Job, JobId, JobMessage, JobState, JobStore,
    Mp3, NewBlob, NewJob, Options, PortError, Queue, Rate, ReasonCode, Reference, Settlement, Step, Uploaded, Work,
};
use futures_util::TryStreamExt as _;
use runtime::metrics::Metrics;
use runtime::worker::{Ending, Handler as _};
use runtime::{Announcer, Lifecycle};
use store::Call;
use testkit::{HANG, media, until};
use tokio_util::sync::CancellationToken;

struct Bench {
    scratch: tempfile::TempDir,
    blobs: Arc<dyn BlobStore>,
    jobs: Arc<dyn JobStore>,
    queue: Arc<dyn Queue>,
    life: Lifecycle,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().display();
        Self {
            blobs: adapters::blobs::connect(&format!("file:{place}/blobs").parse().unwrap()).unwrap(),
            jobs: adapters::jobs::connect(&format!("sqlite:{place}/jobs.db").parse().unwrap()).unwrap(),
            queue: adapters::queue::connect(&"memory:".parse().unwrap()).unwrap(),
            life: Lifecycle::new(),
            scratch,
        }
    }

    fn start(&self, delete_source: DeleteSource) {
        let converter = self.converter(Program::at(env!("CARGO_BIN_EXE_converter")), delete_source);
        converter.start(&self.life, &Metrics::default());
    }

    fn converter(&self, program: Program, delete_source: DeleteSource) -> Converter {
        let settings = ConversionSettings {
            jobs: 2,
            threads: None,
            delete_source,
            program,
        };
        Converter {
            blobs: Arc::clone(&self.blobs),
            jobs: Arc::clone(&self.jobs),
            queue: Arc::clone(&self.queue),
            children: Children::new(&settings),
            video_queue: domain::VIDEO_QUEUE.to_owned(),
            mp3_queue: domain::MP3_QUEUE.to_owned(),
            settings,
        }
    }

    /// Uploads `path` as the gateway would.
    async fn upload(&self, path: &Path, options: Options) -> JobId {
        let id = Fid::new();
        let owner: Address = "ada@example.com".parse().unwrap();
        let filename = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = tokio::fs::read(path).await.unwrap();
        let size_bytes = bytes.len() as u64;
        self.jobs
            .create(NewJob {
                id,
                owner: owner.clone(),
                filename: filename.clone(),
                key: None,
                trace: None,
            })
            .await
            .unwrap();
        let blob = NewBlob {
            id,
            job: id,
            owner,
            filename,
        };
        let mut writer = self.blobs.put(Bucket::Videos, blob).await.unwrap();
        writer.write(bytes.into()).await.unwrap();
        writer.finish(None).await.unwrap();
        let uploaded = Uploaded {
            size_bytes,
            options,
            sha256: None,
        };
        assert!(self.jobs.commit_upload(id, uploaded).await.unwrap());
        let job = self.jobs.get(id).await.unwrap().unwrap();
        self.queue.publish(domain::VIDEO_QUEUE, &job.message()).await.unwrap();
        id
    }

    async fn ended(&self, id: JobId) -> Job {
        let job = async || self.jobs.get(id).await.unwrap().filter(|job| job.state.is_final());
        until("the job has ended", job).await
    }

    async fn bytes_of(&self, mp3: Fid) -> Vec<u8> {
        let stream = self.blobs.read(Bucket::Mp3s, mp3, 0..u64::MAX).await.unwrap().unwrap();
        let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
        pieces.concat()
    }

    async fn stop(self) {
        self.life.shut_down(HANG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_video_becomes_an_mp3_of_its_owner() {
    let bench = Bench::new();
    bench.start(DeleteSource::Never);
    let id = bench.upload(&media::sample("mp4-h264-aac"), Options::default()).await;
    let job = bench.ended(id).await;
    assert_eq!((job.state, job.progress, job.attempts), (JobState::Done, 1.0, 1));
    let mp3 = job.mp3.unwrap();
    let blob = bench.blobs.stat(Bucket::Mp3s, mp3.fid).await.unwrap().unwrap();
    assert_eq!(blob.owner, BlobOwner::Stated(job.owner));
    assert_eq!(blob.job, Some(id));
    let stem = media::sample("mp4-h264-aac")
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(blob.filename, Some(format!("{stem}.mp3")));
    assert_eq!(mp3.size_bytes, Some(blob.len_bytes));
    assert!(
        bench.blobs.stat(Bucket::Videos, id).await.unwrap().is_some(),
        "the video stays"
    );

    // The stored bytes are what the engine makes of the same file on the command line, first frame included.
    let mut direct = Vec::new();
    let source = ::media::Source::seekable(std::fs::File::open(media::sample("mp4-h264-aac")).unwrap());
    let settings = converter::media_settings(&Options::default(), Some(format!("{stem}.mp4")));
    let converted = ::media::convert(source, &mut direct, &settings, |_| std::ops::ControlFlow::Continue(())).unwrap();
    let head_at = usize::try_from(converted.head_at).unwrap();
    direct[head_at..head_at + converted.head.len()].copy_from_slice(&converted.head);
    assert!(bench.bytes_of(mp3.fid).await == direct);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_options_are_heard() {
    let bench = Bench::new();
    bench.start(DeleteSource::Never);
    let options = Options {
        bitrate: Some(64),
        channels: Some(1),
        ..Options::default()
    };
    assert_eq!(options.bit_rate(), Rate::Cbr(64));
    let id = bench.upload(&media::sample("mkv-h264-opus"), options).await;
    let mp3 = bench.ended(id).await.mp3.unwrap();
    let seconds = mp3.duration_ms.unwrap() as f64 / 1000.0;
    let kbps = mp3.size_bytes.unwrap() as f64 * 8.0 / 1000.0 / seconds;
    assert!((60.0..72.0).contains(&kbps), "{kbps} kbit/s");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_beyond_the_plain_case_is_in_the_record() {
    let bench = Bench::new();
    bench.start(DeleteSource::Never);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.mkv");
    let picture = "-f lavfi -i testsrc2=size=160x120:rate=10:duration=4 -c:v mpeg4";
    let sound = "-itsoffset 2 -f lavfi -i sine=440:duration=2 -c:a aac";
    media::ffmpeg(&format!("{sound} {picture} -map 0 -map 1"), &path);
    let id = bench.upload(&path, Options::default()).await;
    let mp3 = bench.ended(id).await.mp3.unwrap();
    let codes: Vec<_> = mp3.notes.iter().map(|note| note.code.as_str()).collect();
    assert_eq!(codes, ["late_start"]);
    let plain = bench.upload(&media::sample("mkv-h264-opus"), Options::default()).await;
    assert_eq!(bench.ended(plain).await.mp3.unwrap().notes, []);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_media_ends_in_a_verdict_and_leaves_no_mp3() {
    let bench = Bench::new();
    bench.start(DeleteSource::Never);
    let cases = [
        (media::without_audio(), ReasonCode::NoAudio),
        (media::garbage(), ReasonCode::NotMedia),
        (media::text(), ReasonCode::NotMedia),
        (media::empty(), ReasonCode::NotMedia),
        (media::without_index(), ReasonCode::Damaged),
    ];
    for (path, code) in cases {
        let id = bench.upload(&path, Options::default()).await;
        let job = bench.ended(id).await;
        assert_eq!(job.state, JobState::Failed, "{}", path.display());
        let reason = job.reason.unwrap();
        assert_eq!(reason.code, code, "{}: {}", path.display(), reason.message);
        assert_eq!(job.attempts, 1, "the owner's error is not retried");
    }
    assert_eq!(bench.blobs.count(Bucket::Mp3s).await.unwrap(), 0);
    assert_eq!(bench.blobs.list_unfinished(Bucket::Mp3s, None, 10).await.unwrap(), []);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_conversion_is_announced_once() {
    let bench = Bench::new();
    let mut listener = bench.queue.consume(domain::MP3_QUEUE, 1);
    bench.start(DeleteSource::Never);
    let id = bench.upload(&media::sample("ogg-opus-mono"), Options::default()).await;
    let delivery = tokio::time::timeout(HANG, listener.next())
        .await
        .expect("nothing was announced");
    let message = delivery.message.clone().unwrap();
    delivery.ack().await;
    let job = bench.ended(id).await;
    assert_eq!(message, job.message());
    assert_eq!(message.mp3_fid, job.mp3.map(|mp3| mp3.fid));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_video_goes_when_the_mp3_is_done_if_so_set() {
    let bench = Bench::new();
    bench.start(DeleteSource::Done);
    let good = bench.upload(&media::sample("ogg-opus-mono"), Options::default()).await;
    let bad = bench.upload(&media::without_audio(), Options::default()).await;
    assert_eq!(bench.ended(good).await.state, JobState::Done);
    assert_eq!(bench.ended(bad).await.state, JobState::Failed);
    let Bench {
        blobs,
        jobs,
        life,
        scratch,
        ..
    } = bench;
    life.shut_down(HANG).await;
    let references = jobs.references(Bucket::Videos, &[good, bad]).await.unwrap();
    assert_eq!(
        references,
        [Reference::Lost, Reference::Live],
        "so the janitor knows, too"
    );
    assert!(blobs.stat(Bucket::Videos, good).await.unwrap().is_none());
    assert!(
        blobs.stat(Bucket::Videos, bad).await.unwrap().is_some(),
        "a failed upload can be tried again"
    );
    drop(scratch);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_attempt_left_is_deleted_by_the_next() {
    let bench = Bench::new();
    let id = bench.upload(&media::sample("ogg-opus-mono"), Options::default()).await;
    let crashed = bench.jobs.claim(Step::Convert, id).await.unwrap().unwrap();
    let Work::Convert { mp3_fid, .. } = crashed.work else {
        panic!("not a conversion")
    };
    let blob = NewBlob {
        id: mp3_fid,
        job: id,
        owner: crashed.job.owner.clone(),
        filename: "x.mp3".to_owned(),
    };
    let mut writer = bench.blobs.put(Bucket::Mp3s, blob).await.unwrap();
    writer.write(Bytes::from_static(b"half an MP3")).await.unwrap();
    writer.finish(None).await.unwrap();
    assert!(bench.jobs.settle(&crashed, Settlement::Released).await.unwrap());

    bench.start(DeleteSource::Never);
    let job = bench.ended(id).await;
    assert_eq!(job.state, JobState::Done);
    assert_ne!(job.mp3.unwrap().fid, mp3_fid);
    assert!(bench.blobs.stat(Bucket::Mp3s, mp3_fid).await.unwrap().is_none());
    assert_eq!(
        bench.jobs.references(Bucket::Mp3s, &[mp3_fid]).await.unwrap(),
        [Reference::Lost]
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_converter_that_lost_its_claim_deletes_its_own_mp3() {
    let bench = Bench::new();
    let id = bench.upload(&media::sample("ogg-opus-mono"), Options::default()).await;
    let claim = bench.jobs.claim(Step::Convert, id).await.unwrap().unwrap();
    let mp3_fid = Fid::new();
    let blob = NewBlob {
        id: mp3_fid,
        job: id,
        owner: claim.job.owner.clone(),
        filename: "x.mp3".to_owned(),
    };
    let mut writer = bench.blobs.put(Bucket::Mp3s, blob).await.unwrap();
    writer.write(Bytes::from_static(b"an MP3")).await.unwrap();
    writer.finish(None).await.unwrap();
    let converter = bench.converter(Program::at(env!("CARGO_BIN_EXE_converter")), DeleteSource::Never);
    let announcer = Announcer {
        jobs: Arc::clone(&bench.jobs),
        queue: Arc::clone(&bench.queue),
        queue_name: domain::MP3_QUEUE.to_owned(),
        announcement: Announcement::Mp3,
        life: bench.life.clone(),
    };
    let handler = ConvertHandler::new(
        Arc::clone(&bench.blobs),
        converter.children,
        NonZeroUsize::MIN,
        announcer,
        DeleteSource::Never,
        &Metrics::default(),
    );
    let settlement = Settlement::Converted(Mp3 {
        fid: mp3_fid,
        size_bytes: None,
        duration_ms: None,
        notes: Vec::new(),
    });
    let stored = async || bench.blobs.stat(Bucket::Mp3s, mp3_fid).await.unwrap().is_some();
    handler.settled(&claim, &settlement, Ending::Unknown).await;
    assert!(stored().await, "the record may name it");
    handler.settled(&claim, &settlement, Ending::Lost).await;
    assert!(!stored().await, "the record names another");
}

/// A broker that takes messages about MP3s and never confirms them.
struct Mute {
    queue: Arc<dyn Queue>,
    ended: CancellationToken,
}

#[async_trait]
impl Queue for Mute {
    async fn publish(&self, queue: &str, message: &JobMessage) -> Result<(), PortError> {
        if queue == domain::MP3_QUEUE {
            self.ended.cancelled().await;
        }
        self.queue.publish(queue, message).await
    }

    fn consume(&self, queue: &str, prefetch: u16) -> Box<dyn Consumer> {
        self.queue.consume(queue, prefetch)
    }

    async fn depth(&self, queue: &str) -> Result<u64, PortError> {
        self.queue.depth(queue).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.queue.ping().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_confirms_nothing_holds_no_conversion_up() {
    let mut bench = Bench::new();
    let ended = CancellationToken::new();
    bench.queue = Arc::new(Mute {
        queue: Arc::clone(&bench.queue),
        ended: ended.clone(),
    });
    bench.start(DeleteSource::Never);
    // One more than there are places for.
    for _ in 0..3 {
        let id = bench.upload(&media::sample("ogg-opus-mono"), Options::default()).await;
        assert_eq!(bench.ended(id).await.state, JobState::Done);
    }
    ended.cancel();
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_not_in_the_store_is_our_trouble() {
    let bench = Bench::new();
    let id = bench.upload(&media::sample("ogg-opus-mono"), Options::default()).await;
    bench.blobs.delete(Bucket::Videos, id).await.unwrap();
    bench.start(DeleteSource::Never);
    until("the job is tried and put back", async || {
        let job = bench.jobs.get(id).await.unwrap().unwrap();
        (job.attempts == 1 && job.state == JobState::Queued).then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp3_that_changes_its_kind_on_the_way_is_whole() {
    let bench = Bench::new();
    let folder = bench.scratch.path();
    let sound = "-f lavfi -i sine=duration=4 -write_xing 0 -id3v2_version 0";
    media::ffmpeg(&format!("{sound} -ac 2"), &folder.join("stereo.mp3"));
    media::ffmpeg(&format!("{sound} -ac 1"), &folder.join("mono.mp3"));
    let mut ids = Vec::new();
    // The second one is begun three times: copied, encoded in mono, encoded in stereo.
    for order in [["stereo.mp3", "mono.mp3"], ["mono.mp3", "stereo.mp3"]] {
        let both = order.map(|name| std::fs::read(folder.join(name)).unwrap());
        let path = folder.join("both.mp3");
        std::fs::write(&path, both.concat()).unwrap();
        ids.push(bench.upload(&path, Options::default()).await);
    }
    bench.start(DeleteSource::Never);
    for id in ids {
        let job = bench.ended(id).await;
        assert_eq!(job.state, JobState::Done, "{:?}", job.reason);
        let duration_ms = job.mp3.unwrap().duration_ms.unwrap();
        assert!((7_900..8_300).contains(&duration_ms), "{duration_ms}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_given_back_even_while_the_store_hangs() {
    for call in [Call::Read, Call::Write, Call::Finish] {
        let mut bench = Bench::new();
        // Long enough for more than what may wait for the store, so that the conversion's thread waits too.
        let path = bench.scratch.path().join("long.wav");
        media::ffmpeg("-f lavfi -i sine=duration=600", &path);
        let id = bench.upload(&path, Options::default()).await;
        let begun = CancellationToken::new();
        let mut store = store::Watched::over(bench.blobs);
        store.hangs = Some((call, begun.clone()));
        bench.blobs = Arc::new(store);
        bench.start(DeleteSource::Never);
        begun.cancelled().await;
        bench.life.shut_down(std::time::Duration::ZERO).await;
        let job = bench.jobs.get(id).await.unwrap().unwrap();
        assert_eq!(job.state, JobState::Queued, "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shared_sample_converts_or_is_explained() {
    let bench = Bench::new();
    bench.start(DeleteSource::Never);
    for path in media::shared_samples() {
        let id = bench.upload(&path, Options::default()).await;
        let job = bench.ended(id).await;
        let silent = path.file_name().is_some_and(|name| name == "no-audio.mp4");
        let expected = if silent { JobState::Failed } else { JobState::Done };
        assert_eq!(job.state, expected, "{}: {:?}", path.display(), job.reason);
    }
    bench.stop().await;
}
