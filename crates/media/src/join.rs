//! Streams of neighbouring segments become one.
//!
//! Each segment's encoder begins a little before its segment, so both streams have the frames before a seam. The joined
//! stream changes over at the last of these where the bit reservoir allows it, usually at the seam itself.

use crate::frame::{Frame, Header};
use crate::repack::{Broken, Packer, Unpacker};

/// How many frames before a seam the streams may change over. Earlier ones the later encoder has not settled for.
const OVERLAP_FRAMES: usize = 49;

/// How many frames in a row may be made longer, to make room.
const MOST_RAISED: usize = 8;

/// Joins segments, in order.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    packer: Packer,
    /// The end of the last segment, which the next one may replace.
    held: Vec<Frame>,
}

impl Joiner {
    /// Takes the stream of the next segment, which begins `warm_up_frames` before it, and appends what is certain to
    /// `mp3`. The first segment has no warm-up, all others at least as much as the overlap.
    ///
    /// # Errors
    /// The stream is broken.
    pub(crate) fn push(&mut self, stream: &[u8], warm_up_frames: usize, mp3: &mut Vec<u8>) -> Result<(), Broken> {
        let unused = warm_up_frames.saturating_sub(self.held.len());
        let mut frames = unpack(stream, unused)?;
        let seam = self.change_over(&frames);
        for frame in self.held.drain(..seam) {
            place(&mut self.packer, frame, mp3);
        }
        let certain = frames.len().saturating_sub(OVERLAP_FRAMES).max(seam);
        self.held = frames.split_off(certain);
        for frame in frames.drain(seam..) {
            place(&mut self.packer, frame, mp3);
        }
        Ok(())
    }

    /// Appends everything left to `mp3`.
    pub(crate) fn finish(&mut self, mp3: &mut Vec<u8>) {
        for frame in self.held.drain(..) {
            place(&mut self.packer, frame, mp3);
        }
        self.packer.finish(mp3);
    }

    /// How many of the held frames stay, before the frame of that number in `next` takes over.
    fn change_over(&mut self, next: &[Frame]) -> usize {
        let fits = |held: &[Frame], seam: usize| {
            let room = held.iter().try_fold(self.packer.room(), Packer::room_after);
            let needed = next.get(seam).map_or(0, Frame::reach);
            room.is_some_and(|room| needed <= room)
        };
        let count = self.held.len();
        let seams = (0..=count).rev();
        if let Some(seam) = seams.clone().find(|seam| fits(&self.held[..*seam], *seam)) {
            return seam;
        }
        for seam in seams {
            if let Some(raised) = raised(&self.held[..seam], |held| fits(held, seam)) {
                tracing::debug!(frames_before = count - seam, "a seam needs a longer frame");
                self.held.splice(..seam, raised);
                return seam;
            }
        }
        count
    }
}

/// These frames with the last ones at a higher bitrate, as few and as little as it takes until they fit.
fn raised(held: &[Frame], fits: impl Fn(&[Frame]) -> bool) -> Option<Vec<Frame>> {
    let mut raised = held.to_vec();
    for index in (0..held.len()).rev().take(MOST_RAISED) {
        while let Some(header) = raised[index].header.raised() {
            raised[index].header = header;
            if fits(&raised) {
                return Some(raised);
            }
        }
    }
    None
}

fn place(packer: &mut Packer, frame: Frame, mp3: &mut Vec<u8>) {
    if !packer.push(frame, mp3) {
        tracing::warn!("a frame at a seam fits nowhere and is left silent");
    }
}

