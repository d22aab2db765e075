//! An MP3 inside the source is copied as it is, unless something is asked of the sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::{Anew, ConvertError, Gaps, Rate, Settings};

use crate::support::{Mp3, convert_bytes, convert_file, decode, settings_for, verdict};

const SOUND: &str = "0.4*sin(2*PI*t*(300+50*t))+0.1*random(0)*lt(mod(t\\,0.7)\\,0.1)|0.3*sin(1320*PI*t)";

/// Eight seconds in a container, by its extension.
fn source(folder: &Path, extension: &str, rate_hz: u32, audio: &str) -> PathBuf {
    let name: String = audio.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let path = folder.join(format!("{rate_hz}-{name}.{extension}"));
    let video = match extension {
        "mp3" => "",
        "avi" => "-f lavfi -i testsrc2=size=160x120:rate=10:duration=8 -c:v mpeg4",
        "ts" => "-f lavfi -i testsrc2=size=160x120:rate=25:duration=8 -c:v mpeg2video",
        _ => "-f lavfi -i testsrc2=size=160x120:rate=10:duration=8 -c:v libx264 -preset ultrafast",
    };
    // The input of the sound comes first, so that output options of the video may follow it.
    testkit::media::ffmpeg(
        &format!("-f lavfi -i aevalsrc={SOUND}:s={rate_hz}:d=8 {video} -c:a libmp3lame {audio}"),
        &path,
    );
    path
}

/// All frames, head first.
fn frames(mut mp3: &[u8]) -> Vec<&[u8]> {
    const MPEG1: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const MPEG2: [usize; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let mut frames = Vec::new();
    while !mp3.is_empty() {
        assert_eq!(mp3[0], 0xff, "a frame begins where the last one ends");
        let version = usize::from(mp3[1] >> 3 & 3);
        let (kbps, bytes_per_kbps) = if version == 3 {
            (MPEG1, 144_000)
        } else {
            (MPEG2, 72_000)
        };
        let rate_hz = [44_100, 48_000, 32_000][usize::from(mp3[2] >> 2 & 3)] >> [2, 0, 1, 0][version];
        let bytes = kbps[usize::from(mp3[2] >> 4)] * bytes_per_kbps / rate_hz + usize::from(mp3[2] >> 1 & 1);
        let (frame, rest) = mp3.split_at(bytes);
        frames.push(frame);
        mp3 = rest;
    }
    frames
}

/// What `ffmpeg -c:a copy` finds in a file, one after the other.
fn copied_by_ffmpeg(path: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.mp3");
    let arguments = format!(
        "-i {} -map 0:a -c:a copy -write_xing 0 -id3v2_version 0",
        path.display()
    );
    testkit::media::ffmpeg(&arguments, &copy);
    fs::read(copy).unwrap()
}

/// A file as libavcodec decodes it, at its own rate, interleaved.
fn decoded_by_ffmpeg(path: &Path) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("decoded.raw");
    testkit::media::ffmpeg(&format!("-i {} -map 0:a -f f32le", path.display()), &raw);
    let bytes = fs::read(raw).unwrap();
    bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

fn our_copy(mp3: &Mp3) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.mp3");
    fs::write(&path, &mp3.bytes).unwrap();
    decoded_by_ffmpeg(&path)
}

#[test]
fn the_frames_are_those_of_the_source_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["avi", "mp4", "mkv", "ts", "mp3"] {
        for (rate_hz, audio) in [(44_100, "-b:a 128k"), (48_000, "-q:a 4 -ac 1"), (22_050, "-b:a 64k")] {
            let path = source(folder.path(), extension, rate_hz, audio);
            let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
            let case = path.display();
            let head_bytes = mp3.converted.head.len();
            assert!(mp3.frames()[head_bytes..] == copied_by_ffmpeg(&path), "{case}");
            assert_eq!(mp3.converted.errors, 0, "{case}");
            assert_eq!(u64::from(mp3.converted.sample_rate_hz), u64::from(rate_hz), "{case}");

            // And it plays as the source does.
            let channels = usize::from(mp3.converted.channels);
            let expected = decoded_by_ffmpeg(&path);
            let ours = our_copy(&mp3);
            assert_eq!((ours.len() / channels) as u64, mp3.converted.samples, "{case}");
            assert_eq!(decode(&mp3.bytes).frames(), mp3.converted.samples, "{case}");
            assert!(ours.starts_with(&expected), "{case}");
            // Matroska cuts off at the end alone, which a head frame cannot say.
            let too_long = (ours.len() - expected.len()) / channels;
            assert!(
                too_long < if extension == "mkv" { 1152 } else { 1 },
                "{case}: {too_long}"
            );
        }
    }
}

