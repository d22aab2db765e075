//! Sample media: made by the `ffmpeg` command once, kept in the target directory, and shared between test processes.
//!
//! Every function panics with what to do when a sample cannot be made: a test without its sample proves nothing.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

mod by_hand;

/// A generated file with audio.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Container and codecs, as in `mp4-h264-aac`.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// How one sample is made.
struct Recipe {
    name: &'static str,
    extension: &'static str,
    /// `ffmpeg` arguments between the global ones and the output, separated by spaces.
    arguments: &'static str,
}

const fn recipe(name: &'static str, extension: &'static str, arguments: &'static str) -> Recipe {
    Recipe {
        name,
        extension,
        arguments,
    }
}

/// Placeholders in recipes, for inputs of 3 seconds.
const INPUTS: [(&str, &str); 6] = [
    ("{video}", "-f lavfi -i testsrc2=size=160x120:rate=10:duration=3"),
    ("{mono}", "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=3"),
    (
        "{stereo}",
        "-f lavfi -i aevalsrc=0.4*sin(880*PI*t)+0.05*random(0)|0.4*sin(1320*PI*t):s=48000:d=3",
    ),
    (
        "{stereo44}",
        "-f lavfi -i aevalsrc=0.4*sin(880*PI*t)+0.05*random(0)|0.4*sin(1320*PI*t):s=44100:d=3",
    ),
    (
        "{surround}",
        "-f lavfi -i aevalsrc=0.2*sin(880*PI*t)|0.2*sin(1320*PI*t)|0.2*sin(600*PI*t)|0.1*sin(100*PI*t)\
         |0.1*sin(700*PI*t)|0.1*sin(500*PI*t):c=5.1:s=48000:d=3",
    ),
    ("{h264}", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -threads 1"),
];

/// Every kind of container and codec that tests convert.
const WITH_AUDIO: [Recipe; 26] = [
    recipe("mp4-h264-aac", "mp4", "{video} {stereo} {h264} -c:a aac"),
    recipe(
        "mp4-index-first",
        "mp4",
        "{video} {stereo44} {h264} -c:a aac -movflags +faststart",
    ),
    recipe(
        "mp4-fragmented",
        "mp4",
        "{video} {stereo} {h264} -c:a aac -movflags +frag_keyframe+empty_moov",
    ),
    recipe("mkv-h264-opus", "mkv", "{video} {stereo} {h264} -c:a libopus"),
    recipe("mkv-h264-ac3-surround", "mkv", "{video} {surround} {h264} -c:a ac3"),
    recipe(
        "webm-vp8-vorbis",
        "webm",
        "{video} {stereo44} -c:v libvpx -cpu-used 8 -c:a libvorbis",
    ),
    recipe(
        "avi-mpeg4-mp3",
        "avi",
        "{video} {stereo44} -c:v mpeg4 -c:a libmp3lame -b:a 128k",
    ),
    recipe(
        "ts-mpeg2-ac3-two-tracks",
        "ts",
        "{video} {mono} {stereo} -map 0 -map 1 -map 2 -c:v mpeg2video -r 25 -c:a ac3",
    ),
    recipe(
        "mpg-mpeg2-mp2",
        "mpg",
        "{video} {stereo} -c:v mpeg2video -r 25 -c:a mp2",
    ),
    recipe(
        "mov-mjpeg-pcm",
        "mov",
        "{video} {stereo} -c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16be",
    ),
    recipe("flv-h264-aac", "flv", "{video} {stereo44} {h264} -c:a aac"),
    recipe("wmv-wmv2-wmav2", "wmv", "{video} {stereo44} -c:v wmv2 -c:a wmav2"),
    recipe("ogg-vorbis", "ogg", "{stereo44} -c:a libvorbis"),
    recipe("ogg-opus-mono", "opus", "{mono} -c:a libopus"),
    recipe("m4a-alac", "m4a", "{stereo44} -c:a alac -sample_fmt s16p"),
    recipe("mp3-22050", "mp3", "{stereo} -ar 22050 -c:a libmp3lame -b:a 64k"),
    recipe("aac-adts", "aac", "{stereo44} -c:a aac"),
    recipe("codec2", "c2", "{mono} -ar 8000 -c:a libcodec2"),
    recipe("aiff-pcm", "aiff", "{mono} -c:a pcm_s16be"),
    recipe("flac-24-bit", "flac", "{stereo} -c:a flac -sample_fmt s32"),
    recipe("wav-8000-mono", "wav", "{mono} -ar 8000 -c:a pcm_s16le"),
    recipe("wav-7350-mono", "wav", "{mono} -ar 7350 -c:a pcm_s16le"),
    recipe("wav-44100", "wav", "{stereo44} -c:a pcm_s16le"),
    recipe("wav-96000", "wav", "{stereo} -ar 96000 -c:a pcm_s24le"),
    recipe("wav-float", "wav", "{stereo} -c:a pcm_f32le"),
    recipe("wav-surround", "wav", "{surround} -c:a pcm_s16le"),
];

const WITHOUT_AUDIO: Recipe = recipe("mp4-no-audio", "mp4", "{video} {h264} -an");

/// Writes one sample to the path it is given.
type Maker = fn(&Path);

/// The kinds that the `ffmpeg` command reads and does not write. The number grows with what is in them, so that an
/// older sample is never taken for a newer one.
const BY_HAND: [(&str, &str, Maker); 5] = [
    ("module", "module-1.mod", |path| write(path, &by_hand::module())),
    ("console-tune", "console-tune-1.nsf", |path| {
        write(path, &by_hand::tune(Some(120)))
    }),
    ("brain-waves", "brain-waves-1.sbg", |path| {
        write(path, by_hand::script(true).as_bytes())
    }),
    ("mkv-bzip2", "mkv-bzip2-1.mkv", |path| {
        write(path, &by_hand::compressed_matroska())
    }),
    ("raw-video", "raw-video-1.mlv", |path| {
        write(path, &by_hand::recording(0, 9000))
    }),
];

/// Every generated sample that has audio.
pub fn samples() -> Vec<Sample> {
    let by_command = WITH_AUDIO.iter().map(|recipe| (recipe.name, made(recipe)));
    let by_hand = BY_HAND.iter().map(|(name, file, make)| (*name, kept(file, make)));
    by_command
        .chain(by_hand)
        .map(|(name, path)| Sample { name, path })
        .collect()
}

/// The generated sample of that name.
///
/// # Panics
/// There is none of that name.
pub fn sample(name: &str) -> PathBuf {
    if let Some((_, file, make)) = BY_HAND.iter().find(|(known, _, _)| *known == name) {
        return kept(file, make);
    }
    let recipe = WITH_AUDIO.iter().find(|recipe| recipe.name == name);
    made(recipe.unwrap_or_else(|| panic!("no sample is called `{name}`")))
}

/// Music that is made while it plays, and never ends: of a game console, and of a script.
pub fn endless() -> [PathBuf; 2] {
    [
        kept("endless-1.nsf", |path| write(path, &by_hand::tune(None))),
        kept("endless-1.sbg", |path| write(path, by_hand::script(false).as_bytes())),
    ]
}

/// An IFF file of an Amiga whose samples are 4-bit differences: numbers of Fibonacci, or powers of two.
pub fn eight_bit_voice(powers_of_two: bool) -> PathBuf {
    let kind = if powers_of_two { "exponential" } else { "fibonacci" };
    kept(&format!("voice-{kind}-1.iff"), |path| {
        write(path, &by_hand::eight_bit_voice(powers_of_two))
    })
}

/// A recording of Magic Lantern in two files, of which the first names the second: that one is louder.
pub fn recording_in_two_files() -> (PathBuf, PathBuf) {
    (
        kept("recording-1.mlv", |path| write(path, &by_hand::recording(0, 3000))),
        kept("recording-1.m00", |path| write(path, &by_hand::recording(1, 9000))),
    )
}

/// A Matroska file whose sound is encrypted, as far as it says.
pub fn encrypted() -> PathBuf {
    kept("mkv-encrypted-1.mkv", |path| {
        write(path, &by_hand::encrypted_matroska())
    })
}

/// A video without sound.
pub fn without_audio() -> PathBuf {
    made(&WITHOUT_AUDIO)
}

/// An MP4 whose second half, and with it the index, is missing.
pub fn without_index() -> PathBuf {
    kept("mp4-without-index.mp4", |path| {
        let whole = read(&sample("mp4-h264-aac"));
        write(path, &whole[..whole.len() / 2]);
    })
}

/// A Matroska file that ends after two thirds, in the middle of a packet.
pub fn cut_short() -> PathBuf {
    kept("mkv-cut-short.mkv", |path| {
        let whole = read(&sample("mkv-h264-opus"));
        write(path, &whole[..whole.len() * 2 / 3]);
    })
}

/// 256 KiB of noise, the same every time.
pub fn garbage() -> PathBuf {
    kept("garbage.mp4", |path| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise: Vec<u8> = (0..32 * 1024)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        write(path, &noise);
    })
}

