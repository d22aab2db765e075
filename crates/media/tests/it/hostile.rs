//! Mutated media: every conversion ends, in an MP3 or in a verdict, and never otherwise.

use std::fs;
use std::time::Duration;

use media::{ConvertError, Limits, Settings};
use rand_like::Random;

use crate::support::convert_bytes;

/// How many mutations of each sample.
const MUTATIONS: u64 = 8;

/// A small generator of our own: the same cases on every machine, named by their seed.
mod rand_like {
    pub(super) struct Random(u64);

    impl Random {
        pub(super) fn new(seed: u64) -> Self {
            Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
        }

        pub(super) fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from((self.0 >> 11) % limit.max(1) as u64).unwrap()
        }
    }
}

/// Changes bytes, most of them near the start, where the structure is; sometimes cuts, repeats or drops a stretch.
fn mutated(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let start = random.below(bytes.len());
            let end = bytes.len().min(start + random.below(4096));
            bytes.drain(start..end);
        }
        2 => {
            let start = random.below(bytes.len());
            let end = bytes.len().min(start + random.below(4096));
            let again = bytes[start..end].to_vec();
            bytes.splice(start..start, again);
        }
        _ => {}
    }
    for _ in 0..1 + random.below(32) {
        let within = if random.below(2) == 0 { 1024 } else { bytes.len() };
        let at = random.below(within.min(bytes.len()));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = [0, 0xff, 0x80, 0x7f][random.below(4)] ^ u8::try_from(random.below(256)).unwrap();
        }
    }
    bytes
}

#[test]
fn mutated_media_always_ends_in_an_mp3_or_a_verdict() {
    let settings = Settings {
        limits: Limits {
            duration: Duration::from_secs(60),
            output_bytes: 8 << 20,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let mut converted = 0;
    let mut total = 0;
    for (number, sample) in (0..).zip(testkit::media::samples()) {
        let whole = fs::read(&sample.path).unwrap();
        for mutation in 0..MUTATIONS {
            let seed = number * 1000 + mutation;
            let bytes = mutated(whole.clone(), &mut Random::new(seed));
            total += 1;
            match convert_bytes(bytes, &settings) {
                Ok(_) => converted += 1,
                Err(ConvertError::Verdict(_)) => {}
                Err(other) => panic!("{} with seed {seed}: {other:?}", sample.name),
            }
        }
    }
    assert!(converted * 3 > total, "only {converted} of {total} got past opening");
}
