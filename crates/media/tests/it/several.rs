//! Several tracks as one sound.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::{ConvertError, Note, Rate, Settings, Source, Track, Why};
use testkit::media::ffmpeg;

use crate::support::{Mp3, Pcm, convert, convert_file, decode, ffmpegs_own, settings_for};

const VIDEO: &str = "-f lavfi -i testsrc2=size=720x576:rate=25:duration=4";

/// Input of 4 seconds: in each, a tone that is 100 Hz higher than in the one before.
fn ladder(first_hz: u16) -> String {
    format!("-f lavfi -i aevalsrc=0.4*sin(2*PI*t*({first_hz}+100*floor(t))):s=48000:d=4")
}

/// The two microphones of a camera.
fn two_microphones(folder: &Path, extension: &str, arguments: &str) -> PathBuf {
    let path = folder.join("two").with_extension(extension);
    let inputs = format!("{VIDEO} {} {}", ladder(300), ladder(3000));
    ffmpeg(
        &format!("{inputs} -map 0 -map 1 -map 2 -c:v mpeg2video -b:v 2M {arguments}"),
        &path,
    );
    path
}

/// Whether a channel holds such a ladder, and next to nothing of another one.
fn assert_ladder(pcm: &Pcm, channel: usize, first_hz: u16, other_hz: u16, name: &str) {
    for second in 0..4_u16 {
        let at = usize::from(second) * 1000;
        let level = |hz: u16| pcm.tone(channel, at + 200..at + 800, hz + 100 * second);
        let levels = [level(first_hz), level(other_hz)];
        assert!(
            levels[0] > 0.35 && levels[1] < 0.02,
            "{name}: {levels:?} in channel {channel}, second {second}"
        );
    }
}

#[test]
fn two_mono_tracks_of_a_camera_are_left_and_right() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, arguments) in [
        ("mxf", "-c:a pcm_s16le"),
        ("mxf", "-c:a pcm_s24le"),
        ("mov", "-c:a pcm_s16le"),
        ("mov", "-c:a pcm_s24be"),
        ("mov", "-c:a aac"),
        ("mov", "-c:a aac -movflags +frag_keyframe+empty_moov"),
        ("mov", "-c:a aac -metadata:s:a:0 title=Left -metadata:s:a:1 title=Right"),
        ("gxf", "-c:a pcm_s16le"),
    ] {
        let path = two_microphones(folder.path(), extension, arguments);
        let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
        let name = format!("{arguments} in {extension}");
        assert_eq!(
            mp3.converted.notes,
            [Note::LeftAndRight { left: 0, right: 1 }],
            "{name}"
        );
        let pcm = decode(&mp3.bytes);
        assert_eq!(pcm.channels, 2, "{name}");
        // GXF is filled up to a whole number of its packets.
        let expected = ffmpegs_own(&path).seconds();
        assert!((pcm.seconds() - expected).abs() < 0.05, "{name}: {} s", pcm.seconds());
        assert_ladder(&pcm, 0, 300, 3000, &name);
        assert_ladder(&pcm, 1, 3000, 300, &name);
    }
}

#[test]
fn two_mono_tracks_give_the_bytes_of_one_stereo_track() {
    let folder = tempfile::tempdir().unwrap();
    let stereo = folder.path().join("stereo.wav");
    let inputs = format!("{} {}", ladder(300), ladder(3000));
    ffmpeg(
        &format!("{inputs} -filter_complex amerge=inputs=2 -c:a pcm_s16le -fflags +bitexact"),
        &stereo,
    );
    let part = Settings {
        start: Some(Duration::from_millis(1234)),
        end: Some(Duration::from_millis(3210)),
        ..Settings::default()
    };
    for extension in ["mxf", "mov"] {
        let path = two_microphones(folder.path(), extension, "-c:a pcm_s16le");
        for settings in [Settings::default(), part.clone()] {
            let expected = convert_file(&stereo, &settings).unwrap();
            let seekable = convert_file(&path, &settings).unwrap();
            assert!(seekable.frames() == expected.frames(), "{extension}");
        }
    }
    let path = two_microphones(folder.path(), "mxf", "-c:a pcm_s16le");
    let seekable = convert_file(&path, &Settings::default()).unwrap();
    let streamed = convert(Source::stream(File::open(&path).unwrap()), &Settings::default()).unwrap();
    assert!(streamed.bytes == seekable.bytes);
}

