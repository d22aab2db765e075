//! Follows the frames of an MP3 as they pass: how many, how long, and where, for the head frame.

use crate::frame::Header;

/// How many places in the file are kept, at least half of them once it is long.
const PLACES: usize = 4096;

/// What is known of the frames so far. Takes the stream in pieces of any length.
#[derive(Debug, Default)]
pub(crate) struct FrameLog {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// CRC-16 over all bytes, as LAME computes it.
    pub(crate) crc: u16,
    /// Where every `stride`th frame begins.
    places: Vec<u64>,
    stride_shift: u32,
    header: [u8; 4],
    header_length: usize,
    /// Bytes of the current frame that are still to come.
    rest: usize,
}

/// The bytes do not continue as frames of MP3.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no frame begins at byte {at}")]
pub(crate) struct NoFrame {
    at: u64,
}

impl FrameLog {
    /// Notes the next bytes of the stream.
    ///
    /// # Errors
    /// A frame does not begin where the one before ends.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), NoFrame> {
        self.crc = bytes.iter().fold(self.crc, |crc, byte| crc16(crc, *byte));
        while !bytes.is_empty() {
            if self.rest == 0 {
                self.header[self.header_length] = bytes[0];
                self.header_length += 1;
                self.bytes += 1;
                bytes = &bytes[1..];
                if self.header_length == self.header.len() {
                    self.begin_frame()?;
                }
            } else {
                let taken = self.rest.min(bytes.len());
                self.rest -= taken;
                self.bytes += taken as u64;
                bytes = &bytes[taken..];
            }
        }
        Ok(())
    }

    /// Whether the last frame is whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest == 0 && self.header_length == 0
    }

    /// Where the frame at that hundredth of the playing time begins, in bytes, give or take a thousandth.
    pub(crate) fn place_of_percent(&self, percent: u64) -> u64 {
        let frame = self.frames * percent / 100;
        let index = usize::try_from(frame >> self.stride_shift).unwrap_or(usize::MAX);
        let known = self.places.get(index).or(self.places.last());
        known.copied().unwrap_or(0)
    }

    fn begin_frame(&mut self) -> Result<(), NoFrame> {
        let at = self.bytes - self.header.len() as u64;
        let header = Header::parse(self.header).ok_or(NoFrame { at })?;
        self.rest = header.frame_bytes() - Header::BYTES;
        self.header_length = 0;
        if self.frames.trailing_zeros() >= self.stride_shift {
            if self.places.len() == PLACES {
                let mut index = 0;
                self.places.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride_shift += 1;
            }
            if self.frames.trailing_zeros() >= self.stride_shift {
                self.places.push(at);
            }
        }
        self.frames += 1;
        Ok(())
    }
}

/// Adds a byte to a CRC-16 with the reflected polynomial 0xA001, as LAME's tag has it.
pub(crate) const fn crc16(crc: u16, byte: u8) -> u16 {
    (crc >> 8) ^ CRC16[(crc.to_le_bytes()[0] ^ byte) as usize]
}

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut value = byte;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 == 1 { 0xa001 } else { 0 };
            bit += 1;
        }
        table[byte as usize] = value;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// An MPEG-1 frame of 128 kbit/s at 48 kHz is 384 bytes.
    fn stream(frames: usize) -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x94, 0xc4];
        frame.resize(384, 0);
        frame.repeat(frames)
    }

    #[test]
    fn frames_are_counted_whatever_the_pieces() {
        let bytes = stream(10);
        for piece in [1, 3, 384, 1000] {
            let mut log = FrameLog::default();
            for part in bytes.chunks(piece) {
                log.push(part).unwrap();
            }
            assert_eq!((log.frames, log.bytes), (10, 3840));
            assert!(log.is_whole());
        }
        let mut log = FrameLog::default();
        log.push(&bytes[..500]).unwrap();
        assert!(!log.is_whole());
    }

    #[test]
    fn what_is_no_frame_is_told_with_its_place() {
        let mut bytes = stream(2);
        bytes.extend(b"TAG!");
        assert_eq!(FrameLog::default().push(&bytes), Err(NoFrame { at: 768 }));
    }

    #[test]
    fn places_stay_few_and_right_however_long_the_stream() {
        let bytes = stream(1000);
        let mut log = FrameLog::default();
        for _ in 0..100 {
            log.push(&bytes).unwrap();
        }
        assert!(log.places.len() <= PLACES && log.places.len() >= PLACES / 2);
        for percent in 0..100 {
            let exact = percent * 100_000 / 100 * 384;
            let place = log.place_of_percent(percent);
            assert!(place <= exact && exact - place < 100 * 384, "{percent}: {place}");
        }
    }

    #[test]
    fn the_crc_is_crc_16_arc() {
        let crc = b"123456789".iter().fold(0, |crc, byte| crc16(crc, *byte));
        assert_eq!(crc, 0xbb3d);
    }
}
