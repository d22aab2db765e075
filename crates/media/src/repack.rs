//! Main data in and out of the bit reservoir: frames are taken apart, and put together elsewhere.
//!
//! Taken apart, a [`Frame`] owns its main data and can stand behind any other frame of its kind. Put together, each frame's
//! main data begins as early as it may, which leaves the most room to what follows: frames that fitted behind one another
//! once, with this much room before the first, fit again.

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

    /// Puts a frame behind the others, and appends to `mp3` those that are complete. One that does not fit becomes silence,
    /// which always does: then the answer is false.
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
