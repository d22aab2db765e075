//! Every kind of file converts as the `ffmpeg` command converts it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use media::{ConvertError, Settings, Source};

use crate::support::{convert, convert_bytes, convert_file, decode, ffmpegs_own, settings_for, silence_seconds};

/// How far our playing time may be from that of the `ffmpeg` command's MP3.
const TOLERANCE_SECONDS: f64 = 0.05;

fn assert_converts_like_ffmpeg(path: &Path) {
    let name = path.file_name().unwrap().to_string_lossy();
    let mp3 = convert_file(path, &settings_for(path)).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let ours = decode(&mp3.bytes);
    let theirs = ffmpegs_own(path);
    assert_eq!(
        (ours.rate_hz, ours.channels),
        (theirs.rate_hz, theirs.channels),
        "{name}"
    );
    // The command leaves out what is silent here.
    let difference = (ours.seconds() - silence_seconds(&mp3) - theirs.seconds()).abs();
    assert!(
        difference <= TOLERANCE_SECONDS,
        "{name}: {} s, ffmpeg has {} s",
        ours.seconds(),
        theirs.seconds()
    );
    assert_eq!(ours.frames(), mp3.converted.samples, "{name}");
    let loudest = |samples: &[f32]| samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let (our_peak, their_peak) = (loudest(&ours.samples), loudest(&theirs.samples));
    assert!(
        (our_peak - their_peak).abs() < 0.1,
        "{name}: peak {our_peak}, ffmpeg has {their_peak}"
    );
}

#[test]
fn generated_media_of_every_kind_converts_like_the_ffmpeg_command() {
    for sample in testkit::media::samples() {
        assert_converts_like_ffmpeg(&sample.path);
    }
}

#[test]
fn the_differences_of_an_amigas_voices_convert_like_the_ffmpeg_command() {
    for powers_of_two in [false, true] {
        assert_converts_like_ffmpeg(&testkit::media::eight_bit_voice(powers_of_two));
    }
}

/// A camera's recording as AVI of type 1: the sound is inside the DV of the only stream. No program here writes that,
/// so the container is made by hand.
fn dv_in_avi(folder: &Path) -> PathBuf {
    const PAL_FRAME_BYTES: u32 = 144_000;
    const HAS_INDEX: u32 = 0x10;
    let raw = folder.join("raw.dv");
    testkit::media::ffmpeg(
        "-f lavfi -i testsrc2=size=720x576:rate=25:duration=2 -f lavfi -i sine=duration=2 -pix_fmt yuv420p -c:v dvvideo \
         -c:a pcm_s16le -ar 48000 -ac 2",
        &raw,
    );
    let numbers = |numbers: &[u32]| {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let chunk = |name: &[u8], bytes: &[u8]| [name, &numbers(&[length(bytes)]), bytes].concat();
    let raw = fs::read(raw).unwrap();
    let frames: Vec<_> = raw.chunks(PAL_FRAME_BYTES as usize).collect();
    let count = u32::try_from(frames.len()).unwrap();
    let main_header = numbers(&[
        40_000,
        0,
        0,
        HAS_INDEX,
        count,
        0,
        1,
        PAL_FRAME_BYTES,
        720,
        576,
        0,
        0,
        0,
        0,
    ]);
    let stream_header = [
        b"iavsdvsd",
        &*numbers(&[0, 0, 0, 1, 25, 0, count, PAL_FRAME_BYTES, 0, 0, 0, 0]),
    ]
    .concat();
    let stream = [b"strl", &*chunk(b"strh", &stream_header), &chunk(b"strf", &[0; 32])].concat();
    let header = [b"hdrl", &*chunk(b"avih", &main_header), &chunk(b"LIST", &stream)].concat();
    let data: Vec<_> = frames.iter().map(|frame| chunk(b"00__", frame)).collect();
    let index = (0..count).map(|number| {
        let place = 4 + number * (8 + PAL_FRAME_BYTES);
        [b"00__", &*numbers(&[HAS_INDEX, place, PAL_FRAME_BYTES])].concat()
    });
    let index = index.collect::<Vec<_>>().concat();
    let body = [
        b"AVI ",
        &*chunk(b"LIST", &header),
        &chunk(b"LIST", &[b"movi", &*data.concat()].concat()),
        &chunk(b"idx1", &index),
    ];
    let path = folder.join("dv.avi");
    fs::write(&path, chunk(b"RIFF", &body.concat())).unwrap();
    path
}

#[test]
fn sound_inside_the_dv_of_an_avi_converts_like_the_ffmpeg_command() {
    let folder = tempfile::tempdir().unwrap();
    assert_converts_like_ffmpeg(&dv_in_avi(folder.path()));
}

#[test]
fn shared_media_converts_like_the_ffmpeg_command() {
    for path in testkit::media::shared_samples() {
        if !path.ends_with("no-audio.mp4") {
            assert_converts_like_ffmpeg(&path);
        }
    }
}

#[test]
fn the_same_file_gives_the_same_bytes_every_time() {
    for name in ["mp4-h264-aac", "wav-96000", "mkv-h264-ac3-surround"] {
        let path = testkit::media::sample(name);
        let first = convert_file(&path, &settings_for(&path)).unwrap();
        let second = convert_file(&path, &settings_for(&path)).unwrap();
        assert!(first.bytes == second.bytes, "{name}");
    }
}

#[test]
fn a_stream_gives_the_same_mp3_as_the_file_where_the_container_allows() {
    for name in [
        "mp4-index-first",
        "mkv-h264-opus",
        "ts-mpeg2-ac3-two-tracks",
        "wav-44100",
    ] {
        let path = testkit::media::sample(name);
        let settings = settings_for(&path);
        let seekable = convert_file(&path, &settings).unwrap();
        let streamed = convert(Source::stream(File::open(&path).unwrap()), &settings).unwrap();
        assert!(seekable.bytes == streamed.bytes, "{name}");
        assert_eq!(streamed.converted.source_bytes, None);
    }
}

#[test]
fn a_stream_whose_index_comes_last_is_not_called_damaged() {
    let path = testkit::media::sample("mp4-h264-aac");
    let outcome = convert(Source::stream(File::open(&path).unwrap()), &Settings::default());
    assert!(matches!(outcome, Err(ConvertError::NeedsSeeking)));
}

#[test]
fn of_several_tracks_the_one_with_most_channels_is_taken() {
    let path = testkit::media::sample("ts-mpeg2-ac3-two-tracks");
    let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
    assert_eq!(mp3.converted.channels, 2);
}

#[test]
fn the_default_track_is_taken_before_one_with_more_channels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.mkv");
    testkit::media::ffmpeg(
        "-f lavfi -i sine=880:duration=2 -f lavfi -i sine=440:duration=2 -map 0 -map 1 -c:a flac \
         -ac:a:0 2 -ac:a:1 1 -disposition:a:0 0 -disposition:a:1 default",
        &path,
    );
    let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
    assert_eq!(mp3.converted.channels, 1);
    assert_converts_like_ffmpeg(&path);
}

