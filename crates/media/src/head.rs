//! The first frame of an MP3: "Xing" or "Info" with the LAME tag, from which players take length, seek places and what
//! to cut off at both ends.
//!
//! It is written here rather than by LAME: one file may come from several encoders, and LAME leaves it out where its
//! own frames are too short for it (32 to 56 kbit/s).
//! Source: the Xing header as decoders read it, and "Mp3 Info Tag revision 1 specifications" (gabriel.mp3-tech.org).

use std::iter;

use crate::encoder::{ENCODER_DELAY_SAMPLES, Mp3Format, lames_head_frame};
use crate::frame::{Header, bitrates_kbps, unpadded_frame_bytes};
use crate::frame_log::{FrameLog, crc16};
use crate::settings::Rate;

/// The tag's own bytes, from "Xing" to its CRC.
const TAG_BYTES: usize = 156;

/// Frames, bytes, seek places and quality are all present.
const ALL_FIELDS: u32 = 0xf;

/// Offsets from the start of the tag.
const FRAMES_AT: usize = 8;
const BYTES_AT: usize = 12;
const PLACES_AT: usize = 16;
const QUALITY_AT: usize = 116;
const DELAY_AT: usize = 141;
const MUSIC_LENGTH_AT: usize = 148;
const MUSIC_CRC_AT: usize = 152;
const TAG_CRC_AT: usize = 154;

/// A tag without the extension that LAME added to it ends here.
const PLAIN_TAG_BYTES: usize = 120;

/// What decoders cut off at the start besides the delay in the tag: their own.
pub(crate) const DECODER_DELAY_SAMPLES: u64 = 529;

/// The highest delay or padding that a tag can tell, in samples.
pub(crate) const MOST_DELAY_SAMPLES: u64 = 0xfff;

/// A head frame for one stream.
pub(crate) struct Head {
    frame_samples: u64,
    tag_at: usize,
    frame: Vec<u8>,
}

/// What to cut off at the ends, in samples, as the tag counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trim {
    pub(crate) delay: u64,
    pub(crate) padding: u64,
}

impl Head {
    /// For frames encoded to that format.
    pub(crate) fn new(format: &Mp3Format) -> Self {
        Self::of_header(header(format, 4 + side_information_bytes(format) + TAG_BYTES))
    }

    /// For frames that begin with one like this.
    pub(crate) fn like(first: Header) -> Self {
        // No CRC, no padding byte; where the frame is too short for a tag, a higher bitrate.
        let bare = first.bare();
        let higher = iter::successors(Some(bare), |header| header.raised());
        let long_enough = |header: &Header| header.slot_bytes() >= TAG_BYTES;
        let chosen = higher.into_iter().find(long_enough).unwrap_or(bare);
        Self::of_header(chosen.bytes())
    }

    fn of_header(header: [u8; 4]) -> Self {
        let known = Header::parse(header);
        let mut frame = vec![0; known.map_or(0, Header::frame_bytes)];
        frame[..4].copy_from_slice(&header);
        Self {
            frame_samples: known.map_or(0, Header::samples),
            tag_at: known.map_or(0, Header::slot_at),
            frame,
        }
    }

    /// What keeps the head's place while the rest is written: a frame of silence.
    pub(crate) fn placeholder(&self) -> &[u8] {
        &self.frame
    }

    /// The finished frame of an MP3 with these frames, encoded from `samples` per channel.
    pub(crate) fn finish(self, format: &Mp3Format, log: &FrameLog, samples: u64) -> Vec<u8> {
        let trim = Trim {
            delay: ENCODER_DELAY_SAMPLES,
            padding: (log.frames * self.frame_samples).saturating_sub(samples + ENCODER_DELAY_SAMPLES),
        };
        let template = template(format, self.tag_at);
        self.filled(template, log, Some(trim))
    }

    /// The finished frame of an MP3 with these frames, of which nothing is known but what to cut off, or not even that.
    pub(crate) fn finish_copy(self, is_constant: bool, log: &FrameLog, trim: Option<Trim>) -> Vec<u8> {
        let mut tag = [0; TAG_BYTES];
        tag[..4].copy_from_slice(if is_constant { b"Info" } else { b"Xing" });
        tag[4..8].copy_from_slice(&ALL_FIELDS.to_be_bytes());
        if trim.is_some() {
            // Decoders heed delay and padding only of writers they know; this one is libav, through which the frames
            // came.
            tag[PLAIN_TAG_BYTES..][..4].copy_from_slice(b"Lavf");
        }
        self.filled(tag, log, trim)
    }

