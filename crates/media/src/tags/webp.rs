//! WebP pictures in the tags of MP3, FLAC and Ogg, which libav passes over up to version 6.
//!
//! Sources: ID3v2.3 and 2.4 section 4 (APIC), RFC 9639 section 8.8 (the picture of FLAC), RFC 3533 (the pages of Ogg),
//! <https://wiki.xiph.org/VorbisComment#METADATA_BLOCK_PICTURE>.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cover::{Cover, MOST_BYTES};

/// How many frames, blocks or pages are looked at.
const MOST_PARTS: usize = 1_000;

/// A picture's kind stands in front of it, within so many bytes.
const HEAD_BYTES: usize = 64;

/// Gives up to so many bytes of the source from a position on; less at its end.
pub(crate) type Look<'a> = dyn FnMut(u64, usize) -> io::Result<Vec<u8>> + 'a;

/// A picture, and what it shows by ID3's numbers.
struct Found {
    picture_type: u32,
    bytes: Vec<u8>,
}

/// The best WebP picture in the tags at the start of a source.
///
/// # Errors
/// The source cannot be read.
pub(crate) fn look_for_webp(look: &mut Look<'_>) -> io::Result<Cover> {
    let mut cover = Cover::default();
    let mut at = 0;
    if look(0, 3)? == b"ID3" {
        at = look_in_id3(look, &mut cover)?;
    }
    match &*look(at, 4)? {
        b"fLaC" => look_in_flac(look, at + 4, &mut cover)?,
        b"OggS" => look_in_ogg(look, at, &mut cover)?,
        _ => {}
    }
    Ok(cover)
}

/// Looks at the frames of the tag, and tells where it ends.
fn look_in_id3(look: &mut Look<'_>, cover: &mut Cover) -> io::Result<u64> {
    const UNSYNCHRONISED: u8 = 0x80;
    const EXTENDED_HEADER: u8 = 0x40;
    let head = look(0, 14)?;
    let (Some(version), Some(flags), Some(length)) = (head.get(3), head.get(5), number(&head, 6)) else {
        return Ok(0);
    };
    let (is_v3, is_v4) = (*version == 3, *version == 4);
    let end = 10 + u64::from(from_seven_bits(length));
    let mut at = 10;
    if flags & EXTENDED_HEADER != 0 {
        let length = number(&head, 10).unwrap_or(0);
        at += u64::from(if is_v4 {
            from_seven_bits(length)
        } else {
            length.saturating_add(4)
        });
    }
    for _ in 0..MOST_PARTS {
        let head = look(at, 10)?;
        let (Some(id), Some(length), Some(frame_flags)) = (head.get(..4), number(&head, 4), head.get(9)) else {
            break;
        };
        let length = if is_v4 { from_seven_bits(length) } else { length };
        let next = at + 10 + u64::from(length);
        if !(is_v3 || is_v4) || id[0] == 0 || length == 0 || next > end {
            break;
        }
        // Compressed, encrypted or grouped frames have other bytes in front; and where a tag of version 3 is
        // unsynchronised, programs do not agree on how long its frames are.
        let (is_plain, is_unsynchronised, skipped) = match frame_flags {
            0 => (is_v4 || flags & UNSYNCHRONISED == 0, false, 0),
            1..=3 if is_v4 => (true, frame_flags & 2 != 0, usize::from(frame_flags & 1) * 4),
            _ => (false, false, 0),
        };
        if id == b"APIC" && is_plain {
            look_at_picture(look, at + 10, length, cover, &|body| {
                let body = body.get(skipped..)?;
                if is_unsynchronised {
                    from_apic(&synchronised(body))
                } else {
                    from_apic(body)
                }
            })?;
        }
        at = next;
    }
    Ok(end)
}

fn look_in_flac(look: &mut Look<'_>, mut at: u64, cover: &mut Cover) -> io::Result<()> {
    const LAST: u8 = 0x80;
    const PICTURE: u8 = 6;
    for _ in 0..MOST_PARTS {
        let head = look(at, 4)?;
        let Some(word) = number(&head, 0) else {
            break;
        };
        let length = word & 0xff_ffff;
        if head[0] & !LAST == PICTURE {
            look_at_picture(look, at + 4, length, cover, &from_block)?;
        }
        at += 4 + u64::from(length);
        if head[0] & LAST != 0 {
            break;
        }
    }
    Ok(())
}

fn look_at_picture(
    look: &mut Look<'_>,
    at: u64,
    length: u32,
    cover: &mut Cover,
    parse: &dyn Fn(&[u8]) -> Option<Found>,
) -> io::Result<()> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let head = look(at, HEAD_BYTES.min(length))?;
    let is_webp = head.windows(10).any(|word| word.eq_ignore_ascii_case(b"image/webp"));
    if is_webp && length <= MOST_BYTES + HEAD_BYTES {
        offer(cover, parse(&look(at, length)?));
    }
    Ok(())
}