#[test]
fn start_and_end_are_exact_and_all_frames_but_the_first_are_the_sources() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, rate_hz, audio) in [
        ("mkv", 44_100, "-b:a 128k"),
        ("mp4", 48_000, "-q:a 0"),
        ("mp3", 22_050, "-b:a 64k"),
        ("avi", 48_000, "-b:a 320k"),
        ("avi", 16_000, "-b:a 24k -ac 1"),
    ] {
        let path = source(folder.path(), extension, rate_hz, audio);
        let whole = decoded_by_ffmpeg(&path);
        for (start_ms, end_ms) in [(1_000, 3_000), (2_340, 2_400), (100, 7_020), (7_000, 60_000)] {
            let settings = Settings {
                start: Some(Duration::from_millis(start_ms)),
                end: Some(Duration::from_millis(end_ms)),
                ..settings_for(&path)
            };
            let mp3 = convert_file(&path, &settings).unwrap();
            let channels = usize::from(mp3.converted.channels);
            let at = |ms: u64| (usize::try_from(ms * u64::from(rate_hz) / 1000).unwrap() * channels).min(whole.len());
            let expected = &whole[at(start_ms)..at(end_ms)];
            let case = format!("{} {start_ms} to {end_ms}", path.display());
            assert_eq!(mp3.converted.samples, (expected.len() / channels) as u64, "{case}");
            assert_eq!(decode(&mp3.bytes).frames(), mp3.converted.samples, "{case}");
            assert!(
                our_copy(&mp3) == expected,
                "{case}: bit by bit what the whole decodes to there"
            );
            let original = copied_by_ffmpeg(&path);
            let original = frames(&original);
            let ours = frames(mp3.frames());
            // The head, and the frame that holds the reservoir.
            assert!(ours[2..].iter().all(|frame| original.contains(frame)), "{case}");
        }
    }
}

#[test]
fn a_start_behind_the_end_of_the_sound_is_the_owners_to_correct() {
    let path = testkit::media::sample("avi-mpeg4-mp3");
    let settings = Settings {
        start: Some(Duration::from_secs(60)),
        ..settings_for(&path)
    };
    assert_eq!(verdict(convert_file(&path, &settings)), "no_audio");
}

#[test]
fn whatever_is_asked_of_the_sound_has_it_encoded() {
    let path = testkit::media::sample("mp3-22050");
    let plain = settings_for(&path);
    let original = copied_by_ffmpeg(&path);
    let is_copy = |settings: &Settings| {
        let mp3 = convert_file(&path, settings).unwrap();
        mp3.bytes.ends_with(&original)
    };
    assert!(is_copy(&plain));
    for asked in [
        Settings {
            rate: Some(Rate::default()),
            ..plain.clone()
        },
        Settings {
            quality: Some(5),
            ..plain.clone()
        },
        Settings {
            channels: Some(1),
            ..plain.clone()
        },
        Settings {
            sample_rate_hz: Some(22_050),
            ..plain.clone()
        },
    ] {
        assert!(!is_copy(&asked), "{asked:?}");
    }
}

