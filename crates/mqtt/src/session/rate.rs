//! How many messages and bytes of them may leave in a time: buckets of tokens, one for each message
//! and one for each byte.
//!
//! A full bucket holds `burst` tokens, and `count` come back in each time `per`. What is kept is not
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
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use mqtt::session::PublishRate;
///
/// let metered = PublishRate { count: 10, per: Duration::from_secs(3_600), burst: 1 };
/// assert_ne!(metered, PublishRate::per_second(10, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRate {
    /// Messages in the time `per`; at least 1.
    pub count: u32,
    /// The time; a nanosecond for each message at least.
    pub per: Duration,
    /// Messages that may leave at once after a quiet time; at least 1.
    pub burst: u32,
}

impl PublishRate {
    /// So many messages in a second.
    #[must_use]
    pub const fn per_second(count: u32, burst: u32) -> Self {
        let per = Duration::from_secs(1);
        Self { count, per, burst }
    }
}

/// How many bytes of messages may leave, in the long run and at once. A PUBLISH counts as a whole,
/// its fixed header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishByteRate {
    /// Bytes in the time `per`; at least 1.
    pub count: u32,
    /// The time; a nanosecond for each byte at least.
    pub per: Duration,
    /// Bytes that may leave at once after a quiet time; at least 1. A message that is larger leaves
    /// when as much could, and what it is more counts against those behind it.
    pub burst: u32,
}

impl PublishByteRate {
    /// So many bytes in a second.
    #[must_use]
    pub const fn per_second(count: u32, burst: u32) -> Self {
        let per = Duration::from_secs(1);
        Self { count, per, burst }
    }
}

/// Both rates, as far as they are set.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Pace {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    /// The bytes of the message that was held back last.
    held: u32,
}

impl Pace {
    /// Makes full buckets; `None` without a rate.
    pub(crate) fn new(
        messages: Option<PublishRate>,
        bytes: Option<PublishByteRate>,
    ) -> Option<Self> {
        if messages.is_none() && bytes.is_none() {
            return None;
        }
        Some(Self {
            messages: messages.map(Bucket::new),
            bytes: bytes.map(Bucket::of_bytes),
            held: 0,
        })
    }

    /// Has another rate of messages, or none, beside what there is of bytes.
    pub(super) fn with_messages(pace: Option<Self>, rate: Option<PublishRate>) -> Option<Self> {
        let bytes = pace.and_then(|pace| pace.bytes);
        (rate.is_some() || bytes.is_some()).then(|| Self {
            messages: rate.map(Bucket::new),
            bytes,
            held: 0,
        })
    }

    /// Has another rate of bytes, or none, beside what there is of messages.
    pub(super) fn with_bytes(pace: Option<Self>, rate: Option<PublishByteRate>) -> Option<Self> {
        let messages = pace.and_then(|pace| pace.messages);
        (rate.is_some() || messages.is_some()).then(|| Self {
            messages,
            bytes: rate.map(Bucket::of_bytes),
            held: 0,
        })
    }

    /// Takes what a message of so many bytes needs, if all of it is there.
    pub(crate) fn take(&mut self, now: Time, len: usize) -> bool {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.held = len;
        if self.next_at() > now {
            return false;
        }
        if let Some(messages) = &mut self.messages {
            messages.take(now);
        }
        if let Some(bytes) = &mut self.bytes {
            bytes.take_many(now, len);
        }
        true
    }

    /// Returns when the message that was held back last may leave.
    pub(super) fn next_at(&self) -> Time {
        let messages = self.messages.as_ref().map(Bucket::next_at);
        let bytes = self.bytes.as_ref().map(|bytes| bytes.many_at(self.held));
        messages.max(bytes).unwrap_or(Time::ZERO)
    }
}

/// A bucket of tokens.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Bucket {
    /// Until a token comes back.
    interval: Duration,
    /// What a bucket that is full is ahead of one with a single token.
    spare: Duration,
    full_at: Time,
}

impl Bucket {
    /// Makes a full bucket.
    fn new(rate: PublishRate) -> Self {
        let interval = nanos(rate.per).div_ceil(rate.count.max(1).into()).max(1);
        let spare = interval.saturating_mul(u64::from(rate.burst.max(1) - 1));
        Self {
            interval: Duration::from_nanos(interval),
            spare: Duration::from_nanos(spare),
            full_at: Time::ZERO,
        }
    }