/// Looks into the second packet of the first stream, which holds its comments.
fn look_in_ogg(look: &mut Look<'_>, mut at: u64, cover: &mut Cover) -> io::Result<()> {
    let mut packet = Vec::new();
    let (mut number_of_packet, mut serial) = (0, None);
    for _ in 0..MOST_PARTS {
        let head = look(at, 27)?;
        let (Some(b"OggS"), Some(of_page), Some(count)) = (head.get(..4), head.get(14..18), head.get(26)) else {
            return Ok(());
        };
        let segments = look(at + 27, usize::from(*count))?;
        at += 27 + segments.len() as u64;
        let length = segments.iter().map(|segment| usize::from(*segment)).sum();
        if serial.get_or_insert_with(|| of_page.to_vec()) == of_page {
            let body = look(at, length)?;
            let mut from = 0;
            for segment in segments.into_iter().map(usize::from) {
                if number_of_packet == 1 {
                    packet.extend_from_slice(body.get(from..from + segment).unwrap_or_default());
                }
                from += segment;
                number_of_packet += u32::from(segment < 255);
            }
            if number_of_packet > 1 || packet.len() > 2 * MOST_BYTES {
                look_in_comments(&packet, cover);
                return Ok(());
            }
        }
        at += length as u64;
    }
    Ok(())
}

/// Looks at the comments in a packet of Vorbis, Opus or FLAC, which differ in what stands before them.
fn look_in_comments(packet: &[u8], cover: &mut Cover) {
    const NAME: &[u8] = b"METADATA_BLOCK_PICTURE=";
    let marks: [(&[u8], usize); 3] = [(b"\x03vorbis", 7), (b"OpusTags", 8), (b"\x04", 4)];
    let mark = marks.into_iter().find(|(mark, _)| packet.starts_with(mark));
    let Some(mut rest) = mark.and_then(|(_, length)| packet.get(length..)) else {
        return;
    };
    let Some(_vendor) = next_text(&mut rest) else {
        return;
    };
    rest = rest.get(4..).unwrap_or_default();
    while let Some(comment) = next_text(&mut rest) {
        let is_picture = comment
            .get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        if is_picture && let Ok(block) = STANDARD.decode(&comment[NAME.len()..]) {
            offer(cover, from_block(&block));
        }
    }
}

/// Takes a text out that has its length in front.
fn next_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *rest = behind;
    Some(text)
}

fn offer(cover: &mut Cover, picture: Option<Found>) {
    if let Some(found) = picture {
        cover.offer_webp(&found.bytes, found.picture_type);
    }
}

/// What an APIC frame shows, and the picture.
fn from_apic(body: &[u8]) -> Option<Found> {
    let (encoding, rest) = body.split_first()?;
    let (picture_type, rest) = behind_zero(rest, 1)?.split_first()?;
    let picture = behind_zero(rest, if matches!(encoding, 1 | 2) { 2 } else { 1 })?;
    Some(Found {
        picture_type: u32::from(*picture_type),
        bytes: picture.to_vec(),
    })
}

/// What follows the first character of so many zero bytes.
fn behind_zero(text: &[u8], width: usize) -> Option<&[u8]> {
    let zero = text
        .chunks(width)
        .position(|character| character.iter().all(|byte| *byte == 0))?;
    text.get((zero + 1) * width..)
}

/// What a picture block of FLAC shows, and the picture.
fn from_block(block: &[u8]) -> Option<Found> {
    let picture_type = number(block, 0)?;
    let size = |at| usize::try_from(number(block, at)?).ok();
    let description_at = 8 + size(4)?;
    let data_at = description_at.checked_add(4 + size(description_at)?)?.checked_add(16)?;
    let picture = block.get(data_at + 4..)?.get(..size(data_at)?)?;
    let bytes = picture.to_vec();
    Some(Found { picture_type, bytes })
}

/// The bytes of a frame without the zeros that were put in so that nothing looks like a frame of MPEG.
fn synchronised(body: &[u8]) -> Vec<u8> {
    let before = std::iter::once(&0).chain(body);
    let kept = body
        .iter()
        .zip(before)
        .filter(|(byte, before)| **byte != 0 || **before != 0xff);
    kept.map(|(byte, _)| *byte).collect()
}

