//! What counts as a track, and sound of more channels than a cinema has.

use std::path::Path;

use media::{Limits, Settings};
use testkit::media::ffmpeg;

use crate::support::{convert_bytes, convert_file, decode, ffmpegs_own, settings_for, verdict};

/// Half a second in each of 300 and 400 Hz, on every channel.
const LADDER: &str = "0.4*sin(2*PI*t*(300+100*floor(2*t)))";

/// A WAV of one second with that many channels in no known order, all of the same tones.
fn wav_of_channels(channels: u16) -> Vec<u8> {
    const RATE_HZ: u32 = 48_000;
    let block_bytes = channels * 2;
    let mut samples = Vec::new();
    for number in 0..RATE_HZ {
        let seconds = f64::from(number) / f64::from(RATE_HZ);
        let frequency = 300.0 + 100.0 * (2.0 * seconds).floor();
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 26,000")]
        let sample = (26_000.0 * (std::f64::consts::TAU * frequency * seconds).sin()) as i16;
        samples.extend(sample.to_le_bytes().repeat(usize::from(channels)));
    }
    let length = u32::try_from(samples.len()).unwrap();
    let header = [
        b"RIFF" as &[u8],
        &(length + 36).to_le_bytes(),
        b"WAVEfmt ",
        &16_u32.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &channels.to_le_bytes(),
        &RATE_HZ.to_le_bytes(),
        &(RATE_HZ * u32::from(block_bytes)).to_le_bytes(),
        &block_bytes.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &length.to_le_bytes(),
    ];
    [header.concat(), samples].concat()
}

#[test]
fn sixteen_channels_are_mixed_down_as_the_ffmpeg_command_mixes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sixteen.wav");
    let all = [LADDER; 16].join("|");
    ffmpeg(&format!("-f lavfi -i aevalsrc={all}:s=48000:d=1 -c:a pcm_s16le"), &path);
    let ours = decode(&convert_file(&path, &settings_for(&path)).unwrap().bytes);
    let theirs = ffmpegs_own(&path);
    assert_eq!((ours.channels, ours.frames()), (2, 48_000));
    for channel in 0..2 {
        assert_eq!(ours.tones(channel), [300, 400], "side {channel}");
    }
    assert!(
        (ours.peak() - theirs.peak()).abs() < 0.02,
        "{} {}",
        ours.peak(),
        theirs.peak()
    );
    assert!(ours.peak() < 1.0);
}

#[test]
fn any_number_of_channels_up_to_the_limit_is_heard_on_both_sides_and_none_of_it_clips() {
    for channels in (9..16).chain([17, 22, 23, 24, 25, 33, 63, 64]) {
        let wav = wav_of_channels(channels);
        let stereo = decode(&convert_bytes(wav.clone(), &Settings::default()).unwrap().bytes);
        for side in 0..2 {
            assert_eq!(stereo.tones(side), [300, 400], "side {side} of {channels}");
        }
        assert!((0.3..1.0).contains(&stereo.peak()), "{channels}: {}", stereo.peak());
        let settings = Settings {
            channels: Some(1),
            ..Settings::default()
        };
        let mono = decode(&convert_bytes(wav, &settings).unwrap().bytes);
        assert_eq!((mono.channels, mono.tones(0)), (1, vec![300, 400]), "{channels}");
        assert!((0.3..1.0).contains(&mono.peak()), "{channels}: {}", mono.peak());
    }
    let outcome = convert_bytes(wav_of_channels(65), &Settings::default());
    assert_eq!(verdict(outcome), "too_many_channels");
}

/// An MKV with a picture, that many audio tracks, a subtitle and more attachments than tracks are allowed.
fn with_attachments(folder: &Path, tracks: usize) -> std::path::PathBuf {
    let (font, words, path) = (folder.join("f.ttf"), folder.join("w.srt"), folder.join("fonts.mkv"));
    std::fs::write(&font, [0, 1, 0, 0]).unwrap();
    std::fs::write(&words, "1\n00:00:00,000 --> 00:00:01,000\nHello\n").unwrap();
    let attach = |number| {
        format!(
            " -attach {} -metadata:s:t:{number} mimetype=application/x-truetype-font -metadata:s:t:{number} \
             filename=font{number}.ttf",
            font.display()
        )
    };
    let attachments: String = (0..70).map(attach).collect();
    ffmpeg(
        &format!(
            "-f lavfi -i testsrc2=size=64x48:rate=10:duration=1 -f lavfi -i aevalsrc={LADDER}:s=48000:d=1 -i {} \
             -map 0 {} -map 2 -c:v mpeg4 -c:a aac {attachments}",
            words.display(),
            "-map 1 ".repeat(tracks)
        ),
        &path,
    );
    path
}

#[test]
fn only_audio_counts_as_a_track_in_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = with_attachments(folder.path(), 1);
    let pcm = decode(&convert_file(&path, &settings_for(&path)).unwrap().bytes);
    assert_eq!(pcm.tones(0), [300, 400]);
    let path = with_attachments(folder.path(), 3);
    let limited = |streams| Settings {
        limits: Limits {
            streams,
            ..Limits::default()
        },
        ..settings_for(&path)
    };
    convert_file(&path, &limited(3)).unwrap();
    let outcome = convert_file(&path, &limited(2));
    let text = outcome.as_ref().err().unwrap().to_string();
    assert!(text.contains("3 audio tracks; 2 are allowed"), "{text}");
    assert_eq!(verdict(outcome), "too_many_streams");
}