/// A file without bytes.
pub fn empty() -> PathBuf {
    kept("empty.mp4", |path| write(path, b""))
}

/// A text under the name of a video.
pub fn text() -> PathBuf {
    kept("text.mp4", |path| {
        write(
            path,
            "Dear diary, today I renamed you to holiday.mp4.\n"
                .repeat(100)
                .as_bytes(),
        );
    })
}

/// A video of at least that many MiB with a minute of sound: H.264 at a high bitrate and AAC, in the container with
/// that file extension.
///
/// # Panics
/// `ffmpeg` cannot write that container.
pub fn video_of_mebibytes(mebibytes: u32, extension: &str) -> PathBuf {
    // Filler bytes make any bitrate: the picture does not matter, and encoding noise would take minutes.
    let kilobits_per_second = mebibytes * 1024 * 8 / 60 + 100;
    let arguments = format!(
        "-f lavfi -i testsrc2=size=640x360:rate=25:duration=60 -f lavfi -i sine=frequency=440:duration=60 \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -threads 2 -b:v {kilobits_per_second}k \
         -minrate {kilobits_per_second}k -maxrate {kilobits_per_second}k -bufsize {kilobits_per_second}k \
         -x264-params nal-hrd=cbr -c:a aac"
    );
    kept(&format!("video-{mebibytes}-mib.{extension}"), |path| {
        ffmpeg(&arguments, path)
    })
}

