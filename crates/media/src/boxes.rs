//! How an MP4 is laid out, by the kinds and lengths of its outermost boxes.
//!
//! Source: ISO/IEC 14496-12 section 4.2.

use std::io;

use crate::reader::Reader;

/// More outermost boxes than this are not looked at.
const MOST_BOXES: u32 = 64;

/// Kind, length, and where a long length is.
const HEADER_BYTES: usize = 16;

/// How an MP4 is laid out.
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

    fn layout(boxes: &[(&[u8; 4], u32)]) -> Layout {
        let mut bytes = Vec::new();
        for (kind, size) in boxes {
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(*kind);
            bytes.resize(bytes.len() + (*size as usize).saturating_sub(8), 0);
        }
        let length = bytes.len() as u64;
        let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::MAX);
        let mut reader = Reader::new(Source::seekable(io::Cursor::new(bytes)), watch).unwrap();
        Layout::of(&mut reader, length).unwrap()
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
