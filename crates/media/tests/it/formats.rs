//! Whatever the `ffmpeg` command extracts audio from converts, and to the same length.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{convert_file, settings_for, silence_seconds};

/// How far our playing time may be from that of what the `ffmpeg` command extracts.
const TOLERANCE_SECONDS: f64 = 0.05;

/// Encoders of the `ffmpeg` command, with what they need, and the containers that can hold what they make.
const PAIRS: [(&str, &str); 52] = [
    ("aac", "mp4 mov mkv ts flv avi nut 3gp m4a latm asf aac f4v rm"),
    ("mp2", "mpg ts mkv avi mov wav caf mp2 vob"),
    ("libmp3lame", "mp3 avi mp4 mkv mov ts flv wav asf nut mpg"),
    ("ac3", "mp4 mkv ts mpg avi rm ac3 vob mov"),
    ("eac3", "mp4 mkv ts eac3 mov"),
    ("libopus", "mkv webm mp4 ogg opus ts nut caf"),
    ("libvorbis", "mkv webm ogg mp4 avi nut"),
    ("flac", "flac ogg mkv mp4"),
    ("alac", "m4a mov mkv caf"),
    ("pcm_s16le", "wav w64 avi mkv mov caf nut voc wtv ircam sw"),
    ("pcm_s16be", "aiff au mov mpg caf nut vob"),
    ("pcm_u8", "wav avi mkv voc ub"),
    ("pcm_u16le", "uw"),
    ("pcm_s8", "aiff au caf sb"),
    ("pcm_s24le", "wav mov mkv"),
    ("pcm_f32le", "wav mkv caf"),
    ("pcm_f64le", "wav mov"),
    ("pcm_alaw", "wav au mov voc al"),
    ("pcm_mulaw", "wav au avi ul"),
    ("pcm_bluray", "m2ts"),
    ("pcm_dvd", "vob"),
    ("wmav1", "asf avi"),
    ("wmav2", "wmv asf mkv wtv"),
    ("adpcm_ms", "wav avi"),
    ("adpcm_ima_wav", "wav avi mov"),
    ("adpcm_ima_qt", "mov aiff"),
    ("adpcm_swf -ar 44100", "flv"),
    ("adpcm_yamaha", "wav"),
    ("adpcm_adx", "adx"),
    ("g722 -ar 16000 -ac 1", "wav au g722"),
    ("g726 -ar 8000 -ac 1", "wav"),
    ("g723_1 -ar 8000 -ac 1 -b:a 6300", "wav"),
    ("dca", "dts mkv ts mp4 mpg"),
    ("truehd", "thd mkv mp4"),
    ("mlp", "mlp mkv"),
    ("tta", "tta mkv"),
    ("wavpack", "wv mkv"),
    ("libgsm -ar 8000 -ac 1", "gsm mov caf"),
    ("libgsm_ms -ar 8000 -ac 1", "wav avi"),
    ("libspeex -ar 16000 -ac 1", "ogg flv spx"),
    ("nellymoser -ar 16000 -ac 1", "flv mov"),
    ("real_144 -ar 8000 -ac 1", "rm mkv"),
    ("s302m", "ts"),
    ("sbc", "sbc"),
    ("aptx", "aptx"),
    ("libcodec2 -ar 8000 -ac 1 -mode 3200", "c2"),
    ("libcodec2 -ar 8000 -ac 1 -mode 2400", "c2"),
    ("libcodec2 -ar 8000 -ac 1 -mode 1600", "c2"),
    ("libcodec2 -ar 8000 -ac 1 -mode 1400", "c2"),
    ("libcodec2 -ar 8000 -ac 1 -mode 1300", "c2"),
    ("libcodec2 -ar 8000 -ac 1 -mode 1200", "c2"),
    ("libcodec2 -ar 8000 -ac 1 -mode 700C", "c2"),
];