    fn filled(mut self, template: [u8; TAG_BYTES], log: &FrameLog, trim: Option<Trim>) -> Vec<u8> {
        let head_bytes = self.frame.len() as u64;
        let total_bytes = head_bytes + log.bytes;
        let tag = &mut self.frame[self.tag_at..self.tag_at + TAG_BYTES];
        tag.copy_from_slice(&template);
        tag[FRAMES_AT..][..4].copy_from_slice(&saturated(log.frames).to_be_bytes());
        tag[BYTES_AT..][..4].copy_from_slice(&saturated(total_bytes).to_be_bytes());
        for (percent, place) in (0..100).zip(&mut tag[PLACES_AT..QUALITY_AT]) {
            let at = head_bytes + log.place_of_percent(percent);
            *place = u8::try_from(at * 256 / total_bytes).unwrap_or(u8::MAX);
        }
        let Some(trim) = trim else {
            return self.frame;
        };
        let most = |samples: u64| samples.min(MOST_DELAY_SAMPLES);
        let delay_and_padding = most(trim.delay) << 12 | most(trim.padding);
        tag[DELAY_AT..][..3].copy_from_slice(&saturated(delay_and_padding).to_be_bytes()[1..]);
        tag[MUSIC_LENGTH_AT..][..4].copy_from_slice(&saturated(total_bytes).to_be_bytes());
        tag[MUSIC_CRC_AT..][..2].copy_from_slice(&log.crc.to_be_bytes());
        let covered = &self.frame[..self.tag_at + TAG_CRC_AT];
        let crc = covered.iter().fold(0, |crc, byte| crc16(crc, *byte));
        self.frame[self.tag_at + TAG_CRC_AT..][..2].copy_from_slice(&crc.to_be_bytes());
        self.frame
    }
}

/// What a head tells of the frames behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// How many there are.
    pub(crate) frames: Option<u64>,
    /// What to cut off of them.
    pub(crate) trim: Option<Trim>,
}

/// What a frame tells that is a head itself. None of any other.
pub(crate) fn read_head(frame: &[u8]) -> Option<Told> {
    let header = Header::at_start(frame)?;
    let tag = frame.get(header.slot_at()..)?;
    // Some writers forget that a CRC moves the tag.
    let without_crc = frame.get(Header::BYTES + header.side_bytes()..)?;
    let tag = [tag, without_crc]
        .into_iter()
        .find(|tag| tag.starts_with(b"Xing") || tag.starts_with(b"Info"));
    let Some(tag) = tag else {
        let is_vbri = frame.get(36..40) == Some(b"VBRI");
        return is_vbri.then(Told::default);
    };
    let fields = u32::from_be_bytes(*tag.get(4..)?.first_chunk()?);
    // Each field that the flags name is there, the others are not.
    let present = [(1, 4), (2, 4), (4, 100), (8, 4)]
        .into_iter()
        .filter(|(flag, _)| fields & flag != 0);
    let extension = tag
        .get(8 + present.map(|(_, bytes)| bytes).sum::<usize>()..)
        .unwrap_or_default();
    let is_known = [b"LAME", b"Lavf", b"Lavc"]
        .into_iter()
        .any(|name| extension.starts_with(name));
    let numbers = extension
        .get(DELAY_AT - PLAIN_TAG_BYTES..)
        .and_then(|bytes| bytes.first_chunk());
    let trim = numbers.filter(|_| is_known).map(|[high, middle, low]| {
        let both = u64::from(*high) << 16 | u64::from(*middle) << 8 | u64::from(*low);
        Trim {
            delay: both >> 12,
            padding: both & MOST_DELAY_SAMPLES,
        }
    });
    let count = tag.get(FRAMES_AT..).and_then(|bytes| bytes.first_chunk());
    let frames = count
        .filter(|_| fields & 1 != 0)
        .map(|count| u64::from(u32::from_be_bytes(*count)));
    Some(Told { frames, trim })
}

/// A tag with everything that does not depend on the audio: taken from LAME, so that it tells the truth about the
/// filters it chose, or else with those fields unknown.
fn template(format: &Mp3Format, tag_at: usize) -> [u8; TAG_BYTES] {
    let lames = lames_head_frame(format).and_then(|frame| frame.get(tag_at..tag_at + TAG_BYTES)?.try_into().ok());
    lames.unwrap_or_else(|| {
        let mut tag = [0; TAG_BYTES];
        let (name, method, kbps) = match format.rate {
            Rate::Cbr(kbps) => (b"Info", 1, u8::try_from(kbps).unwrap_or(u8::MAX)),
            Rate::Vbr(_) => (b"Xing", 4, 0),
        };
        tag[..4].copy_from_slice(name);
        tag[4..8].copy_from_slice(&ALL_FIELDS.to_be_bytes());
        tag[120..129].copy_from_slice(b"LAME3.100");
        tag[129] = method;
        tag[140] = kbps;
        tag
    })
}

