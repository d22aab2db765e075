//! A position is the same moment in every container, and where a file has no sound the MP3 has silence.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::{Gaps, Limits, Note, Rate, Settings};
use testkit::media::ffmpeg;

use crate::support::{
    Mp3, convert_bytes, convert_file, decode, ffmpegs_own, settings_for, silence_seconds, tones, verdict,
};

/// So many seconds of sound; in second k every sample is of a tone of `first` + 100 k Hz.
fn ladder(seconds: u32, first: u32) -> String {
    format!("-f lavfi -i aevalsrc=0.4*sin(2*PI*t*({first}+100*floor(t))):s=48000:d={seconds}")
}

fn picture(seconds: u32) -> String {
    format!("-f lavfi -i testsrc2=size=64x48:rate=25:duration={seconds}")
}

const H264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";

/// Drops the packets of sound of these seconds.
fn without(from: u32, until: u32) -> String {
    format!("-bsf:a noise=drop=between(pts*tb\\,{from}\\,{until})")
}

/// Twelve seconds of picture, and the sound of the first three and the last four; in a container by its extension.
fn with_a_gap(folder: &Path, extension: &str, codecs: &str) -> PathBuf {
    let whole = folder.join("whole.mkv");
    let (video, sound) = (picture(12), ladder(12, 300));
    ffmpeg(&format!("{video} {sound} -map 0 -map 1 {codecs}"), &whole);
    let gap = folder.join("gap.mkv");
    ffmpeg(
        &format!("-i {} -map 0 -c copy {}", whole.display(), without(3, 8)),
        &gap,
    );
    let path = folder.join("in").with_extension(extension);
    ffmpeg(&format!("-i {} -map 0 -c copy", gap.display()), &path);
    path
}

fn of_the_gap(seconds: &[u32]) -> Vec<u32> {
    seconds.iter().flat_map(|tone| [*tone; 2]).collect()
}

const GAP: [u32; 12] = [300, 400, 500, 0, 0, 0, 0, 0, 1100, 1200, 1300, 1400];

fn from(start_ms: u64) -> Settings {
    Settings {
        start: Some(Duration::from_millis(start_ms)),
        ..Settings::default()
    }
}

/// Compares what is heard each half second, and how long it is.
#[track_caller]
fn assert_sounds(mp3: &Mp3, expected: &[u32], seconds: f64, case: &str) {
    let pcm = decode(&mp3.bytes);
    assert_eq!(pcm.frames(), mp3.converted.samples, "{case}");
    let heard = tones(&pcm);
    assert_eq!(heard, expected[..heard.len().min(expected.len())], "{case}");
    assert!((pcm.seconds() - seconds).abs() < 0.05, "{case}: {} s", pcm.seconds());
}

#[test]
fn a_gap_is_silence_and_a_start_is_the_same_moment_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, codecs) in [
        ("mkv", "-c:a aac"),
        ("mp4", "-c:a aac"),
        ("ts", "-c:a aac"),
        ("flv", "-c:a aac"),
        ("nut", "-c:a aac"),
        ("asf", "-c:a aac"),
        ("mkv", "-c:a libopus"),
        ("mpg", "-c:a ac3"),
        ("mkv", "-c:a pcm_s16le"),
    ] {
        let video = if extension == "mpg" { "-c:v mpeg2video" } else { H264 };
        let path = with_a_gap(folder.path(), extension, &format!("{video} {codecs}"));
        let case = format!("{extension} {codecs}");
        let whole = convert_file(&path, &Settings::default()).unwrap();
        assert_sounds(&whole, &of_the_gap(&GAP), 12.0, &case);
        let silence = silence_seconds(&whole);
        assert!((silence - 5.0).abs() < 0.1, "{case}: {silence} s");
        for (start_ms, seconds, tones) in [
            (4_500, 7.5, [&[0; 7][..], &of_the_gap(&GAP[8..])].concat()),
            (8_200, 3.8, of_the_gap(&GAP[8..])),
            (9_500, 2.5, [&[1200], &*of_the_gap(&GAP[10..])].concat()),
        ] {
            let part = convert_file(&path, &from(start_ms)).unwrap();
            assert_sounds(&part, &tones, seconds, &format!("{case} from {start_ms}"));
        }
    }
}