/// Four bytes, the highest first.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The number of which seven bits stand in each byte.
fn from_seven_bits(number: u32) -> u32 {
    number
        .to_be_bytes()
        .iter()
        .fold(0, |sum, byte| sum << 7 | u32::from(byte & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBP: &[u8] = b"RIFF\x24\0\0\0WEBPVP8 \xff\xe0\0\xff\0\0";

    fn byte(number: usize) -> u8 {
        u8::try_from(number).unwrap()
    }

    fn found(file: &[u8]) -> Option<Vec<u8>> {
        let mut look = |at: u64, count: usize| {
            let from = usize::try_from(at).unwrap().min(file.len());
            Ok(file[from..file.len().min(from + count)].to_vec())
        };
        let picture = look_for_webp(&mut look).unwrap().into_picture()?;
        assert_eq!(picture.mime_type, "image/webp");
        Some(picture.data)
    }

    fn apic(version: u8, frame_flags: u8, tag_flags: u8, encoding: u8, description: &[u8], picture: &[u8]) -> Vec<u8> {
        let mut body = [&[encoding][..], b"image/webp\0\x03", description, picture].concat();
        if frame_flags & 2 != 0 {
            // 0xff before zero or three bits of ones gets a zero behind it.
            body = body
                .iter()
                .flat_map(|byte| if *byte == 0xff { vec![0xff, 0] } else { vec![*byte] })
                .collect();
        }
        let seven = |length: usize| [0, 0, byte(length >> 7), byte(length & 0x7f)];
        let length = if version == 4 {
            seven(body.len())
        } else {
            [0, 0, 0, byte(body.len())]
        };
        let frame = [
            b"TIT2\0\0\0\x02\0\0\0x",
            &b"APIC"[..],
            &length,
            &[0, frame_flags],
            &body,
        ]
        .concat();
        [
            &b"ID3"[..],
            &[version, 0, tag_flags],
            &seven(frame.len() + 20),
            &frame,
            &[0; 20],
            b"\xff\xfb",
        ]
        .concat()
    }

    fn block(picture_type: u8, picture: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let kind = b"image/webp";
        [
            &[0, 0, 0, picture_type][..],
            &length(kind),
            kind,
            &length(b"nice"),
            b"nice",
            &[0; 16],
            &length(picture),
            picture,
        ]
        .concat()
    }

    #[test]
    fn a_picture_of_id3_is_found_however_it_is_written() {
        for file in [
            apic(3, 0, 0, 0, b"nice\0", WEBP),
            apic(3, 0, 0, 1, b"\xff\xfea\0\0\0", WEBP),
            apic(4, 0, 0, 3, b"\0", WEBP),
            apic(4, 2, 0, 3, b"\0", WEBP),
        ] {
            assert_eq!(found(&file).as_deref(), Some(WEBP));
        }
        assert_eq!(found(&apic(4, 8, 0, 3, b"\0", WEBP)), None, "compressed");
        assert_eq!(found(&apic(3, 0, 0x80, 0, b"\0", WEBP)), None, "unsynchronised");
        assert_eq!(found(&apic(2, 0, 0, 3, b"\0", WEBP)), None);
    }

    #[test]
    fn the_front_cover_of_flac_is_found_behind_other_blocks() {
        let streaminfo = [&[0, 0, 0, 34][..], &[1; 34]].concat();
        let picture = |last: u8, body: &[u8]| [&[last | 6, 0, 0, byte(body.len())][..], body].concat();
        let back = [WEBP, b"back"].concat();
        let file = [
            b"fLaC",
            &streaminfo[..],
            &picture(0, &block(4, &back)),
            &picture(0x80, &block(3, WEBP)),
        ]
        .concat();
        assert_eq!(found(&file).as_deref(), Some(WEBP));
        let behind_id3 = [&b"ID3\x04\0\0\0\0\0\0"[..], &file].concat();
        assert_eq!(found(&behind_id3).as_deref(), Some(WEBP));
        assert_eq!(found(&file[..80]), None, "cut off");
    }

    #[test]
    fn a_picture_in_the_comments_of_ogg_is_found_across_pages() {
        let large = [WEBP, &[7; 1000]].concat();
        let comment = format!("metadata_block_picture={}", STANDARD.encode(block(3, &large)));
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let comments = [
            &length(b"us")[..],
            b"us",
            &[1, 0, 0, 0],
            &length(comment.as_bytes()),
            comment.as_bytes(),
        ]
        .concat();
        for mark in [&b"\x03vorbis"[..], b"OpusTags", b"\x04\0\0\0"] {
            let packet = [mark, &comments].concat();
            let page = |serial: u8, body: &[u8], goes_on: bool| {
                let mut segments = vec![255; body.len() / 255];
                if !goes_on {
                    segments.push(byte(body.len() % 255));
                }
                let head = [&b"OggS"[..], &[0; 10], &[serial; 4], &[0; 8], &[byte(segments.len())]].concat();
                [&head[..], &segments, body].concat()
            };
            let (first, rest) = packet.split_at(510);
            let file = [
                page(1, b"head of the stream", false),
                page(2, b"head of another", false),
                page(1, first, true),
                page(2, b"comments of another", false),
                page(1, rest, false),
            ]
            .concat();
            assert_eq!(found(&file).as_deref(), Some(&*large));
            assert_eq!(found(&file[..file.len() - 900]), None);
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for file in [
            apic(3, 0, 0, 0, b"\0", WEBP),
            [&b"fLaC\x86\0\0\xff"[..], &block(3, WEBP)].concat(),
        ] {
            for at in 0..file.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = file.clone();
                    damaged[at] = value;
                    found(&damaged);
                    found(&damaged[..at]);
                }
            }
        }
    }
}
