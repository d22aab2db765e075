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
