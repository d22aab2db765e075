//! Plain sound whose samples lie in more bytes than they have bits for, and what is meant by floats in a format of
//! integers.

use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::{Rate, Settings, Source};
use testkit::media::ffmpeg;

use crate::support::{Pcm, convert, convert_bytes, decode};

const RATE_HZ: u16 = 48_000;
const AMPLITUDE: f64 = 0.4;

/// How a WAV says what its samples are.
#[derive(Clone, Copy, Debug)]
enum Header {
    /// `WAVE_FORMAT_EXTENSIBLE`, with the bits that are in use; of integers or of floats.
    Extensible { valid: u16, is_float: bool },
    /// `WAVE_FORMAT_PCM`, with this many bits.
    Plain { bits: u16 },
}

/// A stereo WAV with a second of sound: 300 Hz, then 400 Hz. `sample` makes the bytes of a sample from -1 to 1.
fn wav(header: Header, stored_bytes: u16, silence_seconds: u16, sample: impl Fn(f64) -> Vec<u8>) -> Vec<u8> {
    let block_bytes = 2 * stored_bytes;
    let mut samples = vec![0; usize::from(block_bytes) * usize::from(RATE_HZ) * usize::from(silence_seconds)];
    for number in 0..RATE_HZ {
        let seconds = f64::from(number) / f64::from(RATE_HZ);
        let frequency = 300.0 + 100.0 * (2.0 * seconds).floor();
        let value = AMPLITUDE * (std::f64::consts::TAU * frequency * seconds).sin();
        samples.extend(sample(value).repeat(2));
    }
    let (tag, bits, extension) = match header {
        Header::Plain { bits } => (1_u16, bits, Vec::new()),
        Header::Extensible { valid, is_float } => {
            let kind = if is_float { 3_u16 } else { 1 };
            let base = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
            let parts: [&[u8]; 5] = [
                &22_u16.to_le_bytes(),
                &valid.to_le_bytes(),
                &3_u32.to_le_bytes(),
                &kind.to_le_bytes(),
                base,
            ];
            (0xfffe, 8 * stored_bytes, parts.concat())
        }
    };
    let format = [
        &tag.to_le_bytes() as &[u8],
        &2_u16.to_le_bytes(),
        &u32::from(RATE_HZ).to_le_bytes(),
        &(u32::from(RATE_HZ) * u32::from(block_bytes)).to_le_bytes(),
        &block_bytes.to_le_bytes(),
        &bits.to_le_bytes(),
        &extension,
    ]
    .concat();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let body = [
        b"WAVEfmt " as &[u8],
        &length(&format),
        &format,
        b"data",
        &length(&samples),
        &samples,
    ]
    .concat();
    [b"RIFF" as &[u8], &length(&body), &body].concat()
}

/// The bytes of an integer with that many valid bits, which are the highest.
fn integer(stored_bytes: u16, valid: u16) -> impl Fn(f64) -> Vec<u8> {
    move |value| {
        if stored_bytes == 1 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255")]
            return vec![(value * 127.0 + 128.0) as u8];
        }
        let full_scale = f64::from(u32::MAX >> 1) * 4_294_967_296.0;
        #[expect(clippy::cast_possible_truncation, reason = "below full scale")]
        let all_bits = (value * full_scale) as i64;
        let valid_bits = all_bits & (-1_i64 << (64 - valid));
        let bytes = valid_bits.to_le_bytes();
        bytes[bytes.len() - usize::from(stored_bytes)..].to_vec()
    }
}

fn assert_is_the_ladder(pcm: &Pcm, silent_half_seconds: usize, what: &str) {
    let expected = [vec![0; silent_half_seconds], vec![300, 400]].concat();
    for side in 0..2 {
        assert_eq!(pcm.tones(side), expected, "{what}, side {side}");
    }
    assert!((0.37..0.43).contains(&pcm.peak()), "{what}: peak {}", pcm.peak());
}

fn best() -> Settings {
    Settings {
        rate: Some(Rate::Cbr(320)),
        ..Settings::default()
    }
}

