//! How many messages may leave in a time: a bucket of tokens, one for each message.
//!
//! A full bucket holds `burst` tokens, and `per_second` come back in each second. What is kept is not
//! their number but when the bucket will be full, so that nothing is rounded away:
//!
//! ```text
//!     now           a token is there up to this            full at
//!  ────┼──────────────────────┼───────────────────────────────┼───►
//!                             └──── (burst - 1) intervals ────┘
//! ```
//! Pure: the time is an argument.

use std::time::Duration;

use crate::time::Time;

/// How many messages may leave, in the long run and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRate {
    /// Messages in a second; at least 1.
    pub per_second: u32,
    /// Messages that may leave at once after a quiet time; at least 1.
    pub burst: u32,
}

/// A bucket of tokens.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Bucket {
    /// Until a token comes back.
    interval: Duration,
    /// What a bucket that is full is ahead of one with a single token.
    spare: Duration,
    full_at: Time,
}

impl Bucket {
    /// Makes a full bucket.
    pub(super) fn new(rate: PublishRate) -> Self {
        let interval = NANOS_PER_SECOND.div_ceil(rate.per_second.max(1).into());
        let spare = interval * u64::from(rate.burst.max(1) - 1);
        Self {
            interval: Duration::from_nanos(interval),
            spare: Duration::from_nanos(spare),
            full_at: Time::ZERO,
        }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let has_one = self.next_at() <= now;
        if has_one {
            self.full_at = self.full_at.max(now) + self.interval;
        }
        has_one
    }

    /// Returns when there is a token, or since when.
    pub(super) fn next_at(&self) -> Time {
        Time(self.full_at.0.saturating_sub(nanos(self.spare)))
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tokens are had at this moment.
    fn drain(bucket: &mut Bucket, now: Time) -> u32 {
        let mut taken = 0;
        while bucket.take(now) {
            taken += 1;
            assert!(taken < 10_000, "a bucket without a bottom");
        }
        taken
    }

    fn bucket(per_second: u32, burst: u32) -> Bucket {
        Bucket::new(PublishRate { per_second, burst })
    }

    const SECOND: u64 = NANOS_PER_SECOND;

    #[test]
    fn a_burst_and_no_more_may_leave_at_once_and_the_bucket_fills_again() {
        let mut bucket = bucket(10, 5);
        let start = Time(7 * SECOND);
        assert_eq!(drain(&mut bucket, start), 5);
        assert_eq!(bucket.next_at(), start + Duration::from_millis(100));
        assert_eq!(drain(&mut bucket, start + Duration::from_millis(99)), 0);
        assert_eq!(drain(&mut bucket, start + Duration::from_millis(100)), 1);
        assert_eq!(drain(&mut bucket, start + Duration::from_millis(399)), 2);
        // Never fuller than full.
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(3_600)), 5);
    }

    #[test]
    fn no_second_has_more_than_the_rate_and_the_burst() {
        for (per_second, burst) in [(1, 1), (3, 1), (7, 20), (1_000, 1), (0, 0)] {
            let mut bucket = bucket(per_second, burst);
            let mut total = 0;
            for tick in 0..10_000 {
                total += drain(&mut bucket, Time(tick * SECOND / 1_000));
            }
            let (rate, burst) = (per_second.max(1), burst.max(1));
            let most = 10 * rate + burst;
            assert!(
                total <= most && total + rate >= most - burst,
                "{total} of {most}"
            );
        }
    }
}
