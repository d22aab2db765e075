//! The commands of the `mp3converter` binary.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use testkit::media;

fn mp3converter(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mp3converter"));
    command.current_dir(directory).stdin(Stdio::null());
    command
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A program that refuses may not read its input to the end.
    writer.join().unwrap().ok();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What follows the ID3v2 tag, which has the file's name where the media has no title.
fn audio(mp3: &[u8]) -> &[u8] {
    let Some(tag) = mp3.strip_prefix(b"ID3") else {
        return mp3;
    };
    // Four times seven bits, behind two bytes of version and one of flags.
    let length = tag[3..7]
        .iter()
        .fold(0, |length, byte| length << 7 | usize::from(*byte));
    &tag[7 + length..]
}

#[test]
fn a_file_is_converted_without_any_service() {
    let scratch = tempfile::tempdir().unwrap();
    let output = mp3converter(scratch.path())
        .arg("convert")
        .arg(media::sample("mkv-h264-opus"))
        .arg("out.mp3")
        .arg("--report")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let names: Vec<_> = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["out.mp3"], "nothing is left beside it");
    let mp3 = std::fs::read(scratch.path().join("out.mp3")).unwrap();
    assert!(text(&mp3[..512]).contains("Xing"), "the first frame is in place");
    let source_bytes = std::fs::metadata(media::sample("mkv-h264-opus")).unwrap().len();
    assert_eq!(report["size_bytes"], mp3.len());
    assert_eq!(report["source_bytes"], source_bytes);
    assert_eq!(report["bytes_read"], source_bytes, "all of it, and nothing twice");
    assert!((2.9..3.1).contains(&report["seconds"].as_f64().unwrap()), "{report}");
    assert!(report["took_seconds"].as_f64().unwrap() > 0.0, "{report}");
}

/// Six seconds of picture whose sound begins with the third.
fn late_sound(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("late.mkv");
    let picture = "-f lavfi -i testsrc2=size=160x120:rate=10:duration=6 -c:v mpeg4";
    let sound = "-itsoffset 2 -f lavfi -i sine=440:duration=4 -c:a aac";
    media::ffmpeg(&format!("{sound} {picture} -map 0 -map 1"), &path);
    path
}

#[test]
fn a_report_says_what_was_done_beyond_the_plain_case_as_json_or_as_text() {
    let scratch = tempfile::tempdir().unwrap();
    let path = late_sound(scratch.path());
    let convert = |options: &[&str]| {
        let mut command = mp3converter(scratch.path());
        let output = command.arg("convert").arg(&path).arg("out.mp3").args(options).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let json = |said: &str| serde_json::from_str::<serde_json::Value>(said).unwrap();
    for form in ["--report", "--report=json"] {
        let report = json(&convert(&[form]));
        assert!((5.9..6.1).contains(&report["seconds"].as_f64().unwrap()), "{report}");
        assert_eq!(report["notes"][0]["code"], "late_start");
        assert!(
            (1_900..2_100).contains(&report["notes"][0]["ms"].as_u64().unwrap()),
            "{report}"
        );
        assert_eq!(report["notes"][0]["loss"], false);
    }
    let said = convert(&["--report=text"]);
    let sentence = "The sound begins 2.0 s after the picture; the MP3 begins with as much silence.";
    assert!(said.lines().any(|line| line == sentence), "{said}");
    let dropping = json(&convert(&["--report", "--gaps", "drop"]));
    assert!(
        (3.9..4.1).contains(&dropping["seconds"].as_f64().unwrap()),
        "{dropping}"
    );
    assert_eq!(dropping["notes"][0]["code"], "late_start_dropped");
}

#[test]
fn a_name_with_dots_and_no_extension_is_the_whole_title() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, title) in [
        (&b"Mr. Smith talks"[..], &b"Mr. Smith talks"[..]),
        (b"3.5.2024 Meeting.wav", b"3.5.2024 Meeting"),
        // Latin-1, as old systems wrote names, and UTF-16 in the tag.
        (b"caf\xe9.wav", b"\xff\xfec\0a\0f\0\xe9\0"),
    ] {
        let name = OsStr::from_bytes(name);
        std::fs::copy(media::sample("wav-44100"), scratch.path().join(name)).unwrap();
        let mut command = mp3converter(scratch.path());
        let output = command.arg("convert").arg(name).arg("out.mp3").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mp3 = std::fs::read(scratch.path().join("out.mp3")).unwrap();
        let at = mp3.windows(4).position(|window| window == b"TIT2").unwrap();
        let length = u32::from_be_bytes(mp3[at + 4..][..4].try_into().unwrap());
        // Behind the frame's head and the byte that names the encoding.
        assert_eq!(&mp3[at + 11..][..usize::try_from(length).unwrap() - 1], title);
    }
}

