//! One frame of layer III: what its header and its side information say, and the main data that belongs to it.
//!
//! A frame is header, optional CRC, side information and a slot. Its main data, the sound, need not lie in its own
//! slot: it begins up to 511 bytes before, in the slots of earlier frames (255 below 32 kHz). That is the bit
//! reservoir.
//! Source: ISO/IEC 11172-3 sections 2.4.1 and 2.4.2, ISO/IEC 13818-3, and the "MPEG 2.5" extension.

/// Layer III bitrates in kbit/s by the index in the header, of MPEG-1 and of the lower sample rates.
const MPEG1_KBPS: [u16; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2_KBPS: [u16; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// LAME's limit on a frame and the reservoir before it together: the longest frame there is, 320 kbit/s at 32 kHz.
const FRAME_AND_RESERVOIR_BYTES: usize = 1440;

/// The most side information a frame has: MPEG-1, stereo.
const SIDE_BYTES: usize = 32;

/// The bitrates a frame of that sample rate can have, by their index in the header; index 0 is none of them.
pub(crate) const fn bitrates_kbps(sample_rate_hz: u32) -> &'static [u16; 15] {
    if sample_rate_hz >= 32_000 {
        &MPEG1_KBPS
    } else {
        &MPEG2_KBPS
    }
}

/// The highest bitrate in kbit/s that LAME uses at a sample rate; some decoders know no higher one.
pub(crate) const fn highest_kbps(sample_rate_hz: u32) -> u16 {
    match sample_rate_hz {
        ..16_000 => 64,
        16_000..32_000 => 160,
        _ => 320,
    }
}

/// The length of a frame without its padding byte.
pub(crate) fn unpadded_frame_bytes(kbps: u16, sample_rate_hz: u32) -> usize {
    let bytes_per_kbps = if sample_rate_hz >= 32_000 { 144_000 } else { 72_000 };
    (u32::from(kbps) * bytes_per_kbps / sample_rate_hz) as usize
}

/// The header of a layer III frame of a known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header([u8; 4]);

impl Header {
    pub(crate) const BYTES: usize = 4;

    /// None where these bytes begin no such frame.
    pub(crate) fn parse(bytes: [u8; 4]) -> Option<Self> {
        let [sync, kind, rates, _] = bytes;
        let is_layer_3 = sync == 0xff && kind & 0xe6 == 0xe2;
        let is_known = kind >> 3 & 3 != 1 && rates >> 2 & 3 != 3 && !matches!(rates >> 4, 0 | 15);
        (is_layer_3 && is_known).then_some(Self(bytes))
    }

    /// The header at the start of `bytes`.
    pub(crate) fn at_start(bytes: &[u8]) -> Option<Self> {
        Self::parse(*bytes.first_chunk()?)
    }

    pub(crate) fn bytes(self) -> [u8; 4] {
        self.0
    }

    pub(crate) fn sample_rate_hz(self) -> u32 {
        let halvings = match self.0[1] >> 3 & 3 {
            3 => 0,
            2 => 1,
            _ => 2,
        };
        [44_100, 48_000, 32_000, 0][usize::from(self.0[2] >> 2 & 3)] >> halvings
    }

    fn is_mpeg1(self) -> bool {
        self.0[1] & 8 != 0
    }

    pub(crate) fn is_mono(self) -> bool {
        self.0[3] >> 6 == 3
    }

    /// Samples per channel.
    pub(crate) fn samples(self) -> u64 {
        if self.is_mpeg1() { 1152 } else { 576 }
    }

    fn crc_bytes(self) -> usize {
        if self.0[1] & 1 == 0 { 2 } else { 0 }
    }

    pub(crate) fn kbps(self) -> u16 {
        bitrates_kbps(self.sample_rate_hz())[self.rate_index()]
    }

    fn rate_index(self) -> usize {
        usize::from(self.0[2] >> 4)
    }

    /// The length of the whole frame.
    pub(crate) fn frame_bytes(self) -> usize {
        let padding = usize::from(self.0[2] >> 1 & 1);
        unpadded_frame_bytes(self.kbps(), self.sample_rate_hz()) + padding
    }

    /// The length of the side information.
    pub(crate) fn side_bytes(self) -> usize {
        match (self.is_mpeg1(), self.is_mono()) {
            (true, false) => SIDE_BYTES,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        }
    }

    /// Where the slot begins.
    pub(crate) fn slot_at(self) -> usize {
        Self::BYTES + self.crc_bytes() + self.side_bytes()
    }

    /// The length of the slot. The shortest frames there are have none.
    pub(crate) fn slot_bytes(self) -> usize {
        self.frame_bytes().saturating_sub(self.slot_at())
    }

    /// How far back main data may begin.
    pub(crate) fn longest_reach(self) -> usize {
        if self.is_mpeg1() { 511 } else { 255 }
    }

    /// The same without padding byte and CRC.
    pub(crate) fn bare(self) -> Self {
        let mut bare = self;
        bare.0[1] |= 1;
        bare.0[2] &= !2;
        bare
    }

    /// The same at the lowest bitrate.
    pub(crate) fn lowest(self) -> Self {
        let mut lowest = self;
        lowest.0[2] = lowest.0[2] & 0x0f | 0x10;
        lowest
    }

    /// The next higher bitrate that every decoder knows.
    pub(crate) fn raised(self) -> Option<Self> {
        let mut raised = self;
        raised.0[2] += 0x10;
        let index = raised.rate_index();
        let kbps = *bitrates_kbps(self.sample_rate_hz()).get(index)?;
        (kbps <= highest_kbps(self.sample_rate_hz())).then_some(raised)
    }

    /// Whether both can be in one stream: the same version, sample rate, and mono or stereo.
    pub(crate) fn is_like(self, other: Self) -> bool {
        self.0[1] & 0xfe == other.0[1] & 0xfe
            && self.0[2] & 0x0c == other.0[2] & 0x0c
            && self.is_mono() == other.is_mono()
    }
}

/// A frame with its main data, wherever that lay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    side: [u8; SIDE_BYTES],
    pub(crate) main_data: Vec<u8>,
}

