//! Main data in and out of the bit reservoir: frames are taken apart, and put together elsewhere.
//!
//! Taken apart, a [`Frame`] owns its main data and can stand behind any other frame of its kind. Put together, each
//! frame's main data begins as early as it may, which leaves the most room to what follows: frames that fitted behind
//! one another once, with this much room before the first, fit again.

use std::collections::VecDeque;

use crate::frame::Frame;

/// The farthest that main data reaches back.
const HISTORY_BYTES: usize = 511;

/// Takes the frames of one stream apart.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    /// The end of the slots so far.
    slots: Vec<u8>,
}

/// Why a frame cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// These bytes are not one frame.
    #[error("no frame, or not a whole one")]
    NoFrame,
    /// Its main data is not where it says.
    #[error("a frame's main data is missing")]
    NoMainData,
}

impl Unpacker {
    /// Takes the next frame.
    ///
    /// # Errors
    /// It is no frame, or refers to main data that was not in the stream; the frames behind it can be good again.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Frame, Broken> {
        let mut frame = Frame::of(bytes).ok_or(Broken::NoFrame)?;
        let slot = bytes.get(frame.header.slot_at()..).unwrap_or_default();
        let begin = self.slots.len().checked_sub(frame.reach());
        self.slots.extend_from_slice(slot);
        let main_data = begin.and_then(|begin| self.slots.get(begin..begin + frame.main_data_bytes()));
        let main_data = main_data.map(<[u8]>::to_vec);
        if self.slots.len() > 8 * HISTORY_BYTES {
            self.slots.drain(..self.slots.len() - HISTORY_BYTES);
        }
        frame.main_data = main_data.ok_or(Broken::NoMainData)?;
        Ok(frame)
    }
}

/// Puts frames together.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    /// Frames whose slots are not full.
    open: VecDeque<Frame>,
    /// What their slots hold so far, behind what is already written.
    slots: Vec<u8>,
    written: usize,
    room: usize,
}

impl Packer {
    /// How many bytes in the slots so far are free for what follows.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// What [`room`](Self::room) would be after that frame. None where it does not fit.
    pub(crate) fn room_after(room: usize, frame: &Frame) -> Option<usize> {
        let usable = room.min(frame.reach_limit()) + frame.header.slot_bytes();
        usable.checked_sub(frame.main_data.len())
    }

    /// Puts a frame behind the others, and appends to `mp3` those that are complete. One that does not fit becomes
    /// silence, which always does: then the answer is false.
    pub(crate) fn push(&mut self, mut frame: Frame, mp3: &mut Vec<u8>) -> bool {
        let fits = Self::room_after(self.room, &frame).is_some();
        if !fits {
            frame = Frame::silent(frame.header);
        }
        let reach = self.room.min(frame.reach_limit());
        self.stuff(self.room - reach);
        frame.set_reach(reach);
        self.room = (reach + frame.header.slot_bytes()).saturating_sub(frame.main_data.len());
        self.slots.extend_from_slice(&frame.main_data);
        frame.main_data = Vec::new();
        self.open.push_back(frame);
        self.write_full(mp3);
        fits
    }

    /// Fills the last slots with nothing, and appends everything left to `mp3`.
    pub(crate) fn finish(&mut self, mp3: &mut Vec<u8>) {
        self.stuff(self.room);
        self.room = 0;
        self.write_full(mp3);
    }

    fn stuff(&mut self, bytes: usize) {
        self.slots.resize(self.slots.len() + bytes, 0);
    }