#[test]
fn standard_input_and_output_give_the_same_audio() {
    let scratch = tempfile::tempdir().unwrap();
    let path = media::sample("mp4-h264-aac");
    let file = mp3converter(scratch.path())
        .arg("convert")
        .arg(&path)
        .arg("out.mp3")
        .status()
        .unwrap();
    assert!(file.success());
    let mut piped = mp3converter(scratch.path());
    piped.args(["convert", "-", "-"]);
    let output = with_input(piped, &std::fs::read(&path).unwrap());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = std::fs::read(scratch.path().join("out.mp3")).unwrap();
    assert!(audio(&output.stdout) == audio(&file));
}

#[test]
fn mono_that_turns_to_stereo_is_stereo_from_a_file_and_from_standard_input() {
    let scratch = tempfile::tempdir().unwrap();
    let sound = "-f lavfi -i sine=sample_rate=48000:duration=2 -f adts";
    let parts = ["1", "2"].map(|channels| {
        let path = scratch.path().join(channels);
        media::ffmpeg(&format!("{sound} -ac {channels}"), &path);
        std::fs::read(path).unwrap()
    });
    let both = parts.concat();
    std::fs::write(scratch.path().join("both.aac"), &both).unwrap();
    for input in ["both.aac", "-"] {
        let mut command = mp3converter(scratch.path());
        command.args(["convert", input, "out.mp3", "--report"]);
        let output = with_input(command, &both);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(report["channels"], 2, "{input}");
        let size_bytes = std::fs::metadata(scratch.path().join("out.mp3")).unwrap().len();
        assert_eq!(
            report["size_bytes"], size_bytes,
            "{input}: nothing of the first attempt is left"
        );
    }
}

#[test]
fn an_excerpt_is_as_long_as_asked_for_whatever_the_threads() {
    let scratch = tempfile::tempdir().unwrap();
    let convert = |options: &[&str]| {
        let mut command = mp3converter(scratch.path());
        command.args(["convert", "--bitrate", "128"]).args(options);
        let output = command.arg(media::sample("mp4-h264-aac")).arg("-").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    };
    // One of three seconds.
    let whole = convert(&["--track", "0", "--threads", "1"]).len();
    let excerpt = convert(&["--start", "1.5", "--end", "00:00:02.500", "--threads", "1"]);
    assert!(
        (whole / 4..whole / 2).contains(&excerpt.len()),
        "{} of {whole}",
        excerpt.len()
    );
    assert!(excerpt == convert(&["--start", "1.5", "--end", "2.5", "--threads", "3"]));
}