/// A small video with that many seconds of sound, which is MP3 already where `as_mp3` says so.
///
/// # Panics
/// `ffmpeg` is missing or fails.
pub fn clip_of_seconds(seconds: u32, as_mp3: bool) -> PathBuf {
    let codec = if as_mp3 { "libmp3lame" } else { "aac" };
    let arguments = format!(
        "-f lavfi -i color=size=64x48:rate=1:duration={seconds} \
         -f lavfi -i sine=frequency=440:sample_rate=44100:duration={seconds} \
         -c:v mpeg4 -c:a {codec} -b:a 48k -fflags +bitexact -flags:v +bitexact -flags:a +bitexact"
    );
    kept(&format!("clip-{seconds}-seconds-{codec}.mkv"), |path| {
        ffmpeg(&arguments, path)
    })
}

/// Real files, from the folder `media` beside the checkout's parent. Where it is missing there are none, and one line
/// says how many cases are left out.
#[expect(clippy::print_stdout, reason = "tests tell what they leave out")]
pub fn shared_samples() -> Vec<PathBuf> {
    /// How many files the folder held when this was written, for the message.
    const USUAL_COUNT: usize = 12;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("no shared sample media: {USUAL_COUNT} cases are left out, generated ones of the same kinds run");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension != "md"))
        .collect();
    paths.sort();
    paths
}

/// Runs the `ffmpeg` command with `arguments`, separated by spaces, and the output `path`.
///
/// # Panics
/// The command is missing or fails.
pub fn ffmpeg(arguments: &str, path: &Path) {
    let arguments = arguments.split_whitespace().map(OsStr::new);
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(path)
        .output()
        .expect("run `ffmpeg`: install it with `apt-get install ffmpeg`");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ffmpeg cannot make {}: {complaint}",
        path.display()
    );
}

fn made(recipe: &Recipe) -> PathBuf {
    let mut arguments = recipe.arguments.to_owned();
    for (placeholder, input) in INPUTS {
        arguments = arguments.replace(placeholder, input);
    }
    // Bit-exact: no versions and dates in the file, so that all machines test the same bytes.
    arguments.push_str(" -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -shortest");
    // The name changes with the recipe, so that an older sample is never taken for it.
    let mut hasher = DefaultHasher::new();
    arguments.hash(&mut hasher);
    let name = format!("{}-{:08x}.{}", recipe.name, hasher.finish() >> 32, recipe.extension);
    kept(&name, |path| ffmpeg(&arguments, path))
}

/// The file of that name, made by `make` at the path it is given unless it is already there.
///
/// Processes and threads can ask at once: each makes its own, and the last rename wins over equal files.
fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = target_directory().join("sample-media");
    let path = folder.join(name);
    if !path.exists() {
        fs::create_dir_all(&folder).expect("create the folder of sample media");
        let scratch = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(&folder)
            .expect("create a folder to make a sample in");
        let unfinished = scratch.path().join(name);
        make(&unfinished);
        fs::rename(&unfinished, &path).expect("put the sample in its place");
    }
    path
}

/// The target directory this test was built in; it is the one cargo marked.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let marked = test.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    marked.map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        Path::to_owned,
    )
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("read a sample")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("write a sample");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_made_once_and_then_kept() {
        let first = sample("wav-8000-mono");
        let made_at = fs::metadata(&first).unwrap().modified().unwrap();
        assert_eq!(sample("wav-8000-mono"), first);
        assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), made_at);
    }

    #[test]
    fn every_recipe_gives_a_file_with_bytes() {
        for sample in samples() {
            // The smallest is a script of 59 bytes.
            assert!(fs::metadata(&sample.path).unwrap().len() > 50, "{sample:?}");
        }
        for path in [without_audio(), without_index(), cut_short(), garbage(), text()] {
            assert!(fs::metadata(&path).unwrap().len() > 1000, "{}", path.display());
        }
        assert_eq!(fs::metadata(empty()).unwrap().len(), 0);
    }

    #[test]
    fn the_big_video_is_as_big_as_was_asked() {
        let path = video_of_mebibytes(20, "mp4");
        assert!(fs::metadata(path).unwrap().len() >= 20 << 20);
    }
}