#[test]
fn sound_that_begins_after_the_picture_keeps_its_distance() {
    let folder = tempfile::tempdir().unwrap();
    let fragments = "-g 10 -movflags +frag_keyframe+delay_moov";
    for (name, codecs) in [
        ("late.mkv", "-c:a aac"),
        ("late.mp4", "-c:a aac"),
        ("late.mov", "-c:a pcm_s16le"),
        ("late.ts", "-c:a aac"),
        ("late.flv", "-c:a aac"),
        ("late.webm", "-c:a libopus -c:v libvpx -cpu-used 8"),
        ("late.ogg", "-c:a libvorbis -c:v libtheora"),
        ("fragments.mp4", &format!("-c:a aac {fragments}")),
        ("live.mkv", "-c:a aac -f matroska -live 1"),
    ] {
        let path = folder.path().join(name);
        let video = if codecs.contains("-c:v") { "" } else { H264 };
        let (picture, sound) = (picture(12), ladder(9, 600));
        ffmpeg(
            &format!("{picture} -itsoffset 3 {sound} -map 0 -map 1 {video} {codecs}"),
            &path,
        );
        let late = [0, 0, 0, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400];
        let whole = convert_file(&path, &Settings::default()).unwrap();
        assert_sounds(&whole, &of_the_gap(&late), 12.0, name);
        assert!(
            (silence_seconds(&whole) - 3.0).abs() < 0.1,
            "{name}: {:?}",
            whole.converted.notes
        );
        let part = convert_file(&path, &from(1_000)).unwrap();
        assert_sounds(&part, &of_the_gap(&late[1..]), 11.0, name);
        let part = convert_file(&path, &from(9_500)).unwrap();
        assert_sounds(&part, &[1200, 1300, 1300, 1400, 1400], 2.5, name);
    }
}

#[test]
fn gaps_are_dropped_where_that_is_asked_for_and_positions_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["mkv", "mp4"] {
        let path = with_a_gap(folder.path(), extension, &format!("{H264} -c:a aac"));
        let dropping = |settings| Settings {
            gaps: Gaps::Drop,
            ..settings
        };
        let whole = convert_file(&path, &dropping(Settings::default())).unwrap();
        let theirs = ffmpegs_own(&path).seconds();
        assert!((decode(&whole.bytes).seconds() - theirs).abs() < 0.05, "{extension}");
        let [
            Note::GapsDropped {
                count: 1,
                ms: 4_900..=5_100,
            },
        ] = whole.converted.notes[..]
        else {
            panic!("{extension}: {:?}", whole.converted.notes);
        };
        let part = convert_file(&path, &dropping(from(4_500))).unwrap();
        assert_sounds(&part, &of_the_gap(&GAP[8..]), 4.0, extension);
    }
}

/// A broadcast of four seconds whose timestamps begin at that second, without the sound of those.
fn broadcast(folder: &Path, at: f64, silent: Option<(u32, u32)>) -> Vec<u8> {
    let (whole, gap, path) = (
        folder.join("whole.mkv"),
        folder.join("gap.mkv"),
        folder.join("broadcast.ts"),
    );
    let (picture, sound) = (picture(4), ladder(4, 300));
    ffmpeg(
        &format!("{picture} {sound} -map 0 -map 1 -c:v mpeg2video -c:a mp2 -b:a 192k"),
        &whole,
    );
    let drop = silent.map(|(from, until)| without(from, until)).unwrap_or_default();
    ffmpeg(&format!("-i {} -map 0 -c copy {drop}", whole.display()), &gap);
    let muxer = format!("-muxdelay 0 -output_ts_offset {at}");
    ffmpeg(&format!("-i {} -map 0 -c copy {muxer}", gap.display()), &path);
    fs::read(path).unwrap()
}

#[test]
fn a_broadcast_that_was_cut_or_whose_clock_wraps_has_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let ladder = of_the_gap(&[300, 400, 500, 600]);
    let plain = broadcast(folder.path(), 10.0, None);
    let elsewhere = broadcast(folder.path(), 5_000.0, None);
    // The clock has 33 bits of 90 kHz.
    let wrapping = broadcast(folder.path(), 95_441.5, None);
    for (name, bytes, count) in [
        ("forward", [&*plain, &*elsewhere].concat(), 2),
        ("back", [&*elsewhere, &*plain].concat(), 2),
        ("again", plain.repeat(3), 3),
        ("wrapping", wrapping, 1),
    ] {
        let mp3 = convert_bytes(bytes, &Settings::default()).unwrap();
        assert_eq!(silence_seconds(&mp3), 0.0, "{name}: {:?}", mp3.converted.notes);
        let heard = tones(&decode(&mp3.bytes));
        assert!(heard.starts_with(&ladder), "{name}: {heard:?}");
        let seconds = mp3.converted.duration.as_secs_f64();
        assert!((seconds - 4.0 * f64::from(count)).abs() < 0.2, "{name}: {seconds} s");
    }
}

