//! Converting in memory, and decoding the result with decoders that are not ours.

use std::fs::{self, File};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use media::{ConvertError, Converted, Note, Progress, Settings, Source};
use symphonia::core::codecs::DecoderOptions;
use symphonia::core::formats::FormatOptions;
use symphonia::core::io::MediaSourceStream;

/// A finished MP3, its head in place.
pub(crate) struct Mp3 {
    pub(crate) bytes: Vec<u8>,
    pub(crate) converted: Converted,
}

impl Mp3 {
    /// What follows the tag.
    pub(crate) fn frames(&self) -> &[u8] {
        &self.bytes[usize::try_from(self.converted.head_at).unwrap()..]
    }
}

/// What a decoder made of an MP3.
#[derive(Debug)]
pub(crate) struct Pcm {
    pub(crate) rate_hz: u32,
    pub(crate) channels: usize,
    /// Interleaved.
    pub(crate) samples: Vec<f32>,
}

impl Pcm {
    pub(crate) fn frames(&self) -> u64 {
        (self.samples.len() / self.channels) as u64
    }

    /// The samples of one channel.
    pub(crate) fn channel(&self, channel: usize) -> Vec<f32> {
        self.samples
            .iter()
            .copied()
            .skip(channel)
            .step_by(self.channels)
            .collect()
    }

    /// The loudest sample.
    pub(crate) fn peak(&self) -> f32 {
        self.samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
    }

    /// The frequency in Hz that is the loudest in each whole half second of a channel, of the multiples of 100 Hz up to
    /// 3400 Hz; 0 where there is next to no sound.
    pub(crate) fn tones(&self, channel: usize) -> Vec<u16> {
        let half_second = usize::try_from(self.rate_hz / 2).unwrap();
        self.channel(channel)
            .chunks_exact(half_second)
            .map(|samples| {
                if samples.iter().all(|sample| sample.abs() < 0.005) {
                    return 0;
                }
                let candidates = (1..=34).map(|hundred| hundred * 100);
                let loudness = |frequency: u16| power(samples, f64::from(frequency) / f64::from(self.rate_hz));
                candidates
                    .max_by(|one, other| loudness(*one).total_cmp(&loudness(*other)))
                    .unwrap()
            })
            .collect()
    }

    pub(crate) fn seconds(&self) -> f64 {
        f64::from(u32::try_from(self.frames()).unwrap()) / f64::from(self.rate_hz)
    }
}

/// How much of that frequency, in turns per sample, there is.
///
/// Source: G. Goertzel, "An Algorithm for the Evaluation of Finite Trigonometric Series" (1958).
fn power(samples: &[f32], frequency: f64) -> f64 {
    let turn = 2.0 * (std::f64::consts::TAU * frequency).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (f64::from(*sample) + turn * last - before, last);
    }
    last * last + before * before - turn * last * before
}

pub(crate) fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Settings for a file, whose extension is the only hint it gets, and whose name without it is the title.
pub(crate) fn settings_for(path: &Path) -> Settings {
    Settings {
        title: Some(path.file_stem().unwrap().to_string_lossy().into_owned()),
        file_name: Some(path.file_name().unwrap().to_string_lossy().into_owned()),
        ..Settings::default()
    }
}

pub(crate) fn convert(source: Source, settings: &Settings) -> Result<Mp3, ConvertError> {
    let mut bytes = Vec::new();
    let converted = media::convert(source, &mut bytes, settings, go_on)?;
    assert_eq!(converted.size_bytes, bytes.len() as u64);
    let head_at = usize::try_from(converted.head_at).unwrap();
    bytes[head_at..head_at + converted.head.len()].copy_from_slice(&converted.head);
    Ok(Mp3 { bytes, converted })
}

pub(crate) fn convert_file(path: &Path, settings: &Settings) -> Result<Mp3, ConvertError> {
    convert(Source::seekable(File::open(path).unwrap()), settings)
}

pub(crate) fn convert_bytes(bytes: Vec<u8>, settings: &Settings) -> Result<Mp3, ConvertError> {
    convert(Source::seekable(Cursor::new(bytes)), settings)
}

