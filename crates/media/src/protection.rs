//! Whether sound is protected: encrypted, with the key elsewhere.

use std::io;

use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Stream;

use crate::boxes::{self, Layout};
use crate::planner::Planner;
use crate::raw;
use crate::reader::Reader;

/// How libav calls the containers that mark scrambled packets.
pub(crate) const TRANSPORT_STREAM: &str = "mpegts";
pub(crate) const PROGRAM_STREAM: &str = "mpeg";

/// How much is looked at for such marks.
const SCRAMBLED_START_BYTES: usize = 512 * 1024;

/// How libav calls the container that tells of its licence among its tags, and what it calls those.
const ASF: &str = "asf";
const ASF_LICENCES: [&[u8]; 2] = [b"ASF_Protection_Type", b"encryption"];

/// Whether a file begins like an audio book of Audible, which does not always open without its key.
pub(crate) fn has_protected_brand(start: &[u8]) -> bool {
    let brand = start.get(4..12).unwrap_or_default();
    brand == b"ftypaax " || brand == b"ftypaaxc"
}

/// Whether a Windows file says that a licence is needed to play it. Its decoders make noise of what is encrypted.
///
/// Source: Advanced Systems Format specification, sections 3.14 and 3.15.
pub(crate) fn has_licence(demuxer: &Input) -> bool {
    let tells = |(name, _): &(Vec<u8>, Vec<u8>)| ASF_LICENCES.contains(&name.as_slice());
    demuxer.format().name() == ASF && raw::description(demuxer).iter().any(tells)
}

/// Whether the sound of a broadcast or of a disc is scrambled, by the marks of its packets.
///
/// # Errors
/// The start of the file cannot be read; the reason is kept in the watch.
pub(crate) fn is_scrambled(demuxer: &Input, reader: &mut Reader) -> io::Result<bool> {
    let mut start = || reader.look(0, SCRAMBLED_START_BYTES);
    Ok(match demuxer.format().name() {
        TRANSPORT_STREAM => is_scrambled_transport(&start()?),
        PROGRAM_STREAM => is_scrambled_program(&start()?),
        _ => false,
    })
}

/// Whether all of a stream is protected, by what its container says: an MP4 of Apple or of Audible by the kind of the
/// stream, a Matroska file by the name of its key.
pub(crate) fn is_protected(stream: &Stream<'_>) -> bool {
    let has_key = || {
        raw::stream_description(stream)
            .iter()
            .any(|(name, _)| name == b"enc_key_id")
    };
    has_tag(stream, b"drms") || has_tag(stream, b"aavd") || has_key()
}

/// Whether an MP4 says that samples are encrypted which are not marked so: a parser, which Dolby's kinds of sound pass
/// through, takes the marks away.
///
/// # Errors
/// The source cannot be read; the reason is kept in the watch.
pub(crate) fn has_unmarked_samples(stream: &Stream<'_>, planner: &Planner, reader: &mut Reader) -> io::Result<bool> {
    match planner.length {
        Some(length)
            if planner.layout != Layout::Unclear && [Id::AC3, Id::EAC3].contains(&stream.parameters().id()) =>
        {
            boxes::has_encrypted_sound(reader, length)
        }
        _ => Ok(false),
    }
}

fn has_tag(stream: &Stream<'_>, tag: &[u8; 4]) -> bool {
    raw::widths(stream).tag.to_le_bytes() == *tag
}

/// Lengths of a packet of a transport stream: bare, behind a time of arrival, and before a checksum.
const PACKET_BYTES: [usize; 3] = [188, 192, 204];

/// So many packets in a row are no coincidence.
const IN_A_ROW: usize = 8;

/// Whether a transport stream is scrambled, by a quarter of its packets: a recording of several programmes may hold one
/// that is not.
///
/// Source: `transport_scrambling_control` in ISO/IEC 13818-1 section 2.4.3.2.
fn is_scrambled_transport(bytes: &[u8]) -> bool {
    let packets = |length: usize, offset: usize| {
        let rest = bytes.get(offset..).unwrap_or_default();
        rest.chunks_exact(length).take_while(|packet| packet[0] == 0x47)
    };
    let layouts = PACKET_BYTES
        .iter()
        .flat_map(|length| (0..*length).map(move |offset| (*length, offset)));
    let mut found = layouts.filter(|(length, offset)| packets(*length, *offset).take(IN_A_ROW).count() == IN_A_ROW);
    let Some((length, offset)) = found.next() else {
        return false;
    };
    let is_scrambled = |packet: &[u8]| packet[3] >> 6 != 0;
    at_least_a_quarter(packets(length, offset).map(is_scrambled))
}

/// Whether the sound of a program stream is scrambled, by a quarter of its packets.
///
/// Source: `PES_scrambling_control` in ISO/IEC 13818-1 section 2.4.3.6; the numbers of streams in its table 2-22.
fn is_scrambled_program(bytes: &[u8]) -> bool {
    let sound = bytes.windows(7).filter_map(|window| match window {
        [0, 0, 1, 0xbd | 0xc0..=0xdf, _, _, flags] if flags >> 6 == 2 => Some(flags >> 4 & 3 != 0),
        _ => None,
    });
    at_least_a_quarter(sound)
}

fn at_least_a_quarter(marks: impl Iterator<Item = bool>) -> bool {
    let (mut all, mut marked) = (0_usize, 0_usize);
    for mark in marks {
        all += 1;
        marked += usize::from(mark);
    }
    marked > 0 && marked * 4 >= all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(length: usize, before: usize, scrambled: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut bytes = vec![0x55; before];
        for number in 0..40 {
            let mut packet = vec![0; length];
            packet[0] = 0x47;
            packet[3] = if scrambled(number) { 0xd0 } else { 0x10 };
            bytes.extend(packet);
        }
        bytes
    }

    #[test]
    fn a_scrambled_transport_stream_is_known_by_its_packets() {
        for (length, before) in [(188, 0), (192, 4), (204, 0), (188, 100)] {
            assert!(is_scrambled_transport(&transport(length, before, |_| true)), "{length}");
            assert!(is_scrambled_transport(
                &transport(length, before, |number| number % 3 == 0)
            ));
            assert!(!is_scrambled_transport(&transport(length, before, |number| number == 7)));
            assert!(
                !is_scrambled_transport(&transport(length, before, |_| false)),
                "{length}"
            );
        }
        assert!(!is_scrambled_transport(&[0x47; 100]));
        assert!(!is_scrambled_transport(&[0; 5000]));
    }

    #[test]
    fn a_scrambled_program_stream_is_known_by_the_packets_of_its_sound() {
        let packet = |stream: u8, flags: u8| vec![0, 0, 1, stream, 0, 20, flags, 0, 0, 9, 9, 9];
        for (stream, flags, expected) in [
            (0xbd, 0xb0, true),
            (0xc0, 0x90, true),
            (0xbd, 0x81, false),
            // A picture, and bytes that are no such packet.
            (0xe0, 0xb0, false),
            (0xc0, 0x30, false),
        ] {
            let bytes = packet(stream, flags).repeat(20);
            assert_eq!(is_scrambled_program(&bytes), expected, "{stream:x} {flags:x}");
        }
    }
}