#[test]
fn one_of_two_mono_tracks_can_be_asked_for_and_mono_holds_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = two_microphones(folder.path(), "mov", "-c:a pcm_s16le");
    for (number, own, other) in [(0, 300, 3000), (1, 3000, 300)] {
        let settings = Settings {
            track: Some(Track::Index(number)),
            ..settings_for(&path)
        };
        let pcm = decode(&convert_file(&path, &settings).unwrap().bytes);
        assert_eq!(pcm.channels, 1);
        assert_ladder(&pcm, 0, own, other, "one track");
    }
    let settings = Settings {
        channels: Some(1),
        ..settings_for(&path)
    };
    let pcm = decode(&convert_file(&path, &settings).unwrap().bytes);
    assert_eq!(pcm.channels, 1);
    for hz in [300, 3000] {
        assert!(pcm.tone(0, 200..800, hz) > 0.15, "{hz}");
    }
}

#[test]
fn of_four_mono_tracks_of_a_camera_the_first_two_are_left_and_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("four.mxf");
    let inputs: Vec<String> = [300, 3000, 1200, 2100].map(ladder).into();
    let arguments = "-map 0 -map 1 -map 2 -map 3 -map 4 -c:v mpeg2video -b:v 2M -c:a pcm_s16le";
    ffmpeg(&format!("{VIDEO} {} {arguments}", inputs.join(" ")), &path);
    let pcm = decode(&convert_file(&path, &settings_for(&path)).unwrap().bytes);
    assert_eq!(pcm.channels, 2);
    for (channel, own, others) in [(0, 300, [3000, 1200]), (1, 3000, [300, 2100])] {
        for other in others {
            assert_ladder(&pcm, channel, own, other, "four tracks");
        }
    }
}

#[test]
fn two_mono_tracks_that_are_different_sounds_are_not_left_and_right() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, arguments) in [
        ("mp4", "-c:a aac"),
        ("mkv", "-c:a pcm_s16le"),
        (
            "mov",
            "-c:a aac -metadata:s:a:0 language=ger -metadata:s:a:1 language=eng",
        ),
        ("mov", "-c:a pcm_s16le -ar:a:1 32000"),
        ("mov", "-c:a:0 aac -c:a:1 pcm_s16le"),
        ("mov", "-c:a pcm_s16le -ac:a:1 2"),
    ] {
        let path = two_microphones(folder.path(), extension, arguments);
        let settings = Settings {
            rate: Some(Rate::Cbr(192)),
            ..settings_for(&path)
        };
        let pcm = decode(&convert_file(&path, &settings).unwrap().bytes);
        let stereo = pcm.channels == 2 && pcm.tone(0, 200..800, 300) > 0.2;
        assert!(!stereo, "{arguments} in {extension}");
    }
    let path = folder.path().join("lengths.mov");
    ffmpeg(
        &format!(
            "{} -f lavfi -i sine=3000:duration=3 -map 0 -map 1 -c:a pcm_s16le",
            ladder(300)
        ),
        &path,
    );
    assert_eq!(convert_file(&path, &settings_for(&path)).unwrap().converted.channels, 1);
}

#[test]
fn of_the_video_beside_two_tracks_next_to_nothing_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.mov");
    let video = "-f lavfi -i testsrc2=size=1280x720:rate=25:duration=4";
    let codecs = "-c:v mjpeg -q:v 1 -pix_fmt yuvj420p -c:a aac";
    ffmpeg(
        &format!("{video} {} {} -map 0 -map 1 -map 2 {codecs}", ladder(300), ladder(3000)),
        &path,
    );
    let converted = convert_file(&path, &settings_for(&path)).unwrap().converted;
    let total = converted.source_bytes.unwrap();
    assert_eq!(converted.channels, 2);
    assert!(converted.bytes_read < total / 4, "{} of {total}", converted.bytes_read);
}

fn all_of(path: &Path, settings: Settings) -> Mp3 {
    let settings = Settings {
        track: Some(Track::All),
        ..settings
    };
    convert_file(path, &settings).unwrap()
}

