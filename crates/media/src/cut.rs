//! From where to where the MP3 goes, counted in samples of the MP3.

use std::time::Duration;

use crate::Settings;
use crate::mixer::Block;

/// Passes on what lies between start and end, to the sample.
pub(crate) struct Cut {
    start: u64,
    end: u64,
    /// Samples that have come so far, or were skipped in the source.
    position: u64,
    rate_hz: u32,
}

impl Cut {
    pub(crate) fn new(settings: &Settings, rate_hz: u32) -> Self {
        Self {
            start: settings.start.map_or(0, |start| samples(start, rate_hz)),
            end: settings.end.map_or(u64::MAX, |end| samples(end, rate_hz)),
            position: 0,
            rate_hz,
        }
    }

    /// The next block is not what follows the last one, but from that position on.
    pub(crate) fn jump(&mut self, position: Duration) {
        self.position = samples(position, self.rate_hz);
    }

    /// Goes on at a position, unless it is there already. Gives how many samples of the MP3 lie between.
    pub(crate) fn go_to(&mut self, position: Duration) -> u64 {
        let from = self.position;
        self.position = from.max(samples(position, self.rate_hz));
        self.position.clamp(self.start, self.end) - from.clamp(self.start, self.end)
    }

    /// What of the next block belongs to the MP3; possibly nothing.
    pub(crate) fn pass<'a>(&mut self, block: Block<'a>) -> Block<'a> {
        let count = block.left.len() as u64;
        let before = self.start.saturating_sub(self.position).min(count);
        let until = self.end.saturating_sub(self.position).clamp(before, count);
        self.position += count;
        let (_, rest) = block.split_at(usize::try_from(before).unwrap_or(usize::MAX));
        let (inside, _) = rest.split_at(usize::try_from(until - before).unwrap_or(usize::MAX));
        inside
    }

    /// Whether nothing that follows belongs to the MP3.
    pub(crate) fn is_over(&self) -> bool {
        self.position >= self.end
    }

    /// Whether what follows may belong to the MP3.
    pub(crate) fn has_begun(&self) -> bool {
        self.position >= self.start
    }

    /// Where the first sample of the MP3 is in the source's audio.
    pub(crate) fn start(&self) -> Duration {
        playing_time_of(self.start, self.rate_hz)
    }

    /// How far in the source's audio the blocks have come.
    pub(crate) fn position(&self) -> Duration {
        playing_time_of(self.position, self.rate_hz)
    }
}

fn playing_time_of(samples: u64, rate_hz: u32) -> Duration {
    let rate_hz = u64::from(rate_hz);
    let nanoseconds = samples % rate_hz * 1_000_000_000 / rate_hz;
    Duration::from_secs(samples / rate_hz) + Duration::from_nanos(nanoseconds)
}

/// The sample nearest to a position.
pub(crate) fn samples(position: Duration, rate_hz: u32) -> u64 {
    let nanoseconds = position.as_nanos() * u128::from(rate_hz) + 500_000_000;
    u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(u64::MAX)
}

/// How long the MP3 becomes, of a source that plays so long.
pub(crate) fn playing_time(settings: &Settings, source: Option<Duration>) -> Option<Duration> {
    let end = match (source, settings.end) {
        (Some(source), Some(end)) => Some(source.min(end)),
        (source, end) => source.or(end),
    };
    let length = end?.saturating_sub(settings.start.unwrap_or_default());
    Some(length).filter(|length| !length.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(start_ms: Option<u64>, end_ms: Option<u64>) -> Settings {
        Settings {
            start: start_ms.map(Duration::from_millis),
            end: end_ms.map(Duration::from_millis),
            ..Settings::default()
        }
    }

    /// What passes of 1000 samples in blocks of that many, at 1000 Hz.
    fn passed(settings: &Settings, at_once: usize) -> Vec<f32> {
        let all: Vec<f32> = (0..1000_u16).map(f32::from).collect();
        let mut cut = Cut::new(settings, 1000);
        let mut passed = Vec::new();
        for block in all.chunks(at_once) {
            assert_eq!(cut.is_over(), cut.position >= cut.end);
            let block = cut.pass(Block {
                left: block,
                right: Some(block),
            });
            assert_eq!(block.right, Some(block.left));
            passed.extend_from_slice(block.left);
        }
        passed
    }

    #[test]
    fn exactly_what_lies_between_start_and_end_passes() {
        for at_once in [1, 7, 100, 1000] {
            for (start, end, expected) in [
                (None, None, 0..1000_u16),
                (Some(300), None, 300..1000),
                (None, Some(300), 0..300),
                (Some(250), Some(251), 250..251),
                (Some(999), Some(5000), 999..1000),
                (Some(1000), None, 0..0),
            ] {
                let expected: Vec<f32> = expected.map(f32::from).collect();
                assert_eq!(passed(&settings(start, end), at_once), expected, "{start:?} to {end:?}");
            }
        }
    }

    #[test]
    fn after_a_jump_the_position_counts() {
        let mut cut = Cut::new(&settings(Some(500), Some(600)), 1000);
        cut.jump(Duration::from_millis(450));
        let samples = [1.0; 100];
        let block = Block {
            left: &samples,
            right: None,
        };
        assert_eq!(cut.pass(block).left.len(), 50);
        assert_eq!(cut.position(), Duration::from_millis(550));
        assert_eq!(cut.pass(block).left.len(), 50);
        assert!(cut.is_over());
    }

    #[test]
    fn what_is_passed_over_counts_as_far_as_it_belongs_to_the_mp3() {
        let passed_over = |start, end, from: u64, until: u64| {
            let mut cut = Cut::new(&settings(start, end), 1000);
            cut.jump(Duration::from_millis(from));
            let count = cut.go_to(Duration::from_millis(until));
            (count, cut.position().as_millis())
        };
        assert_eq!(passed_over(None, None, 100, 400), (300, 400));
        assert_eq!(passed_over(Some(200), None, 100, 400), (200, 400));
        assert_eq!(passed_over(Some(500), None, 100, 400), (0, 400));
        assert_eq!(passed_over(Some(200), Some(300), 100, 400), (100, 400));
        assert_eq!(passed_over(None, None, 400, 100), (0, 400));
    }

    #[test]
    fn the_playing_time_is_that_of_the_part() {
        let source = Some(Duration::from_secs(100));
        let seconds = |start, end, source| playing_time(&settings(start, end), source).map(|time| time.as_secs());
        assert_eq!(seconds(None, None, source), Some(100));
        assert_eq!(seconds(Some(30_000), None, source), Some(70));
        assert_eq!(seconds(Some(30_000), Some(40_000), source), Some(10));
        assert_eq!(seconds(Some(30_000), Some(400_000), source), Some(70));
        assert_eq!(seconds(Some(30_000), Some(40_000), None), Some(10));
        assert_eq!(seconds(Some(300_000), None, source), None);
        assert_eq!(seconds(None, None, None), None);
    }
}