impl Frame {
    /// The frame's own part, without main data.
    ///
    /// None where `bytes` are not exactly one frame.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let header = Header::at_start(bytes)?;
        if bytes.len() != header.frame_bytes() {
            return None;
        }
        let mut side = [0; SIDE_BYTES];
        let given = bytes.get(header.slot_at() - header.side_bytes()..header.slot_at())?;
        side[..given.len()].copy_from_slice(given);
        Some(Self {
            header,
            side,
            main_data: Vec::new(),
        })
    }

    /// A frame of silence, of that kind and length, that needs no main data.
    pub(crate) fn silent(header: Header) -> Self {
        Self {
            header,
            side: [0; SIDE_BYTES],
            main_data: Vec::new(),
        }
    }

    /// How many bytes before its slot the main data began where the frame comes from.
    pub(crate) fn reach(&self) -> usize {
        self.bits(0, self.reach_bits())
    }

    pub(crate) fn set_reach(&mut self, reach: usize) {
        let high_and_low = reach << (16 - self.reach_bits());
        let [.., high, low] = high_and_low.to_be_bytes();
        if self.header.is_mpeg1() {
            self.side[1] = self.side[1] & 0x7f | low;
        }
        self.side[0] = high;
    }

    /// How long the side information says that the main data is.
    pub(crate) fn main_data_bytes(&self) -> usize {
        let bits: usize = self.lengths_at().map(|at| self.bits(at, 12)).sum();
        bits.div_ceil(8)
    }

    /// Where the lengths in bits are: behind the reach and the private bits comes a record for each granule and
    /// channel, that begins with its length.
    fn lengths_at(&self) -> impl Iterator<Item = usize> + use<> {
        let (first_at, records, record_bits) = match (self.header.is_mpeg1(), self.header.is_mono()) {
            (true, true) => (18, 2, 59),
            (true, false) => (20, 4, 59),
            (false, true) => (9, 1, 63),
            (false, false) => (10, 2, 63),
        };
        (0..records).map(move |record| first_at + record * record_bits)
    }

    /// How far back this frame's main data may be put: as LAME has it, or as it was.
    pub(crate) fn reach_limit(&self) -> usize {
        let lames = FRAME_AND_RESERVOIR_BYTES.saturating_sub(self.header.frame_bytes());
        lames.min(self.header.longest_reach()).max(self.reach())
    }

    /// Appends everything before the slot.
    pub(crate) fn write_to(&self, mp3: &mut Vec<u8>) {
        let header = self.header.bytes();
        let side = &self.side[..self.header.side_bytes()];
        mp3.extend_from_slice(&header);
        if self.header.crc_bytes() > 0 {
            let covered = header[2..].iter().chain(side);
            let crc = covered.fold(0xffff, |crc, byte| frame_crc(crc, *byte));
            mp3.extend_from_slice(&crc.to_be_bytes());
        }
        mp3.extend_from_slice(side);
    }

    fn reach_bits(&self) -> usize {
        if self.header.is_mpeg1() { 9 } else { 8 }
    }

    /// Up to 16 bits of the side information.
    fn bits(&self, at: usize, count: usize) -> usize {
        let byte = |index: usize| self.side.get(index).map_or(0, |byte| usize::from(*byte));
        let first = at / 8;
        let three = byte(first) << 16 | byte(first + 1) << 8 | byte(first + 2);
        three >> (24 - at % 8 - count) & ((1 << count) - 1)
    }
}

