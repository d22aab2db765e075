//! The boxes of an MP4, as far as libav does not tell of them.
//!
//! Source: ISO/IEC 14496-12 section 4.2.

use std::io;
use std::ops::Range;

use crate::reader::Reader;

/// More outermost boxes than this are not looked at.
const MOST_BOXES: u32 = 64;

/// Kind, length, and where a long length is.
const HEADER_BYTES: usize = 16;

/// Where the kind of a track's samples is.
const SAMPLE_DESCRIPTION: [&[u8; 4]; 6] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"];

/// How many boxes are looked at to find it.
const MOST_INNER_BOXES: u32 = 1024;

/// How an MP4 is laid out, by the kinds and lengths of its outermost boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One index for the whole file, before or after the data.
    Whole,
    /// Fragments, each with its own index.
    Fragmented,
    /// Neither, or it cannot be told.
    Unclear,
}

impl Layout {
    /// Follows the boxes from the file's start: a few short reads, all of places where libav looks as well.
    ///
    /// # Errors
    /// The source cannot be read; the reason is kept in the watch.
    pub(crate) fn of(reader: &mut Reader, length: u64) -> io::Result<Self> {
        let mut position = 0;
        let mut has_index = false;
        for _ in 0..MOST_BOXES {
            if position >= length {
                return Ok(if has_index { Self::Whole } else { Self::Unclear });
            }
            let header = reader.look(position, HEADER_BYTES)?;
            let Some((kind, size)) = parse(&header) else {
                return Ok(Self::Unclear);
            };
            match &kind {
                b"moof" | b"sidx" | b"mfra" => return Ok(Self::Fragmented),
                b"moov" => has_index = true,
                _ => {}
            }
            // No length means: to the end of the file.
            position = size.map_or(length, |size| position.saturating_add(size));
        }
        Ok(Self::Unclear)
    }
}

/// Whether a track of sound has encrypted samples.
///
/// Source: ISO/IEC 23001-7 (common encryption) section 4.2.
///
/// # Errors
/// The source cannot be read; the reason is kept in the watch.
pub(crate) fn has_encrypted_sound(reader: &mut Reader, length: u64) -> io::Result<bool> {
    let mut budget = MOST_INNER_BOXES;
    is_encrypted(reader, 0..length, &SAMPLE_DESCRIPTION, &mut budget)
}

/// Follows the boxes within those bytes, and within those of them that are on the way.
fn is_encrypted(reader: &mut Reader, within: Range<u64>, way: &[&[u8; 4]], budget: &mut u32) -> io::Result<bool> {
    let Some((next, way)) = way.split_first() else {
        // Behind the version and the number of kinds are the length and the name of the first kind.
        return Ok(reader.look(within.start + 8, 8)?.ends_with(b"enca"));
    };
    let mut position = within.start;
    while position < within.end && *budget > 0 {
        *budget -= 1;
        let header = reader.look(position, HEADER_BYTES)?;
        let Some((kind, size)) = parse(&header) else {
            break;
        };
        let end = size
            .map_or(within.end, |size| position.saturating_add(size))
            .min(within.end);
        let is_long = header.starts_with(&[0, 0, 0, 1]);
        let contents = position + if is_long { HEADER_BYTES as u64 } else { 8 };
        if kind == **next && is_encrypted(reader, contents..end, way, budget)? {
            return Ok(true);
        }
        position = end;
    }
    Ok(false)
}

