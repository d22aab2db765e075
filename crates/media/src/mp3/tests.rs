//! Segments joined are as good as one encoder's work: in many short segments, so that there are many seams.

use std::f64::consts::TAU;
use std::fs;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::frame::Header;
use crate::schedule::CHUNK_FRAMES;
use crate::settings::Rate;

/// Long enough that an encode with a schedule like this is one segment.
const SEQUENTIAL: u64 = 1000;

/// Short enough that a click stands out.
const WINDOW_SAMPLES: usize = 96;

const KINDS: [(u32, bool, Rate); 9] = [
    (48_000, false, Rate::Cbr(128)),
    (48_000, false, Rate::Vbr(2)),
    (44_100, false, Rate::Cbr(128)),
    (44_100, true, Rate::Vbr(5)),
    (44_100, false, Rate::Cbr(320)),
    (32_000, true, Rate::Cbr(64)),
    (22_050, false, Rate::Cbr(64)),
    (16_000, false, Rate::Vbr(4)),
    (8_000, true, Rate::Cbr(16)),
];

fn format(rate_hz: u32, mono: bool, rate: Rate) -> Mp3Format {
    Mp3Format {
        rate,
        quality: None,
        mono,
        sample_rate_hz: rate_hz,
    }
}

fn chunk_samples(format: &Mp3Format) -> usize {
    usize::try_from(format.frame_samples()).unwrap() * CHUNK_FRAMES
}

#[expect(clippy::cast_possible_truncation, reason = "samples are rounded to single precision")]
fn sounding(format: &Mp3Format, count: usize, sound: &dyn Fn(f64) -> f64) -> Vec<f32> {
    let seconds = |at: usize| at as f64 / f64::from(format.sample_rate_hz);
    (0..count).map(|at| sound(seconds(at)) as f32).collect()
}

/// Bursts of noise over a soft chord, which keep the bit reservoir moving.
fn uneven(seconds: f64) -> f64 {
    let noise = (seconds * 12_345.678).sin() * 43_758.545;
    let burst = if seconds % 0.331 < 0.05 {
        0.6 * (noise - noise.floor() - 0.5)
    } else {
        0.0
    };
    burst + 0.1 * (TAU * 440.0 * seconds).sin() + 0.1 * (TAU * 659.3 * seconds).sin()
}

/// The frames of an MP3, head first.
fn frames(mut mp3: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some(header) = Header::at_start(mp3) {
        let (frame, rest) = mp3.split_at(header.frame_bytes());
        frames.push(frame);
        mp3 = rest;
    }
    assert!(mp3.is_empty());
    frames
}

/// The head frame from its tag on.
fn tag(head: &[u8]) -> &[u8] {
    let at = head.windows(4).position(|word| word == b"Xing" || word == b"Info");
    &head[at.unwrap()..]
}

/// Encodes in segments of that many chunks, with that many threads.
fn encode(format: Mp3Format, chunks: u64, threads: usize, samples: &[f32]) -> (Vec<u8>, Converted) {
    let settings = Settings {
        threads: NonZeroUsize::new(threads),
        ..Settings::default()
    };
    let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::MAX);
    let mut bytes = Vec::new();
    let mut mp3 = Mp3::with_schedule(format, Schedule::fixed(chunks), &[], &settings, &watch, &mut bytes).unwrap();
    // In blocks that end nowhere in particular.
    for left in samples.chunks(4999) {
        let right: Vec<f32> = left.iter().map(|sample| 0.7 * sample).collect();
        let right = (!format.mono).then_some(right.as_slice());
        mp3.push(Block { left, right }).unwrap();
    }
    let converted = mp3.finish().unwrap();
    bytes[..converted.head.len()].copy_from_slice(&converted.head);
    (bytes, converted)
}

