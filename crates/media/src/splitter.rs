//! The frames of one MP3 in pieces of bytes, without what lies between them.

use std::time::Duration;

use crate::frame::Header;
use crate::output::duration_of;

/// Cuts bytes into frames of one kind: that of the first.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    bytes: Vec<u8>,
    /// Everything before is done with.
    at: usize,
    kind: Option<Header>,
    /// Whether a frame ended where the next one is looked for.
    is_in_step: bool,
    /// How many times bytes were left out.
    pub(crate) left_out: u64,
    /// How long those of what was left out play that are frames too, of another kind.
    pub(crate) other_kind: Duration,
}

impl Splitter {
    /// Takes the next bytes. Frames seldom span two pieces, but may.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole frame, if there is one in what was pushed.
    pub(crate) fn next_frame(&mut self) -> Option<&[u8]> {
        while let Some(candidate) = self.bytes.get(self.at..).filter(|rest| rest.len() >= Header::BYTES) {
            let mut wrong_bytes = 1;
            if let Some(header) = Header::at_start(candidate) {
                let is_right_kind = self.kind.is_none_or(|kind| header.is_like(kind));
                let is_expected = self.is_in_step && is_right_kind;
                // Elsewhere, one header is easily mistaken: another one must follow, or nothing at all.
                let behind = candidate.get(header.frame_bytes()..)?;
                if !is_expected && (1..Header::BYTES).contains(&behind.len()) {
                    return None;
                }
                let is_followed = || Header::at_start(behind).is_some_and(|next| next.is_like(header));
                let is_confirmed = is_expected || behind.is_empty() || is_followed();
                if is_confirmed && is_right_kind {
                    self.kind = Some(header);
                    self.is_in_step = true;
                    let from = self.at;
                    self.at += header.frame_bytes();
                    return self.bytes.get(from..self.at);
                }
                if is_confirmed {
                    wrong_bytes = header.frame_bytes();
                    self.other_kind += duration_of(header.samples(), header.sample_rate_hz());
                }
            }
            if self.is_in_step || self.kind.is_none() && self.left_out == 0 {
                self.left_out += 1;
            }
            self.is_in_step = false;
            self.at += wrong_bytes;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 384 bytes each.
    fn frame(content: u8) -> Vec<u8> {
        let mut frame = vec![content; 384];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x94, 0]);
        frame
    }

    /// What the splitter finds in pieces of that length, and how many times it left something out.
    fn split(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, u64) {
        let mut splitter = Splitter::default();
        let mut frames = Vec::new();
        for piece in bytes.chunks(piece) {
            splitter.push(piece);
            while let Some(frame) = splitter.next_frame() {
                frames.push(frame.to_vec());
            }
        }
        (frames, splitter.left_out)
    }

    #[test]
    fn frames_come_out_as_they_are_whatever_the_pieces() {
        let frames: Vec<_> = (1..20).map(frame).collect();
        for piece in [1, 100, 384, 5000] {
            assert!(
                split(&frames.concat(), piece) == (frames.clone(), 0),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn what_lies_between_frames_is_left_out() {
        // With the header of a frame that never comes.
        let junk: Vec<u8> = vec![1, 2, 3, 0xff, 0xfb, 0x94, 0, 0xff];
        let frames: Vec<_> = (1..=6).map(frame).collect();
        let parts = [
            &frames[..2],
            std::slice::from_ref(&junk),
            &frames[2..4],
            std::slice::from_ref(&junk),
            &frames[4..],
        ];
        let bytes = parts.concat().concat();
        for piece in [100, 384, 5000] {
            assert!(split(&bytes, piece) == (frames.clone(), 2), "pieces of {piece}");
        }
    }

    #[test]
    fn frames_of_another_kind_are_left_out() {
        let mut mono = frame(9);
        mono[3] = 0xc0;
        let bytes = [frame(1), frame(4), mono.clone(), mono.clone(), mono, frame(2), frame(3)].concat();
        for piece in [100, 384, 5000] {
            assert!(
                split(&bytes, piece) == ([1, 4, 2, 3].map(frame).to_vec(), 1),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn how_long_frames_of_another_kind_play_is_told() {
        let mut mono = frame(9);
        mono[3] = 0xc0;
        let bytes = [frame(1), mono.repeat(10), frame(2), vec![0x55; 384], frame(3)].concat();
        let mut splitter = Splitter::default();
        for piece in bytes.chunks(384) {
            splitter.push(piece);
            while splitter.next_frame().is_some() {}
        }
        // 24 ms each; the last one may not be believed, for want of one like it behind.
        let ten = Duration::from_millis(240);
        assert!((ten - Duration::from_millis(24)..=ten).contains(&splitter.other_kind));
    }

    #[test]
    fn bytes_without_frames_give_none() {
        let (frames, left_out) = split(&[0x55; 10_000], 384);
        assert_eq!((frames.len(), left_out), (0, 1));
    }
}