    /// Makes a full bucket of bytes.
    fn of_bytes(rate: PublishByteRate) -> Self {
        let PublishByteRate { count, per, burst } = rate;
        Self::new(PublishRate { count, per, burst })
    }

    /// Takes a token, if there is one.
    fn take(&mut self, now: Time) -> bool {
        let has_one = self.next_at() <= now;
        if has_one {
            self.full_at = self.full_at.max(now) + self.interval;
        }
        has_one
    }

    /// Returns when there is a token, or since when.
    fn next_at(&self) -> Time {
        Time(self.full_at.0.saturating_sub(nanos(self.spare)))
    }

    /// Takes so many tokens, whether they are there or not.
    fn take_many(&mut self, now: Time, count: u32) {
        self.full_at = self.full_at.max(now) + self.interval.saturating_mul(count);
    }

    /// Returns when there are so many tokens, or a full bucket for more than it holds.
    fn many_at(&self, count: u32) -> Time {
        let needed = self.interval.saturating_mul(count.max(1) - 1);
        let spare = self.spare.saturating_sub(needed);
        Time(self.full_at.0.saturating_sub(nanos(spare)))
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

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
        Bucket::new(PublishRate::per_second(per_second, burst))
    }

    const SECOND: u64 = 1_000_000_000;

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

    fn pace(messages: Option<(u32, u32)>, bytes: Option<(u32, u32)>) -> Pace {
        Pace::new(
            messages.map(|(count, burst)| PublishRate::per_second(count, burst)),
            bytes.map(|(count, burst)| PublishByteRate::per_second(count, burst)),
        )
        .expect("a rate")
    }

    #[test]
    fn bytes_leave_at_their_rate_whatever_the_messages_are_cut_into() {
        let mut pace = pace(None, Some((1_000, 500)));
        let start = Time(SECOND);
        assert!(pace.take(start, 500));
        assert!(!pace.take(start, 100));
        assert_eq!(pace.next_at(), Time(SECOND + SECOND / 10));
        assert!(!pace.take(Time(SECOND + SECOND / 10 - 1), 100));
        assert!(pace.take(Time(SECOND + SECOND / 10), 100));
        assert!(!pace.take(Time(SECOND + SECOND / 10), 1));
    }

    #[test]
    fn a_message_above_the_burst_leaves_from_a_full_bucket_and_is_paid_for() {
        let mut pace = pace(None, Some((1_000, 500)));
        let start = Time(SECOND);
        assert!(pace.take(start, 2_500));
        assert!(!pace.take(start, 1));
        assert_eq!(pace.next_at(), Time(3 * SECOND + SECOND / 1_000));
        assert!(!pace.take(Time(3 * SECOND), 600));
        assert_eq!(pace.next_at(), Time(3 * SECOND + SECOND / 2));
    }

    #[test]
    fn both_rates_hold_and_what_is_held_back_costs_nothing() {
        let mut pace = pace(Some((10, 2)), Some((1_000, 1_000)));
        let start = Time(SECOND);
        assert!(pace.take(start, 10));
        assert!(!pace.take(start, 2_000), "too many bytes for now");
        assert!(pace.take(start, 10), "the token of the message is there");
        assert!(
            !pace.take(start, 10),
            "the bytes of this one are not to blame"
        );
        assert_eq!(pace.next_at(), Time(SECOND + SECOND / 10));
    }

    #[test]
    fn a_rate_may_be_far_below_one_in_a_second() {
        let hour = Duration::from_secs(3_600);
        let (count, per, burst) = (10, hour, 1);
        let mut bucket = Bucket::new(PublishRate { count, per, burst });
        let start = Time(SECOND);
        assert_eq!(drain(&mut bucket, start), 1);
        assert_eq!(bucket.next_at(), start + Duration::from_secs(360));
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(359)), 0);
        assert_eq!(drain(&mut bucket, start + hour), 1);
        let (count, per, burst) = (u32::MAX, Duration::ZERO, u32::MAX);
        let any = Bucket::new(PublishRate { count, per, burst });
        assert_eq!(any.interval, Duration::from_nanos(1));
        let (count, per) = (1, Duration::MAX);
        let never = Bucket::new(PublishRate { count, per, burst });
        assert_eq!(never.spare, Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn without_a_rate_there_is_no_pace() {
        assert!(Pace::new(None, None).is_none());
    }
}