#[test]
fn whatever_the_widths_of_an_extensible_wav_its_sound_is_right() {
    for (stored_bytes, valid) in [
        (1, 8),
        (2, 8),
        (2, 12),
        (2, 16),
        (3, 8),
        (3, 16),
        (3, 20),
        (3, 24),
        (4, 8),
        (4, 16),
        (4, 20),
        (4, 24),
        (4, 31),
        (4, 32),
        (8, 24),
        (8, 32),
        (8, 64),
    ] {
        let header = Header::Extensible { valid, is_float: false };
        let bytes = wav(header, stored_bytes, 0, integer(stored_bytes, valid));
        let what = format!("{valid} bits in {stored_bytes} bytes");
        let mp3 = convert_bytes(bytes.clone(), &best()).unwrap();
        assert_is_the_ladder(&decode(&mp3.bytes), 0, &what);
        let streamed = convert(Source::stream(Cursor::new(bytes)), &best()).unwrap();
        assert!(streamed.bytes == mp3.bytes, "{what}, streamed");
    }
    // More bits than there are bytes for.
    let header = Header::Extensible {
        valid: 24,
        is_float: false,
    };
    let mp3 = convert_bytes(wav(header, 2, 0, integer(2, 16)), &best()).unwrap();
    assert_is_the_ladder(&decode(&mp3.bytes), 0, "24 bits in 2 bytes");
}

#[test]
fn floats_of_which_not_all_bits_count_are_floats() {
    #[expect(clippy::cast_possible_truncation, reason = "a sample needs no more")]
    let float = |value: f64| (value as f32).to_le_bytes().to_vec();
    let header = Header::Extensible {
        valid: 24,
        is_float: true,
    };
    let mp3 = convert_bytes(wav(header, 4, 0, float), &best()).unwrap();
    assert_is_the_ladder(&decode(&mp3.bytes), 0, "24 bits of a float");
}

#[test]
fn what_a_plain_header_calls_24_bits_in_four_bytes_is_what_its_samples_are() {
    let header = Header::Plain { bits: 24 };
    #[expect(clippy::cast_possible_truncation, reason = "a sample needs no more")]
    let cool_edit = |value: f64| ((value * 8_388_608.0) as f32).to_le_bytes().to_vec();
    for silence_seconds in [0, 1] {
        let silent_half_seconds = 2 * usize::from(silence_seconds);
        let integers = wav(header, 4, silence_seconds, integer(4, 24));
        let mp3 = convert_bytes(integers, &best()).unwrap();
        assert_is_the_ladder(&decode(&mp3.bytes), silent_half_seconds, "integers");
        let floats = wav(header, 4, silence_seconds, cool_edit);
        let mp3 = convert_bytes(floats, &best()).unwrap();
        assert_is_the_ladder(&decode(&mp3.bytes), silent_half_seconds, "floats");
    }
}

#[test]
fn the_length_is_told_by_the_width_that_is_stored() {
    let header = Header::Extensible {
        valid: 24,
        is_float: false,
    };
    let bytes = wav(header, 4, 0, integer(4, 24));
    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let source = Source::seekable(Cursor::new(bytes));
    media::convert(source, &mut std::io::sink(), &best(), move |progress| {
        *told.lock().unwrap() = progress.duration;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(Duration::from_secs(1)));
}

#[test]
fn the_widths_count_in_every_container_that_tells_both() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, marker, offset) in [
        // From the start of the extensible header to its valid bits.
        ("avi", b"\xfe\xff" as &[u8], 18),
        ("w64", b"\xfe\xff", 18),
        // From the name of the chunk to the last byte of the bits per channel.
        ("caf", b"desc", 43),
    ] {
        let path = folder.path().join("wide").with_extension(extension);
        ffmpeg(
            "-f lavfi -i aevalsrc=0.4*sin(2*PI*t*(300+100*floor(2*t)))|0.4*sin(2*PI*t*(300+100*floor(2*t)))\
             :s=48000:d=1 -c:a pcm_s32le",
            &path,
        );
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(marker.len()).position(|part| part == marker).unwrap() + offset;
        assert_eq!(bytes[at], 32, "{extension}");
        bytes[at] = 24;
        let mp3 = convert_bytes(bytes, &best()).unwrap();
        assert_is_the_ladder(&decode(&mp3.bytes), 0, extension);
        assert_eq!(mp3.converted.duration, Duration::from_secs(1), "{extension}");
    }
}

#[test]
fn a_wrong_width_in_a_plain_header_is_not_believed_against_the_others() {
    let right = wav(Header::Plain { bits: 16 }, 2, 0, integer(2, 16));
    // Bytes of one sample of both channels, and bytes of a second.
    for (block_bytes, second_bytes) in [(8_u16, 192_000_u32), (2, 192_000), (4, 384_000), (4, 0)] {
        let mut bytes = right.clone();
        bytes[28..32].copy_from_slice(&second_bytes.to_le_bytes());
        bytes[32..34].copy_from_slice(&block_bytes.to_le_bytes());
        let pcm = decode(&convert_bytes(bytes, &best()).unwrap().bytes);
        let what = format!("{block_bytes} bytes of {second_bytes} in a second");
        assert_is_the_ladder(&pcm, 0, &what);
    }
}