#[test]
fn all_tracks_are_mixed_in_time_with_each_other_whatever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mono = "-f lavfi -i aevalsrc=0.3*sin(600*PI*t):s=44100:d=4";
    // Two seconds late, and one second longer than the others.
    let late = "-itsoffset 2 -f lavfi -i aevalsrc=0.3*sin(1400*PI*t)|0:s=48000:d=3";
    let low = "-f lavfi -i aevalsrc=0|0.3*sin(2200*PI*t):s=22050:d=4";
    for (extension, codecs) in [
        ("mkv", "-c:a:0 aac -c:a:1 flac -c:a:2 libvorbis"),
        ("mp4", "-c:a:0 aac -c:a:1 aac -c:a:2 libmp3lame"),
        ("mov", "-c:a pcm_s16le"),
        ("ts", "-c:a:0 aac -c:a:1 ac3 -c:a:2 mp2"),
    ] {
        let path = folder.path().join("tracks").with_extension(extension);
        ffmpeg(&format!("{mono} {late} {low} -map 0 -map 1 -map 2 {codecs}"), &path);
        let mp3 = all_of(&path, settings_for(&path));
        let pcm = decode(&mp3.bytes);
        assert_eq!((pcm.channels, pcm.rate_hz), (2, 48_000), "{extension}");
        assert!((pcm.seconds() - 5.0).abs() < 0.1, "{extension}: {} s", pcm.seconds());
        // Mono in the middle is 3 dB quieter on either side.
        for (hz, levels) in [(300, [0.212, 0.212]), (700, [0.3, 0.0]), (1100, [0.0, 0.3])] {
            for (channel, level) in levels.into_iter().enumerate() {
                let found = pcm.tone(channel, 2500..3500, hz);
                assert!((found - level).abs() < 0.03, "{extension}, {hz} Hz: {found}");
            }
        }
        assert!(
            pcm.tone(0, 200..1800, 700) < 0.01 && pcm.tone(0, 1000..1800, 300) > 0.18,
            "{extension}"
        );
        assert!(
            pcm.tone(0, 4200..4800, 300) < 0.01 && pcm.tone(0, 4200..4800, 700) > 0.27,
            "{extension}"
        );
        // The late one begins when it should, to the millisecond.
        let begins = pcm.part(0, 1900..2100);
        let before = begins[..begins.len() / 2 - 240]
            .iter()
            .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!(before < 0.25, "{extension}: {before}");
    }
}

#[test]
fn the_sum_of_loud_tracks_does_not_clip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loud.mkv");
    let tone = |hz: u16| format!("-f lavfi -i aevalsrc=0.9*sin({hz}*2*PI*t)|0.9*sin({hz}*2*PI*t):s=48000:d=3");
    ffmpeg(
        &format!(
            "{} {} {} -map 0 -map 1 -map 2 -c:a flac",
            tone(300),
            tone(700),
            tone(1100)
        ),
        &path,
    );
    let mp3 = all_of(&path, settings_for(&path));
    assert_eq!(mp3.converted.notes, [Note::TracksMixed { count: 3 }, Note::TurnedDown]);
    let pcm = decode(&mp3.bytes);
    assert!(pcm.loudest() < 1.0, "{}", pcm.loudest());
    let levels = [300, 700, 1100].map(|hz| pcm.tone(0, 1000..2000, hz));
    assert!(levels.iter().all(|level| (level - 0.3).abs() < 0.05), "{levels:?}");
}

#[test]
fn mono_tracks_alone_are_mixed_to_mono() {
    let folder = tempfile::tempdir().unwrap();
    let path = two_microphones(folder.path(), "mxf", "-c:a pcm_s16le");
    let pcm = decode(&all_of(&path, settings_for(&path)).bytes);
    assert_eq!(pcm.channels, 1);
    for hz in [300, 3000] {
        let level = pcm.tone(0, 200..800, hz);
        assert!((level - 0.4).abs() < 0.03, "{hz}: {level}");
    }
}

#[test]
fn all_of_one_track_is_that_track() {
    for name in ["mkv-h264-opus", "avi-mpeg4-mp3"] {
        let path = testkit::media::sample(name);
        let expected = convert_file(&path, &settings_for(&path)).unwrap();
        assert!(all_of(&path, settings_for(&path)).bytes == expected.bytes, "{name}");
    }
}

#[test]
fn a_track_that_cannot_be_decoded_is_left_out_of_all_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("three.mov");
    let inputs = [300, 700, 1100].map(ladder).join(" ");
    let codecs = "-c:a:0 aac -c:a:1 aac -c:a:2 pcm_s16le";
    ffmpeg(&format!("{inputs} -map 0 -map 1 -map 2 {codecs}"), &path);
    let mut bytes = fs::read(&path).unwrap();
    let kind = bytes.windows(4).position(|kind| kind == b"sowt").unwrap();
    bytes[kind..kind + 4].copy_from_slice(b"apac");
    fs::write(&path, bytes).unwrap();
    let notes = all_of(&path, settings_for(&path)).converted.notes;
    for expected in [Note::TracksMixed { count: 2 }, Note::TracksLeftOut { count: 1 }] {
        assert!(notes.contains(&expected), "{notes:?}");
    }
}

