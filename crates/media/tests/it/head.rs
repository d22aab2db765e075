//! The head frame: what players learn from it is exact.

use std::fs;
use std::path::Path;

use media::{Rate, Settings};

use crate::support::{Mp3, convert_bytes, convert_file, decode, frames_by_ffmpeg};

/// A 16-bit WAV of a tone with exactly that many samples per channel.
fn wav(rate_hz: u32, channels: u16, frames: u32) -> Vec<u8> {
    let data_bytes = frames * u32::from(channels) * 2;
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + data_bytes).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((rate_hz * u32::from(channels) * 2).to_le_bytes());
    bytes.extend((channels * 2).to_le_bytes());
    bytes.extend(16_u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(data_bytes.to_le_bytes());
    for frame in 0..frames {
        // A triangle of about 200 Hz.
        let phase = i32::try_from(frame * 200 % rate_hz * 40_000 / rate_hz).unwrap();
        let sample = i16::try_from((phase - 20_000).abs() - 10_000).unwrap();
        for _ in 0..channels {
            bytes.extend(sample.to_le_bytes());
        }
    }
    bytes
}

fn with_rate(rate: Rate) -> Settings {
    Settings {
        rate: Some(rate),
        ..Settings::default()
    }
}

fn head_number(mp3: &Mp3, offset_in_tag: usize) -> u64 {
    let tag = mp3
        .frames()
        .windows(4)
        .position(|word| word == b"Xing" || word == b"Info")
        .unwrap();
    let field = &mp3.frames()[tag + offset_in_tag..][..4];
    u64::from(u32::from_be_bytes(field.try_into().unwrap()))
}

#[test]
fn decoding_gives_back_exactly_the_samples_that_went_in() {
    for rate in [Rate::Vbr(2), Rate::Vbr(9), Rate::Cbr(32), Rate::Cbr(56), Rate::Cbr(320)] {
        for (rate_hz, channels, frames) in [
            (48_000, 2, 100_000),
            (44_100, 2, 44_100),
            (44_100, 1, 1152 * 40),
            (32_000, 1, 5_000),
            (22_050, 2, 22_051),
            (16_000, 1, 16_000),
            (8_000, 1, 12_345),
            (8_000, 2, 8_000),
        ] {
            let mp3 = convert_bytes(wav(rate_hz, channels, frames), &with_rate(rate)).unwrap();
            let decoded = decode(&mp3.bytes);
            let case = format!("{rate:?} {rate_hz} Hz {channels} channels");
            assert_eq!(decoded.frames(), u64::from(frames), "{case}");
            assert_eq!(mp3.converted.samples, u64::from(frames), "{case}");
            assert_eq!(
                frames_by_ffmpeg(&mp3.bytes, channels.into()),
                u64::from(frames),
                "{case}"
            );
        }
    }
}

#[test]
fn the_shortest_sounds_keep_their_length() {
    for frames in [1, 2, 46, 575, 576, 577, 1151, 1152, 1153, 2304] {
        let mp3 = convert_bytes(wav(48_000, 2, frames), &Settings::default()).unwrap();
        assert_eq!(decode(&mp3.bytes).frames(), u64::from(frames));
    }
}

#[test]
fn the_head_tells_frames_and_bytes_as_they_are() {
    for rate in [Rate::Vbr(4), Rate::Cbr(40), Rate::Cbr(128)] {
        let mp3 = convert_bytes(wav(48_000, 2, 480_000), &with_rate(rate)).unwrap();
        // One frame more than the samples need for the delay, and one for what is behind them.
        let frames = head_number(&mp3, 8);
        assert!((418..=419).contains(&frames), "{frames}");
        assert_eq!(head_number(&mp3, 12), mp3.frames().len() as u64);
        assert!(mp3.converted.head.len() <= 2048);
    }
}

#[test]
fn the_decoded_sound_is_where_it_was_in_the_source() {
    let source = wav(48_000, 1, 48_000);
    let mp3 = convert_bytes(source.clone(), &with_rate(Rate::Cbr(320))).unwrap();
    let decoded = decode(&mp3.bytes).samples;
    let original: Vec<f32> = source[44..]
        .chunks(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0)
        .collect();
    let error_at = |shift: usize| -> f32 {
        let shifted = original[1000..47_000].iter().zip(&decoded[1000 + shift - 5..]);
        shifted.map(|(before, after)| (before - after).powi(2)).sum()
    };
    let best = (0..=10).min_by(|a, b| error_at(*a).total_cmp(&error_at(*b)));
    assert_eq!(best, Some(5), "the sound has moved");
    assert!(error_at(5) / 46_000.0 < 1e-4);
}

#[test]
fn seek_places_follow_the_bytes() {
    // Silence, then noise: at V2 the first half is few bytes.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uneven.wav");
    testkit::media::ffmpeg(
        "-f lavfi -i anullsrc=r=48000:cl=stereo:d=30 -f lavfi -i anoisesrc=r=48000:a=0.3:d=30:seed=1 \
         -filter_complex [0][1]concat=n=2:v=0:a=1",
        &path,
    );
    let mp3 = convert_file(&path, &Settings::default()).unwrap();
    let tag = mp3.frames().windows(4).position(|word| word == b"Xing").unwrap();
    let places = &mp3.frames()[tag + 16..][..100];
    assert!(places.is_sorted());
    assert!(places[49] < 64, "half of the time is at {}/256", places[49]);
    assert!(places[52] > places[49] && places[99] > 250);
}

#[test]
fn other_programs_accept_the_file() {
    let mp3 = convert_bytes(wav(44_100, 2, 441_000), &Settings::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.mp3");
    fs::write(&path, &mp3.bytes).unwrap();
    let probe = |path: &Path| {
        std::process::Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", "stream=codec_name:stream_tags=encoder"])
            .args(["-of", "default=noprint_wrappers=1"])
            .arg(path)
            .output()
            .unwrap()
    };
    let output = probe(&path);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("codec_name=mp3") && text.contains("encoder=LAME3.100"),
        "{text}"
    );
}
