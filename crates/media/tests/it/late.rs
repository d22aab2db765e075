//! Sound that begins late in a container that does not list its tracks.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use media::{Settings, Source};
use testkit::media::ffmpeg;

use crate::support::{convert, convert_file, decode, go_on, settings_for};

/// A picture of 9 Mbit/s whose sound, if there is any, begins after that many seconds and lasts for four.
fn film(folder: &Path, name: &str, sound_after: Option<u32>, options: &str) -> PathBuf {
    let path = folder.join(name);
    let seconds = sound_after.unwrap_or(0) + 4;
    let sound = sound_after.map_or_else(String::new, |after| {
        let tone = "0.4*sin(2*PI*t*(300+100*floor(t)))";
        format!("-itsoffset {after} -f lavfi -i aevalsrc={tone}|{tone}:s=48000:d=4 -map 1")
    });
    ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size=720x576:rate=25:duration={seconds} {sound} -map 0 -vf noise=alls=60:allf=t \
             -c:v mpeg2video -b:v 9M -minrate 9M -maxrate 9M -bufsize 2M {options}"
        ),
        &path,
    );
    path
}

#[test]
fn sound_that_begins_behind_what_is_probed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [
        ("late.vob", "-c:a ac3 -f vob"),
        ("late.mpg", "-c:a mp2"),
        ("late.vob", "-c:a pcm_dvd -f vob"),
    ] {
        let path = film(folder.path(), name, Some(12), codec);
        for streamed in [false, true] {
            let file = std::fs::File::open(&path).unwrap();
            let source = match streamed {
                true => Source::stream(file),
                false => Source::seekable(file),
            };
            let mp3 = convert(source, &settings_for(&path)).unwrap_or_else(|error| panic!("{name} {codec}: {error}"));
            let pcm = decode(&mp3.bytes);
            let tones = pcm.tones(0);
            let heard: Vec<_> = tones.iter().copied().filter(|tone| *tone > 0).collect();
            // What stands before it is silence, if anything.
            assert!(tones.ends_with(&heard), "{name} {codec}: {tones:?}");
            assert!(heard.len() >= 7, "{name} {codec}: {tones:?}");
            for tone in [300, 400, 500, 600] {
                assert!(heard.contains(&tone), "{name} {codec}: {tones:?}");
            }
        }
    }
}

/// A file of one part many times and another at its end, and how many of its bytes were read.
struct Repeated {
    part: Vec<u8>,
    times: u64,
    end: Vec<u8>,
    position: u64,
    read: Arc<AtomicU64>,
}

impl Repeated {
    fn length(&self) -> u64 {
        self.part.len() as u64 * self.times + self.end.len() as u64
    }
}

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.part.len() as u64;
        let rest = if self.position < length * self.times {
            &self.part[usize::try_from(self.position % length).unwrap()..]
        } else {
            let at = usize::try_from(self.position - length * self.times).unwrap();
            self.end.get(at..).unwrap_or_default()
        };
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Repeated {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(offset) => self.position.saturating_add_signed(offset),
            SeekFrom::End(offset) => self.length().saturating_add_signed(offset),
        };
        Ok(self.position)
    }
}

#[test]
fn to_say_that_a_large_file_has_no_sound_costs_a_bounded_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::fs::read(film(folder.path(), "silent.vob", None, "-an -f vob")).unwrap();
    let read = Arc::new(AtomicU64::new(0));
    let source = Repeated {
        times: (1 << 30) / silent.len() as u64,
        part: silent,
        end: Vec::new(),
        position: 0,
        read: Arc::clone(&read),
    };
    let outcome = media::convert(Source::seekable(source), &mut io::sink(), &Settings::default(), go_on);
    let text = outcome.err().unwrap().to_string();
    assert!(text.contains("has no sound"), "{text}");
    let mebibytes = read.load(Ordering::Relaxed) >> 20;
    assert!((60..120).contains(&mebibytes), "{mebibytes} MiB");
}

#[test]
fn sound_is_found_wherever_in_a_large_file_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::fs::read(film(folder.path(), "silent.vob", None, "-an -f vob")).unwrap();
    let sounding = film(folder.path(), "sounding.vob", Some(0), "-c:a ac3 -f vob");
    assert!(convert_file(&sounding, &settings_for(&sounding)).is_ok());
    let source = Repeated {
        times: (100 << 20) / silent.len() as u64,
        part: silent,
        end: std::fs::read(sounding).unwrap(),
        position: 0,
        read: Arc::default(),
    };
    let mp3 = convert(Source::seekable(source), &Settings::default()).unwrap();
    let tones = decode(&mp3.bytes).tones(0);
    for tone in [300, 400, 500, 600] {
        assert!(tones.contains(&tone), "{tones:?}");
    }
}

/// Counts what is read of a file.
fn counted(bytes: Vec<u8>) -> (Source, Arc<AtomicU64>) {
    let read = Arc::new(AtomicU64::new(0));
    let source = Repeated {
        part: bytes,
        times: 1,
        end: Vec::new(),
        position: 0,
        read: Arc::clone(&read),
    };
    (Source::seekable(source), read)
}

#[test]
fn sound_far_behind_the_first_picture_begins_as_late_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let heavy = "-b:v 60M -minrate 60M -maxrate 60M -bufsize 10M -q:v 1 -c:a ac3 -f vob";
    let path = film(folder.path(), "heavy.vob", Some(14), heavy);
    assert!(std::fs::metadata(&path).unwrap().len() > 90 << 20);
    let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
    let seconds = decode(&mp3.bytes).seconds();
    assert!((seconds - 18.0).abs() < 0.1, "{seconds} s");
}

#[test]
fn a_large_flash_file_without_sound_is_read_once_at_the_most() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("silent.flv");
    let noise = "-f lavfi -i testsrc2=size=640x480:rate=25:duration=20 -vf noise=alls=100:allf=t -c:v flv1 -q:v 2";
    ffmpeg(noise, &path);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 80 << 20, "{}", bytes.len());
    let (source, read) = counted(bytes);
    let outcome = media::convert(source, &mut io::sink(), &Settings::default(), go_on);
    let text = outcome.err().unwrap().to_string();
    assert!(text.contains("has no sound"), "{text}");
    let mebibytes = read.load(Ordering::Relaxed) >> 20;
    assert!(mebibytes < 80, "{mebibytes} MiB");
}