#[test]
fn a_part_of_all_tracks_is_in_time() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["mov", "mkv"] {
        let path = two_microphones(folder.path(), extension, "-c:a aac -b:a 192k");
        let whole = decode(&all_of(&path, settings_for(&path)).bytes);
        let settings = Settings {
            start: Some(Duration::from_millis(2500)),
            end: Some(Duration::from_millis(3500)),
            ..settings_for(&path)
        };
        let part = decode(&all_of(&path, settings).bytes);
        assert!((part.seconds() - 1.0).abs() < 0.001);
        for hz in [500, 3200] {
            let (ours, expected) = (part.tone(0, 50..450, hz), whole.tone(0, 2550..2950, hz));
            assert!(
                (ours - expected).abs() < 0.02 && expected > 0.3,
                "{extension}, {hz}: {ours}, {expected}"
            );
        }
    }
}

/// An MXF whose sound comes behind its picture, one track behind the other, and without the index, which would be
/// wrong.
fn one_track_behind_the_other(mxf: &[u8]) -> Vec<u8> {
    const ESSENCE: [u8; 12] = [0x06, 0x0e, 0x2b, 0x34, 1, 2, 1, 1, 0x0d, 1, 3, 1];
    const FOOTER: [u8; 14] = [0x06, 0x0e, 0x2b, 0x34, 2, 5, 1, 1, 0x0d, 1, 2, 1, 1, 4];
    const INDEX: [u8; 14] = [0x06, 0x0e, 0x2b, 0x34, 2, 0x53, 1, 1, 0x0d, 1, 2, 1, 1, 0x10];
    const FILLER: [u8; 16] = [0x06, 0x0e, 0x2b, 0x34, 1, 1, 1, 2, 3, 1, 2, 0x10, 1, 0, 0, 0];
    let (mut before, mut sounds, mut after) = (Vec::new(), BTreeMap::<u8, Vec<u8>>::new(), Vec::new());
    let mut rest = mxf;
    while let Some(key) = rest.first_chunk::<16>() {
        let (length, head) = match rest[16] {
            long @ 0x80.. => {
                let digits = &rest[17..17 + usize::from(long & 0x7f)];
                let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
                (length, 17 + digits.len())
            }
            short => (usize::from(short), 17),
        };
        let (item, others) = rest.split_at((head + length).min(rest.len()));
        let is_sound = key.starts_with(&ESSENCE) && matches!(key[12], 0x06 | 0x16);
        let place = match (is_sound, after.is_empty() && !key.starts_with(&FOOTER)) {
            (true, _) => sounds.entry(key[15]).or_default(),
            (false, true) => &mut before,
            (false, false) => &mut after,
        };
        place.extend(if key.starts_with(&INDEX) { &FILLER } else { key });
        place.extend(&item[16..]);
        rest = others;
    }
    assert_eq!(sounds.len(), 2);
    before.extend(sounds.into_values().flatten());
    [before, after].concat()
}

#[test]
fn tracks_that_are_stored_far_apart_meet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apart.mxf");
    let video = "-f lavfi -i color=size=64x64:rate=25:duration=40";
    let tone = |hz: u16| format!("-f lavfi -i sine={hz}:sample_rate=48000:duration=40");
    let codecs = "-map 0 -map 1 -map 2 -c:v mpeg2video -c:a pcm_s16le";
    ffmpeg(&format!("{video} {} {} {codecs}", tone(300), tone(700)), &path);
    fs::write(&path, one_track_behind_the_other(&fs::read(&path).unwrap())).unwrap();
    let pcm = decode(&all_of(&path, settings_for(&path)).bytes);
    assert!((pcm.seconds() - 40.0).abs() < 0.05, "{} s", pcm.seconds());
    for hz in [300, 700] {
        assert!(pcm.tone(0, 30_000..39_000, hz) > 0.1, "{hz}");
    }
}

#[test]
fn a_left_and_a_right_track_too_far_apart_to_wait_for_each_other_are_not_read_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apart.mxf");
    for (seconds, channels) in [(20, 2), (100, 1)] {
        let video = format!("-f lavfi -i color=size=64x64:rate=25:duration={seconds}");
        let tone = |hz: u16| format!("-f lavfi -i sine={hz}:sample_rate=48000:duration={seconds}");
        let codecs = "-map 0 -map 1 -map 2 -c:v mpeg2video -c:a pcm_s16le";
        ffmpeg(&format!("{video} {} {} {codecs}", tone(300), tone(700)), &path);
        fs::write(&path, one_track_behind_the_other(&fs::read(&path).unwrap())).unwrap();
        let settings = settings_for(&path);
        let mp3 = match convert_file(&path, &settings) {
            Err(ConvertError::BeginAnew(why)) => convert_file(&path, &settings.anew(why).unwrap()),
            outcome => outcome,
        };
        let mp3 = mp3.unwrap();
        assert_eq!(mp3.converted.channels, channels, "{seconds} s");
        let is_said = mp3.converted.notes.contains(&Note::TracksLeftOut { count: 1 });
        assert_eq!(is_said, channels == 1, "{seconds} s");
        let pcm = decode(&mp3.bytes);
        assert!((pcm.seconds() - f64::from(seconds)).abs() < 0.05, "{} s", pcm.seconds());
        assert!(pcm.tone(0, 1000..19_000, 300) > 0.1);
    }
}