fn unpack(stream: &[u8], unused: usize) -> Result<Vec<Frame>, Broken> {
    let mut unpacker = Unpacker::default();
    let mut frames = Vec::new();
    let mut rest = stream;
    let mut skipped = 0;
    while !rest.is_empty() {
        let length = Header::at_start(rest).ok_or(Broken::NoFrame)?.frame_bytes();
        let (frame, behind) = rest.split_at_checked(length).ok_or(Broken::NoFrame)?;
        let frame = unpacker.push(frame)?;
        if skipped < unused {
            skipped += 1;
        } else {
            frames.push(frame);
        }
        rest = behind;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame at 48 kHz in stereo. The slot is 36 bytes less than the frame, which is 384 at 128 kbit/s.
    fn frame(kbps: u16, main_data_bytes: usize, content: u8) -> Frame {
        let lowest = Header::parse([0xff, 0xfb, 0x14, 0]).unwrap();
        let mut all = std::iter::successors(Some(lowest), |header| header.raised());
        let header = all.find(|header| header.kbps() == kbps).unwrap();
        Frame::made_up(header, vec![content; main_data_bytes])
    }

    fn stream(frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
        let mut packer = Packer::default();
        let mut bytes = Vec::new();
        for frame in frames {
            assert!(packer.push(frame, &mut bytes));
        }
        packer.finish(&mut bytes);
        bytes
    }

    /// Joins two segments, and tells how many frames of each content there are, in order, and of which bitrates.
    fn joined(first: &[u8], second: &[u8], warm_up_frames: usize) -> (Vec<(u8, usize)>, Vec<u16>) {
        let mut joiner = Joiner::default();
        let mut bytes = Vec::new();
        joiner.push(first, 0, &mut bytes).unwrap();
        joiner.push(second, warm_up_frames, &mut bytes).unwrap();
        joiner.finish(&mut bytes);
        let frames = unpack(&bytes, 0).unwrap();
        let mut runs: Vec<(u8, usize)> = Vec::new();
        for frame in &frames {
            let content = frame.main_data.first().copied().unwrap_or(0);
            match runs.last_mut() {
                Some((last, count)) if *last == content => *count += 1,
                _ => runs.push((content, 1)),
            }
        }
        let mut rates: Vec<u16> = frames.iter().map(|frame| frame.header.kbps()).collect();
        rates.dedup();
        (runs, rates)
    }

    /// The second segment: 98 frames of warm-up that leave as much room as there can be, and 100 that use it all at
    /// once.
    fn hungry(kbps: u16, frame_bytes: usize) -> Vec<u8> {
        let warm_up = (0..98).map(|_| frame(kbps, 100, 2));
        stream(
            warm_up
                .chain([frame(kbps, frame_bytes + 400, 3)])
                .chain((0..99).map(|_| frame(kbps, 100, 3))),
        )
    }

    #[test]
    fn streams_change_over_at_the_seam_where_there_is_room() {
        let first = stream((0..100).map(|_| frame(128, 300, 1)));
        let (runs, rates) = joined(&first, &hungry(128, 348), 98);
        assert_eq!((runs, rates), (vec![(1, 100), (3, 100)], vec![128]));
    }

    #[test]
    fn without_room_at_the_seam_they_change_over_at_the_last_frame_before_that_has_it() {
        let full = (0..100).map(|number| {
            frame(
                128,
                if number < 90 {
                    300
                } else {
                    348 + 51 * usize::from(number < 99)
                },
                1,
            )
        });
        let (runs, rates) = joined(&stream(full), &hungry(128, 348), 98);
        assert_eq!((runs, rates), (vec![(1, 90), (2, 10), (3, 100)], vec![128]));
    }

    #[test]
    fn without_room_anywhere_a_frame_before_the_seam_is_made_longer() {
        let full = (0..100).map(|_| frame(128, 348, 1));
        let (runs, rates) = joined(&stream(full), &hungry(128, 348), 98);
        assert_eq!((runs, rates), (vec![(1, 100), (3, 100)], vec![128, 320, 128]));
    }

    #[test]
    fn at_the_highest_bitrate_what_fits_nowhere_is_left_silent_and_nothing_else() {
        let full = (0..100).map(|_| frame(320, 924, 1));
        let (runs, rates) = joined(&stream(full), &hungry(320, 924), 98);
        assert_eq!((runs, rates), (vec![(1, 100), (0, 1), (3, 99)], vec![320]));
    }

    #[test]
    fn a_stream_that_is_cut_off_is_an_error() {
        let whole = stream((0..10).map(|_| frame(128, 300, 1)));
        let broken = Joiner::default().push(&whole[..whole.len() - 1], 0, &mut Vec::new());
        assert_eq!(broken, Err(Broken::NoFrame));
    }
}
