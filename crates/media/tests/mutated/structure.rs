//! Where the pieces of a media file lie: boxes, elements, chunks, pages, packets, tags and frames.

use std::ops::Range;

/// A piece of a file.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// The whole piece.
    pub(crate) range: Range<usize>,
    /// Where its content begins.
    pub(crate) body: usize,
    /// Where its length stands, if it tells one.
    pub(crate) length: Option<Field>,
    /// The piece around it.
    pub(crate) parent: Option<usize>,
}

/// A number that tells how long a unit is.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) at: usize,
    pub(crate) form: Form,
}

/// How a length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Most significant byte first, that many bytes.
    Big(usize),
    /// Least significant byte first, that many bytes.
    Little(usize),
    /// EBML: the first byte's leading zeros tell how many bytes.
    Variable(usize),
}

impl Field {
    /// Reads the number.
    pub(crate) fn get(&self, data: &[u8]) -> u64 {
        let fold = |bytes: &mut dyn Iterator<Item = &u8>| bytes.fold(0, |value, byte| value << 8 | u64::from(*byte));
        match self.form {
            Form::Big(width) => fold(&mut data[self.at..self.at + width].iter()),
            Form::Little(width) => fold(&mut data[self.at..self.at + width].iter().rev()),
            Form::Variable(width) => fold(&mut data[self.at..self.at + width].iter()) & ((1 << (7 * width)) - 1),
        }
    }

    /// Writes the number, cut to what fits.
    pub(crate) fn set(&self, data: &mut [u8], value: u64) {
        match self.form {
            Form::Big(width) => data[self.at..self.at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]),
            Form::Little(width) => data[self.at..self.at + width].copy_from_slice(&value.to_le_bytes()[..width]),
            Form::Variable(width) => {
                let marked = value & ((1 << (7 * width)) - 1) | 1 << (7 * width);
                data[self.at..self.at + width].copy_from_slice(&marked.to_be_bytes()[8 - width..]);
            }
        }
    }
}

/// The units of a file, outer ones before those inside, by how the file begins.
pub(crate) fn units(data: &[u8]) -> Vec<Unit> {
    let mut found = Vec::new();
    let whole = 0..data.len();
    match data {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'w', b'i', b'd', b'e', ..] => {
            nested(data, whole, None, &mut found, bmff);
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => nested(data, whole, None, &mut found, ebml),
        [b'R', b'I', b'F', b'F', ..] => nested(data, whole, None, &mut found, riff),
        [b'F', b'O', b'R', b'M', ..] => nested(data, whole, None, &mut found, iff),
        [0x30, 0x26, 0xb2, 0x75, ..] => nested(data, whole, None, &mut found, asf),
        [b'F', b'L', b'V', ..] => nested(data, 9..data.len(), None, &mut found, flv),
        [b'f', b'L', b'a', b'C', ..] => nested(data, 4..data.len(), None, &mut found, flac),
        [b'O', b'g', b'g', b'S', ..] => nested(data, whole, None, &mut found, ogg),
        [0x47, ..] if data.get(188) == Some(&0x47) => between(&mut found, (0..=data.len()).step_by(188), 4),
        [0, 0, 1, ..] => {
            let starts = (0..data.len().saturating_sub(4))
                .filter(|at| data[*at..].starts_with(&[0, 0, 1]) && data[at + 3] >= 0xb9);
            between(&mut found, starts, 6);
        }
        _ => {
            let starts = (0..data.len().saturating_sub(1)).filter(|at| data[*at] == 0xff && data[at + 1] >= 0xe0);
            between(&mut found, starts, 4);
        }
    }
    if found.is_empty() {
        let body = data.len().min(16);
        found.push(Unit {
            range: 0..data.len(),
            body,
            length: None,
            parent: None,
        });
    }
    found
}

/// What one unit looks like: where its body begins, where it ends, where its length stands, where units inside it
/// begin.
struct Shape {
    body: usize,
    end: usize,
    length: Option<Field>,
    inside: Option<usize>,
}

/// Tells what begins at a place of the data, below a limit.
type Walk = fn(&[u8], usize, usize) -> Option<Shape>;

fn nested(data: &[u8], range: Range<usize>, parent: Option<usize>, found: &mut Vec<Unit>, shape: Walk) {
    let mut at = range.start;
    while at < range.end {
        let Some(Shape {
            body,
            end,
            length,
            inside,
        }) = shape(data, at, range.end)
        else {
            return;
        };
        let end = end.clamp(body.min(range.end), range.end);
        if end <= at {
            return;
        }
        let index = found.len();
        found.push(Unit {
            range: at..end,
            body: body.min(end),
            length,
            parent,
        });
        if let Some(inside) = inside {
            nested(data, inside.min(end)..end, Some(index), found, shape);
        }
        at = end;
    }
}

fn between(found: &mut Vec<Unit>, starts: impl Iterator<Item = usize>, header: usize) {
    let starts: Vec<usize> = starts.collect();
    found.extend(starts.windows(2).map(|pair| Unit {
        range: pair[0]..pair[1],
        body: (pair[0] + header).min(pair[1]),
        length: None,
        parent: None,
    }));
}

fn number(data: &[u8], at: usize, form: Form) -> Option<(usize, Field)> {
    let (Form::Big(width) | Form::Little(width) | Form::Variable(width)) = form;
    data.get(at..at + width)?;
    let field = Field { at, form };
    Some((usize::try_from(field.get(data)).unwrap_or(usize::MAX), field))
}

