//! Mixing down: as loud as the `ffmpeg` command mixes, and never beyond full scale.

use std::path::{Path, PathBuf};

use media::{Rate, Settings};
use testkit::media::ffmpeg;

use crate::support::{Pcm, convert_file, decode, ffmpegs_own, settings_for};

/// What MP3 adds to a peak at this rate.
const CODING: f32 = 0.04;

fn made(folder: &Path, name: &str, arguments: &str) -> PathBuf {
    let path = folder.join(name);
    ffmpeg(arguments, &path);
    path
}

fn converted(path: &Path, channels: u8) -> Pcm {
    let settings = Settings {
        channels: Some(channels),
        rate: Some(Rate::Cbr(320)),
        ..settings_for(path)
    };
    decode(&convert_file(path, &settings).unwrap().bytes)
}

/// A 5.1 of six tones, all of that loudness but the deepest.
fn surround(loudness: f64) -> String {
    let tones = [440, 660, 300, 50, 350, 250].map(|hz| format!("{loudness}*sin({hz}*2*PI*t)"));
    format!("-f lavfi -i aevalsrc={}:c=5.1:s=48000:d=3", tones.join("|"))
}

#[test]
fn loud_stereo_becomes_mono_as_loud_as_lossless_sound_does() {
    let folder = tempfile::tempdir().unwrap();
    let tone = "0.9*sin(2*PI*440*t)";
    let input = format!("-f lavfi -i aevalsrc={tone}|{tone}:s=48000:d=3");
    for (name, codec) in [
        ("loud.m4a", "aac -b:a 256k"),
        ("loud.flac", "flac"),
        ("loud.ogg", "libvorbis -q:a 8"),
        ("loud.wav", "pcm_f32le"),
    ] {
        let path = made(folder.path(), name, &format!("{input} -c:a {codec}"));
        let mono = converted(&path, 1);
        assert_eq!(mono.channels, 1);
        assert!((mono.loudest() - 0.9).abs() < CODING, "{name}: {}", mono.loudest());
        let level = mono.tone(0, 1000..2000, 440);
        assert!((level - 0.9).abs() < 0.02, "{name}: {level}");
    }
}

#[test]
fn loud_surround_does_not_clip_and_each_tone_keeps_its_share() {
    let folder = tempfile::tempdir().unwrap();
    let encoders = [
        ("loud.ac3", "ac3 -b:a 640k"),
        ("loud.m4a", "aac -b:a 640k"),
        ("loud.wav", "pcm_f32le"),
    ];
    for (name, codec) in encoders {
        let path = made(folder.path(), name, &format!("{} -c:a {codec}", surround(0.7)));
        // As loud as the decoder of this test can tell.
        assert!(ffmpegs_own(&path).loudest() >= 1.0, "{name}");
        for channels in [1, 2] {
            let ours = converted(&path, channels);
            assert!(ours.loudest() < 1.0, "{name}: {}", ours.loudest());
            assert!(ours.loudest() > 0.8, "{name}: {}", ours.loudest());
        }
        let ours = converted(&path, 2);
        let [left, centre, behind] = [440, 300, 350].map(|hz| ours.tone(0, 1000..2000, hz));
        for quieter in [centre, behind] {
            let share = quieter / left * std::f64::consts::SQRT_2;
            assert!((share - 1.0).abs() < 0.02, "{name}: {left}, {quieter}");
        }
    }
}

#[test]
fn what_does_not_clip_is_mixed_as_loud_as_ffmpeg_mixes_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [
        ("quiet.ac3", "ac3"),
        ("quiet.m4a", "aac -b:a 320k"),
        ("quiet.flac", "flac"),
    ] {
        let path = made(folder.path(), name, &format!("{} -c:a {codec}", surround(0.2)));
        let (ours, theirs) = (converted(&path, 2), ffmpegs_own(&path));
        assert!(theirs.loudest() < 1.0);
        let louder = ours.decibels() - theirs.decibels();
        assert!(louder.abs() < 0.1, "{name}: {louder} dB");
    }
}

#[test]
fn only_around_a_loud_place_is_the_mix_turned_down() {
    let folder = tempfile::tempdir().unwrap();
    let loudness = "(0.25+0.65*between(t\\,4\\,4.2))";
    let tone = |hz: u16| format!("{loudness}*sin({hz}*2*PI*t)");
    let input = format!("-f lavfi -i aevalsrc={}|{}:s=48000:d=12", tone(440), tone(440));
    let path = made(folder.path(), "once.wav", &format!("{input} -c:a pcm_f32le"));
    let mono = converted(&path, 1);
    assert!(mono.loudest() < 0.9 + CODING, "{}", mono.loudest());
    // The sum of both sides, at half the power of each.
    let level = 0.25 * std::f64::consts::SQRT_2;
    for (from, until, most_decibels) in [(0, 3900, 0.05), (8000, 9000, 1.0), (11_000, 12_000, 0.3)] {
        let lost = 20.0 * (mono.tone(0, from..until, 440) / level).log10();
        assert!(lost.abs() < most_decibels, "{from} ms: {lost} dB");
    }
}
