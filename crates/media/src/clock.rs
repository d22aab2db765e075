//! What a position means: seconds on the source's own clock, the same in every container.
//!
//! A container counts the time of its streams from a zero of its own: the first byte of a broadcast may have come after
//! hours. A position counts from where the first of the file's pictures and sounds begins, as players and `ffmpeg -ss`
//! do.

use std::time::Duration;

use ffmpeg_next::Rational;

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;

/// A moment on a container's own timeline, in nanoseconds from the container's zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i128);

impl Moment {
    /// The moment of a timestamp. None where the time base is none.
    pub(crate) fn of(timestamp: i64, time_base: Rational) -> Option<Self> {
        let scaled = i128::from(timestamp) * i128::from(time_base.numerator()) * NANOSECONDS_PER_SECOND;
        scaled.checked_div(i128::from(time_base.denominator())).map(Self)
    }

    /// The timestamp at or just before this moment. None where the time base is none, or has no number for it.
    pub(crate) fn timestamp(self, time_base: Rational) -> Option<i64> {
        let unit = i128::from(time_base.numerator()) * NANOSECONDS_PER_SECOND;
        let scaled = self.0.checked_mul(i128::from(time_base.denominator()))?;
        i64::try_from(scaled.checked_div_euclid(unit)?).ok()
    }

    /// The moment so much later.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0 + time.as_nanos().cast_signed())
    }

    /// How many nanoseconds lie between an earlier moment and this one; negative where that one is later.
    pub(crate) fn since(self, earlier: Self) -> i128 {
        self.0 - earlier.0
    }
}

/// Tells positions of moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    zero: Moment,
}

impl Clock {
    /// The clock whose position zero is this moment.
    pub(crate) const fn from_zero(zero: Moment) -> Self {
        Self { zero }
    }

    /// The clock on which this moment has that position.
    pub(crate) fn with(moment: Moment, position: Duration) -> Self {
        Self::from_zero(Moment(moment.0 - position.as_nanos().cast_signed()))
    }

    /// The position of a moment; zero where it lies before that.
    pub(crate) fn position(self, moment: Moment) -> Duration {
        nanoseconds(moment.since(self.zero))
    }

    /// The moment of a position.
    pub(crate) fn moment(self, position: Duration) -> Moment {
        self.zero.after(position)
    }
}

/// So many nanoseconds; none where there are fewer.
pub(crate) fn nanoseconds(count: i128) -> Duration {
    Duration::from_nanos(u64::try_from(count.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_every_time_base_are_compared_on_one_clock() {
        let at = |timestamp, numerator, denominator| Moment::of(timestamp, Rational(numerator, denominator)).unwrap();
        let clock = Clock::from_zero(at(90_000, 1, 90_000));
        assert_eq!(clock.position(at(2_500, 1, 1_000)), Duration::from_millis(1_500));
        assert_eq!(clock.position(at(500, 1, 1_000)), Duration::ZERO);
        assert_eq!(clock.position(at(75, 1, 25)), Duration::from_secs(2));
        assert_eq!(clock.moment(Duration::from_secs(2)), at(3_000, 1, 1_000));
        assert_eq!(at(-3, 1, 1_000).since(at(1, 1, 1_000)), -4_000_000);
    }

    #[test]
    fn a_moment_has_the_timestamp_at_or_before_it() {
        let moment = Moment::of(1_999, Rational(1, 1_000)).unwrap();
        assert_eq!(moment.timestamp(Rational(1, 1)), Some(1));
        let before_zero = Moment::of(-1, Rational(1, 1_000)).unwrap();
        assert_eq!(before_zero.timestamp(Rational(1, 1)), Some(-1));
    }

    #[test]
    fn numbers_that_no_file_should_hold_overflow_nothing() {
        for timestamp in [i64::MIN, i64::MAX] {
            let moment = Moment::of(timestamp, Rational(i32::MAX, 1)).unwrap();
            let clock = Clock::from_zero(moment);
            assert_eq!(clock.position(moment), Duration::ZERO);
            assert_eq!(moment.timestamp(Rational(1, i32::MAX)), None);
            assert!(clock.moment(Duration::MAX) > moment);
        }
        assert_eq!(Moment::of(1, Rational(1, 0)), None);
        assert_eq!(Moment::of(1, Rational(1, 1)).unwrap().timestamp(Rational(0, 1)), None);
    }
}