/// A box's kind and its length, None where it reaches to the file's end.
fn parse(header: &[u8]) -> Option<([u8; 4], Option<u64>)> {
    let (short, rest) = header.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let size = match u32::from_be_bytes(*short) {
        0 => None,
        1 => Some(u64::from_be_bytes(*rest.first_chunk()?)).filter(|size| *size >= HEADER_BYTES as u64),
        size @ 8.. => Some(u64::from(size)),
        _ => return None,
    };
    let is_lying = u32::from_be_bytes(*short) == 1 && size.is_none();
    (!is_lying).then_some((*kind, size))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::time::Duration;

    use super::*;
    use crate::Source;
    use crate::watch::Watch;

    fn reader(bytes: Vec<u8>) -> Reader {
        let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::MAX);
        Reader::new(Source::seekable(io::Cursor::new(bytes)), watch).unwrap()
    }

    fn layout(boxes: &[(&[u8; 4], u32)]) -> Layout {
        let mut bytes = Vec::new();
        for (kind, size) in boxes {
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(*kind);
            bytes.resize(bytes.len() + (*size as usize).saturating_sub(8), 0);
        }
        let length = bytes.len() as u64;
        Layout::of(&mut reader(bytes), length).unwrap()
    }

    /// A box around others.
    fn boxed(kind: &[u8; 4], inner: &[u8]) -> Vec<u8> {
        let length = u32::try_from(inner.len() + 8).unwrap();
        [&length.to_be_bytes(), &kind[..], inner].concat()
    }

    fn has_encrypted_sound(bytes: Vec<u8>) -> bool {
        let length = bytes.len() as u64;
        super::has_encrypted_sound(&mut reader(bytes), length).unwrap()
    }

    #[test]
    fn encrypted_sound_is_found_by_the_kind_of_its_samples() {
        let index = |kinds: &[&[u8; 4]]| {
            let track = |kind: &&[u8; 4]| {
                let samples = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &boxed(kind, &[0; 28])].concat();
                let table = [boxed(b"stts", &[0; 8]), boxed(b"stsd", &samples)].concat();
                let way = [b"stbl", b"minf", b"mdia", b"trak"];
                way.iter().fold(table, |inner, kind| boxed(kind, &inner))
            };
            let tracks: Vec<u8> = kinds.iter().flat_map(track).collect();
            [
                boxed(b"ftyp", &[0; 8]),
                boxed(b"mdat", &[1; 99]),
                boxed(b"moov", &tracks),
            ]
            .concat()
        };
        assert!(has_encrypted_sound(index(&[b"encv", b"enca"])));
        assert!(!has_encrypted_sound(index(&[b"encv", b"mp4a"])));
        assert!(!has_encrypted_sound(index(&[])));
        // Cut off anywhere, or without an end to its boxes.
        let whole = index(&[b"enca"]);
        for length in 0..whole.len() - 40 {
            assert!(!has_encrypted_sound(whole[..length].to_vec()), "{length}");
        }
        assert!(!has_encrypted_sound(boxed(b"moov", &boxed(b"trak", &[]).repeat(5000))));
    }

    #[test]
    fn one_index_before_or_after_the_data_is_whole() {
        assert_eq!(layout(&[(b"ftyp", 24), (b"moov", 900), (b"mdat", 9000)]), Layout::Whole);
        assert_eq!(layout(&[(b"ftyp", 24), (b"mdat", 9000), (b"moov", 900)]), Layout::Whole);
        assert_eq!(layout(&[(b"moov", 900), (b"mdat", 0)]), Layout::Whole);
    }

    #[test]
    fn fragments_are_seen_wherever_they_begin() {
        assert_eq!(
            layout(&[(b"ftyp", 24), (b"moov", 900), (b"moof", 90)]),
            Layout::Fragmented
        );
        assert_eq!(layout(&[(b"moov", 900), (b"sidx", 90)]), Layout::Fragmented);
        assert_eq!(
            layout(&[(b"moov", 900), (b"mdat", 9000), (b"moof", 90)]),
            Layout::Fragmented
        );
    }

    #[test]
    fn what_makes_no_sense_is_unclear() {
        assert_eq!(layout(&[]), Layout::Unclear);
        assert_eq!(layout(&[(b"mdat", 9000)]), Layout::Unclear);
        assert_eq!(layout(&[(b"moov", 900), (b"junk", 7)]), Layout::Unclear);
        assert_eq!(layout(&[(b"moov", 900), (b"mdat", 1)]), Layout::Unclear);
        assert_eq!(layout(&[(b"free", 8); 100]), Layout::Unclear);
    }
}
