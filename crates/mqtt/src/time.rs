//! The clock of the protocol core: an instant that its caller reads from a clock and passes in.
//!
//! Nothing here or in the rest of the core ever reads a clock. That is what makes every
//! time-dependent decision (keep-alive, time-outs) a plain function that a test can step through.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: nanoseconds since an arbitrary start that all values of one program share.
///
/// A `u64` of nanoseconds lasts 584 years; arithmetic saturates at both ends instead of wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The start of time, from which [`Time`] counts.
    pub const ZERO: Self = Self(0);
    /// The last point in time: where a deadline too far away to count ends up.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the earlier of two deadlines, each of which may not be set.
    #[inline(always)]
    #[must_use]
    pub(crate) fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (set, None) | (None, set) => set,
        }
    }

    /// Returns the time from `earlier` to `self`, zero when `earlier` is the later one.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Returns the point `duration` later, at most [`Time::MAX`].
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Returns the time from `earlier` to `self`, zero when `earlier` is the later one.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_a_duration_moves_the_time_by_its_nanoseconds() {
        assert_eq!(Time(5) + Duration::from_nanos(7), Time(12));
        assert_eq!(Time::ZERO + Duration::from_secs(2), Time(2_000_000_000));
    }

    #[test]
    fn adding_saturates_at_the_end_of_time() {
        assert_eq!(Time(u64::MAX - 1) + Duration::from_nanos(2), Time::MAX);
        // More nanoseconds than a u64 holds.
        assert_eq!(Time::ZERO + Duration::MAX, Time::MAX);
    }

    #[test]
    fn subtracting_gives_the_distance_or_zero() {
        assert_eq!(Time(12) - Time(5), Duration::from_nanos(7));
        assert_eq!(Time(5) - Time(12), Duration::ZERO);
    }

    #[test]
    fn the_earlier_of_two_deadlines_is_one_that_is_set() {
        let (soon, late) = (Some(Time(1)), Some(Time(2)));
        assert_eq!(Time::earlier(soon, late), soon);
        assert_eq!(Time::earlier(late, soon), soon);
        assert_eq!(Time::earlier(None, late), late);
        assert_eq!(Time::earlier(late, None), late);
        assert_eq!(Time::earlier(None, None), None);
    }

    #[test]
    fn later_times_compare_greater() {
        assert!(Time(1) < Time(2));
        assert_eq!(Time(3).max(Time(1)), Time(3));
    }
}