/// The left channel as libavcodec decodes it.
fn decoded_by_libavcodec(mp3: &[u8], format: &Mp3Format) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joined.mp3");
    fs::write(&path, mp3).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(&path)
        .args(["-f", "f32le", "-"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let samples = output
        .stdout
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    samples.step_by(if format.mono { 1 } else { 2 }).collect()
}

/// The left channel as Symphonia decodes it.
fn decoded_by_symphonia(mp3: &[u8], _: &Mp3Format) -> Vec<f32> {
    use symphonia::core::{audio::SampleBuffer, formats::FormatOptions, io::MediaSourceStream};
    let stream = MediaSourceStream::new(Box::new(std::io::Cursor::new(mp3.to_vec())), Default::default());
    let options = FormatOptions {
        enable_gapless: true,
        ..Default::default()
    };
    let probe = symphonia::default::get_probe();
    let mut probed = probe
        .format(&Default::default(), stream, &options, &Default::default())
        .unwrap();
    let parameters = probed.format.default_track().unwrap().codec_params.clone();
    let mut decoder = symphonia::default::get_codecs()
        .make(&parameters, &Default::default())
        .unwrap();
    let channels = parameters.channels.unwrap().count();
    let mut left = Vec::new();
    while let Ok(packet) = probed.format.next_packet() {
        let decoded = decoder.decode(&packet).unwrap();
        let mut buffer = SampleBuffer::<f32>::new(decoded.capacity() as u64, *decoded.spec());
        buffer.copy_interleaved_ref(decoded);
        left.extend(buffer.samples().iter().step_by(channels));
    }
    left
}

/// The energy of the error in each window.
fn errors(original: &[f32], decoded: &[f32]) -> Vec<f64> {
    let windows = original.chunks(WINDOW_SAMPLES).zip(decoded.chunks(WINDOW_SAMPLES));
    let energy = |(before, after): (&[f32], &[f32])| {
        let pairs = before.iter().zip(after);
        pairs
            .map(|(before, after)| f64::from(before - after).powi(2))
            .sum::<f64>()
    };
    windows.map(energy).collect()
}

fn highest(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(0.0, f64::max)
}

/// Tests that near seams the joined stream is no worse than the sequential one is thereabouts.
fn assert_seamless(sound: impl Fn(f64) -> f64) {
    const SEAMS: usize = 5;
    for (rate_hz, mono, rate) in KINDS {
        let format = format(rate_hz, mono, rate);
        let chunk = chunk_samples(&format);
        let samples = sounding(&format, chunk * (SEAMS + 1) + 12_345, &sound);
        let (sequential, _) = encode(format, SEQUENTIAL, 1, &samples);
        let (joined, _) = encode(format, 1, 2, &samples);
        for decode in [decoded_by_libavcodec, decoded_by_symphonia] {
            let before = errors(&samples, &decode(&sequential, &format));
            let after = errors(&samples, &decode(&joined, &format));
            assert_eq!(before.len(), after.len());
            for seam in (1..=SEAMS).map(|number| number * chunk / WINDOW_SAMPLES) {
                let around = |frames: usize| {
                    let windows = 1152 * frames / WINDOW_SAMPLES;
                    seam - windows..seam + windows
                };
                let (worst, allowed) = (highest(&after[around(3)]), highest(&before[around(20)]));
                assert!(worst <= 1.02 * allowed, "{format:?}: {worst:e} instead of {allowed:e}");
            }
        }
    }
}

#[test]
fn a_pure_tone_has_no_click_at_any_seam() {
    assert_seamless(|seconds| 0.5 * (TAU * 997.0 * seconds).sin());
}

#[test]
fn a_sweep_has_no_click_at_any_seam() {
    // 20 Hz to 3 kHz and back, every 8 seconds.
    assert_seamless(|seconds| {
        let phase = TAU * (1500.0 * seconds + 1480.0 * 8.0 / TAU * (TAU * seconds / 8.0).sin());
        0.5 * phase.sin()
    });
}

#[test]
fn the_bytes_are_the_same_for_any_number_of_threads() {
    for (rate_hz, mono, rate) in KINDS {
        let format = format(rate_hz, mono, rate);
        let samples = sounding(&format, chunk_samples(&format) * 6 + 1, &uneven);
        let (expected, _) = encode(format, 1, 1, &samples);
        for threads in [2, 3, 4, 8] {
            let (bytes, _) = encode(format, 1, threads, &samples);
            assert!(bytes == expected, "{threads} threads, {format:?}");
        }
    }
}

#[test]
fn frames_length_delay_and_padding_are_those_of_a_sequential_encode() {
    for (rate_hz, mono, rate) in KINDS {
        let format = format(rate_hz, mono, rate);
        let chunk = chunk_samples(&format);
        let frame = chunk / CHUNK_FRAMES;
        for count in [
            chunk * 3,
            chunk * 3 + 1,
            chunk * 4 - 1,
            chunk * 3 + frame,
            chunk * 3 + frame - 1,
        ] {
            let samples = sounding(&format, count, &uneven);
            let (before, sequential) = encode(format, SEQUENTIAL, 1, &samples);
            let (after, joined) = encode(format, 1, 2, &samples);
            let case = format!("{count} samples, {format:?}");
            assert_eq!(
                (joined.samples, joined.duration),
                (count as u64, sequential.duration),
                "{case}"
            );
            let (before, after) = (frames(&before), frames(&after));
            assert_eq!(before.len(), after.len(), "{case}");
            // Everything up to the seek places but the number of bytes; delay and padding.
            let (before_tag, after_tag) = (tag(before[0]), tag(after[0]));
            assert_eq!(before_tag[..12], after_tag[..12], "{case}");
            assert_eq!(before_tag[141..144], after_tag[141..144], "{case}");
            if let Rate::Cbr(_) = rate {
                let lengths = |frames: &[&[u8]]| frames.iter().map(|frame| frame.len()).collect::<Vec<_>>();
                assert_eq!(lengths(&before), lengths(&after), "{case}");
                assert_eq!(before_tag[..120], after_tag[..120], "{case}");
            }
        }
    }
}

#[test]
fn one_segment_is_the_stream_of_one_encoder_untouched() {
    let format = format(44_100, false, Rate::Cbr(128));
    let samples = sounding(&format, 100_000, &uneven);
    let mut encoder = crate::encoder::Encoder::new(&format).unwrap();
    let mut expected = Vec::new();
    let right: Vec<f32> = samples.iter().map(|sample| 0.7 * sample).collect();
    let block = Block {
        left: &samples,
        right: Some(&right),
    };
    encoder.encode(block, &mut expected).unwrap();
    encoder.finish(&mut expected).unwrap();
    let (bytes, converted) = encode(format, SEQUENTIAL, 3, &samples);
    assert!(bytes[converted.head.len()..] == expected);
}

#[test]
fn a_cancel_ends_the_threads_before_the_rest_is_encoded() {
    let format = format(48_000, false, Rate::Cbr(128));
    let samples = sounding(&format, chunk_samples(&format) * 4, &uneven);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let watch = Watch::new(
        move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Break(())
        },
        Duration::MAX,
    );
    let mut bytes = Vec::new();
    let settings = Settings::default();
    let mut mp3 = Mp3::with_schedule(format, Schedule::fixed(2), &[], &settings, &watch, &mut bytes).unwrap();
    let block = Block {
        left: &samples,
        right: Some(&samples),
    };
    let outcome = mp3.push(block).and_then(|()| mp3.finish().map(|_| ()));
    assert!(matches!(outcome, Err(ConvertError::Cancelled)), "{outcome:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