/// An AVI without a picture whose sound is these frames of 44.1 kHz in stereo, each in a chunk of its own.
fn avi_of(frames: &[&[u8]]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let chunk = |name: &[u8; 4], bytes: &[u8]| {
        let padding = &[0][..bytes.len() % 2];
        [&name[..], &words(&[length(bytes)]), bytes, padding].concat()
    };
    let count = u32::try_from(frames.len()).unwrap();
    let main_header = words(&[26_122, 0, 0, 0, count, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let stream_header = [
        &b"auds"[..],
        &words(&[0, 0, 0, 0, 1152, 44_100, 0, count, 0, 0, 0, 0, 0]),
    ]
    .concat();
    // WAVEFORMATEX of MP3, and its MPEGLAYER3WAVEFORMAT.
    let format = words(&[
        0x0002_0055,
        44_100,
        16_000,
        1152,
        0x0001_000c,
        0x0002_0000,
        0x01a1_0000,
        0x0000_0001,
    ]);
    let stream = [
        &b"strl"[..],
        &chunk(b"strh", &stream_header),
        &chunk(b"strf", &format[..30]),
    ]
    .concat();
    let header = [&b"hdrl"[..], &chunk(b"avih", &main_header), &chunk(b"LIST", &stream)].concat();
    let data: Vec<_> = frames.iter().map(|frame| chunk(b"00wb", frame)).collect();
    let body = [
        &b"AVI "[..],
        &chunk(b"LIST", &header),
        &chunk(b"LIST", &[&b"movi"[..], &data.concat()].concat()),
    ];
    chunk(b"RIFF", &body.concat())
}

/// The padding that LAME's head tells of belongs to the end of the whole.
#[test]
fn a_part_of_an_mp3_with_its_own_head_is_as_long_as_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    // Of each length the last frame is filled up otherwise.
    for samples in [88_200, 88_500, 88_800, 89_100] {
        let path = folder.path().join(format!("{samples}.mp3"));
        let sound = format!("-f lavfi -i aevalsrc={SOUND}:s=44100 -af atrim=end_sample={samples} -id3v2_version 0");
        testkit::media::ffmpeg(&format!("{sound} -c:a libmp3lame -b:a 128k"), &path);
        let mp3 = fs::read(&path).unwrap();
        let avi = avi_of(&frames(&mp3));
        let settings = settings_for(Path::new("head.avi"));
        let whole = convert_bytes(avi.clone(), &settings).unwrap();
        assert_eq!(whole.converted.samples, samples, "the head is understood");
        for end_ms in (1_020..1_050).step_by(3) {
            let part = Settings {
                start: Some(Duration::from_millis(1_010)),
                end: Some(Duration::from_millis(end_ms)),
                ..settings.clone()
            };
            let part = convert_bytes(avi.clone(), &part).unwrap();
            let at = |ms: u64| (ms * 44_100 + 500) / 1000;
            let expected = at(end_ms) - at(1_010);
            assert_eq!(part.converted.samples, expected, "{samples} samples, to {end_ms} ms");
        }
    }
}

#[test]
fn junk_between_frames_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = source(folder.path(), "mp3", 44_100, "-b:a 128k -write_xing 0");
    let original = copied_by_ffmpeg(&path);
    let mut damaged = Vec::new();
    for (number, frame) in frames(&original).into_iter().enumerate() {
        if number > 0 && number % 100 == 0 {
            damaged.extend([0x55; 300]);
        }
        damaged.extend(frame);
    }
    let mp3 = convert_bytes(damaged, &settings_for(&path)).unwrap();
    assert!(mp3.frames()[mp3.converted.head.len()..] == original);
    assert!(mp3.converted.errors <= 3, "{}", mp3.converted.errors);
}

#[test]
fn an_mp3_that_changes_its_kind_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stereo = source(folder.path(), "mp3", 44_100, "-b:a 128k -write_xing 0 -id3v2_version 0");
    let mono = source(
        folder.path(),
        "mp3",
        44_100,
        "-ac 1 -b:a 64k -write_xing 0 -id3v2_version 0",
    );
    let (stereo_frames, mono_frames) = (fs::read(&stereo).unwrap(), fs::read(&mono).unwrap());
    let settings = settings_for(&stereo);

    let late = [stereo_frames.as_slice(), &mono_frames].concat();
    let outcome = convert_bytes(late.clone(), &settings);
    assert!(matches!(outcome, Err(ConvertError::BeginAnew(Anew::Encoded))));
    let encoding = settings.anew(Anew::Encoded).unwrap();
    let encoded = convert_bytes(late, &encoding).unwrap();
    let seconds = decode(&encoded.bytes).seconds();
    assert!((seconds - 16.0).abs() < 0.3, "{seconds}");

    let a_trace = [
        stereo_frames.as_slice(),
        &frames(&mono_frames)[..1].concat(),
        &stereo_frames,
    ]
    .concat();
    let copied = convert_bytes(a_trace, &settings).unwrap();
    assert_eq!(copied.converted.errors, 1);
    assert!(copied.frames()[copied.converted.head.len()..] == stereo_frames.repeat(2));

    let few = frames(&stereo_frames)[..10].concat();
    let early = convert_bytes([few.as_slice(), &mono_frames].concat(), &settings).unwrap();
    assert!(!early.bytes.ends_with(&mono_frames));
    assert!((decode(&early.bytes).seconds() - 8.3).abs() < 0.3);
}

/// The sound pauses before the frame of that number, for as long as so many play.
const PAUSE_AT: usize = 100;
const PAUSE_FRAMES: usize = 101;

/// What must hold where the sound pauses: the rest is as in the whole, bit by bit, once the decoder has forgotten the
/// silence before it.
fn assert_pauses(mp3: &Mp3, whole: &[f32], case: &str) {
    let channels = usize::from(mp3.converted.channels);
    let at = |frame: usize| frame * 1152 * channels;
    let ours = our_copy(mp3);
    let (from, until) = (at(PAUSE_AT), at(PAUSE_AT + PAUSE_FRAMES));
    let memory = at(1) + 512 * channels;
    assert!(ours[..from] == whole[..from], "{case}: before");
    let silent = &ours[from + memory..until];
    assert!(silent.iter().all(|sample| sample.abs() < 1e-4), "{case}: within");
    // The end that Matroska has cut off is longer than a head frame can say.
    assert!(
        ours[until + memory..].starts_with(&whole[from + memory..]),
        "{case}: behind"
    );
}

