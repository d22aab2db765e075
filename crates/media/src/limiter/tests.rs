//! What a listener would judge, as numbers: nothing clips, no tone gets others beside it, the level does not move where
//! nothing exceeds full scale, and moves slowly where it did.

use std::f64::consts::TAU;

use super::*;

const RATE_HZ: u32 = 48_000;

/// The same samples on one side, and half as loud on the other, limited in blocks of that many.
fn limited(samples: &[f32], at_once: usize) -> Vec<f32> {
    let mut limiter = Limiter::new(RATE_HZ);
    let mut out = Vec::new();
    let mut collect = |block: Block<'_>| {
        let right = block.right.unwrap();
        assert!(block.left.iter().zip(right).all(|(left, right)| left / 2.0 == *right));
        out.extend_from_slice(block.left);
        Ok(())
    };
    for left in samples.chunks(at_once) {
        let right: Vec<f32> = left.iter().map(|sample| sample / 2.0).collect();
        let block = Block {
            left,
            right: Some(&right),
        };
        limiter.push(block, &mut collect).unwrap();
    }
    limiter.finish(&mut collect).unwrap();
    assert_eq!(out.len(), samples.len());
    out
}

#[expect(clippy::cast_possible_truncation, reason = "samples have 32 bits")]
fn sound(milliseconds: u32, wave: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..milliseconds * (RATE_HZ / 1000))
        .map(|number| wave(f64::from(number) / f64::from(RATE_HZ)) as f32)
        .collect()
}

fn tone(hz: f64, loudness: f64) -> impl Fn(f64) -> f64 {
    move |time| loudness * (TAU * hz * time).sin()
}

fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

/// The power of that tone, and of everything else, in samples that hold whole periods of it.
fn powers(samples: &[f32], hz: f64) -> (f64, f64) {
    let step = TAU * hz / f64::from(RATE_HZ);
    let (mut real, mut imaginary, mut total) = (0.0, 0.0, 0.0);
    for (number, sample) in (0_u32..).zip(samples) {
        let (sine, cosine) = (step * f64::from(number)).sin_cos();
        let sample = f64::from(*sample);
        real += sample * cosine;
        imaginary += sample * sine;
        total += sample * sample;
    }
    let count = samples.len() as f64;
    let of_tone = 2.0 * (real * real + imaginary * imaginary) / count;
    (of_tone / count, (total - of_tone) / count)
}

fn decibels(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

/// Chords that swell slowly, with a drum twice a second: the wave before its loudness.
fn music(time: f64) -> f64 {
    let chord: f64 = [110.0, 220.0, 277.2, 329.6, 1318.5]
        .iter()
        .map(|hz| tone(*hz, 0.13)(time))
        .sum();
    let since_beat = time % 0.5;
    let drum = 0.5 * (-since_beat * 30.0).exp() * (TAU * 60.0 * since_beat).sin();
    chord * (1.0 + 0.3 * (TAU * 0.2 * time).sin()) + drum
}

#[test]
fn what_does_not_exceed_full_scale_passes_bit_by_bit_as_it_is() {
    let mut samples = sound(2_000, music);
    let loudest = peak(&samples);
    for sample in &mut samples {
        *sample /= loudest;
    }
    assert!(peak(&samples) == 1.0);
    assert!(limited(&samples, 1000) == samples);
}

#[test]
fn nothing_exceeds_full_scale_however_loud_and_sudden_it_is() {
    let click = |time: f64| if (0.5..0.5001).contains(&time) { 7.9 } else { 0.2 };
    let onset = |time: f64| if time < 0.5 { 0.0 } else { tone(997.0, 3.0)(time) };
    let square = |time: f64| if time % 0.01 < 0.005 { 1.3 } else { -1.3 };
    for samples in [
        sound(1_000, click),
        sound(1_000, onset),
        sound(1_000, square),
        sound(1, |_| 2.0),
        sound(3_000, |time| music(time) * 4.0),
    ] {
        assert!(peak(&samples) > 1.0);
        let limited = limited(&samples, 1000);
        assert!(peak(&limited) <= 1.0, "{}", peak(&limited));
    }
}

#[test]
fn the_blocks_it_comes_in_change_nothing() {
    let samples = sound(1_000, |time| music(time) * 2.0);
    let expected = limited(&samples, samples.len());
    for at_once in [1, 7, 64, 1152, 5000] {
        assert!(limited(&samples, at_once) == expected, "{at_once}");
    }
}

#[test]
fn a_tone_stays_a_pure_tone_at_the_ceiling() {
    for (hz, loudness) in [
        (30.0, 1.41),
        (100.0, 1.1),
        (440.0, 1.27),
        (1000.0, 2.41),
        (10_000.0, 1.41),
    ] {
        let limited = limited(&sound(3_000, tone(hz, loudness)), 1024);
        let settled = &limited[RATE_HZ as usize..2 * RATE_HZ as usize];
        let (of_tone, rest) = powers(settled, hz);
        let level = (2.0 * of_tone).sqrt();
        assert!((level - f64::from(CEILING)).abs() < 0.003, "{hz} Hz: {level}");
        let distortion = decibels(rest / of_tone);
        assert!(distortion < -80.0, "{hz} Hz: {distortion} dB");
    }
}

#[test]
fn before_and_long_after_a_loud_place_the_sound_is_as_it_was() {
    let samples = sound(25_000, |time| {
        music(time) * if (5.0..6.0).contains(&time) { 2.0 } else { 0.6 }
    });
    assert!(peak(&samples[..5 * RATE_HZ as usize]) < 1.0 && peak(&samples) > 1.5);
    let limited = limited(&samples, 1000);
    let changed = |at: &usize| limited[*at] != samples[*at];
    let first = (0..samples.len()).find(changed).unwrap();
    let last = (0..samples.len()).rfind(changed).unwrap();
    let seconds = |at: usize| at as f64 / f64::from(RATE_HZ);
    assert!(seconds(first) > 4.987, "{}", seconds(first));
    assert!(seconds(last) < 21.0, "{}", seconds(last));
    // Four seconds later it is within 1 dB again.
    let at = 10 * RATE_HZ as usize;
    let range = at..at + RATE_HZ as usize / 2;
    let power = |samples: &[f32]| samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    let lost = decibels(power(&limited[range.clone()]) / power(&samples[range]));
    assert!(lost > -1.0, "{lost} dB");
}

/// Heard as pumping is a level that falls with every beat and comes back between two of them, by more than 1 dB or so.
#[test]
fn the_level_of_loud_music_does_not_move_with_its_beat() {
    let samples = sound(20_000, |time| music(time) * 1.6);
    assert!(peak(&samples) > std::f32::consts::SQRT_2);
    let limited = limited(&samples, 1000);
    // The gain every 10 ms, where the wave is far enough from zero to tell.
    let gains: Vec<f64> = (RATE_HZ as usize..samples.len())
        .step_by(480)
        .filter_map(|at| (at..samples.len().min(at + 480)).find(|at| samples[*at].abs() > 0.05))
        .map(|at| f64::from(limited[at] / samples[at]))
        .collect();
    for beat in gains.windows(50) {
        let rise = 2.0 * decibels(beat[beat.len() - 1] / beat[0]);
        assert!(rise < 1.0, "{rise} dB within a beat");
    }
}