#[test]
fn a_gap_behind_a_cut_and_one_in_which_the_clock_wraps_are_silence() {
    let folder = tempfile::tempdir().unwrap();
    let plain = broadcast(folder.path(), 10.0, None);
    let elsewhere = broadcast(folder.path(), 5_000.0, Some((1, 3)));
    let wrapping = broadcast(folder.path(), 95_441.5, Some((1, 3)));
    for (name, bytes, seconds) in [
        ("behind a cut", [&*plain, &*elsewhere].concat(), 8.0),
        ("wrapping", wrapping, 4.0),
    ] {
        let mp3 = convert_bytes(bytes, &Settings::default()).unwrap();
        let silence = silence_seconds(&mp3);
        assert!((silence - 2.0).abs() < 0.1, "{name}: {silence} s");
        let found = mp3.converted.duration.as_secs_f64();
        assert!((found - seconds).abs() < 0.2, "{name}: {found} s");
    }
}

#[test]
fn silence_ends_where_nothing_bears_it_out() {
    let folder = tempfile::tempdir().unwrap();
    // Ten hours from the hundredth packet on, in a container that states no length.
    let jump = "-bsf:a setts=ts=if(gt(N\\,100)\\,TS+10*3600/TB\\,TS)";
    for (name, video, container) in [
        ("with a picture", picture(4), "-f matroska -live 1"),
        ("without one", String::new(), "-f matroska -live 1"),
        ("radio", String::new(), "-f mpegts"),
    ] {
        let codecs = if video.is_empty() {
            String::new()
        } else {
            format!("-map 0 -map 1 {H264}")
        };
        let path = folder.path().join("jump");
        ffmpeg(
            &format!("{video} {} {codecs} -c:a aac {jump} {container}", ladder(4, 300)),
            &path,
        );
        let mp3 = convert_file(&path, &Settings::default()).unwrap();
        assert_eq!(silence_seconds(&mp3), 0.0, "{name}: {:?}", mp3.converted.notes);
        assert_sounds(&mp3, &of_the_gap(&[300, 400, 500, 600]), 4.0, name);
    }
}

#[test]
fn silence_counts_in_the_limit_of_the_playing_time() {
    let folder = tempfile::tempdir().unwrap();
    let gap = with_a_gap(folder.path(), "mkv", &format!("{H264} -c:a aac"));
    let path = folder.path().join("live.mkv");
    ffmpeg(
        &format!("-i {} -map 0 -c copy -f matroska -live 1", gap.display()),
        &path,
    );
    let limited = |seconds| Settings {
        limits: Limits {
            duration: Duration::from_secs(seconds),
            ..Limits::default()
        },
        ..Settings::default()
    };
    assert_eq!(verdict(convert_file(&path, &limited(10))), "too_long");
    convert_file(&path, &limited(13)).unwrap();
}

#[test]
fn sound_without_a_picture_begins_with_itself_and_keeps_the_gaps_its_container_bears_out() {
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late.mkv");
    ffmpeg(&format!("-itsoffset 3 {} -c:a aac", ladder(4, 300)), &late);
    let mp3 = convert_file(&late, &Settings::default()).unwrap();
    assert_sounds(&mp3, &of_the_gap(&[300, 400, 500, 600]), 4.0, "late");
    assert_eq!(mp3.converted.notes, []);
    let (whole, gap) = (folder.path().join("whole.mkv"), folder.path().join("gap.mkv"));
    ffmpeg(&format!("{} -c:a libopus", ladder(6, 300)), &whole);
    ffmpeg(&format!("-i {} -c copy {}", whole.display(), without(1, 4)), &gap);
    let mp3 = convert_file(&gap, &Settings::default()).unwrap();
    assert_sounds(&mp3, &of_the_gap(&[300, 0, 0, 0, 700, 800]), 6.0, "gap");
}