#[test]
fn an_mp3_with_a_gap_is_copied_with_frames_of_silence_in_it() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, rate_hz, audio) in [
        ("mkv", 44_100, "-b:a 128k"),
        ("mkv", 48_000, "-q:a 2"),
        ("mp4", 48_000, "-b:a 320k"),
        ("flv", 44_100, "-b:a 64k -ac 1"),
    ] {
        let whole = source(folder.path(), "mkv", rate_hz, audio);
        let paused = folder.path().join("paused.mkv");
        let shift = format!("{PAUSE_FRAMES}*1152/{rate_hz}/TB");
        let pause = format!("-bsf:a setts=ts=if(gte(N\\,{PAUSE_AT})\\,TS+{shift}\\,TS)");
        testkit::media::ffmpeg(&format!("-i {} -map 0 -c copy {pause}", whole.display()), &paused);
        let path = folder.path().join("in").with_extension(extension);
        testkit::media::ffmpeg(&format!("-i {} -map 0 -c copy", paused.display()), &path);
        let case = format!("{extension} {rate_hz} {audio}");
        let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
        let whole = decoded_by_ffmpeg(&whole);
        assert_pauses(&mp3, &whole, &case);
        let original = copied_by_ffmpeg(&path);
        let original = frames(&original);
        let ours = frames(mp3.frames());
        let kept = ours.iter().filter(|frame| original.contains(frame)).count();
        assert_eq!(
            (kept, ours.len()),
            (original.len(), original.len() + PAUSE_FRAMES + 1),
            "{case}"
        );

        // A part that begins in the silence, and one that ends in it. To the end it is as exact as the head frame of
        // the whole, which cannot cut off less than a decoder's own delay.
        for (start_ms, end_ms, within_ms) in [(4_000, 60_000, 30), (1_000, 4_500, 1)] {
            let settings = Settings {
                start: Some(Duration::from_millis(start_ms)),
                end: Some(Duration::from_millis(end_ms)),
                ..settings_for(&path)
            };
            let part = convert_file(&path, &settings).unwrap();
            let expected = Duration::from_millis(end_ms).min(mp3.converted.duration) - Duration::from_millis(start_ms);
            let found = part.converted.duration;
            assert!(
                found.abs_diff(expected) < Duration::from_millis(within_ms),
                "{case}: {found:?}"
            );
            assert_eq!(decode(&part.bytes).frames(), part.converted.samples, "{case}");
        }

        let dropping = Settings {
            gaps: Gaps::Drop,
            ..settings_for(&path)
        };
        let dropped = convert_file(&path, &dropping).unwrap();
        assert!(
            dropped.frames()[dropped.converted.head.len()..] == copied_by_ffmpeg(&path),
            "{case}"
        );
        let part = Settings {
            start: Some(Duration::from_secs(2)),
            ..dropping
        };
        assert!(
            matches!(convert_file(&path, &part), Err(ConvertError::BeginAnew(Anew::Encoded))),
            "{case}"
        );
    }
}

#[test]
fn an_mp3_that_begins_after_the_picture_is_copied_behind_frames_of_silence() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["mkv", "mp4", "ts"] {
        let path = folder.path().join("late").with_extension(extension);
        let video = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=6 -c:v libx264 -preset ultrafast";
        let sound = format!("-itsoffset 2 -f lavfi -i aevalsrc={SOUND}:s=48000:d=4");
        testkit::media::ffmpeg(&format!("{sound} {video} -map 0 -map 1 -c:a libmp3lame"), &path);
        let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
        let source = decoded_by_ffmpeg(&path);
        let ours = our_copy(&mp3);
        assert_eq!(decode(&mp3.bytes).frames(), mp3.converted.samples, "{extension}");
        let silent = ours.iter().position(|sample| sample.abs() > 1e-3).unwrap() / 2;
        assert!((94_000..98_500).contains(&silent), "{extension}: {silent}");
        // Behind the first frame, which the decoder blends with the silence, it is the source's own.
        let behind = source.len() - 2 * 2 * 1152;
        let theirs = &source[source.len() - behind..];
        assert!(
            ours.windows(theirs.len())
                .rev()
                .take(2 * 1152)
                .any(|part| part == theirs),
            "{extension}"
        );
        assert!(
            mp3.converted.duration.abs_diff(Duration::from_secs(6)) < Duration::from_millis(80),
            "{extension}"
        );
    }
}