#[test]
fn media_at_fault_is_65_and_leaves_an_old_output_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let old = scratch.path().join("out.mp3");
    std::fs::write(&old, "an old one").unwrap();
    for bad in [
        media::without_audio(),
        media::garbage(),
        media::empty(),
        media::without_index(),
    ] {
        let output = mp3converter(scratch.path())
            .arg("convert")
            .arg(&bad)
            .arg("out.mp3")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(65), "{}", bad.display());
        assert_eq!(
            text(&output.stderr).lines().count(),
            1,
            "one sentence: {}",
            text(&output.stderr)
        );
        assert_eq!(std::fs::read(&old).unwrap(), b"an old one");
    }
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn wrong_usage_is_64_and_an_unwritable_output_is_70() {
    let scratch = tempfile::tempdir().unwrap();
    let sample = media::sample("ogg-opus-mono");
    let sample = sample.to_str().unwrap();
    let wrong: [&[&str]; 12] = [
        &["convert"],
        &["convert", "missing.mp4", "out.mp3"],
        &["convert", sample, "out.mp3", "--bitrate", "129"],
        &["convert", sample, "out.mp3", "--vbr", "2", "--bitrate", "128"],
        &["convert", sample, "out.mp3", "--track", "german"],
        &["convert", sample, "out.mp3", "--start", "soon"],
        &["convert", sample, "out.mp3", "--end", "1:60"],
        &["convert", sample, "out.mp3", "--start", "2", "--end", "1.5"],
        &["convert", sample, "out.mp3", "--threads", "0"],
        &["convert", ".", "out.mp3"],
        &["convert", sample, "."],
        &["frobnicate"],
    ];
    for arguments in wrong {
        let output = mp3converter(scratch.path()).args(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(64),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let output = mp3converter(scratch.path())
        .args(["convert", sample, "nowhere/out.mp3"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70), "{}", text(&output.stderr));
    assert_eq!(
        mp3converter(scratch.path()).arg("--help").status().unwrap().code(),
        Some(0)
    );
}

#[test]
fn an_output_that_is_no_file_is_written_to_and_not_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let convert = |output: &str| {
        let mut command = mp3converter(scratch.path());
        command
            .arg("convert")
            .arg(media::sample("ogg-opus-mono"))
            .arg(output)
            .status()
            .unwrap()
    };
    assert!(
        Command::new("mkfifo")
            .arg(scratch.path().join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let mut reader = Command::new("cat")
        .arg("pipe")
        .current_dir(scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(convert("pipe").success());
    let mut piped = Vec::new();
    reader.stdout.take().unwrap().read_to_end(&mut piped).unwrap();
    assert!(reader.wait().unwrap().success() && !piped.is_empty());
    assert!(!std::fs::metadata(scratch.path().join("pipe")).unwrap().is_file());
    std::fs::write(scratch.path().join("real.mp3"), "an old one").unwrap();
    std::os::unix::fs::symlink("real.mp3", scratch.path().join("link.mp3")).unwrap();
    assert!(convert("link.mp3").success());
    assert!(
        std::fs::symlink_metadata(scratch.path().join("link.mp3"))
            .unwrap()
            .is_symlink()
    );
    assert_ne!(std::fs::read(scratch.path().join("real.mp3")).unwrap(), b"an old one");
}

#[test]
fn accounts_are_kept_with_passwords_from_standard_input() {
    let scratch = tempfile::tempdir().unwrap();
    let user = |arguments: &[&str], input: &str| {
        let mut command = mp3converter(scratch.path());
        command.arg("user").args(arguments);
        with_input(command, input.as_bytes())
    };
    assert!(
        user(&["add", "ada@example.com"], "correct horse battery\n")
            .status
            .success()
    );
    let again = user(&["add", "ADA@example.com"], "correct horse battery\n");
    assert!(!again.status.success() && !again.stderr.is_empty());
    assert!(text(&user(&["list"], "").stdout).contains("ada@example.com"));
    assert!(
        user(&["passwd", "ada@example.com"], "another horse battery\n")
            .status
            .success()
    );
    assert!(user(&["disable", "ada@example.com"], "").status.success());
    assert!(user(&["remove", "ada@example.com"], "").status.success());
    assert!(!text(&user(&["list"], "").stdout).contains("ada@example.com"));
}

#[test]
fn the_doctor_finds_nothing_wrong_with_an_embedded_suite_and_names_what_is_missing() {
    let scratch = tempfile::tempdir().unwrap();
    let well = mp3converter(scratch.path()).arg("doctor").output().unwrap();
    assert!(well.status.success(), "{}{}", text(&well.stdout), text(&well.stderr));
    assert!(!text(&well.stdout).contains("missing"), "{}", text(&well.stdout));
    std::fs::write(scratch.path().join("file"), "").unwrap();
    let ill = mp3converter(scratch.path())
        .args(["doctor", "--data-dir", "file/data"])
        .output()
        .unwrap();
    assert_eq!(ill.status.code(), Some(70));
    assert!(text(&ill.stdout).contains("MP3_DATA_DIR"), "{}", text(&ill.stdout));
}