/// The bytes of side information after a frame's header.
fn side_information_bytes(format: &Mp3Format) -> usize {
    match (format.sample_rate_hz >= 32_000, format.mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    }
}

/// The header of the shortest frame that holds `bytes` and is at least as long as LAME makes it: of the file's own
/// bitrate where that is constant, so that no program takes it for a variable one.
fn header(format: &Mp3Format, bytes: usize) -> [u8; 4] {
    let hz = format.sample_rate_hz;
    let (version, wanted_kbps) = match hz {
        32_000.. => (3, 128),
        16_000.. => (2, 64),
        _ => (0, 32),
    };
    let wanted_kbps = match format.rate {
        Rate::Cbr(kbps) => kbps,
        Rate::Vbr(_) => wanted_kbps,
    };
    let fits = |kbps: &u16| *kbps >= wanted_kbps && unpadded_frame_bytes(*kbps, hz) >= bytes;
    let rate_index = bitrates_kbps(hz).iter().position(fits).unwrap_or(14);
    let sample_rate_index = match hz {
        44_100 | 22_050 | 11_025 => 0,
        48_000 | 24_000 | 12_000 => 1,
        _ => 2,
    };
    let mode = if format.mono { 3 } else { 1 };
    // Layer III, no CRC; an original recording, as LAME marks all of its frames.
    let original = 1 << 2;
    [
        0xff,
        0xe0 | version << 3 | 1 << 1 | 1,
        u8::try_from(rate_index).unwrap_or(14) << 4 | sample_rate_index << 2,
        mode << 6 | original,
    ]
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{BITRATES_KBPS, SAMPLE_RATES_HZ};

    fn formats() -> impl Iterator<Item = Mp3Format> {
        let rates = BITRATES_KBPS.map(Rate::Cbr).into_iter().chain([Rate::Vbr(2)]);
        rates.flat_map(|rate| {
            SAMPLE_RATES_HZ.into_iter().flat_map(move |hz| {
                [false, true].map(|mono| {
                    let settings = crate::Settings {
                        rate: Some(rate),
                        ..Default::default()
                    };
                    Mp3Format::choose(&settings, mono, hz)
                })
            })
        })
    }

    #[test]
    fn the_place_is_one_whole_frame_with_room_for_the_tag_in_every_format() {
        for format in formats() {
            let head = Head::new(&format);
            let mut log = FrameLog::default();
            log.push(head.placeholder()).unwrap();
            assert!(log.is_whole() && log.frames == 1, "{format:?}");
            assert!(head.placeholder().len() >= head.tag_at + TAG_BYTES, "{format:?}");
        }
    }

    #[test]
    fn where_lame_writes_a_head_frame_ours_has_its_place_and_its_unchanging_fields() {
        let mut compared = 0;
        for format in formats() {
            let Some(lames) = lames_head_frame(&format) else {
                continue;
            };
            let head = Head::new(&format);
            let ours = head.finish(&format, &FrameLog::default(), 0);
            assert_eq!(ours.len(), lames.len(), "{format:?}");
            assert_eq!(ours[1], lames[1], "{format:?}");
            assert_eq!(ours[2], lames[2], "{format:?}");
            let tag_at = 4 + side_information_bytes(&format);
            let fixed = tag_at + QUALITY_AT..tag_at + DELAY_AT;
            assert_eq!(ours[fixed.clone()], lames[fixed], "{format:?}");
            compared += 1;
        }
        assert!(compared > 100, "{compared}");
    }

    #[test]
    fn what_a_head_says_of_its_ends_is_read_back() {
        let settings = crate::Settings::default();
        for (mono, hz) in [(false, 48_000), (true, 44_100), (true, 16_000)] {
            let format = Mp3Format::choose(&settings, mono, hz);
            let lames = lames_head_frame(&format).unwrap();
            let told = read_head(&lames).unwrap();
            assert_eq!(told.trim.unwrap().delay, ENCODER_DELAY_SAMPLES);
            let first = Header::at_start(&lames).unwrap();
            for trim in [
                None,
                Some(Trim {
                    delay: 1105,
                    padding: 4095,
                }),
            ] {
                let copied = Head::like(first).finish_copy(true, &FrameLog::default(), trim);
                assert_eq!(read_head(&copied), Some(Told { frames: Some(0), trim }));
            }
            assert_eq!(read_head(Head::like(first).placeholder()), None);
        }
    }
}