/// Decodes with Symphonia, which cuts delay and padding off as the head frame tells.
pub(crate) fn decode(mp3: &[u8]) -> Pcm {
    let stream = MediaSourceStream::new(
        Box::new(Cursor::new(mp3.to_vec())),
        symphonia::core::io::MediaSourceStreamOptions::default(),
    );
    let options = FormatOptions {
        enable_gapless: true,
        ..FormatOptions::default()
    };
    let mut probed = symphonia::default::get_probe()
        .format(
            symphonia::core::probe::Hint::new().with_extension("mp3"),
            stream,
            &options,
            &symphonia::core::meta::MetadataOptions::default(),
        )
        .unwrap();
    let track = probed.format.default_track().unwrap().clone();
    let mut decoder = symphonia::default::get_codecs()
        .make(&track.codec_params, &DecoderOptions::default())
        .unwrap();
    let mut pcm = Pcm {
        rate_hz: track.codec_params.sample_rate.unwrap(),
        channels: track.codec_params.channels.unwrap().count(),
        samples: Vec::new(),
    };
    while let Ok(packet) = probed.format.next_packet() {
        let decoded = decoder.decode(&packet).unwrap();
        let mut buffer = symphonia::core::audio::SampleBuffer::<f32>::new(decoded.capacity() as u64, *decoded.spec());
        buffer.copy_interleaved_ref(decoded);
        pcm.samples.extend_from_slice(buffer.samples());
    }
    pcm
}

/// What is heard in each half second: the loudest of the tones of 300, 400, 500 Hz and so on, 0 where it is silent.
pub(crate) fn tones(pcm: &Pcm) -> Vec<u32> {
    let left: Vec<f32> = pcm.samples.iter().copied().step_by(pcm.channels).collect();
    let half = usize::try_from(pcm.rate_hz / 2).unwrap();
    // Not at the ends, where one tone follows another.
    let middles = left.chunks_exact(half).map(|part| &part[half / 4..half * 3 / 4]);
    middles.map(|part| tone(part, pcm.rate_hz)).collect()
}

fn tone(part: &[f32], rate_hz: u32) -> u32 {
    if part.iter().all(|sample| sample.abs() < 0.001) {
        return 0;
    }
    let loudness = |frequency: u32| {
        let step = f64::from(frequency) * std::f64::consts::TAU / f64::from(rate_hz);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (number, sample) in (0_u32..).zip(part) {
            let (sine, cosine) = (step * f64::from(number)).sin_cos();
            real += f64::from(*sample) * cosine;
            imaginary += f64::from(*sample) * sine;
        }
        real.hypot(imaginary)
    };
    let candidates = (300..3_000).step_by(100);
    let loudest = candidates.max_by(|one, other| loudness(*one).total_cmp(&loudness(*other)));
    loudest.unwrap()
}

/// How much silence a conversion says that it put where its source has no sound.
pub(crate) fn silence_seconds(mp3: &Mp3) -> f64 {
    let of_note = |note: &Note| match note {
        Note::LateStart { ms } | Note::Gaps { ms, .. } => *ms,
        _ => 0,
    };
    let ms: u64 = mp3.converted.notes.iter().map(of_note).sum();
    f64::from(u32::try_from(ms).unwrap()) / 1000.0
}

/// What the `ffmpeg` command makes of the same file, decoded.
pub(crate) fn ffmpegs_own(path: &Path) -> Pcm {
    let folder = tempfile::tempdir().unwrap();
    let mp3 = folder.path().join("reference.mp3");
    testkit::media::ffmpeg(&format!("-i {} -vn -c:a libmp3lame -q:a 2", path.display()), &mp3);
    decode(&fs::read(mp3).unwrap())
}

/// How many samples per channel libav's own decoder finds.
pub(crate) fn frames_by_ffmpeg(mp3: &[u8], channels: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.mp3");
    fs::write(&path, mp3).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(&path)
        .args(["-f", "s16le", "-"])
        .output()
        .unwrap();
    assert!(output.status.success());
    (output.stdout.len() / 2 / channels) as u64
}

/// The verdict's code; panics on anything else.
pub(crate) fn verdict(outcome: Result<Mp3, ConvertError>) -> &'static str {
    match outcome {
        Err(ConvertError::Verdict(verdict)) => verdict.code(),
        Err(other) => panic!("no verdict: {other:?}"),
        Ok(mp3) => panic!("converted: {:?}", mp3.converted),
    }
}