#[test]
fn sound_that_begins_before_the_picture_is_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["mkv", "mp4", "ts"] {
        let path = folder.path().join("early").with_extension(extension);
        let (sound, picture) = (ladder(5, 300), picture(3));
        ffmpeg(
            &format!("{sound} -itsoffset 2 {picture} -map 0 -map 1 {H264} -c:a aac"),
            &path,
        );
        let mp3 = convert_file(&path, &Settings::default()).unwrap();
        assert_sounds(&mp3, &of_the_gap(&[300, 400, 500, 600, 700]), 5.0, extension);
        assert_eq!(mp3.converted.notes, [], "{extension}");
        let part = convert_file(&path, &from(3_000)).unwrap();
        assert_sounds(&part, &of_the_gap(&[600, 700]), 2.0, extension);
    }
}

#[test]
fn sound_that_is_lost_to_damage_is_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.m4a");
    ffmpeg(&format!("{} -c:a aac -b:a 128k", ladder(6, 300)), &path);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    // About a second: no packet begins like this.
    bytes[middle..middle + 12_000].fill(0xff);
    let mp3 = convert_bytes(bytes, &Settings::default()).unwrap();
    assert!(mp3.converted.errors > 10);
    let seconds = mp3.converted.duration.as_secs_f64();
    assert!((seconds - 6.0).abs() < 0.11, "{seconds} s, {:?}", mp3.converted.notes);
    let heard = tones(&decode(&mp3.bytes));
    assert_eq!(heard[..4], [300, 300, 400, 400]);
    assert_eq!(heard[heard.len() - 4..], [700, 700, 800, 800]);
}

#[test]
fn an_avi_states_where_its_sound_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.avi");
    let (picture, sound) = (picture(6), ladder(4, 300));
    ffmpeg(
        &format!("{picture} {sound} -map 0 -map 1 -c:v mpeg4 -c:a pcm_s16le"),
        &path,
    );
    let mut bytes = fs::read(path).unwrap();
    let header = bytes.windows(4).position(|name| name == b"auds").unwrap();
    // The start, in samples, behind type, codec, flags, priority, delay, scale and rate.
    bytes[header + 28..header + 32].copy_from_slice(&96_000_u32.to_le_bytes());
    let mp3 = convert_bytes(bytes, &Settings::default()).unwrap();
    assert_sounds(&mp3, &of_the_gap(&[0, 0, 300, 400, 500, 600]), 6.0, "avi");
}

#[test]
fn the_bytes_do_not_depend_on_the_threads_where_there_is_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, path) = (folder.path().join("whole.mkv"), folder.path().join("long.mkv"));
    let (picture, sound) = (picture(100), ladder(100, 300));
    ffmpeg(&format!("{picture} {sound} -map 0 -map 1 {H264} -c:a aac"), &whole);
    ffmpeg(
        &format!("-i {} -map 0 -c copy {}", whole.display(), without(20, 70)),
        &path,
    );
    let with = |threads| {
        let settings = Settings {
            threads: NonZeroUsize::new(threads),
            rate: Some(Rate::Cbr(64)),
            ..Settings::default()
        };
        convert_file(&path, &settings).unwrap()
    };
    let (one, four) = (with(1), with(4));
    assert!(one.bytes == four.bytes);
    assert!((silence_seconds(&one) - 50.0).abs() < 0.1, "{:?}", one.converted.notes);
    assert_eq!(one.converted.duration.as_secs(), 100);
}

#[test]
fn progress_counts_the_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.mp4");
    let (picture, sound) = (picture(12), ladder(9, 600));
    ffmpeg(
        &format!("{picture} -itsoffset 3 {sound} -map 0 -map 1 {H264} -c:a aac"),
        &path,
    );
    let seen = std::sync::Arc::new(std::sync::Mutex::new(media::Progress::default()));
    let kept = std::sync::Arc::clone(&seen);
    let source = media::Source::seekable(fs::File::open(path).unwrap());
    media::convert(source, &mut std::io::sink(), &Settings::default(), move |progress| {
        *kept.lock().unwrap() = progress;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let last = *seen.lock().unwrap();
    let whole = last.duration.unwrap().as_secs_f64();
    assert!((whole - 12.0).abs() < 0.1, "{last:?}");
    assert!((0.95..=1.0).contains(&last.share()), "{last:?}");
}

#[test]
fn no_sample_has_silence_that_its_sound_does_not_have() {
    for sample in testkit::media::samples() {
        let mp3 = convert_file(&sample.path, &settings_for(&sample.path)).unwrap();
        assert_eq!(silence_seconds(&mp3), 0.0, "{}: {:?}", sample.name, mp3.converted.notes);
    }
}
