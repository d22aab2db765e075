//! Sound that becomes another kind of sound on the way.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::{Anew, ConvertError, Settings, Source};
use testkit::media::ffmpeg;

use crate::support::{Mp3, convert, convert_file, decode, settings_for};

const MONO: &str = "-f lavfi -i sine=500:sample_rate=48000:duration=2 -af volume=4 -ac 1";
const STEREO: &str = "-f lavfi -i aevalsrc=0.4*sin(880*PI*t)|0.4*sin(3000*PI*t):s=48000:d=3";

/// One file after the other, as recordings of broadcasts are, and as files are joined by many.
fn joined(folder: &Path, extension: &str, parts: &[&str]) -> PathBuf {
    let mut bytes = Vec::new();
    for (number, arguments) in parts.iter().enumerate() {
        let path = folder.join(format!("part-{number}.{extension}"));
        ffmpeg(arguments, &path);
        bytes.extend(fs::read(path).unwrap());
    }
    let path = folder.join(format!("joined.{extension}"));
    fs::write(&path, bytes).unwrap();
    path
}

/// Converts as every caller does: anew, for as long as the engine asks for it.
fn converted(path: &Path, mut settings: Settings) -> Mp3 {
    loop {
        match convert_file(path, &settings) {
            Err(ConvertError::BeginAnew(why)) => settings = settings.anew(why).unwrap(),
            outcome => return outcome.unwrap(),
        }
    }
}

#[test]
fn mono_first_and_stereo_later_is_stereo() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, codec) in [
        ("ts", "mp2"),
        ("ts", "ac3"),
        ("aac", "aac"),
        ("mp3", "libmp3lame"),
        ("mpg", "mp2"),
    ] {
        let [mono, stereo] = [MONO, STEREO].map(|part| format!("{part} -c:a {codec}"));
        let path = joined(folder.path(), extension, &[&mono, &stereo]);
        let mp3 = converted(&path, settings_for(&path));
        let name = format!("{codec} in {extension}");
        assert_eq!(mp3.converted.channels, 2, "{name}");
        let pcm = decode(&mp3.bytes);
        assert!((pcm.seconds() - 5.0).abs() < 0.15, "{name}: {} s", pcm.seconds());
        for (channel, own, other) in [(0, 440, 1500), (1, 1500, 440)] {
            assert!(pcm.tone(channel, 200..1800, 500) > 0.2, "{name}");
            let levels = [own, other].map(|hz| pcm.tone(channel, 2500..4500, hz));
            assert!(levels[0] > 0.3 && levels[1] < 0.05, "{name}: {levels:?}");
        }
    }
}

#[test]
fn a_low_sample_rate_first_and_a_high_one_later_is_the_high_one() {
    let folder = tempfile::tempdir().unwrap();
    let low = "-f lavfi -i sine=500:sample_rate=22050:duration=2 -ac 1 -c:a aac";
    let high = "-f lavfi -i sine=15000:sample_rate=48000:duration=3 -af volume=4 -ac 1 -c:a aac";
    let path = joined(folder.path(), "aac", &[low, high]);
    let mp3 = converted(&path, settings_for(&path));
    let pcm = decode(&mp3.bytes);
    assert_eq!((pcm.rate_hz, pcm.channels), (48_000, 1));
    let level = pcm.tone(0, 2500..4500, 15_000);
    assert!(level > 0.3, "{level}");
    // And both at once.
    let path = joined(folder.path(), "aac", &[low, &format!("{STEREO} -c:a aac")]);
    let mp3 = converted(&path, settings_for(&path));
    assert_eq!((mp3.converted.sample_rate_hz, mp3.converted.channels), (48_000, 2));
}

#[test]
fn surround_after_a_stereo_trailer_is_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let surround = "-f lavfi -i aevalsrc=0|0|0.5*sin(1800*PI*t)|0|0.3*sin(2600*PI*t)|0:c=5.1:s=48000:d=3 -c:a ac3";
    let path = joined(folder.path(), "ts", &[&format!("{STEREO} -c:a ac3"), surround]);
    let pcm = decode(&converted(&path, settings_for(&path)).bytes);
    assert_eq!(pcm.channels, 2);
    assert!((pcm.seconds() - 6.0).abs() < 0.15, "{} s", pcm.seconds());
    assert!(pcm.tone(0, 500..2500, 440) > 0.3);
    let centre = [0, 1].map(|channel| pcm.tone(channel, 3500..5500, 900));
    assert!(centre.iter().all(|level| (level - 0.354).abs() < 0.03), "{centre:?}");
    assert!(pcm.tone(0, 3500..5500, 1300) > 0.18 && pcm.tone(1, 3500..5500, 1300) < 0.02);
}

/// What is not asked for, not in the part that is asked for, or too short to be more than damage, begins nothing anew.
#[test]
fn mono_stays_mono_where_no_stereo_goes_into_the_mp3() {
    let folder = tempfile::tempdir().unwrap();
    let path = joined(
        folder.path(),
        "ts",
        &[MONO, STEREO]
            .map(|part| format!("{part} -c:a mp2"))
            .each_ref()
            .map(String::as_str),
    );
    let mono = Settings {
        channels: Some(1),
        ..settings_for(&path)
    };
    let before = Settings {
        end: Some(Duration::from_millis(1900)),
        ..settings_for(&path)
    };
    for settings in [mono, before] {
        assert_eq!(convert_file(&path, &settings).unwrap().converted.channels, 1);
    }
    let short = "-f lavfi -i sine=duration=0.2:sample_rate=48000 -ac 2 -c:a mp2";
    let path = joined(folder.path(), "ts", &[&format!("{MONO} -c:a mp2"), short]);
    assert_eq!(convert_file(&path, &settings_for(&path)).unwrap().converted.channels, 1);
}

#[test]
fn of_a_source_that_cannot_be_read_again_the_stereo_is_mixed_down() {
    let folder = tempfile::tempdir().unwrap();
    let [mono, stereo] = [MONO, STEREO].map(|part| format!("{part} -c:a mp2"));
    let path = joined(folder.path(), "ts", &[&mono, &stereo]);
    let settings = settings_for(&path);
    let again = convert_file(&path, &settings);
    let why = Anew::Wider {
        channels: Some(2),
        sample_rate_hz: None,
    };
    assert!(matches!(again, Err(ConvertError::BeginAnew(found)) if found == why));
    let mp3 = convert(Source::stream(File::open(&path).unwrap()), &settings).unwrap();
    let pcm = decode(&mp3.bytes);
    assert_eq!(pcm.channels, 1);
    for hz in [440, 1500] {
        assert!(pcm.tone(0, 2500..4500, hz) > 0.2, "{hz}");
    }
}
