//! The chapters of the source are those of the MP3, where they lie in it.

use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use id3::Tag;
use media::{Gaps, Settings};
use testkit::media::ffmpeg;

use crate::support::{convert_file, decode, settings_for};

/// A file of twelve seconds with `count` chapters of the same length, named "Chapter 1 é" and so on.
fn book(folder: &Path, name: &str, arguments: &str, count: u32) -> PathBuf {
    let mut description = ";FFMETADATA1\ntitle=A Book\n".to_owned();
    for number in 0..count {
        let (start, end) = (12_000 * number / count, 12_000 * (number + 1) / count);
        write!(
            description,
            "[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle=Chapter {} é\n",
            number + 1
        )
        .unwrap();
    }
    let metadata = folder.join("metadata.txt");
    fs::write(&metadata, description).unwrap();
    let path = folder.join(name);
    ffmpeg(
        &format!(
            "-f lavfi -i sine=440:duration=12 -i {} -map 0 -map_metadata 1 -map_chapters 1 {arguments}",
            metadata.display()
        ),
        &path,
    );
    path
}

/// The chapters of the MP3 that becomes of a file: from when to when in milliseconds, and their titles.
fn chapters_of(path: &Path, settings: &Settings) -> Vec<(u32, u32, String)> {
    let mp3 = convert_file(path, settings).unwrap();
    assert_eq!(decode(&mp3.bytes).frames(), mp3.converted.samples, "{}", path.display());
    if mp3.converted.head_at == 0 {
        return Vec::new();
    }
    let tag = Tag::read_from2(Cursor::new(&mp3.bytes)).unwrap();
    let chapters: Vec<_> = tag.chapters().collect();
    let mut contents = tag.tables_of_contents();
    if let Some(contents) = contents.next() {
        let elements: Vec<_> = chapters.iter().map(|chapter| chapter.element_id.clone()).collect();
        assert!(contents.top_level && contents.ordered && contents.elements == elements);
    } else {
        assert!(chapters.is_empty());
    }
    assert_eq!(contents.next(), None);
    chapters
        .into_iter()
        .map(|chapter| {
            assert_eq!((chapter.start_offset, chapter.end_offset), (u32::MAX, u32::MAX));
            let title = chapter.frames.first().and_then(|frame| frame.content().text());
            (
                chapter.start_time,
                chapter.end_time,
                title.unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

#[track_caller]
fn check(found: &[(u32, u32, String)], expected: &[(u32, u32, &str)]) {
    let near = |(found, expected): (&(u32, u32, String), &(u32, u32, &str))| {
        found.0.abs_diff(expected.0) <= 50 && found.1.abs_diff(expected.1) <= 50 && found.2 == expected.2
    };
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(near),
        "{found:?}"
    );
}

#[test]
fn chapters_carry_over_from_every_container_whether_the_sound_is_encoded_or_copied() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("book.m4b", "-c:a aac"),
        ("faststart.m4b", "-c:a aac -movflags +faststart"),
        ("track.mov", "-c:a aac -movflags +disable_chpl"),
        ("book.mp3", "-c:a libmp3lame -id3v2_version 3"),
        ("v4.mp3", "-c:a libmp3lame"),
        ("book.mka", "-c:a libopus"),
        ("book.mkv", "-c:a libmp3lame"),
        ("book.opus", "-c:a libopus"),
        ("book.nut", "-c:a libmp3lame"),
    ] {
        let path = book(folder.path(), name, arguments, 4);
        let found = chapters_of(&path, &settings_for(&path));
        check(
            &found,
            &[
                (0, 3_000, "Chapter 1 é"),
                (3_000, 6_000, "Chapter 2 é"),
                (6_000, 9_000, "Chapter 3 é"),
                (9_000, 12_000, "Chapter 4 é"),
            ],
        );
    }
}

#[test]
fn chapters_are_moved_and_cut_with_a_part_of_the_sound() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("book.m4b", "-c:a aac"),
        ("book.mp3", "-c:a libmp3lame"),
        ("book.mkv", "-c:a libopus"),
    ] {
        let path = book(folder.path(), name, arguments, 4);
        let part = Settings {
            start: Some(Duration::from_millis(4_500)),
            end: Some(Duration::from_secs(9)),
            ..settings_for(&path)
        };
        let found = chapters_of(&path, &part);
        check(&found, &[(0, 1_500, "Chapter 2 é"), (1_500, 4_500, "Chapter 3 é")]);
    }
}

#[test]
fn of_more_chapters_than_a_table_of_contents_can_hold_the_first_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = book(folder.path(), "book.mka", "-c:a libopus", 300);
    let found = chapters_of(&path, &Settings::default());
    assert_eq!(found.len(), 255);
    assert!(found[254].0.abs_diff(12_000 * 254 / 300) <= 50, "{:?}", found[254]);
    let part = Settings {
        // In the middle of a chapter.
        start: Some(Duration::from_millis(10_020)),
        ..Settings::default()
    };
    assert_eq!(chapters_of(&path, &part).len(), 50);
}

#[test]
fn chapters_are_where_the_sound_is_that_begins_late_and_whose_silence_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let sound = book(folder.path(), "book.mka", "-c:a libopus", 4);
    let path = folder.path().join("late.mkv");
    let picture = "-f lavfi -i testsrc2=size=64x48:rate=25:duration=15";
    ffmpeg(
        &format!(
            "{picture} -itsoffset 3 -i {} -map 0 -map 1 -map_chapters 1 -c:v mpeg4 -c:a copy",
            sound.display()
        ),
        &path,
    );
    let four = |from: u32| {
        [1, 2, 3, 4].map(|number| {
            let start = from + 3_000 * (number - 1);
            (start, start + 3_000, format!("Chapter {number} é"))
        })
    };
    let expect = |found: &[(u32, u32, String)], from| {
        let expected = four(from);
        check(
            found,
            &expected
                .each_ref()
                .map(|(start, end, title)| (*start, *end, title.as_str())),
        );
    };
    expect(&chapters_of(&path, &settings_for(&path)), 3_000);
    let dropped = Settings {
        gaps: Gaps::Drop,
        ..settings_for(&path)
    };
    expect(&chapters_of(&path, &dropped), 0);
    // A part that ends before the sound begins.
    let before = Settings {
        end: Some(Duration::from_secs(1)),
        ..dropped
    };
    assert!(convert_file(&path, &before).is_err());
}
