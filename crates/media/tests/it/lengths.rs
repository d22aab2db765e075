//! What a file says of its own length, or a guess at it, refuses nothing that plays shorter.

use std::fs;
use std::path::Path;
use std::time::Duration;

use media::{Limits, Settings};
use testkit::media::ffmpeg;

use crate::support::{convert_bytes, convert_file, decode, settings_for, verdict};

/// A tone of so many seconds, in the container with that extension.
fn tone(folder: &Path, name: &str, seconds: u32, options: &str) -> Vec<u8> {
    let path = folder.join(name);
    ffmpeg(
        &format!("-f lavfi -i aevalsrc=0.4*sin(600*PI*t):s=48000:d={seconds} {options}"),
        &path,
    );
    fs::read(path).unwrap()
}

fn named(name: &str) -> Settings {
    settings_for(Path::new(name))
}

fn assert_plays(bytes: Vec<u8>, settings: &Settings, seconds: f64, what: &str) {
    let mp3 = convert_bytes(bytes, settings).unwrap_or_else(|error| panic!("{what}: {error}"));
    let played = decode(&mp3.bytes).seconds();
    // Each of two parts has some padding of its own.
    assert!((played - seconds).abs() < 0.4, "{what}: {played} s");
}

#[test]
fn a_length_guessed_from_the_bitrate_of_a_silent_beginning_refuses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let silence = "-f lavfi -i anullsrc=r=48000:cl=stereo:d=10";
    let noise = "-f lavfi -i anoisesrc=r=48000:d=10:a=0.5:seed=3";
    for (extension, codec, loud) in [("aac", "aac", "-b:a 320k"), ("mp3", "libmp3lame", "-b:a 320k")] {
        let (quiet, path) = (folder.path().join("quiet"), folder.path().join("sound"));
        let (quiet, path) = (quiet.with_extension(extension), path.with_extension(extension));
        let bare = "-write_xing 0 -id3v2_version 0";
        let bare = if extension == "mp3" { bare } else { "" };
        let rate = if extension == "mp3" {
            "-b:a 8k -ar 8000"
        } else {
            "-b:a 256k"
        };
        let loud_rate = if extension == "mp3" { "-b:a 64k -ar 8000" } else { loud };
        ffmpeg(&format!("{silence} -ac 2 -c:a {codec} {rate} {bare}"), &quiet);
        ffmpeg(&format!("{noise} -ac 2 -c:a {codec} {loud_rate} {bare}"), &path);
        let bytes = [fs::read(quiet).unwrap(), fs::read(path).unwrap()].concat();
        let limits = Limits {
            duration: Duration::from_secs(30),
            ..Limits::default()
        };
        let settings = Settings {
            limits,
            ..named(&format!("sound.{extension}"))
        };
        assert_plays(bytes.clone(), &settings, 20.0, extension);
        // What is really there is judged.
        let limits = Limits {
            duration: Duration::from_secs(15),
            ..limits
        };
        let settings = Settings { limits, ..settings };
        assert_eq!(verdict(convert_bytes(bytes, &settings)), "too_long", "{extension}");
    }
}

#[test]
fn a_length_that_an_mp4_calls_unknown_is_none() {
    let folder = tempfile::tempdir().unwrap();
    for options in ["-movflags +frag_keyframe+empty_moov", "-movflags +faststart"] {
        let mut bytes = tone(folder.path(), "unknown.mp4", 3, &format!("-c:a aac {options}"));
        for kind in [b"mvhd", b"mdhd"] {
            let at = bytes.windows(4).position(|name| name == kind).unwrap();
            bytes[at + 20..at + 24].fill(0xff);
        }
        for end in [
            None,
            Some(Duration::from_secs(3600)),
            Some(Duration::from_secs(100 * 3600)),
        ] {
            let settings = Settings {
                end,
                ..named("unknown.mp4")
            };
            assert_plays(bytes.clone(), &settings, 3.0, options);
        }
    }
}

#[test]
fn a_length_that_no_file_of_that_size_can_have_is_proven_by_decoding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.mkv");
    let mkv = tone(folder.path(), "sound.mkv", 3, "-c:a aac");
    // Duration, a float of eight bytes, in milliseconds.
    let at = mkv.windows(3).position(|id| id == b"\x44\x89\x88").unwrap() + 3;
    let mut long = mkv;
    long[at..at + 8].copy_from_slice(&1e12_f64.to_be_bytes());
    assert_plays(long, &named("sound.mkv"), 3.0, "Matroska");

    let flv = tone(folder.path(), "sound.flv", 3, "-ar 44100 -c:a aac");
    let at = flv.windows(9).position(|name| name == b"duration\0").unwrap() + 9;
    let mut long = flv;
    long[at..at + 8].copy_from_slice(&1e9_f64.to_be_bytes());
    assert_plays(long, &named("sound.flv"), 3.0, "FLV");

    // One that it can have, and that is too long, refuses at once.
    let limits = Limits {
        duration: Duration::from_secs(2),
        ..Limits::default()
    };
    let settings = Settings {
        limits,
        ..named("sound.mkv")
    };
    assert_eq!(verdict(convert_file(&path, &settings)), "too_long");
}

/// Writes what an MP4 says of its own length, and of that of its streams, in units of the timescale that is there.
fn say_length(mut bytes: Vec<u8>, length: u32) -> Vec<u8> {
    for kind in [b"mvhd", b"mdhd"] {
        let places: Vec<_> = (0..bytes.len() - 4).filter(|at| &bytes[*at..*at + 4] == kind).collect();
        assert!(!places.is_empty());
        for at in places {
            // Behind the version, two dates and the timescale.
            bytes[at + 20..at + 24].copy_from_slice(&length.to_be_bytes());
        }
    }
    bytes
}

#[test]
fn a_length_that_an_mp4_does_not_know_bears_out_no_silence() {
    let folder = tempfile::tempdir().unwrap();
    // After three seconds the timestamps of the sound jump by an hour.
    let jump =
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=6 -af asetpts=PTS+gte(T\\,3)*3600/TB -c:v mpeg4 -c:a aac";
    let bytes = tone(folder.path(), "jump.mp4", 6, &format!("{jump} -use_editlist 0"));
    let hour = convert_bytes(bytes.clone(), &named("jump.mp4")).unwrap();
    assert!(
        hour.converted.duration.as_secs() > 3600,
        "where the file says that it is as long"
    );
    assert_plays(
        say_length(bytes, u32::MAX),
        &named("jump.mp4"),
        6.0,
        "of unknown length",
    );
}
