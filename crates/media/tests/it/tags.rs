//! What a source says of itself is in front of the MP3.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use media::{Settings, Source};
use testkit::media::ffmpeg;

use crate::support::{convert_file, decode, settings_for};

/// The tag as the `ffprobe` command reads it, without what it adds itself.
fn tag_by_ffprobe(mp3: &Path) -> BTreeMap<String, String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format_tags", "-of", "json"])
        .arg(mp3)
        .output()
        .unwrap();
    assert!(output.status.success());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tags = found["format"]["tags"].as_object().cloned().unwrap_or_default();
    tags.into_iter()
        .filter(|(key, _)| key != "encoder")
        .map(|(key, value)| (key, value.as_str().unwrap().to_owned()))
        .collect()
}

/// Converts and reads the tag back.
fn tag_of(path: &Path, settings: &Settings) -> BTreeMap<String, String> {
    let mp3 = convert_file(path, settings).unwrap();
    assert!(
        mp3.converted.head_at == 0 || mp3.bytes.starts_with(b"ID3"),
        "{}",
        path.display()
    );
    assert_eq!(decode(&mp3.bytes).frames(), mp3.converted.samples, "{}", path.display());
    let folder = tempfile::tempdir().unwrap();
    let tagged = folder.path().join("tagged.mp3");
    fs::write(&tagged, &mp3.bytes).unwrap();
    tag_by_ffprobe(&tagged)
}