    fn write_full(&mut self, mp3: &mut Vec<u8>) {
        while let Some(frame) = self.open.front() {
            let slot_bytes = frame.header.slot_bytes();
            let Some(slot) = self.slots.get(self.written..self.written + slot_bytes) else {
                break;
            };
            frame.write_to(mp3);
            mp3.extend_from_slice(slot);
            self.written += slot_bytes;
            self.open.pop_front();
        }
        if self.written > 16 * HISTORY_BYTES {
            self.slots.drain(..self.written);
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Header;

    /// Headers of all kinds of streams, with and without CRC.
    fn kinds() -> impl Strategy<Value = Vec<Header>> {
        let kind = (prop::sample::select(vec![3_u8, 2, 0]), 0..2_u8, 0..3_u8, 0..2_u8);
        let frames = prop::collection::vec((1..15_u8, 0..2_u8), 1..60);
        (kind, frames).prop_map(|((version, crc, sample_rate, mono), frames)| {
            let header = |(rate, padding)| {
                let bytes = [
                    0xff,
                    0xe2 | version << 3 | crc,
                    rate << 4 | sample_rate << 2 | padding << 1,
                    (2 + mono) << 6,
                ];
                Header::parse(bytes).unwrap()
            };
            frames.into_iter().map(header).collect()
        })
    }

    /// A valid stream of such frames: in each, a share of the main data it could have, as far back as a share of what
    /// it could.
    fn streams() -> impl Strategy<Value = (Vec<Frame>, Vec<u8>)> {
        let percentages = prop::collection::vec((0..110_usize, 0..130_usize), 60);
        (kinds(), percentages).prop_map(|(headers, percentages)| {
            let share = |of: usize, percentage: usize| of * percentage.min(100) / 100;
            let slots: usize = headers.iter().map(|header| header.slot_bytes()).sum();
            let mut pool = vec![0xaa; slots];
            let (mut slot_at, mut end) = (0, 0);
            let mut frames = Vec::new();
            for (number, (header, (size, reach))) in headers.into_iter().zip(percentages).enumerate() {
                let reach = share((slot_at - end).min(header.longest_reach()), reach);
                let most = (reach + header.slot_bytes()).min(if header.is_mono() { 511 } else { 1000 });
                let content: Vec<u8> = (0..share(most, size))
                    .map(|byte| (number * 7 + byte).to_le_bytes()[0])
                    .collect();
                let begin = slot_at - reach;
                pool[begin..begin + content.len()].copy_from_slice(&content);
                end = begin + content.len();
                slot_at += header.slot_bytes();
                let mut frame = Frame::made_up(header, content);
                frame.set_reach(reach);
                frames.push(frame);
            }
            let mut bytes = Vec::new();
            let mut rest = pool.as_slice();
            for frame in &frames {
                let (slot, behind) = rest.split_at(frame.header.slot_bytes());
                frame.write_to(&mut bytes);
                bytes.extend(slot);
                rest = behind;
            }
            (frames, bytes)
        })
    }

    fn taken_apart(mut stream: &[u8]) -> Vec<Frame> {
        let mut unpacker = Unpacker::default();
        let mut frames = Vec::new();
        while let Some(header) = Header::at_start(stream) {
            let (frame, rest) = stream.split_at(header.frame_bytes());
            frames.push(unpacker.push(frame).unwrap());
            stream = rest;
        }
        assert!(stream.is_empty());
        frames
    }

    proptest! {
        #[test]
        fn a_stream_taken_apart_and_put_together_has_the_same_frames_and_main_data((frames, stream) in streams()) {
            let apart = taken_apart(&stream);
            prop_assert_eq!(&apart, &frames);
            let mut packer = Packer::default();
            let mut again = Vec::new();
            for frame in apart {
                prop_assert!(packer.push(frame, &mut again), "what fitted once fits again");
            }
            packer.finish(&mut again);
            prop_assert_eq!(again.len(), stream.len());
            for (before, mut after) in frames.into_iter().zip(taken_apart(&again)) {
                prop_assert!(after.reach() <= before.reach_limit());
                prop_assert!(after.reach() >= before.reach(), "as early as it may");
                after.set_reach(before.reach());
                prop_assert_eq!(before, after);
            }
        }
    }

    fn header(kbps: u16) -> Header {
        let lowest = Header::parse([0xff, 0xfb, 0x14, 0]).unwrap();
        let mut all = std::iter::successors(Some(lowest), |header| header.raised());
        all.find(|header| header.kbps() == kbps).unwrap()
    }

    #[test]
    fn a_frame_without_its_main_data_is_told_and_the_next_one_is_good_again() {
        let mut stream = Vec::new();
        let mut packer = Packer::default();
        for length in [100, 400, 300] {
            assert!(packer.push(Frame::made_up(header(128), vec![7; length]), &mut stream));
        }
        packer.finish(&mut stream);
        let frame = |number: usize| &stream[number * 384..][..384];
        let mut unpacker = Unpacker::default();
        assert_eq!(unpacker.push(frame(1)), Err(Broken::NoMainData));
        assert_eq!(unpacker.push(frame(2)).unwrap().main_data, [7; 300]);
        assert_eq!(unpacker.push(&frame(0)[..383]), Err(Broken::NoFrame));
    }

    #[test]
    fn a_frame_that_does_not_fit_becomes_silence_of_the_same_length() {
        let mut packer = Packer::default();
        let mut stream = Vec::new();
        let fits: Vec<bool> = [348, 349, 348]
            .map(|length| packer.push(Frame::made_up(header(128), vec![7; length]), &mut stream))
            .into();
        packer.finish(&mut stream);
        assert_eq!(fits, [true, false, true]);
        let lengths: Vec<usize> = taken_apart(&stream).iter().map(|frame| frame.main_data.len()).collect();
        assert_eq!((lengths, stream.len()), (vec![348, 0, 348], 3 * 384));
    }
}
