//! Damage that knows the structure of what it damages.

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::structure::{Unit, mend_checksums, units};

/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    16,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    u64::MAX,
];

/// No mutation makes a file longer than this.
const LARGEST_BYTES: usize = 8 << 20;

/// Damages `data` in one to three ways.
pub(crate) fn mutate(data: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..=3) {
        let units = units(data);
        let unit = random.random_range(0..units.len());
        match random.random_range(0..100) {
            0..12 => lie_about_length(data, &units, random),
            12..32 => write_number(data, &units[unit], random),
            32..52 => flip_bits(data, &units[unit], random),
            52..64 => overwrite(data, &units[unit], random),
            64..74 => remove(data, &units, unit),
            74..84 => repeat(data, &units, unit, random),
            84..90 => swap(data, &units, random),
            90..96 => rename(data, &units, random),
            _ => cut_short(data, &units[unit], random),
        }
        if data.is_empty() {
            return;
        }
    }
    if data.starts_with(b"OggS") && random.random_bool(0.75) {
        mend_checksums(data);
    }
}

fn lie_about_length(data: &mut [u8], units: &[Unit], random: &mut StdRng) {
    let telling: Vec<&Unit> = units.iter().filter(|unit| unit.length.is_some()).collect();
    let Some(unit) = pick(&telling, random) else { return };
    let Some(field) = &unit.length else { return };
    let truth = field.get(data);
    let lie = match random.random_range(0..4) {
        0 => truth.wrapping_add(1),
        1 => truth.wrapping_sub(1),
        2 => truth.wrapping_mul(2),
        _ => EDGES[random.random_range(0..EDGES.len())],
    };
    field.set(data, lie);
}

fn write_number(data: &mut [u8], unit: &Unit, random: &mut StdRng) {
    let end = unit.range.end.min(unit.body + 96);
    if unit.body >= end {
        return;
    }
    let at = random.random_range(unit.body..end);
    let width = [1, 2, 4, 8][random.random_range(0..4)].min(end - at);
    let number = EDGES[random.random_range(0..EDGES.len())].to_be_bytes();
    data[at..at + width].copy_from_slice(&number[8 - width..]);
}

fn flip_bits(data: &mut [u8], unit: &Unit, random: &mut StdRng) {
    for _ in 0..random.random_range(1..=16) {
        let at = random.random_range(unit.range.clone());
        data[at] ^= 1 << random.random_range(0..8);
    }
}

fn overwrite(data: &mut [u8], unit: &Unit, random: &mut StdRng) {
    if unit.body >= unit.range.end {
        return;
    }
    let begin = random.random_range(unit.body..unit.range.end);
    let end = unit.range.end.min(begin + random.random_range(1..=256));
    let same = random.random_bool(0.3).then(|| random.random());
    for byte in &mut data[begin..end] {
        *byte = same.unwrap_or_else(|| random.random());
    }
}

fn remove(data: &mut Vec<u8>, units: &[Unit], index: usize) {
    let range = units[index].range.clone();
    // The whole file is not worth removing.
    if range.len() < data.len() {
        grow_parents(data, units, index, -(i64::try_from(range.len()).unwrap()));
        data.drain(range);
    }
}

fn repeat(data: &mut Vec<u8>, units: &[Unit], index: usize, random: &mut StdRng) {
    let range = units[index].range.clone();
    let times = [1, 2, 10, 300][random.random_range(0..4)];
    if data.len() + range.len() * times > LARGEST_BYTES {
        return;
    }
    let copies = data[range.clone()].repeat(times);
    grow_parents(data, units, index, i64::try_from(copies.len()).unwrap());
    data.splice(range.end..range.end, copies);
}

/// Keeps the lengths around a unit right when it goes or comes again: half the damage should get past opening.
fn grow_parents(data: &mut [u8], units: &[Unit], index: usize, by: i64) {
    let mut parent = units[index].parent;
    while let Some(index) = parent {
        if let Some(field) = &units[index].length {
            let grown = field.get(data).wrapping_add_signed(by);
            field.set(data, grown);
        }
        parent = units[index].parent;
    }
}

fn swap(data: &mut Vec<u8>, units: &[Unit], random: &mut StdRng) {
    let first = random.random_range(0..units.len());
    let siblings: Vec<&Unit> = units.iter().filter(|unit| unit.parent == units[first].parent).collect();
    let Some(second) = pick(&siblings, random) else { return };
    let (one, other) = (&units[first].range, &second.range);
    let (one, other) = if one.start < other.start {
        (one, other)
    } else {
        (other, one)
    };
    if one.end > other.start {
        return;
    }
    let mut swapped = data[..one.start].to_vec();
    swapped.extend_from_slice(&data[other.clone()]);
    swapped.extend_from_slice(&data[one.end..other.start]);
    swapped.extend_from_slice(&data[one.clone()]);
    swapped.extend_from_slice(&data[other.end..]);
    *data = swapped;
}

/// Gives a unit the header of another one, without its length.
fn rename(data: &mut [u8], units: &[Unit], random: &mut StdRng) {
    let (one, other) = (
        &units[random.random_range(0..units.len())],
        &units[random.random_range(0..units.len())],
    );
    let length = (one.body - one.range.start).min(other.body - other.range.start);
    let kept = one.length.as_ref().map(|field| (field, field.get(data)));
    data.copy_within(other.range.start..other.range.start + length, one.range.start);
    if let Some((field, value)) = kept {
        field.set(data, value);
    }
}

fn cut_short(data: &mut Vec<u8>, unit: &Unit, random: &mut StdRng) {
    data.truncate(random.random_range(unit.range.clone()).max(1));
}

fn pick<'a, T>(from: &'a [T], random: &mut StdRng) -> Option<&'a T> {
    (!from.is_empty()).then(|| &from[random.random_range(0..from.len())])
}