fn expected(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A folder with a file of that kind that carries these tags.
fn tagged(extension: &str, codec: &str, arguments: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("ffmpeg")
        .args([
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "sine=440:duration=1",
            "-c:a",
            codec,
        ])
        .args(arguments)
        .arg(folder.path().join("song").with_extension(extension))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

#[test]
fn title_artist_album_date_track_comment_and_language_carry_over() {
    let metadata = [
        "-metadata",
        "title=Ein Stück 音楽",
        "-metadata",
        "artist=Somebody",
        "-metadata",
        "album=An Album",
        "-metadata",
        "date=2024-05-01",
        "-metadata",
        "track=3/12",
        "-metadata",
        "comment=Größe, 100 %",
    ];
    for (extension, codec) in [
        ("mp4", "aac"),
        ("mkv", "libopus"),
        ("mp3", "libmp3lame"),
        ("flac", "flac"),
        ("ogg", "libvorbis"),
        ("opus", "libopus"),
        ("wma", "wmav2"),
        ("wav", "pcm_s16le"),
    ] {
        let folder = tagged(extension, codec, &metadata);
        let path = folder.path().join("song").with_extension(extension);
        let mut tag = tag_of(&path, &settings_for(&path));
        // Their writers drop these, or write something else.
        let date = tag.remove("date").unwrap_or_default();
        assert!(date.is_empty() || date.starts_with("2024"), "{extension}: {date}");
        tag.remove("track");
        let mut wanted = expected(&[
            ("title", "Ein Stück 音楽"),
            ("artist", "Somebody"),
            ("album", "An Album"),
            ("comment", "Größe, 100 %"),
        ]);
        wanted.retain(|key, _| extension != "wma" || tag.contains_key(key));
        assert_eq!(tag, wanted, "{extension}");
    }
    let folder = tagged(
        "mkv",
        "libopus",
        &["-metadata:s:a:0", "language=ger", "-metadata:s:a:0", "title=Stereo"],
    );
    let path = folder.path().join("song.mkv");
    assert_eq!(
        tag_of(&path, &settings_for(&path)),
        expected(&[("title", "song"), ("language", "deu")])
    );
    let folder = tagged(
        "mp4",
        "aac",
        &["-metadata", "date=2024-05-01", "-metadata", "track=3/12"],
    );
    assert_eq!(
        tag_of(&folder.path().join("song.mp4"), &Settings::default()),
        expected(&[("date", "2024-05-01"), ("track", "3/12")])
    );
}

/// What a music shop writes into a file.
const OF_A_SHOP: [(&str, &str); 18] = [
    ("title", "Song"),
    ("artist", "First"),
    ("album", "Album"),
    ("album_artist", "Various"),
    ("composer", "Composer"),
    ("genre", "Jazz"),
    ("disc", "1/2"),
    ("track", "3/12"),
    ("date", "2012-10-09"),
    ("copyright", "2012 Label"),
    ("lyrics", "line one\nline two"),
    ("comment", "line one\nline two\n\nline four"),
    ("REPLAYGAIN_TRACK_GAIN", "-7.03 dB"),
    ("publisher", "Label"),
    ("isrc", "QMTH31200012"),
    ("bpm", "120"),
    ("compilation", "1"),
    ("Of My Own", "Größe, 100 %"),
];

/// A folder with a file of that kind that a shop has tagged.
fn tagged_by_a_shop(extension: &str, codec: &str) -> tempfile::TempDir {
    let entries = OF_A_SHOP.map(|(key, value)| format!("{key}={value}"));
    let arguments: Vec<_> = entries.iter().flat_map(|entry| ["-metadata", entry]).collect();
    tagged(extension, codec, &arguments)
}

/// The tag with the names in lower case, and lyrics without their language.
fn without_spelling(tag: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let name = |key: String| match key.to_lowercase() {
        name if name.starts_with("lyrics") => "lyrics".to_owned(),
        name => name,
    };
    tag.into_iter().map(|(key, value)| (name(key), value)).collect()
}

#[test]
fn every_tag_of_a_shop_carries_over_whether_the_sound_is_encoded_or_copied() {
    for (extension, codec) in [("flac", "flac"), ("mp3", "libmp3lame")] {
        let folder = tagged_by_a_shop(extension, codec);
        let path = folder.path().join("song").with_extension(extension);
        let copied = convert_file(&path, &settings_for(&path)).unwrap();
        let last_frames = &copied.bytes[copied.bytes.len() - 2_000..];
        assert_eq!(fs::read(&path).unwrap().ends_with(last_frames), extension == "mp3");
        let tag = tag_of(&path, &settings_for(&path));
        assert_eq!(tag["lyrics-XXX"], "line one\nline two");
        let tag = without_spelling(tag);
        for (key, value) in OF_A_SHOP {
            assert_eq!(
                tag.get(&key.to_lowercase()).map(|text| &**text),
                Some(value),
                "{key} of {extension}"
            );
        }
    }
}

#[test]
fn whatever_the_ffmpeg_command_carries_over_is_there() {
    for (extension, codec) in [
        ("mp4", "aac"),
        ("m4a", "aac"),
        ("mov", "aac"),
        ("mkv", "libopus"),
        ("webm", "libopus"),
        ("mp3", "libmp3lame"),
        ("flac", "flac"),
        ("wma", "wmav2"),
        ("wav", "pcm_s16le"),
        ("avi", "libmp3lame"),
        ("aiff", "pcm_s16be"),
        ("wv", "wavpack"),
        ("tta", "tta"),
        ("nut", "libmp3lame"),
        ("flv", "aac"),
        ("caf", "pcm_s16le"),
        ("au", "pcm_s16be"),
    ] {
        let folder = tagged_by_a_shop(extension, codec);
        let path = folder.path().join("song").with_extension(extension);
        let theirs = folder.path().join("theirs.mp3");
        ffmpeg(
            &format!("-i {} -vn -c:a libmp3lame -id3v2_version 3", path.display()),
            &theirs,
        );
        let ours = without_spelling(tag_of(&path, &Settings::default()));
        for (key, value) in without_spelling(tag_by_ffprobe(&theirs)) {
            let is_of_the_file = ["major_brand", "minor_version", "compatible_brands", "duration"].contains(&&*key);
            assert!(
                is_of_the_file || ours.get(&key) == Some(&value),
                "{key}={value} of {extension}: {ours:?}"
            );
        }
    }
}

#[test]
fn without_a_title_it_is_the_one_that_is_given_and_without_that_there_is_no_tag() {
    let path = testkit::media::sample("wav-44100");
    let named = Settings {
        title: Some("My Holiday.2024".to_owned()),
        ..Settings::default()
    };
    assert_eq!(tag_of(&path, &named), expected(&[("title", "My Holiday.2024")]));
    let mp3 = convert_file(&path, &Settings::default()).unwrap();
    assert_eq!(mp3.converted.head_at, 0);
    assert_eq!(mp3.bytes[0], 0xff, "it begins with a frame");
}

#[test]
fn hostile_tags_become_short_text_and_harm_nothing() {
    let long = format!("title={}", "ä".repeat(30_000));
    let folder = tagged(
        "mkv",
        "libopus",
        &["-metadata", &long, "-metadata", "artist=a\nb\u{7}c"],
    );
    let path = folder.path().join("song.mkv");
    let tag = tag_of(&path, &settings_for(&path));
    assert_eq!(tag["title"], "ä".repeat(500));
    assert_eq!(tag["artist"], "a bc");
    let free = "x".repeat(200_000);
    let fields: String = (0..40).map(|number| format!("field{number}={free}\n")).collect();
    let metadata = folder.path().join("metadata.txt");
    fs::write(&metadata, format!(";FFMETADATA1\n{fields}")).unwrap();
    ffmpeg(
        &format!(
            "-f lavfi -i sine=440:duration=1 -i {} -map_metadata 1 -c:a libopus",
            metadata.display()
        ),
        &folder.path().join("song.mkv"),
    );
    let mp3 = convert_file(&folder.path().join("song.mkv"), &Settings::default()).unwrap();
    assert!(
        (1_000_000..1_200_000).contains(&mp3.converted.head_at),
        "{}",
        mp3.converted.head_at
    );
    // A megabyte, bytes that are no UTF-8, and zeros: put into the file by hand.
    let folder = tagged(
        "wav",
        "pcm_s16le",
        &["-metadata", "title=TITLETITLE", "-metadata", "artist=ARTIST"],
    );
    let path = folder.path().join("song.wav");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|window| window == b"TITLETITLE").unwrap();
    bytes[at..at + 10].copy_from_slice(b"\xff\xfe\xc3(\x80T\x1b\r\nX");
    let at = bytes.windows(6).position(|window| window == b"ARTIST").unwrap();
    bytes[at..at + 6].copy_from_slice(b"AR\0IST");
    fs::write(&path, bytes).unwrap();
    let tag = tag_of(&path, &settings_for(&path));
    assert_eq!(tag["title"], "ÿþÃ(T  X");
    assert_eq!(tag["artist"], "AR");
}

#[test]
fn the_cover_is_the_sources_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("cover.jpg", "mjpeg"), ("cover.png", "png")] {
        let cover = folder.path().join(name);
        ffmpeg(
            &format!(
                "-f lavfi -i testsrc2=size=64x64:rate=1:duration=1 -frames:v 1 -c:v {codec} -pix_fmt {}",
                if codec == "png" { "rgb24" } else { "yuvj420p" }
            ),
            &cover,
        );
        let picture = fs::read(&cover).unwrap();
        for extension in ["m4a", "mp3", "flac"] {
            let song = folder.path().join("song").with_extension(extension);
            ffmpeg(
                &format!(
                    "-f lavfi -i sine=440:duration=1 -i {} -map 0 -map 1 -c:v copy -disposition:v attached_pic",
                    cover.display()
                ),
                &song,
            );
            let mp3 = convert_file(&song, &settings_for(&song)).unwrap();
            let ours = folder.path().join("ours.mp3");
            fs::write(&ours, &mp3.bytes).unwrap();
            let taken_out = folder.path().join("taken-out").with_extension(&name[6..]);
            ffmpeg(
                &format!("-i {} -map 0:v -c copy -f image2 -update 1", ours.display()),
                &taken_out,
            );
            assert!(fs::read(&taken_out).unwrap() == picture, "{name} of {extension}");
            assert_eq!(decode(&mp3.bytes).frames(), mp3.converted.samples);
        }
    }
}

#[test]
fn a_stream_gets_the_same_tag() {
    let folder = tagged("mkv", "libopus", &["-metadata", "title=Streamed"]);
    let path = folder.path().join("song.mkv");
    let streamed = Source::stream(File::open(&path).unwrap());
    let streamed = crate::support::convert(streamed, &settings_for(&path)).unwrap();
    assert!(streamed.bytes == convert_file(&path, &settings_for(&path)).unwrap().bytes);
    assert!(streamed.converted.head_at > 0);
}
