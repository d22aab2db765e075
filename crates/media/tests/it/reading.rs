//! Of the source only what is needed is read, once, and the MP3 is that of reading everything.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use media::{ConvertError, ReadRanges, Settings, Source};
use testkit::media::{ffmpeg, samples, shared_samples};

use crate::support::{Mp3, convert, convert_bytes, settings_for, verdict};

/// GridFS keeps files in pieces of this length, and a store reads whole pieces.
const GRIDFS_CHUNK_BYTES: usize = 255 * 1024;

/// A file that remembers how often each of its bytes was read.
struct Counting {
    file: File,
    position: u64,
    counts: Arc<Mutex<Vec<u8>>>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let start = usize::try_from(self.position).unwrap();
        for times in &mut self.counts.lock().unwrap()[start..start + count] {
            *times = times.saturating_add(1);
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

impl ReadRanges for Counting {
    fn length_bytes(&mut self) -> io::Result<u64> {
        self.seek(SeekFrom::End(0))
    }

    fn read_ranges(&mut self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> io::Result<()> {
        for range in ranges {
            self.seek(SeekFrom::Start(range.start))?;
            let mut part = vec![0; usize::try_from(range.end - range.start).unwrap()];
            self.read_exact(&mut part)?;
            bytes.append(&mut part);
        }
        Ok(())
    }
}

/// What was read for a conversion.
struct Reading {
    mp3: Mp3,
    counts: Vec<u8>,
}

impl Reading {
    fn of(path: &Path) -> Self {
        Self::with(path, Source::seekable)
    }

    fn with(path: &Path, source: impl FnOnce(Counting) -> Source) -> Self {
        let file = File::open(path).unwrap();
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let counts = Arc::new(Mutex::new(vec![0; length]));
        let counting = Counting {
            file,
            position: 0,
            counts: Arc::clone(&counts),
        };
        let outcome = convert(source(counting), &settings_for(path));
        let mp3 = outcome.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        let counts = counts.lock().unwrap().clone();
        let read: u64 = counts.iter().map(|times| u64::from(*times)).sum();
        assert_eq!(mp3.converted.bytes_read, read, "{}", path.display());
        Self { mp3, counts }
    }

    fn most_often(&self) -> u8 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    /// The share of all bytes, 0 to 1.
    fn share(&self) -> f64 {
        share(
            self.counts.iter().map(|times| usize::from(*times)).sum(),
            self.counts.len(),
        )
    }

    /// The share of the pieces in a store that any byte was read of, 0 to 1.
    fn share_of_gridfs_chunks(&self) -> f64 {
        let chunks = self.counts.chunks(GRIDFS_CHUNK_BYTES);
        let total = chunks.len();
        share(
            chunks.filter(|chunk| chunk.iter().any(|times| *times > 0)).count(),
            total,
        )
    }
}

fn share(part: usize, whole: usize) -> f64 {
    f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(whole).unwrap())
}

/// A video of that bitrate with AAC sound, and what can be made of it without encoding again.
struct Video {
    folder: tempfile::TempDir,
    tight: PathBuf,
}

impl Video {
    fn of_megabits(megabits: u32, seconds: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tight = folder.path().join("tight.mp4");
        // Filler makes the bitrate; the picture does not matter.
        ffmpeg(
            &format!(
                "-f lavfi -i testsrc2=size=320x180:rate=30:duration={seconds} \
                 -f lavfi -i aevalsrc=0.3*sin(880*PI*t)+0.3*random(0)|0.3*random(1):s=48000:d={seconds} \
                 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -threads 2 -g 30 -b:v {megabits}M -minrate {megabits}M \
                 -maxrate {megabits}M -bufsize 500k -x264-params nal-hrd=cbr -c:a aac -b:a 160k"
            ),
            &tight,
        );
        Self { folder, tight }
    }

    fn remuxed(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        ffmpeg(&format!("-i {} -c copy {arguments}", self.tight.display()), &path);
        path
    }
}

#[test]
fn of_a_video_of_30_megabits_little_more_than_the_sound_is_read() {
    let video = Video::of_megabits(30, 12);
    let runs = video.remuxed("runs.mp4", "-chunk_duration 1000000");
    let in_runs = Reading::of(&runs);
    assert!(in_runs.share() < 0.02, "{}", in_runs.share());
    assert!(
        in_runs.share_of_gridfs_chunks() < 0.25,
        "{}",
        in_runs.share_of_gridfs_chunks()
    );
    let tight = Reading::of(&video.tight);
    assert!(tight.share() < 0.10, "{}", tight.share());
    assert!(tight.mp3.frames() == in_runs.mp3.frames());
    for (name, arguments, most) in [
        ("first.mp4", "-movflags +faststart", 0.10),
        ("tight.mov", "", 0.10),
        ("fragments.mp4", "-movflags +frag_keyframe+empty_moov", 0.02),
        (
            "indexed-fragments.mp4",
            "-movflags +frag_keyframe+empty_moov+dash+global_sidx",
            0.05,
        ),
        ("tight.avi", "-c:a libmp3lame", 0.10),
        ("tight.flv", "-ar 44100 -c:a libmp3lame", 0.20),
    ] {
        let path = video.remuxed(name, arguments);
        let reading = Reading::of(&path);
        assert!(reading.share() < most, "{name}: {}", reading.share());
        assert!(reading.most_often() <= 1, "{name}");
        if name.ends_with(".mov") || name.starts_with("first") {
            assert!(reading.mp3.frames() == tight.mp3.frames(), "{name}");
        } else if !name.ends_with(".mp4") || name.starts_with("fragments") {
            let streamed = convert(Source::stream(File::open(&path).unwrap()), &settings_for(&path)).unwrap();
            assert!(reading.mp3.frames() == streamed.frames(), "{name}");
        }
    }
}

#[test]
fn of_a_video_of_4_megabits_the_gaps_between_sound_are_left_out_as_well() {
    let video = Video::of_megabits(4, 20);
    let reading = Reading::of(&video.tight);
    assert!(reading.share() < 0.15, "{}", reading.share());
    let first = video.remuxed("first.mp4", "-movflags +faststart");
    let streamed = convert(Source::stream(File::open(&first).unwrap()), &settings_for(&first)).unwrap();
    assert!(reading.mp3.frames() == streamed.frames());
}

#[test]
fn no_byte_of_any_file_is_read_twice() {
    for path in samples().into_iter().map(|sample| sample.path).chain(shared_samples()) {
        if !path.ends_with("no-audio.mp4") {
            let reading = Reading::of(&path);
            assert!(reading.most_often() <= 1, "{}", path.display());
        }
    }
}

/// Far more than is kept of what was read at the start.
#[test]
fn no_byte_of_a_large_file_is_read_twice() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made.mkv");
    let picture = "-f lavfi -i testsrc2=size=1280x720:rate=25:duration=10,noise=alls=60:allf=t";
    let sound = "-f lavfi -i sine=duration=10";
    ffmpeg(
        &format!("{picture} {sound} -c:v mpeg2video -b:v 25M -minrate 25M -maxrate 25M -bufsize 25M -c:a mp2"),
        &made,
    );
    for extension in ["mkv", "ts", "mpg", "avi", "nut", "asf", "mov"] {
        let path = folder.path().join(format!("copy.{extension}"));
        ffmpeg(&format!("-i {} -c copy", made.display()), &path);
        assert!(fs::metadata(&path).unwrap().len() > 20 << 20, "{extension}");
        assert!(Reading::of(&path).most_often() <= 1, "{extension}");
    }
    for arguments in ["-c:a pcm_s16le -f wav", "-c:a flac -f flac", "-c:a flac -f ogg"] {
        let path = folder.path().join("sound");
        ffmpeg(
            &format!("-f lavfi -i anoisesrc=r=48000:duration=240 {arguments}"),
            &path,
        );
        assert!(fs::metadata(&path).unwrap().len() > 9 << 20, "{arguments}");
        assert!(Reading::of(&path).most_often() <= 1, "{arguments}");
    }
}

#[test]
fn a_source_of_ranges_gives_the_same_mp3() {
    for sample in samples() {
        let one_by_one = Reading::of(&sample.path);
        let in_ranges = Reading::with(&sample.path, Source::ranged);
        // What Codec 2 makes up between the tones comes from a generator that the process has once: a child converts
        // one file, this test several.
        let are_same = if sample.name == "codec2" {
            one_by_one.mp3.converted.samples == in_ranges.mp3.converted.samples
        } else {
            one_by_one.mp3.bytes == in_ranges.mp3.bytes
        };
        assert!(are_same, "{}", sample.name);
        assert!(in_ranges.most_often() <= 1, "{}", sample.name);
    }
}

#[test]
fn an_edit_list_changes_nothing_about_reading() {
    let video = Video::of_megabits(4, 8);
    let later = video.folder.path().join("later.mp4");
    ffmpeg(
        &format!("-ss 2.3 -i {} -c copy -t 4 -movflags +faststart", video.tight.display()),
        &later,
    );
    let reading = Reading::of(&later);
    let streamed = convert(Source::stream(File::open(&later).unwrap()), &settings_for(&later)).unwrap();
    assert!(reading.mp3.frames() == streamed.frames());
    assert!(
        reading.share() < 0.2 && reading.most_often() <= 1,
        "{}",
        reading.share()
    );
}

/// Positions of a box's contents.
fn contents_of(bytes: &[u8], kind: &[u8; 4]) -> Vec<usize> {
    let found = bytes.windows(4).enumerate().filter(|(_, window)| window == kind);
    found.map(|(at, _)| at + 4).collect()
}

#[test]
fn an_mp4_whose_index_lies_is_read_at_most_once_and_ends_in_an_mp3_or_a_verdict() {
    let honest = fs::read(testkit::media::sample("mp4-index-first")).unwrap();
    let boxes = contents_of(&honest, b"stco");
    assert_eq!(boxes.len(), 2);
    let length = u32::try_from(honest.len()).unwrap();
    let lies: [fn(u32, u32) -> u32; 5] = [
        |_, _| u32::MAX,
        |_, _| 0,
        |number, length| length - number % 2,
        |number, length| (number * 7919) % length,
        |number, length| length.saturating_sub(number * 100),
    ];
    for (number, lie) in lies.iter().enumerate() {
        for lying in [&boxes[..1], &boxes[1..], &boxes[..]] {
            let mut bytes = honest.clone();
            for start in lying {
                let count = u32::from_be_bytes(bytes[start + 4..start + 8].try_into().unwrap());
                for entry in 0..count {
                    let at = start + 8 + 4 * entry as usize;
                    bytes[at..at + 4].copy_from_slice(&lie(entry, length).to_be_bytes());
                }
            }
            match convert_bytes(bytes, &Settings::default()) {
                Ok(mp3) => assert!(mp3.converted.bytes_read <= u64::from(length), "lie {number}"),
                Err(error) => assert_eq!(verdict(Err(error)), "damaged", "lie {number}"),
            }
        }
    }
}

#[test]
fn a_store_that_fails_between_the_sounds_is_a_read_error() {
    struct Failing(Counting, u64);
    impl ReadRanges for Failing {
        fn length_bytes(&mut self) -> io::Result<u64> {
            self.0.length_bytes()
        }
        fn read_ranges(&mut self, ranges: &[Range<u64>], bytes: &mut Vec<u8>) -> io::Result<()> {
            if ranges.iter().any(|range| range.contains(&self.1)) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.0.read_ranges(ranges, bytes)
        }
    }
    let path = testkit::media::sample("mp4-h264-aac");
    let whole = Reading::of(&path);
    let places: Vec<usize> = (0..whole.counts.len()).filter(|at| whole.counts[*at] > 0).collect();
    for part in 0..8 {
        let at = places[places.len() * part / 8] as u64;
        let counting = Counting {
            file: File::open(&path).unwrap(),
            position: 0,
            counts: Arc::new(Mutex::new(vec![0; whole.counts.len()])),
        };
        let outcome = convert(Source::ranged(Failing(counting, at)), &settings_for(&path));
        assert!(matches!(outcome, Err(ConvertError::Read(_))), "failing at {at}");
    }
}