#[test]
fn a_track_on_a_clock_of_its_own_begins_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    // Two programmes of one broadcast, which began an hour apart by their own clocks. The third file has the table of
    // both.
    let made = |name: &str, arguments: &str| {
        let path = folder.path().join(name);
        ffmpeg(arguments, &path);
        fs::read(path).unwrap()
    };
    let tone = |hz: u16| format!("-f lavfi -i sine={hz}:sample_rate=48000:duration=10");
    let programme = |number: u16, hz, clock: u16| {
        let identifiers = format!("-mpegts_service_id {number} -mpegts_pmt_start_pid {}", 4095 + number);
        let options = format!("-streamid 0:{} -output_ts_offset {clock} {identifiers}", 255 + number);
        made("programme.ts", &format!("{} -c:a mp2 {options}", tone(hz)))
    };
    let (first, second) = (programme(1, 300, 3600), programme(2, 700, 20));
    let programmes = "-program program_num=1:st=0 -program program_num=2:st=1";
    let both = made(
        "both.ts",
        &format!("{} {} -map 0 -map 1 -c:a mp2 {programmes}", tone(300), tone(700)),
    );
    let is_table = |packet: &&[u8]| packet[1] & 0x1f == 0 && packet[2] == 0;
    let table = both.chunks_exact(188).find(is_table).unwrap();
    let mut bytes = table.to_vec();
    for (one, other) in first.chunks_exact(188).zip(second.chunks_exact(188)) {
        for packet in [one, other] {
            bytes.extend(if is_table(&packet) { table } else { packet });
        }
    }
    let path = folder.path().join("broadcast.ts");
    fs::write(&path, bytes).unwrap();
    let mp3 = all_of(&path, settings_for(&path));
    assert_eq!(mp3.converted.track.of, 2);
    let pcm = decode(&mp3.bytes);
    assert!(pcm.seconds() < 22.0, "{} s", pcm.seconds());
    for hz in [300, 700] {
        assert!(pcm.tone(0, 2000..8000, hz) > 0.05, "{hz}");
    }
}

#[test]
fn one_of_all_tracks_that_becomes_stereo_makes_the_mp3_stereo() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    let path = folder.path().join("tracks.ts");
    for sides in ["0.4*sin(1000*PI*t)", "0.4*sin(880*PI*t)|0.4*sin(3000*PI*t)"] {
        let inputs =
            format!("-f lavfi -i aevalsrc={sides}:s=48000:d=3 -f lavfi -i sine=700:sample_rate=48000:duration=3");
        ffmpeg(&format!("{inputs} -map 0 -map 1 -c:a mp2"), &path);
        bytes.extend(fs::read(&path).unwrap());
    }
    fs::write(&path, bytes).unwrap();
    let settings = Settings {
        track: Some(Track::All),
        ..settings_for(&path)
    };
    let Err(ConvertError::BeginAnew(why)) = convert_file(&path, &settings) else {
        panic!("it begins in mono");
    };
    let mp3 = convert_file(&path, &settings.anew(why).unwrap()).unwrap();
    let pcm = decode(&mp3.bytes);
    assert_eq!(pcm.channels, 2);
    assert!(pcm.tone(0, 3500..5500, 440) > 0.2 && pcm.tone(1, 3500..5500, 1500) > 0.2);
}

#[test]
fn what_is_mixed_down_of_all_tracks_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("surround.mkv");
    let six = ["0.1*sin(600*PI*t)"; 6].join("|");
    let inputs = format!("-f lavfi -i aevalsrc={six}:s=48000:d=1 -f lavfi -i sine=700:duration=1");
    ffmpeg(&format!("{inputs} -map 0 -map 1 -c:a ac3"), &path);
    let converted = all_of(&path, settings_for(&path)).converted;
    let expected = [Note::TracksMixed { count: 2 }, Note::MixedDown { from: 6, to: 2 }];
    assert_eq!(converted.notes, expected);
    assert_eq!(converted.track.why, Why::Together);
}
