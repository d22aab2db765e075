//! Plain sound whose samples lie in more bytes than they have bits for: the width that counts is that of the bytes.
//!
//! The headers of Windows (WAV, AVI, ASF) and of Core Audio tell both, and libav believes the bits alone. Unused bits
//! are the lowest ones of each sample.
//! Source: "Multiple Channel Audio Data and WAVE Files" (Microsoft), `wValidBitsPerSample`; "Core Audio Format
//! Specification" (Apple), `mBitsPerChannel`.

use std::io;

use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Stream;

use crate::choice::is_audio;
use crate::raw;
use crate::reader::Reader;

/// How libav calls the containers whose headers tell both widths.
const CONTAINERS: [&str; 6] = ["wav", "w64", "avi", "asf", "caf", "matroska,webm"];

/// Integers by their bytes, as they lie in the files of Windows: a sample of one byte has no sign.
const LITTLE_ENDIAN: [(u64, Id); 5] = [
    (1, Id::PCM_U8),
    (2, Id::PCM_S16LE),
    (3, Id::PCM_S24LE),
    (4, Id::PCM_S32LE),
    (8, Id::PCM_S64LE),
];
const BIG_ENDIAN: [(u64, Id); 4] = [
    (2, Id::PCM_S16BE),
    (3, Id::PCM_S24BE),
    (4, Id::PCM_S32BE),
    (8, Id::PCM_S64BE),
];

/// The tag of floats in a header of Windows.
///
/// Source: `WAVE_FORMAT_IEEE_FLOAT` in mmreg.h.
const FLOAT_TAG: u32 = 3;

/// How much of the sound is looked at, at once and at most, to tell floats from integers.
const LOOK_BYTES: usize = 64 * 1024;
const MOST_LOOKS: u64 = 64;

/// Corrects what libav makes of the widths of plain sound. To be called before anything is read of the sound.
///
/// # Errors
/// The source cannot be read; the reason is kept in the watch.
pub(crate) fn correct(demuxer: &mut Input, reader: &mut Reader) -> io::Result<()> {
    if !CONTAINERS.contains(&demuxer.format().name()) {
        return Ok(());
    }
    let mut corrections = Vec::new();
    for stream in demuxer.streams().filter(is_audio) {
        let stored = match full_scale(&stream) {
            Some(full_scale) if are_floats(demuxer, reader, full_scale)? => None,
            Some(_) => Some((4, Id::PCM_S32LE)),
            None => stored_form(&stream),
        };
        corrections.extend(stored.map(|(bytes, id)| (stream.index(), bytes, id)));
    }
    for (index, bytes, id) in corrections {
        if let Some(mut stream) = demuxer.stream_mut(index) {
            tracing::debug!(bytes, "samples are stored in more bytes than they have bits for");
            let length_bytes = reader.length_bytes();
            raw::set_sample_width(&mut stream, id, bytes, length_bytes);
        }
    }
    Ok(())
}

/// What the bytes of a stream's samples say, where it is something else than libav takes them for.
fn stored_form(stream: &Stream<'_>) -> Option<(u64, Id)> {
    let id = stream.parameters().id();
    let widths = raw::widths(stream);
    let channels = u64::from(raw::channels(stream));
    if channels == 0 || !widths.block_bytes.is_multiple_of(channels) {
        return None;
    }
    let stored = widths.block_bytes / channels;
    if id == Id::None && widths.tag == FLOAT_TAG {
        return [(4, Id::PCM_F32LE), (8, Id::PCM_F64LE)]
            .into_iter()
            .find(|(bytes, _)| *bytes == stored);
    }
    let family: &[(u64, Id)] = [&LITTLE_ENDIAN as &[_], &BIG_ENDIAN]
        .into_iter()
        .find(|family| family.iter().any(|(_, known)| *known == id))?;
    let taken = family.iter().find(|(_, known)| *known == id)?.0;
    // The headers of Windows tell the bytes of a second as well: one of the three is wrong, and two agree.
    let bits_per_second = |bytes: u64| bytes * channels * 8 * u64::from(raw::sample_rate_hz(stream));
    let is_believed = match widths.bits_per_second {
        told if told == bits_per_second(stored) => stored != taken,
        told if told == bits_per_second(taken) => false,
        _ => stored > taken,
    };
    family
        .iter()
        .find(|(bytes, _)| is_believed && *bytes == stored)
        .copied()
}

/// The full scale of what libav takes for floats of a range of integers: 24 bits in four bytes, which is how an old
/// program (Cool Edit) marks them, and everybody else marks integers of 24 bits in four bytes.
fn full_scale(stream: &Stream<'_>) -> Option<f32> {
    (stream.parameters().id() == Id::PCM_F24LE).then_some(8_388_608.0)
}

/// Whether the first sound of a file, from where it is read next, can be floats of that full scale: integers taken for
/// floats are next to nothing, or no numbers, or beyond all bounds.
fn are_floats(demuxer: &Input, reader: &mut Reader, full_scale: f32) -> io::Result<bool> {
    let Some(begin) = raw::position(demuxer) else {
        return Ok(true);
    };
    for look in 0..MOST_LOOKS {
        let bytes = reader.look(begin + look * LOOK_BYTES as u64, LOOK_BYTES)?;
        let (samples, _) = bytes.as_chunks::<4>();
        let floats = || samples.iter().copied().map(f32::from_le_bytes);
        if floats().any(|sample| sample.to_bits() << 1 != 0) {
            let has_bounds = floats().all(|sample| sample.abs() <= 2.0 * full_scale);
            return Ok(has_bounds && floats().any(|sample| sample.abs() >= 1.0));
        }
        if bytes.len() < LOOK_BYTES {
            break;
        }
    }
    // Silence is the same in both.
    Ok(false)
}