/// Containers that want pictures.
const WITH_PICTURES: [(&str, &str); 6] = [
    ("mxf", "-c:v mpeg2video -c:a pcm_s16le"),
    ("gxf", "-s 720x576 -c:v mpeg2video -c:a pcm_s16le -ac 1"),
    ("dv", "-s 720x576 -pix_fmt yuv420p -c:v dvvideo -c:a pcm_s16le"),
    ("ogv", "-c:v libtheora -c:a libvorbis"),
    ("swf", "-c:v flv -ar 44100 -c:a libmp3lame"),
    ("3gp", "-s 176x144 -c:v h263 -c:a aac"),
];

/// Runs the `ffmpeg` command. Many files at once: starting it costs more than the work.
fn ffmpeg(arguments: impl IntoIterator<Item = String>) {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

/// How long the `ffmpeg` command finds each file's audio, in seconds.
fn lengths_by_ffmpeg(paths: &[PathBuf], folder: &Path) -> Vec<f64> {
    const RATE_HZ: u32 = 48_000;
    let raw = |number: usize| folder.join(format!("{number}.raw"));
    let mut arguments = Vec::new();
    for path in paths {
        arguments.extend(["-i".to_owned(), path.display().to_string()]);
    }
    for number in 0..paths.len() {
        arguments.extend(words(&format!("-map {number}:a:0 -f s16le -ac 1 -ar {RATE_HZ}")));
        arguments.push(raw(number).display().to_string());
    }
    ffmpeg(arguments);
    let length = |number| fs::metadata(raw(number)).unwrap().len();
    (0..paths.len())
        .map(|number| f64::from(u32::try_from(length(number) / 2).unwrap()) / f64::from(RATE_HZ))
        .collect()
}

/// Says what is wrong with our conversions of these files.
fn differences(paths: &[PathBuf], folder: &Path) -> Vec<String> {
    let theirs = lengths_by_ffmpeg(paths, folder);
    let compared = paths.iter().zip(theirs).filter_map(|(path, theirs)| {
        let name = path.file_name().unwrap().display();
        match convert_file(path, &settings_for(path)) {
            Err(error) => Some(format!("{name}: {error:?}")),
            Ok(mp3) => {
                let ours = mp3.converted.duration.as_secs_f64() - silence_seconds(&mp3);
                let differs = (ours - theirs).abs() > TOLERANCE_SECONDS || theirs < 1.5;
                differs.then(|| format!("{name}: {ours} s, ffmpeg has {theirs} s"))
            }
        }
    });
    compared.collect()
}

#[test]
fn every_container_with_every_codec_converts_to_the_length_that_ffmpeg_extracts() {
    let mut wrong = Vec::new();
    for (encoder, containers) in PAIRS {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> =
            words("-f lavfi -i aevalsrc=0.3*sin(880*PI*t)|0.3*sin(1320*PI*t):s=48000:d=2").collect();
        let mut paths = Vec::new();
        for container in containers.split(' ') {
            let codec = encoder.split(' ').next().unwrap();
            let path = folder.path().join(codec).with_extension(container);
            arguments.extend(words(&format!("-strict -2 -c:a {encoder}")));
            arguments.push(path.display().to_string());
            paths.push(path);
        }
        ffmpeg(arguments);
        wrong.extend(differences(&paths, folder.path()));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn containers_that_want_pictures_convert_to_the_length_that_ffmpeg_extracts() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments: Vec<String> = words(
        "-f lavfi -i testsrc2=size=352x288:rate=25:duration=2 -f lavfi -i aevalsrc=0.3*sin(880*PI*t)|0:s=48000:d=2",
    )
    .collect();
    let mut paths = Vec::new();
    for (container, how) in WITH_PICTURES {
        let path = folder.path().join("video").with_extension(container);
        arguments.extend(words(&format!("-map 0 -map 1 -pix_fmt yuv420p -r 25 {how}")));
        arguments.push(path.display().to_string());
        paths.push(path);
    }
    ffmpeg(arguments);
    let wrong = differences(&paths, folder.path());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