#[test]
fn the_head_tells_constant_from_variable_and_where_to_seek() {
    let folder = tempfile::tempdir().unwrap();
    for (audio, name) in [("-b:a 128k", b"Info"), ("-q:a 4", b"Xing")] {
        let path = source(folder.path(), "avi", 44_100, audio);
        let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
        let head = &mp3.converted.head;
        let tag = head.windows(4).position(|word| word == name).unwrap();
        let number = |at: usize| u32::from_be_bytes(head[tag + at..][..4].try_into().unwrap());
        assert_eq!(number(8) as usize, frames(mp3.frames()).len() - 1);
        assert_eq!(number(12) as usize, mp3.frames().len());
        let places = &head[tag + 16..][..100];
        assert!(places.is_sorted() && places[99] > 240, "{places:?}");
    }
}

/// The whole frames of some bytes, without what remains at their end.
fn whole_frames(mut bytes: Vec<u8>) -> Vec<u8> {
    const FRAME_BYTES: [usize; 2] = [417, 418];
    let mut end = 0;
    while bytes
        .get(end..end + 4)
        .is_some_and(|header| header[..2] == [0xff, 0xfb])
    {
        let length = FRAME_BYTES[usize::from(bytes[end + 2] >> 1 & 1)];
        if end + length > bytes.len() {
            break;
        }
        end += length;
    }
    bytes.truncate(end);
    bytes
}

#[test]
fn a_file_that_is_cut_off_keeps_every_whole_frame() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["avi", "mkv", "mp4", "mov", "ts", "flv", "asf", "wav", "nut", "mp3"] {
        let path = folder.path().join("whole").with_extension(extension);
        let faststart = if matches!(extension, "mp4" | "mov") {
            "-movflags +faststart"
        } else {
            ""
        };
        testkit::media::ffmpeg(
            &format!("-f lavfi -i aevalsrc={SOUND}:s=44100:d=4 -c:a libmp3lame -b:a 128k {faststart}"),
            &path,
        );
        let whole = fs::read(&path).unwrap();
        for cut in [
            whole.len() * 6 / 10,
            whole.len() * 6 / 10 + 150,
            whole.len() * 6 / 10 + 300,
        ] {
            let cut_path = folder.path().join("cut").with_extension(extension);
            fs::write(&cut_path, &whole[..cut]).unwrap();
            let expected = whole_frames(copied_by_ffmpeg(&cut_path));
            assert!(expected.len() > 20_000);
            let mp3 = convert_file(&cut_path, &settings_for(&cut_path)).unwrap();
            let ours = &mp3.frames()[mp3.converted.head.len()..];
            assert!(ours == expected, "{extension}: {} of {}", ours.len(), expected.len());
            // And nothing of them is said to be left out at the end.
            let frames = expected.len() as u64 * 2 / 835;
            let played = mp3.converted.samples;
            assert!(
                frames * 1152 - played <= 1105,
                "{extension}: {played} of {frames} frames"
            );
        }
    }
}

/// What the head of the whole tells of its end is not true of a part.
#[test]
fn of_a_part_with_the_head_of_the_whole_nothing_is_cut_off_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.mp3");
    let sound = format!("-f lavfi -i aevalsrc={SOUND}:s=44100 -af atrim=end_sample=88200 -id3v2_version 0");
    testkit::media::ffmpeg(&format!("{sound} -c:a libmp3lame -b:a 128k"), &path);
    let mp3 = fs::read(&path).unwrap();
    let all = frames(&mp3);
    // The head, and sixty of the frames.
    let part = convert_bytes(avi_of(&all[..61]), &settings_for(Path::new("head.avi"))).unwrap();
    assert_eq!(part.converted.samples, 60 * 1152 - 1105);
}

#[test]
fn junk_before_the_first_frame_is_left_out_and_the_rest_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let path = source(folder.path(), "mp3", 44_100, "-b:a 128k -write_xing 0 -id3v2_version 0");
    let mp3 = fs::read(&path).unwrap();
    let all = frames(&mp3);
    // The rest of a frame whose beginning is in no file, as in a recording that was cut.
    let junk = &all[7][100..];
    let mut pieces = all.clone();
    pieces.insert(0, junk);
    pieces.insert(20, junk);
    let copied = convert_bytes(avi_of(&pieces), &settings_for(Path::new("junk.avi"))).unwrap();
    assert!(copied.frames()[copied.converted.head.len()..] == mp3);
    assert!(
        (1..=2).contains(&copied.converted.errors),
        "{}",
        copied.converted.errors
    );
}
