//! Whether the sound of a broadcast or a disc is scrambled: protected, with the key elsewhere. Its containers mark each
//! packet.

/// Lengths of a packet of a transport stream: bare, behind a time of arrival, and before a checksum.
const PACKET_BYTES: [usize; 3] = [188, 192, 204];

/// So many packets in a row are no coincidence.
const IN_A_ROW: usize = 8;

/// Whether a transport stream is scrambled, by a quarter of its packets: a recording of several programmes may hold one
/// that is not.
///
/// Source: `transport_scrambling_control` in ISO/IEC 13818-1 section 2.4.3.2.
pub(crate) fn is_scrambled_transport(bytes: &[u8]) -> bool {
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
pub(crate) fn is_scrambled_program(bytes: &[u8]) -> bool {
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
