//! Each setting is heard.

use media::{Limits, Rate, Settings, Source};
use std::fs::File;
use std::time::Duration;

use crate::support::{convert_file, decode, go_on, settings_for, verdict};

/// The bitrates in kbit/s of all frames after the head, from their headers.
fn bitrates(mp3: &[u8]) -> Vec<u32> {
    const MPEG1: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const MPEG2: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let mut found = Vec::new();
    let mut at = 0;
    while at + 4 <= mp3.len() {
        let mpeg1 = mp3[at + 1] >> 3 & 3 == 3;
        let kbps = if mpeg1 { MPEG1 } else { MPEG2 }[usize::from(mp3[at + 2] >> 4)];
        let halvings = [2, 0, 1, 0][usize::from(mp3[at + 1] >> 3 & 3)];
        let rate_hz = [44_100, 48_000, 32_000][usize::from(mp3[at + 2] >> 2 & 3)] >> halvings;
        found.push(kbps);
        let bytes = kbps * if mpeg1 { 144_000 } else { 72_000 } / rate_hz;
        at += bytes as usize + usize::from(mp3[at + 2] >> 1 & 1);
    }
    assert_eq!(at, mp3.len(), "the last frame is whole");
    found.split_off(1)
}

#[test]
fn every_constant_bitrate_is_kept_in_every_frame() {
    let path = testkit::media::sample("wav-44100");
    for kbps in [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320] {
        let settings = Settings {
            rate: Some(Rate::Cbr(kbps)),
            ..settings_for(&path)
        };
        let found = bitrates(convert_file(&path, &settings).unwrap().frames());
        assert!(
            found.len() > 100 && found.iter().all(|one| *one == u32::from(kbps)),
            "{kbps}"
        );
    }
}

#[test]
fn a_bitrate_too_high_for_the_sample_rate_becomes_the_highest_it_allows() {
    for (name, highest) in [("wav-8000-mono", 64), ("mp3-22050", 160)] {
        let path = testkit::media::sample(name);
        let settings = Settings {
            rate: Some(Rate::Cbr(320)),
            ..settings_for(&path)
        };
        let found = bitrates(convert_file(&path, &settings).unwrap().frames());
        assert!(found.iter().all(|one| *one == highest), "{name}: {found:?}");
    }
}

#[test]
fn a_better_variable_rate_is_a_larger_file() {
    let path = testkit::media::sample("wav-44100");
    let sizes: Vec<u64> = [0, 2, 5, 9]
        .into_iter()
        .map(|quality| {
            let settings = Settings {
                rate: Some(Rate::Vbr(quality)),
                ..settings_for(&path)
            };
            convert_file(&path, &settings).unwrap().converted.size_bytes
        })
        .collect();
    assert!(sizes.is_sorted_by(|better, worse| better > worse), "{sizes:?}");
}

#[test]
fn channels_and_sample_rate_are_those_asked_for() {
    for name in ["wav-surround", "mp4-h264-aac", "wav-8000-mono"] {
        let path = testkit::media::sample(name);
        for (channels, rate_hz) in [(1, 44_100), (2, 44_100), (1, 16_000), (2, 8_000)] {
            let settings = Settings {
                channels: Some(channels),
                sample_rate_hz: Some(rate_hz),
                ..settings_for(&path)
            };
            let mp3 = convert_file(&path, &settings).unwrap();
            let decoded = decode(&mp3.bytes);
            assert_eq!(
                (decoded.channels, decoded.rate_hz),
                (channels.into(), rate_hz),
                "{name}"
            );
            assert!(
                (decoded.seconds() - 3.0).abs() < 0.05,
                "{name}: {} s",
                decoded.seconds()
            );
            assert_eq!(
                (mp3.converted.channels, mp3.converted.sample_rate_hz),
                (channels, rate_hz)
            );
        }
    }
}

#[test]
fn lames_effort_changes_the_bytes_and_not_the_length() {
    let path = testkit::media::sample("wav-44100");
    let with_quality = |quality| {
        let settings = Settings {
            rate: Some(Rate::Cbr(128)),
            quality: Some(quality),
            ..settings_for(&path)
        };
        convert_file(&path, &settings).unwrap()
    };
    let (careful, quick) = (with_quality(0), with_quality(9));
    assert!(careful.bytes != quick.bytes);
    assert_eq!(careful.bytes.len(), quick.bytes.len());
}

#[test]
fn every_limit_has_its_verdict() {
    let path = testkit::media::sample("mkv-h264-ac3-surround");
    let unlimited = Limits::default();
    let cases = [
        (
            "too_long",
            Limits {
                duration: Duration::from_secs(2),
                ..unlimited
            },
        ),
        (
            "too_many_streams",
            Limits {
                streams: 0,
                ..unlimited
            },
        ),
        (
            "too_many_channels",
            Limits {
                channels: 5,
                ..unlimited
            },
        ),
        (
            "output_too_large",
            Limits {
                output_bytes: 10_000,
                ..unlimited
            },
        ),
        (
            "time_limit",
            Limits {
                time: Duration::ZERO,
                ..unlimited
            },
        ),
    ];
    for (code, limits) in cases {
        let settings = Settings {
            limits,
            ..settings_for(&path)
        };
        assert_eq!(verdict(convert_file(&path, &settings)), code);
    }
}

#[test]
fn a_file_that_hides_its_length_is_stopped_when_it_has_played_too_long() {
    let path = testkit::media::sample("aac-adts");
    let settings = Settings {
        limits: Limits {
            duration: Duration::from_secs(1),
            ..Limits::default()
        },
        ..settings_for(&path)
    };
    let source = Source::stream(File::open(&path).unwrap());
    let mut mp3 = Vec::new();
    let error = media::convert(source, &mut mp3, &settings, go_on).unwrap_err();
    assert!(error.to_string().contains("1 seconds"), "{error}");
}
