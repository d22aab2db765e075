//! Which track, and from where to where.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::{ConvertError, Rate, Settings, Source, Track};
use testkit::media::ffmpeg;

use crate::support::{Mp3, Pcm, convert, convert_bytes, convert_file, decode, settings_for, verdict};

/// Three tracks: mono in German, mono in English, and stereo in no language.
fn three_tracks(folder: &Path, extension: &str) -> PathBuf {
    let path = folder.join("tracks").with_extension(extension);
    ffmpeg(
        "-f lavfi -i sine=300:duration=2 -f lavfi -i sine=600:duration=2 -f lavfi -i aevalsrc=0.1*sin(2400*PI*t)|0:d=2 \
         -map 0 -map 1 -map 2 -c:a aac -metadata:s:a:0 language=ger -metadata:s:a:1 language=eng",
        &path,
    );
    path
}

fn of_track(path: &Path, track: Track) -> Result<Mp3, ConvertError> {
    let settings = Settings {
        track: Some(track),
        ..settings_for(path)
    };
    convert_file(path, &settings)
}

/// The frequency among these that is loudest.
fn loudest(pcm: &Pcm, frequencies: [u16; 3]) -> u16 {
    let left: Vec<f32> = pcm.samples.iter().copied().step_by(pcm.channels).collect();
    let loudness = |frequency: u16| {
        let step = f64::from(frequency) * std::f64::consts::TAU / f64::from(pcm.rate_hz);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (number, sample) in (0_u32..).zip(&left) {
            let (sine, cosine) = (step * f64::from(number)).sin_cos();
            real += f64::from(*sample) * cosine;
            imaginary += f64::from(*sample) * sine;
        }
        real.hypot(imaginary)
    };
    let found = frequencies
        .into_iter()
        .max_by(|one, other| loudness(*one).total_cmp(&loudness(*other)));
    found.unwrap()
}

#[test]
fn a_track_is_taken_by_its_number_or_its_language() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["mp4", "mkv"] {
        let path = three_tracks(folder.path(), extension);
        let language = |code: &str| Track::Language(code.to_owned());
        for (track, expected) in [
            (Track::Index(0), 300),
            (Track::Index(1), 600),
            (Track::Index(2), 1200),
            (language("de"), 300),
            (language("deu"), 300),
            (language("ger"), 300),
            (language("EN"), 600),
        ] {
            let pcm = decode(&of_track(&path, track.clone()).unwrap().bytes);
            assert_eq!(loudest(&pcm, [300, 600, 1200]), expected, "{track:?} of {extension}");
        }
    }
}

#[test]
fn a_track_that_is_not_there_is_no_audio_and_the_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = three_tracks(folder.path(), "mkv");
    for track in [Track::Index(3), Track::Language("fr".to_owned())] {
        let outcome = of_track(&path, track);
        let text = outcome.as_ref().err().unwrap().to_string();
        assert!(text.contains("0 (deu), 1 (eng), 2."), "{text}");
        assert_eq!(verdict(outcome), "no_audio");
    }
    let silent = testkit::media::without_audio();
    let text = of_track(&silent, Track::Index(0)).err().unwrap().to_string();
    assert!(text.contains("has no sound"), "{text}");
}

/// A WAV of 10 seconds of noise.
fn noise() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noise.wav");
    ffmpeg(
        "-f lavfi -i anoisesrc=r=44100:a=0.3:d=10:seed=5 -c:a pcm_s16le -fflags +bitexact",
        &path,
    );
    fs::read(path).unwrap()
}

/// The same WAV with only those samples.
fn wav_part(wav: &[u8], from: usize, until: usize) -> Vec<u8> {
    const HEADER_BYTES: usize = 44;
    let mut part = wav[..HEADER_BYTES].to_vec();
    let data = &wav[HEADER_BYTES + 2 * from..(HEADER_BYTES + 2 * until).min(wav.len())];
    let length = u32::try_from(data.len()).unwrap();
    part[4..8].copy_from_slice(&(length + 36).to_le_bytes());
    part[40..44].copy_from_slice(&length.to_le_bytes());
    part.extend_from_slice(data);
    part
}

fn part(start_ms: Option<u64>, end_ms: Option<u64>) -> Settings {
    Settings {
        start: start_ms.map(Duration::from_millis),
        end: end_ms.map(Duration::from_millis),
        ..Settings::default()
    }
}