/// Adds a byte to the CRC of a frame: polynomial 0x8005, the highest bit first.
fn frame_crc(crc: u16, byte: u8) -> u16 {
    (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
        crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 }
    })
}

#[cfg(test)]
impl Frame {
    /// A frame that says of itself that it has this main data, as far as it can: up to 511 bytes a granule and channel.
    pub(crate) fn made_up(header: Header, main_data: Vec<u8>) -> Self {
        let mut frame = Self::silent(header);
        let mut rest = main_data.len() * 8;
        for at in frame.lengths_at() {
            let length = rest.min(4088);
            rest -= length;
            for bit in 0..12 {
                if length >> (11 - bit) & 1 == 1 {
                    frame.side[(at + bit) / 8] |= 0x80 >> ((at + bit) % 8);
                }
            }
        }
        assert_eq!((rest, frame.main_data_bytes()), (0, main_data.len()));
        frame.main_data = main_data;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_lengths_are_those_of_the_standard() {
        // MPEG-1 44.1 kHz 128 kbit/s with and without padding, MPEG-2 24 kHz 64 kbit/s, MPEG-2.5 8 kHz 64 kbit/s.
        for (header, length) in [
            ([0xff, 0xfb, 0x90, 0], 417),
            ([0xff, 0xfb, 0x92, 0], 418),
            ([0xff, 0xf3, 0x84, 0], 192),
            ([0xff, 0xe3, 0x88, 0], 576),
        ] {
            assert_eq!(Header::parse(header).unwrap().frame_bytes(), length);
        }
    }

    #[test]
    fn what_begins_no_frame_of_known_length_is_refused() {
        for bad in [
            [0xff, 0xfb, 0x00, 0],
            [0xff, 0xfb, 0xf0, 0],
            [0xff, 0xfb, 0x9c, 0],
            [0xff, 0xfd, 0x90, 0],
            [0xff, 0xeb, 0x90, 0],
            [0xfe, 0xfb, 0x90, 0],
        ] {
            assert_eq!(Header::parse(bad), None);
        }
    }

    #[test]
    fn a_bitrate_is_raised_until_the_highest_that_every_decoder_knows() {
        for (header, highest) in [
            ([0xff, 0xfb, 0x90, 0], 320),
            ([0xff, 0xf3, 0x84, 0], 160),
            ([0xff, 0xe3, 0x18, 0], 64),
        ] {
            let first = Header::parse(header).unwrap();
            let raised = std::iter::successors(Some(first), |header| header.raised()).last();
            assert_eq!(raised.unwrap().kbps(), highest);
        }
    }

    #[test]
    fn the_reach_is_set_without_touching_anything_else() {
        for (header, longest) in [([0xff, 0xfb, 0x90, 0], 511), ([0xff, 0xf3, 0x84, 0xc0], 255)] {
            let header = Header::parse(header).unwrap();
            let mut bytes = vec![0xff; header.frame_bytes()];
            bytes[..4].copy_from_slice(&header.bytes());
            let original = Frame::of(&bytes).unwrap();
            assert_eq!((original.reach(), header.longest_reach()), (longest, longest));
            for reach in [0, 1, 128, 255, longest] {
                let mut changed = original.clone();
                changed.set_reach(reach);
                assert_eq!(changed.reach(), reach);
                assert_eq!(changed.main_data_bytes(), original.main_data_bytes());
                changed.set_reach(longest);
                assert_eq!(changed, original);
            }
        }
    }

    #[test]
    fn a_frame_with_a_crc_gets_a_new_one() {
        // Of a frame that LAME wrote with error protection, everything before the slot.
        let lames = [
            0xff, 0xfa, 0x94, 0x64, 0xe2, 0xa2, 0xe4, 0x00, 0x03, 0x09, 0x2b, 0xd9, 0xd3, 0x0c, 0x32, 0x40, 0x3b, 0xc1,
            0xdb, 0x4d, 0x45, 0xe9, 0x04, 0x0c, 0x74, 0x93, 0x5e, 0x4d, 0x3c, 0xc7, 0xc1, 0x40, 0xab, 0x2d, 0x74, 0xf0,
            0x8a, 0x78,
        ];
        let mut bytes = lames.to_vec();
        bytes.resize(384, 0);
        let mut written = Vec::new();
        Frame::of(&bytes).unwrap().write_to(&mut written);
        assert_eq!(written, lames);
    }
}
