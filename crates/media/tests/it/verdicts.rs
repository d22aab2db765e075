//! What is said of a file whose sound cannot be converted: protected, of another kind, not there, or damaged.

use std::fs;
use std::path::{Path, PathBuf};

use media::{Settings, Track};
use testkit::media::ffmpeg;

use crate::support::{Mp3, convert_bytes, convert_file, settings_for, verdict};

const SOUND: &str = "-f lavfi -i aevalsrc=0.3*sin(880*PI*t)|0.3*sin(1320*PI*t):s=48000:d=2";
const PICTURE: &str = "-f lavfi -i testsrc2=size=64x48:rate=25:duration=2";

fn made(folder: &Path, name: &str, arguments: &str) -> PathBuf {
    let path = folder.join(name);
    ffmpeg(arguments, &path);
    path
}

fn converted(bytes: Vec<u8>) -> Result<Mp3, media::ConvertError> {
    convert_bytes(bytes, &Settings::default())
}

fn assert_says(bytes: Vec<u8>, code: &str, words: &str, what: &str) {
    let outcome = converted(bytes);
    let text = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert_eq!(verdict(outcome), code, "{what}: {text}");
    assert!(text.contains(words), "{what}: {text}");
}

fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let places: Vec<_> = (0..bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

#[test]
fn an_mp4_with_encrypted_samples_is_protected_and_none_of_them_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let encryption = "-encryption_scheme cenc-aes-ctr -encryption_key 00112233445566778899aabbccddeeff \
                      -encryption_kid a7e61c373e219033c21091fa607bf3b8 -strict -2 -f mp4";
    for codec in ["aac", "libmp3lame", "ac3", "eac3", "flac", "libopus"] {
        let path = made(folder.path(), "cenc.m4a", &format!("{SOUND} -c:a {codec} {encryption}"));
        assert_says(fs::read(path).unwrap(), "protected", "DRM", codec);
    }
}

#[test]
fn what_a_shop_protects_in_its_own_way_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let plain = fs::read(made(folder.path(), "plain.m4a", &format!("{SOUND} -c:a aac"))).unwrap();
    let apple = replaced(plain.clone(), b"mp4a", b"drms");
    assert_says(apple, "protected", "DRM", "of Apple");
    let audible = replaced(plain.clone(), b"mp4a", b"aavd");
    assert_says(audible, "protected", "DRM", "of Audible");
    // Such a file does not open at all without its key.
    let branded = replaced(replaced(plain, b"ftypM4A ", b"ftypaax "), b"mdia", b"\0\0\0\0");
    assert_says(branded, "protected", "DRM", "of Audible, by its brand");
    let matroska = fs::read(testkit::media::encrypted()).unwrap();
    assert_says(matroska, "protected", "DRM", "Matroska");
}

#[test]
fn scrambled_broadcasts_and_discs_are_protected() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = format!("{PICTURE} {SOUND} -c:v mpeg2video");
    let mut broadcast = fs::read(made(folder.path(), "plain.ts", &format!("{inputs} -c:a mp2"))).unwrap();
    for packet in broadcast.chunks_exact_mut(188) {
        let number = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
        // The tables are never scrambled.
        if (256..4096).contains(&number) && packet[3] & 0x10 != 0 {
            packet[3] |= 0xc0;
            packet[4..]
                .iter_mut()
                .for_each(|byte| *byte = byte.rotate_left(3) ^ 0x5a);
        }
    }
    assert_says(broadcast, "protected", "DRM", "a broadcast");

    let mut disc = fs::read(made(folder.path(), "plain.vob", &format!("{inputs} -c:a ac3"))).unwrap();
    for sector in disc.chunks_exact_mut(2048) {
        if let Some(at) = sector.windows(4).position(|start| start == [0, 0, 1, 0xbd]) {
            sector[at + 6] |= 0x30;
            sector[128..]
                .iter_mut()
                .for_each(|byte| *byte = byte.rotate_left(3) ^ 0x5a);
        }
    }
    assert_says(disc, "protected", "DRM", "a disc");
}

#[test]
fn a_windows_file_with_a_licence_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let plain = fs::read(made(folder.path(), "plain.wma", &format!("{SOUND} -c:a wmav2"))).unwrap();
    // The header's length and number of objects are behind its kind.
    let with_object = |object: &[u8]| {
        let mut bytes = plain.clone();
        let header_bytes = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) + object.len() as u64;
        bytes[16..24].copy_from_slice(&header_bytes.to_le_bytes());
        bytes[24] += 1;
        bytes.splice(30..30, object.iter().copied());
        bytes
    };
    let object = |kind: u128, contents: &[&[u8]]| {
        let contents = contents.concat();
        let length = contents.len() as u64 + 24;
        [&kind.to_be_bytes() as &[u8], &length.to_le_bytes(), &contents].concat()
    };
    // Content Encryption Object and Extended Content Encryption Object of the ASF specification, sections 3.14 and
    // 3.15.
    let (four, five) = (4_u32.to_le_bytes(), 5_u32.to_le_bytes());
    let texts: [&[u8]; 8] = [&four, b"none", &four, b"DRM\0", &five, b"key1\0", &five, b"http\0"];
    let licence = object(0xfbb31122_23bdd211_b4b700a0_c955fc6e, &texts);
    let extended = object(0x14e68a29_2226174c_b935dae0_7ee9289c, &[&four, b"\xff\xfe<\0"]);
    assert_says(with_object(&licence), "protected", "DRM", "the first kind");
    assert_says(with_object(&extended), "protected", "DRM", "the second kind");
    // Any other object changes nothing.
    converted(with_object(&object(7, &[b"padding."]))).unwrap();
}

