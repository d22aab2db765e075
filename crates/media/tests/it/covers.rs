//! The picture of the MP3 is the front cover of the source.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use id3::frame::{Picture, PictureType};
use id3::{Tag, TagLike as _, Version};
use media::Settings;
use testkit::media::ffmpeg;

use crate::support::{convert_file, decode, settings_for};

/// The only picture of the MP3 that becomes of a file.
fn cover_of(path: &Path) -> Picture {
    let mp3 = convert_file(path, &settings_for(path)).unwrap();
    assert_eq!(decode(&mp3.bytes).frames(), mp3.converted.samples);
    let tag = Tag::read_from2(Cursor::new(&mp3.bytes)).unwrap();
    let mut pictures = tag.pictures().cloned();
    let picture = pictures.next().unwrap();
    assert_eq!(pictures.next(), None);
    picture
}

/// A picture of one colour.
fn picture(folder: &Path, colour: &str, extension: &str) -> Vec<u8> {
    let path = folder.join(colour).with_extension(extension);
    ffmpeg(&format!("-f lavfi -i color={colour}:s=64x64:d=1 -frames:v 1"), &path);
    fs::read(path).unwrap()
}

/// A picture block of FLAC.
fn block(picture_type: u8, mime_type: &str, picture: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let mime_type = mime_type.as_bytes();
    let head = [&[0, 0, 0, picture_type][..], &length(mime_type), mime_type].concat();
    [&head[..], &[0; 20], &length(picture), picture].concat()
}

/// A FLAC with these picture blocks, in this order.
fn flac(folder: &Path, blocks: &[Vec<u8>]) -> std::path::PathBuf {
    let path = folder.join("song.flac");
    ffmpeg("-f lavfi -i sine=440:duration=1", &path);
    let mut bytes = fs::read(&path).unwrap();
    // Behind the mark and the block that comes first in every file, and is not the last here.
    let at = 4 + 4 + 34;
    assert_eq!(bytes[4], 0);
    for block in blocks.iter().rev() {
        let length = u32::try_from(block.len()).unwrap().to_be_bytes();
        let head = [6, length[1], length[2], length[3]];
        bytes.splice(at..at, head.into_iter().chain(block.iter().copied()));
    }
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_front_cover_is_taken_though_the_back_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let (blue, red) = (
        picture(folder.path(), "blue", "jpg"),
        picture(folder.path(), "red", "jpg"),
    );
    let path = flac(
        folder.path(),
        &[block(4, "image/jpeg", &blue), block(3, "image/jpeg", &red)],
    );
    let cover = cover_of(&path);
    assert_eq!((cover.picture_type, cover.data == red), (PictureType::CoverFront, true));
    let path = flac(folder.path(), &[block(4, "image/jpeg", &blue)]);
    let cover = cover_of(&path);
    assert_eq!((cover.picture_type, cover.data == blue), (PictureType::CoverBack, true));
    // The same of an MP3, whose sound is copied.
    let path = folder.path().join("song.mp3");
    ffmpeg("-f lavfi -i sine=440:duration=1", &path);
    let mut tag = Tag::new();
    for (picture_type, data) in [(PictureType::CoverBack, &blue), (PictureType::CoverFront, &red)] {
        tag.add_frame(Picture {
            mime_type: "image/jpeg".to_owned(),
            picture_type,
            description: String::new(),
            data: data.clone(),
        });
    }
    tag.write_to_path(&path, Version::Id3v24).unwrap();
    let cover = cover_of(&path);
    assert_eq!((cover.picture_type, cover.data == red), (PictureType::CoverFront, true));
}

#[test]
fn covers_in_webp_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let webp = picture(folder.path(), "green", "webp");
    let song = |name: &str, arguments: &str| {
        let path = folder.path().join(name);
        ffmpeg(&format!("-f lavfi -i sine=440:duration=1 {arguments}"), &path);
        path
    };
    let mut paths = vec![flac(folder.path(), &[block(3, "image/webp", &webp)])];
    for version in [Version::Id3v23, Version::Id3v24] {
        let path = song(&format!("{version:?}.mp3"), "");
        let mut tag = Tag::new();
        tag.add_frame(Picture {
            mime_type: "image/webp".to_owned(),
            picture_type: PictureType::CoverFront,
            description: "nice".to_owned(),
            data: webp.clone(),
        });
        tag.write_to_path(&path, version).unwrap();
        paths.push(path);
    }
    let comment = STANDARD.encode(block(3, "image/webp", &webp));
    for name in ["song.ogg", "song.opus"] {
        let codec = if name == "song.ogg" { "libvorbis" } else { "libopus" };
        paths.push(song(
            name,
            &format!("-c:a {codec} -metadata METADATA_BLOCK_PICTURE={comment}"),
        ));
    }
    paths.push(song(
        "song.mkv",
        &format!(
            "-c:a libopus -attach {}/green.webp -metadata:s:t mimetype=image/webp",
            folder.path().display()
        ),
    ));
    for path in paths {
        let cover = cover_of(&path);
        assert_eq!(
            (&*cover.mime_type, cover.picture_type, cover.data == webp),
            ("image/webp", PictureType::CoverFront, true),
            "{}",
            path.display()
        );
    }
}

#[test]
fn an_attachment_that_is_no_picture_is_no_cover() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note.txt");
    fs::write(&note, "no picture").unwrap();
    let path = folder.path().join("song.mkv");
    ffmpeg(
        &format!(
            "-f lavfi -i sine=440:duration=1 -c:a libopus -attach {} -metadata:s:t mimetype=image/webp",
            note.display()
        ),
        &path,
    );
    let mp3 = convert_file(&path, &Settings::default()).unwrap();
    assert_eq!(mp3.converted.head_at, 0);
}

#[test]
fn a_picture_beyond_bounds_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut large = picture(folder.path(), "red", "jpg");
    large.resize(17 << 20, 0);
    let path = folder.path().join("song.mp3");
    ffmpeg("-f lavfi -i sine=440:duration=1", &path);
    let mut tag = Tag::new();
    tag.add_frame(Picture {
        mime_type: "image/jpeg".to_owned(),
        picture_type: PictureType::CoverFront,
        description: String::new(),
        data: large,
    });
    tag.write_to_path(&path, Version::Id3v23).unwrap();
    let mp3 = convert_file(&path, &Settings::default()).unwrap();
    assert!(mp3.converted.head_at < 1000, "{}", mp3.converted.head_at);
}