#[test]
fn a_part_is_cut_to_the_sample() {
    let wav = noise();
    for (start_ms, end_ms, from, until) in [
        (Some(1500), Some(3250), 66_150, 143_325),
        (None, Some(1), 0, 44),
        (Some(8000), None, 352_800, 441_000),
        (Some(6123), Some(7456), 270_024, 328_810),
        (Some(9000), Some(60_000), 396_900, 441_000),
    ] {
        let expected = convert_bytes(wav_part(&wav, from, until), &Settings::default()).unwrap();
        let settings = part(start_ms, end_ms);
        let seeking = convert_bytes(wav.clone(), &settings).unwrap();
        assert!(seeking.bytes == expected.bytes, "{start_ms:?} to {end_ms:?}");
        let streaming = convert(Source::stream(std::io::Cursor::new(wav.clone())), &settings).unwrap();
        assert!(
            streaming.bytes == expected.bytes,
            "{start_ms:?} to {end_ms:?}, streamed"
        );
        assert_eq!(seeking.converted.samples, (until - from) as u64);
    }
}

#[test]
fn a_part_of_a_video_is_found_by_its_index_and_is_the_same_sound() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, codec) in [
        ("mp4", "aac"),
        ("mov", "pcm_s16le"),
        ("mkv", "libopus"),
        ("avi", "libmp3lame"),
    ] {
        let path = folder.path().join("chirp").with_extension(extension);
        ffmpeg(
            &format!(
                "-f lavfi -i testsrc2=size=320x240:rate=25:duration=12 \
                 -f lavfi -i aevalsrc=0.5*sin(2*PI*(300*t+200*t*t)):s=48000:d=12 -c:v mjpeg -q:v 2 -pix_fmt yuvj420p \
                 -c:a {codec} -b:a 192k"
            ),
            &path,
        );
        let best = Settings {
            rate: Some(Rate::Cbr(320)),
            ..settings_for(&path)
        };
        let whole = decode(&convert_file(&path, &best).unwrap().bytes);
        let settings = Settings {
            rate: Some(Rate::Cbr(320)),
            ..part(Some(9500), Some(11_250))
        };
        let mp3 = convert_file(&path, &settings).unwrap();
        let cut = decode(&mp3.bytes);
        assert_eq!((mp3.converted.samples, cut.frames()), (84_000, 84_000), "{extension}");
        let expected = &whole.samples[456_000..540_000];
        // One sample off, this chirp of 4 to 5 kHz is off by half its loudness.
        let inside = 2400..81_600;
        let worst = cut.samples[inside.clone()].iter().zip(&expected[inside]);
        let worst = worst.fold(0.0_f32, |worst, (ours, theirs)| worst.max((ours - theirs).abs()));
        assert!(worst < 0.1, "{extension}: {worst}");
        let read = mp3.converted.bytes_read;
        let total = mp3.converted.source_bytes.unwrap();
        if ["mp4", "mov"].contains(&extension) {
            assert!(read < total / 4, "{extension}: {read} of {total}");
        }
    }
}

#[test]
fn a_start_behind_the_end_says_so() {
    let wav = noise();
    let folder = tempfile::tempdir().unwrap();
    let path = three_tracks(folder.path(), "mp4");
    for start_ms in [10_000, 10_001, 3_600_000, u64::MAX] {
        for bytes in [wav.clone(), fs::read(&path).unwrap()] {
            let outcome = convert_bytes(bytes, &part(Some(start_ms), None));
            let text = outcome.as_ref().err().unwrap().to_string();
            assert!(text.contains("ends before the start"), "{start_ms}: {text}");
            assert_eq!(verdict(outcome), "no_audio");
        }
    }
}

#[test]
fn progress_and_limits_count_the_part_alone() {
    let wav = noise();
    let mut settings = part(Some(7000), Some(9000));
    settings.limits.duration = Duration::from_secs(2);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = std::sync::Arc::clone(&seen);
    let source = Source::seekable(std::io::Cursor::new(wav));
    media::convert(source, &mut std::io::sink(), &settings, move |progress| {
        kept.lock().unwrap().push(progress);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let seen = seen.lock().unwrap();
    let last = seen.last().unwrap();
    assert_eq!(last.duration, Some(Duration::from_secs(2)));
    assert!(last.share() > 0.9, "{last:?}");
}

#[test]
fn a_part_of_every_kind_of_file_has_the_length_asked_for() {
    for sample in testkit::media::samples() {
        let settings = Settings {
            start: Some(Duration::from_millis(500)),
            end: Some(Duration::from_millis(1750)),
            ..settings_for(&sample.path)
        };
        let mp3 = convert(Source::seekable(File::open(&sample.path).unwrap()), &settings).unwrap();
        let expected = u64::from(mp3.converted.sample_rate_hz) * 5 / 4;
        assert!(mp3.converted.samples.abs_diff(expected) <= 1, "{}", sample.name);
    }
}