/// An M4A whose AAC says that it is of that object type.
fn aac_of_type(folder: &Path, object_type: u32) -> Vec<u8> {
    let mut bytes = fs::read(made(folder, "aac.m4a", &format!("{SOUND} -c:a aac"))).unwrap();
    let at = bytes.windows(4).position(|tag| tag == b"\x05\x80\x80\x80").unwrap() + 5;
    let length = usize::from(bytes[at - 1]);
    // The escape, 48 kHz, stereo.
    let bits = 31_u32 << 27 | (object_type - 32) << 21 | 3 << 17 | 2 << 13;
    bytes[at..at + length].fill(0);
    bytes[at..at + length.min(4)].copy_from_slice(&bits.to_be_bytes()[..length.min(4)]);
    bytes
}

#[test]
fn sound_of_a_kind_that_is_not_decoded_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_says(aac_of_type(folder.path(), 42), "unsupported_audio", "xHE-AAC", "USAC");

    let plain = fs::read(made(folder.path(), "plain.mov", &format!("{SOUND} -c:a pcm_s16le"))).unwrap();
    for (tag, name) in [
        (b"apac", "Apple Positional Audio"),
        (b"mhm1", "MPEG-H 3D Audio"),
        (b"ac-4", "AC-4"),
        (b"zzzz", "zzzz"),
    ] {
        let other = replaced(plain.clone(), b"sowt", tag);
        assert_says(other, "unsupported_audio", name, "a kind in MOV");
    }

    let wave = fs::read(made(folder.path(), "plain.wav", &format!("{SOUND} -c:a pcm_s16le"))).unwrap();
    let mut unknown = wave;
    unknown[20..22].copy_from_slice(&0x7777_u16.to_le_bytes());
    assert_says(unknown, "unsupported_audio", "unknown kind", "a kind in WAV");
}

#[test]
fn a_track_that_is_announced_and_empty_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, codecs) in [
        ("mkv", "-c:v mpeg4 -c:a aac"),
        ("mkv", "-c:v mpeg4 -c:a libmp3lame"),
        ("mp4", "-c:v mpeg4 -c:a aac -movflags +frag_keyframe+empty_moov"),
        ("mov", "-c:v mpeg4 -c:a pcm_s16le -movflags +frag_keyframe+empty_moov"),
        ("avi", "-c:v mpeg4 -c:a libmp3lame"),
        ("ts", "-c:v mpeg2video -c:a mp2"),
    ] {
        let name = format!("empty.{extension}");
        let path = made(
            folder.path(),
            &name,
            &format!("{PICTURE} {SOUND} {codecs} -bsf:a noise=drop=1"),
        );
        let outcome = convert_file(&path, &settings_for(&path));
        let text = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(verdict(outcome), "empty_audio", "{codecs} in {extension}: {text}");
        assert!(text.contains("no sound"), "{text}");
    }
}

#[test]
fn what_is_cut_off_before_its_sound_is_damaged_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = format!("{PICTURE} {SOUND} -c:v mpeg4 -c:a aac -movflags +faststart");
    let bytes = fs::read(made(folder.path(), "whole.mp4", &arguments)).unwrap();
    let data = bytes.windows(4).position(|kind| kind == b"mdat").unwrap();
    assert_says(
        bytes[..data + 8].to_vec(),
        "damaged",
        "damaged or incomplete",
        "without its data",
    );
}

#[test]
fn a_track_that_cannot_be_decoded_says_so_when_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(
        folder.path(),
        "two.mov",
        &format!("{SOUND} {SOUND} -map 0 -map 1 -c:a:0 aac -c:a:1 pcm_s16le"),
    );
    let bytes = replaced(fs::read(&path).unwrap(), b"sowt", b"apac");
    fs::write(&path, bytes).unwrap();
    let settings = Settings {
        track: Some(Track::Index(1)),
        ..settings_for(&path)
    };
    assert_eq!(verdict(convert_file(&path, &settings)), "unsupported_audio");
    convert_file(&path, &settings_for(&path)).unwrap();
}

#[test]
fn a_file_of_nothing_but_sound_that_has_none_is_empty_and_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["wav", "aiff", "caf", "flac"] {
        let name = format!("empty.{extension}");
        let path = made(folder.path(), &name, &format!("{SOUND} -af atrim=0:0"));
        let outcome = convert_file(&path, &settings_for(&path));
        let text = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(verdict(outcome), "empty_audio", "{extension}: {text}");
    }
}
