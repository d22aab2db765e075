//! Where segments end. It depends on the audio alone, never on the number of threads, so that neither do the bytes.

use std::time::Duration;

use crate::encoder::Mp3Format;

/// Frames in a chunk. Segments are whole chunks: LAME's pattern of padding bytes has a period of 49 frames at 44.1 kHz
/// and its halves, so a segment's own pattern is the one it has in the whole.
pub(crate) const CHUNK_FRAMES: usize = 49;

/// A segment's encoder begins that much before it: what LAME remembers fades slowest after a step from loud to quiet,
/// when its threshold of hearing sinks for up to 95 frames.
pub(crate) const WARM_UP_CHUNKS: usize = 2;

/// Lengths of segments, in chunks. Longer ones spend less on warm-up, but hold more samples in memory while they wait;
/// short ones at the end let all threads end at about the same time.
const LONGEST_CHUNKS: u64 = 40;
const SHORTEST_CHUNKS: u64 = 10;
const USUAL_CHUNKS: u64 = 20;

/// A segment takes this part of what is left.
const PART_OF_REST: u64 = 3;

/// The lengths of an MP3's segments, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Chunks that are left, by what the file declares.
    left: Option<u64>,
    #[cfg(test)]
    fixed: Option<u64>,
}

impl Schedule {
    /// For audio that declares this playing time. That may be wrong, and the segments are then of less convenient
    /// lengths.
    pub(crate) fn new(format: &Mp3Format, declared: Option<Duration>) -> Self {
        let left = declared.map(|duration| {
            let samples = duration.as_millis() * u128::from(format.sample_rate_hz) / 1000;
            let chunks = samples.div_ceil(u128::from(format.frame_samples()) * CHUNK_FRAMES as u128);
            u64::try_from(chunks).unwrap_or(u64::MAX)
        });
        Self {
            left,
            #[cfg(test)]
            fixed: None,
        }
    }

    /// Segments of that many chunks each.
    #[cfg(test)]
    pub(crate) fn fixed(chunks: u64) -> Self {
        Self {
            left: None,
            fixed: Some(chunks),
        }
    }

    /// The length of the next segment, in chunks, if the audio lasts as long.
    pub(crate) fn next_chunks(&mut self) -> u64 {
        #[cfg(test)]
        if let Some(chunks) = self.fixed {
            return chunks;
        }
        let Some(left) = self.left.filter(|left| *left > 0) else {
            return USUAL_CHUNKS;
        };
        let chunks = if left < 2 * SHORTEST_CHUNKS {
            left
        } else {
            (left / PART_OF_REST).clamp(SHORTEST_CHUNKS, LONGEST_CHUNKS)
        };
        self.left = Some(left - chunks);
        chunks
    }
}

/// How many chunks may wait for `threads` encoders: enough that each finds the samples of a segment of its own, as far
/// as memory allows.
pub(crate) fn most_chunks(threads: usize) -> usize {
    /// 60 MB at 48 kHz in stereo.
    const MOST: usize = 136;
    let longest = usize::try_from(LONGEST_CHUNKS).unwrap_or(usize::MAX);
    (threads.saturating_sub(1) * longest + 8).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn lengths(seconds: u64) -> Vec<u64> {
        let format = Mp3Format::choose(&Settings::default(), false, 48_000);
        let mut schedule = Schedule::new(&format, Some(Duration::from_secs(seconds)));
        let mut lengths = Vec::new();
        while schedule.left != Some(0) {
            lengths.push(schedule.next_chunks());
        }
        lengths
    }

    #[test]
    fn the_segments_are_long_at_first_and_short_at_the_end_and_cover_the_whole() {
        for seconds in [60, 600, 3600, 43_200] {
            let lengths = lengths(seconds);
            assert_eq!(lengths.iter().sum::<u64>(), (seconds * 48_000).div_ceil(49 * 1152));
            assert!(
                lengths.is_sorted_by(|one, next| one >= next || *next < 20),
                "{lengths:?}"
            );
            assert!(lengths.iter().all(|length| (10..=40).contains(length)), "{lengths:?}");
        }
    }

    #[test]
    fn a_short_clip_is_one_segment() {
        for seconds in [1, 5, 22] {
            assert_eq!(lengths(seconds).len(), 1, "{seconds} s");
        }
    }

    #[test]
    fn what_goes_on_longer_than_declared_is_cut_all_the_same() {
        let format = Mp3Format::choose(&Settings::default(), false, 48_000);
        for declared in [None, Some(Duration::ZERO), Some(Duration::from_secs(3))] {
            let mut schedule = Schedule::new(&format, declared);
            schedule.next_chunks();
            for _ in 0..100 {
                assert_eq!(schedule.next_chunks(), USUAL_CHUNKS);
            }
        }
    }

    #[test]
    fn memory_has_a_bound_however_many_threads() {
        assert_eq!(most_chunks(1), 8);
        assert_eq!(most_chunks(2), 48);
        assert_eq!(most_chunks(64), 136);
    }
}