/// ISO/IEC 14496-12, 4.2.
fn bmff(data: &[u8], at: usize, limit: usize) -> Option<Shape> {
    const OF_BOXES: [&[u8]; 13] = [
        b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"mvex", b"moof", b"traf", b"mfra",
        b"ilst",
    ];
    let (mut size, mut field) = number(data, at, Form::Big(4))?;
    let mut body = at + 8;
    if size == 1 {
        (size, field) = number(data, at + 8, Form::Big(8))?;
        body = at + 16;
    }
    let kind = data.get(at + 4..at + 8)?;
    let inside = match kind {
        _ if OF_BOXES.contains(&kind) => Some(body),
        b"meta" => Some(body + 4),
        b"stsd" => Some(body + 8),
        b"mp4a" | b"alac" if size > 36 => Some(body + 28),
        _ => None,
    };
    let end = if size == 0 { limit } else { at.saturating_add(size) };
    Some(Shape {
        body,
        end,
        length: Some(field),
        inside,
    })
}

/// RFC 8794, 4 to 6.
fn ebml(data: &[u8], at: usize, limit: usize) -> Option<Shape> {
    const OF_ELEMENTS: [u32; 17] = [
        0x1a45_dfa3,
        0x1853_8067,
        0x1654_ae6b,
        0xae,
        0xe1,
        0xe0,
        0x1f43_b675,
        0xa0,
        0x114d_9b74,
        0x4dbb,
        0x1549_a966,
        0x1c53_bb6b,
        0xbb,
        0xb7,
        0x1254_c367,
        0x7373,
        0x67c8,
    ];
    let width = |at: usize| {
        data.get(at)
            .map(|first| first.leading_zeros() as usize + 1)
            .filter(|width| *width <= 8)
    };
    let id_width = width(at).filter(|width| *width <= 4)?;
    let id = data
        .get(at..at + id_width)?
        .iter()
        .fold(0, |id, byte| id << 8 | u32::from(*byte));
    let size_width = width(at + id_width)?;
    let (size, field) = number(data, at + id_width, Form::Variable(size_width))?;
    let body = at + id_width + size_width;
    let unknown = size as u64 == (1 << (7 * size_width)) - 1;
    let end = if unknown { limit } else { body.saturating_add(size) };
    Some(Shape {
        body,
        end,
        length: Some(field),
        inside: OF_ELEMENTS.contains(&id).then_some(body),
    })
}

fn chunk(data: &[u8], at: usize, form: Form) -> Option<Shape> {
    let (size, field) = number(data, at + 4, form)?;
    let holds = matches!(data.get(at..at + 4)?, b"RIFF" | b"LIST" | b"FORM");
    let end = at.saturating_add(8).saturating_add(size).saturating_add(size & 1);
    Some(Shape {
        body: at + 8,
        end,
        length: Some(field),
        inside: holds.then_some(at + 12),
    })
}

/// Multimedia Programming Interface and Data Specifications 1.0, chapter 2.
fn riff(data: &[u8], at: usize, _: usize) -> Option<Shape> {
    chunk(data, at, Form::Little(4))
}

/// EA IFF 85.
fn iff(data: &[u8], at: usize, _: usize) -> Option<Shape> {
    chunk(data, at, Form::Big(4))
}

/// Advanced Systems Format Specification, 2.1: only the header object holds others; packets fill the data object.
fn asf(data: &[u8], at: usize, _: usize) -> Option<Shape> {
    let (size, field) = number(data, at + 16, Form::Little(8))?;
    let inside = match data.get(at..at + 4)? {
        [0x30, 0x26, 0xb2, 0x75] => Some(at + 30),
        [0xb5, 0x03, 0xbf, 0x5f] => Some(at + 46),
        _ => None,
    };
    Some(Shape {
        body: at + 24,
        end: at.saturating_add(size),
        length: Some(field),
        inside,
    })
}

/// Adobe Flash Video File Format Specification 10.1, annex E: each tag behind the length of the one before.
fn flv(data: &[u8], at: usize, _: usize) -> Option<Shape> {
    let (size, field) = number(data, at + 5, Form::Big(3))?;
    Some(Shape {
        body: at + 15,
        end: at.saturating_add(15 + size),
        length: Some(field),
        inside: None,
    })
}

/// RFC 9639, 8.1: metadata blocks; what follows the last of them is one unit.
fn flac(data: &[u8], at: usize, limit: usize) -> Option<Shape> {
    if data.get(at) == Some(&0xff) {
        return Some(Shape {
            body: at + 16,
            end: limit,
            length: None,
            inside: None,
        });
    }
    let (size, field) = number(data, at + 1, Form::Big(3))?;
    Some(Shape {
        body: at + 4,
        end: at.saturating_add(4 + size),
        length: Some(field),
        inside: None,
    })
}

/// RFC 3533, 6.
fn ogg(data: &[u8], at: usize, _: usize) -> Option<Shape> {
    let segments = usize::from(*data.get(at + 26)?);
    let lacing = data.get(at + 27..at + 27 + segments)?;
    let body = at + 27 + segments;
    let size: usize = lacing.iter().map(|length| usize::from(*length)).sum();
    Some(Shape {
        body,
        end: body + size,
        length: Some(Field {
            at: at + 26,
            form: Form::Big(1),
        }),
        inside: None,
    })
}

/// Makes the checksums of Ogg's pages right again, so that a mutated page is not simply skipped.
pub(crate) fn mend_checksums(data: &mut [u8]) {
    let pages = units(data);
    for page in pages {
        let bytes = &mut data[page.range];
        if !bytes.starts_with(b"OggS") || bytes.len() < 27 {
            continue;
        }
        bytes[22..26].fill(0);
        // The polynomial of RFC 3533, neither reflected nor inverted.
        let crc = bytes.iter().fold(0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
                if crc >> 31 == 1 {
                    crc << 1 ^ 0x04c1_1db7
                } else {
                    crc << 1
                }
            })
        });
        bytes[22..26].copy_from_slice(&crc.to_le_bytes());
    }
}
