//! Where on the clock the sound belongs, and whether some is missing before it.
//!
//! The position of a piece of sound by its timestamp is compared with how much has been passed on. Timestamps are
//! rounded, jitter, and drift, so only what is missing for longer than [`TOLERANCE`] counts, and only where the
//! timestamps themselves jump: a difference that grows by less from one piece to the next is a clock that runs at
//! another pace.

use std::mem;
use std::time::Duration;

use crate::clock::{Clock, Moment, nanoseconds};

/// Sound that is missing for no longer is not missed: timestamps are rounded to a millisecond in some containers,
/// jitter by tens of them in live recordings, and a decoder may hold a frame back. FFmpeg's `aresample` tolerates as
/// much (`min_hard_comp`).
const TOLERANCE: Duration = Duration::from_millis(100);

/// The least by which timestamps jump where sound is missing. No packet of sound plays for less, apart from those of
/// calls, which come in tens of them.
const LEAST_JUMP: Duration = Duration::from_millis(8);

/// Sound that begins so long before the end of what came before it begins anew: a broadcast that was cut, or another
/// one. Below, it overlaps, and the next gap is shorter by it.
const JUMP_BACK: Duration = Duration::from_secs(1);

/// Follows the timestamps of one stream of sound.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// None until the first sound.
    clock: Option<Clock>,
    /// How far the last timestamp was ahead of the sound that had been passed on until then, in nanoseconds.
    ahead: i128,
}

impl Timeline {
    /// The clock, once the first sound is known.
    pub(crate) const fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Begins with the first sound at that moment, in a file whose other streams begin with `others`. Gives the
    /// position of the sound: zero unless it is late, and the file is as long as that by `reach`, which is asked only
    /// then.
    pub(crate) fn begin(
        &mut self,
        first: Moment,
        others: Option<Moment>,
        reach: impl FnOnce(Clock) -> Duration,
    ) -> Duration {
        self.ahead = 0;
        let late = others.map_or(Duration::ZERO, |others| nanoseconds(first.since(others)));
        if let Some(zero) = others.filter(|_| late > TOLERANCE) {
            let clock = Clock::from_zero(zero);
            if late <= reach(clock) {
                self.clock = Some(clock);
                return late;
            }
            tracing::debug!(?late, "the file is not as long as its sound is late");
        }
        self.clock = Some(Clock::from_zero(first));
        Duration::ZERO
    }

    /// Where on the clock the sound at that moment begins, if sound is missing before it: `position` is where what has
    /// been passed on ends. A jump that leads beyond the file's end by `reach` is none on its clock, nor is a jump
    /// back: the clock then goes on from where it was.
    pub(crate) fn gap_before(
        &mut self,
        sound: Moment,
        position: Duration,
        reach: impl FnOnce(Clock) -> Duration,
    ) -> Option<Duration> {
        let clock = self.clock?;
        let ahead = sound.since(clock.moment(position));
        let jump = ahead - mem::replace(&mut self.ahead, ahead);
        let is_gap = nanoseconds(ahead) > TOLERANCE && nanoseconds(jump) >= LEAST_JUMP;
        if !is_gap && nanoseconds(-ahead) <= JUMP_BACK {
            return None;
        }
        self.ahead = 0;
        let until = clock.position(sound);
        if is_gap && until <= reach(clock) {
            return Some(until);
        }
        tracing::debug!(?position, ?until, "the timestamps jump");
        self.clock = Some(Clock::with(sound, position));
        None
    }

    /// What comes next does not follow what came last.
    pub(crate) const fn jumped(&mut self) {
        self.ahead = 0;
    }
}

#[cfg(test)]
mod tests {
    use ffmpeg_next::Rational;

    use super::*;

    fn ms(timestamp: i64) -> Moment {
        Moment::of(timestamp, Rational(1, 1000)).unwrap()
    }