#[test]
fn video_is_skipped_rather_than_read_where_the_container_allows() {
    let path = testkit::media::video_of_mebibytes(200, "mp4");
    let converted = convert_file(&path, &settings_for(&path)).unwrap().converted;
    let total = converted.source_bytes.unwrap();
    assert!(
        converted.bytes_read < total / 4,
        "read {} of {total} bytes",
        converted.bytes_read
    );
}

#[test]
fn a_misleading_file_name_changes_nothing_but_the_title() {
    let path = testkit::media::sample("mkv-h264-opus");
    let plain = convert_file(&path, &Settings::default()).unwrap();
    for name in ["holiday.mp3", "holiday.m3u8", "holiday.txt", "holiday"] {
        let settings = Settings {
            file_name: Some(name.to_owned()),
            ..Settings::default()
        };
        assert!(
            convert_file(&path, &settings).unwrap().frames() == plain.bytes,
            "{name}"
        );
    }
}

#[test]
fn a_file_whose_rate_and_channels_change_midway_keeps_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let (second, joined) = (folder.path().join("second.aac"), folder.path().join("joined.aac"));
    testkit::media::ffmpeg(
        "-f lavfi -i sine=440:sample_rate=22050:duration=2 -ac 1 -c:a aac",
        &second,
    );
    let mut bytes = fs::read(testkit::media::sample("aac-adts")).unwrap();
    bytes.extend(fs::read(second).unwrap());
    fs::write(&joined, bytes).unwrap();
    assert_converts_like_ffmpeg(&joined);
}

/// libav has no rule for mixing such an order of channels, and it is taken for the usual one of as many.
#[test]
fn sound_in_a_channel_for_low_frequencies_alone_is_heard() {
    const LOW_FREQUENCIES: u32 = 8;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("low.wav");
    testkit::media::ffmpeg(
        "-f lavfi -i sine=frequency=100:sample_rate=48000:duration=2 -af volume=4 -c:a pcm_s24le",
        &path,
    );
    let mut wav = fs::read(&path).unwrap();
    // WAVE_FORMAT_EXTENSIBLE: the mask of the speakers stands before the format's own number.
    let format = wav.windows(4).position(|name| name == b"fmt ").unwrap() + 8;
    assert_eq!(wav[format..format + 2], [0xfe, 0xff]);
    wav[format + 20..format + 24].copy_from_slice(&LOW_FREQUENCIES.to_le_bytes());
    let mp3 = convert_bytes(wav, &settings_for(&path)).unwrap();
    let loudest = decode(&mp3.bytes).samples.into_iter().fold(0.0, f32::max);
    assert!(loudest > 0.3, "{loudest}");
}
