//! Of several audio tracks, the one that a listener wants.

use std::fs;
use std::path::{Path, PathBuf};

use media::{Settings, Track, Why};
use testkit::media::ffmpeg;

use crate::support::{Mp3, convert_file, decode, settings_for};

/// A stereo track of 300, a surround track of 2000 and a mono track of 1000 Hz, for a second.
fn tracks(folder: &Path, name: &str, options: &str) -> PathBuf {
    let tone = |hz: u16, channels: usize| {
        let sides = vec![format!("0.4*sin({hz}*2*PI*t)"); channels].join("|");
        format!("-f lavfi -i aevalsrc={sides}:s=48000:d=1 ")
    };
    let path = folder.join(name);
    let inputs = [tone(300, 2), tone(2000, 6), tone(1000, 1)].concat();
    ffmpeg(
        &format!("-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 {inputs} -map 0 -map 1 -map 2 -map 3 {options}"),
        &path,
    );
    path
}

/// The tone of the track that was taken, its number, and why.
fn taken(mp3: &Mp3) -> (u16, u32, Why) {
    let track = mp3.converted.track;
    assert_eq!(track.of, 3);
    let notes = &mp3.converted.notes;
    assert_eq!(track.why != Why::Asked, notes.iter().any(|note| note.code() == "track"));
    (decode(&mp3.bytes).tones(0)[0], track.number, track.why)
}

fn plainly(path: &Path) -> (u16, u32, Why) {
    taken(&convert_file(path, &settings_for(path)).unwrap())
}

#[test]
fn a_commentary_or_a_description_is_not_taken_while_there_is_a_main_track() {
    let folder = tempfile::tempdir().unwrap();
    let video = "-c:v mpeg4 -c:a ac3 -disposition:a 0";
    // The description has the most channels.
    for mark in ["visual_impaired", "comment", "hearing_impaired"] {
        let path = tracks(folder.path(), "d.mkv", &format!("{video} -disposition:a:1 {mark}"));
        assert_eq!(plainly(&path), (300, 0, Why::Main), "{mark}");
    }
    // The commentary is marked as the default.
    let path = tracks(
        folder.path(),
        "c.mkv",
        &format!("{video} -disposition:a:0 0 -disposition:a:1 default+comment"),
    );
    assert_eq!(plainly(&path).0, 300);
    // Only the title tells.
    for title in [
        "Director's_Commentary",
        "Kommentar_der_Regie",
        "Audiodescripción",
        "English_Descriptive_5.1",
    ] {
        let options = format!("{video} -metadata:s:a:1 title={title}");
        let path = tracks(folder.path(), "t.mkv", &options);
        assert_eq!(plainly(&path).0, 300, "{title}");
    }
    // An explicit choice takes any.
    let settings = Settings {
        track: Some(Track::Index(1)),
        ..settings_for(&path)
    };
    let (tone, number, why) = taken(&convert_file(&path, &settings).unwrap());
    assert_eq!((tone, number, why), (2000, 1, Why::Asked));
}

#[test]
fn in_a_broadcast_too_a_description_is_known_by_its_mark() {
    let folder = tempfile::tempdir().unwrap();
    let options = "-c:v mpeg2video -c:a ac3 -metadata:s:a language=eng -disposition:a:1 visual_impaired";
    let path = tracks(folder.path(), "d.ts", options);
    assert_eq!(plainly(&path), (300, 0, Why::Main));
}

#[test]
fn where_all_tracks_are_beside_the_main_one_the_best_of_them_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = tracks(folder.path(), "c.mkv", "-c:v mpeg4 -c:a ac3 -disposition:a comment");
    assert_eq!(plainly(&path), (2000, 1, Why::MostChannels));
}

#[test]
fn what_set_the_track_apart_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let plain = "-c:v mpeg4 -c:a ac3";
    for (options, expected) in [
        ("-disposition:a 0", (2000, 1, Why::MostChannels)),
        ("-disposition:a 0 -disposition:a:2 default", (1000, 2, Why::Default)),
        ("-disposition:a 0 -ac 2", (300, 0, Why::First)),
        ("-disposition:a comment -disposition:a:2 0", (1000, 2, Why::Main)),
    ] {
        let path = tracks(folder.path(), "w.mkv", &format!("{plain} {options}"));
        assert_eq!(plainly(&path), expected, "{options}");
    }
    let sample = testkit::media::sample("mp4-h264-aac");
    let only = convert_file(&sample, &settings_for(&sample)).unwrap().converted.track;
    assert_eq!((only.number, only.of, only.why), (0, 1, Why::Only));
}

#[test]
fn a_track_that_can_be_decoded_is_taken_before_one_that_cannot() {
    let folder = tempfile::tempdir().unwrap();
    // The one with the most channels, and marked as the default, is of a kind that nobody decodes.
    let options = "-c:v mpeg4 -c:a aac -c:a:1 pcm_s16le -disposition:a default";
    let path = tracks(folder.path(), "u.mov", options);
    let mut bytes = fs::read(&path).unwrap();
    for known in [b"sowt", b"lpcm"] {
        while let Some(at) = bytes.windows(4).position(|tag| tag == known) {
            bytes[at..at + 4].copy_from_slice(b"apac");
        }
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(plainly(&path), (300, 0, Why::Decodable));
}

#[test]
fn a_main_track_that_begins_late_is_taken_before_a_commentary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.mkv");
    let main = "-itsoffset 30 -f lavfi -i aevalsrc=0.4*sin(600*PI*t):s=48000:d=5";
    let beside = "-f lavfi -i aevalsrc=0.4*sin(4000*PI*t):s=48000:d=40";
    let options = "-map 0 -map 1 -map 2 -c:v mpeg4 -c:a aac -disposition:a:0 default -disposition:a:1 comment";
    ffmpeg(
        &format!("-f lavfi -i testsrc2=size=64x48:rate=25:duration=40 {main} {beside} {options}"),
        &path,
    );
    let mp3 = convert_file(&path, &settings_for(&path)).unwrap();
    let track = mp3.converted.track;
    assert_eq!((track.number, track.why), (0, Why::Main));
    assert!(decode(&mp3.bytes).tones(0).ends_with(&[300, 300]));
}