    /// Sound in packets of 20 ms that begin at these timestamps, on a clock from zero to `end_ms`: where silence was
    /// put, from where to where, and where the last packet ended.
    fn followed(timestamps: impl IntoIterator<Item = i64>, end_ms: u64) -> (Vec<(u64, u64)>, u64) {
        let mut timeline = Timeline::default();
        timeline.begin(ms(0), None, |_| Duration::ZERO);
        let (mut position, mut gaps) = (0, Vec::new());
        for timestamp in timestamps {
            let before = Duration::from_millis(position);
            if let Some(until) = timeline.gap_before(ms(timestamp), before, |_| Duration::from_millis(end_ms)) {
                let until = u64::try_from(until.as_millis()).unwrap();
                gaps.push((position, until));
                position = until;
            }
            position += 20;
        }
        (gaps, position)
    }

    fn packets(from_ms: i64, count: usize) -> impl Iterator<Item = i64> {
        (from_ms..).step_by(20).take(count)
    }

    #[test]
    fn a_gap_is_filled_to_where_the_sound_goes_on() {
        let sound = packets(0, 10).chain(packets(1_200, 10)).chain(packets(2_000, 1));
        assert_eq!(followed(sound, 3_000), (vec![(200, 1_200), (1_400, 2_000)], 2_020));
    }

    #[test]
    fn lost_packets_add_up() {
        // Every second one of a hundred.
        let sound = (0..100).map(|number| number * 40);
        let (gaps, end) = followed(sound, 4_000);
        assert!(gaps.iter().all(|(from, until)| until - from == 120), "{gaps:?}");
        assert!((3_880..=3_980).contains(&end), "{end}");
    }

    #[test]
    fn rounding_jitter_and_drift_are_no_gaps() {
        let rounded = (0..10_000).map(|number| number * 20 + [0, 1, -1, 1, 0][usize::try_from(number).unwrap() % 5]);
        let jittering = (0..10_000).map(|number| number * 20 + number * 7919 % 90);
        let drifting = (0..10_000).map(|number| number * 22);
        let running_behind = (0..10_000).map(|number| number * 19);
        for sound in [
            rounded.collect::<Vec<_>>(),
            jittering.collect(),
            drifting.collect(),
            running_behind.collect(),
        ] {
            assert_eq!(followed(sound, 1_000_000), (vec![], 200_000));
        }
    }

    #[test]
    fn a_jump_beyond_the_end_is_no_gap_and_what_follows_is_measured_from_there() {
        let sound = packets(0, 10)
            .chain(packets(95_000_000, 10))
            .chain(packets(95_000_700, 1));
        assert_eq!(followed(sound, 2_000), (vec![(400, 900)], 920));
    }

    #[test]
    fn after_a_jump_back_the_clock_goes_on() {
        let sound = packets(10_000, 0).chain(packets(0, 100)).chain(packets(0, 10));
        let again = sound.chain(packets(1_200, 1));
        assert_eq!(followed(again, 10_000), (vec![(2_200, 3_200)], 3_220));
        let within_the_end = packets(0, 100).chain(packets(0, 10)).chain(packets(1_200, 1));
        assert_eq!(followed(within_the_end, 3_000), (vec![], 2_220));
    }

    #[test]
    fn what_overlaps_shortens_the_next_gap() {
        let sound = packets(0, 50).chain(packets(500, 10)).chain(packets(2_000, 1));
        assert_eq!(followed(sound, 3_000), (vec![(1_200, 2_000)], 2_020));
    }

    #[test]
    fn late_sound_keeps_its_distance_where_the_file_is_as_long() {
        let begun = |first_ms, others_ms: Option<i64>, end_ms| {
            let mut timeline = Timeline::default();
            let late = timeline.begin(ms(first_ms), others_ms.map(ms), |_| Duration::from_millis(end_ms));
            (
                late.as_millis(),
                timeline.clock().unwrap().position(ms(20_000)).as_millis(),
            )
        };
        assert_eq!(begun(13_000, Some(10_000), 9_000), (3_000, 10_000));
        assert_eq!(begun(10_090, Some(10_000), 9_000), (0, 9_910), "not to be heard");
        assert_eq!(begun(9_000, Some(10_000), 9_000), (0, 11_000), "early");
        assert_eq!(begun(13_000, None, 9_000), (0, 7_000), "alone");
        assert_eq!(
            begun(19_500, Some(10_000), 9_000),
            (0, 500),
            "later than the file is long"
        );
    }
}
