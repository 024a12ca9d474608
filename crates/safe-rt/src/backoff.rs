//! How long to wait before the next attempt to connect: full jitter, growing spans, two classes.
//!
//! A delay is drawn evenly from nothing up to a span that doubles with each attempt, so that a
//! fleet that lost the same server does not come back in one wave. Refusals, and connections that
//! end again and again soon after they were made, draw from longer spans than lost links do. There
//! is no last attempt: who wants to give up does so by other means.
//!
//! Pure: it reads no clock and draws no randomness, both are handed in, and it never waits.
//!
//! ```text
//!  span(n) = min(cap, base * 2^n)        Short: 1 s, 2 s, 4 s .. 120 s
//!                                        Long: 30 s, 60 s .. 600 s
//!  delay   = even in [0, span(n)], at least what keeps two attempts `floor` apart
//! ```

use core::time::Duration;

/// The span of the first delay after a lost link or an unreachable server.
pub const BACKOFF_BASE_DEFAULT: Duration = Duration::from_secs(1);
/// The longest span after lost links and unreachable servers.
pub const BACKOFF_CAP_DEFAULT: Duration = Duration::from_secs(120);
/// The span of the first delay after a refusal.
pub const BACKOFF_LONG_BASE_DEFAULT: Duration = Duration::from_secs(30);
/// The longest span after refusals.
pub const BACKOFF_LONG_CAP_DEFAULT: Duration = Duration::from_secs(600);
/// How long a connection lasts before the spans begin anew.
pub const BACKOFF_STABLE_AFTER_DEFAULT: Duration = Duration::from_secs(30);
/// The least time between the starts of two attempts.
pub const BACKOFF_FLOOR_DEFAULT: Duration = Duration::from_secs(1);
/// A connection that ends earlier than this flaps.
pub const BACKOFF_FLAP_WINDOW: Duration = Duration::from_secs(60);
/// From so many flapping connections running on, every delay is a long one.
pub const BACKOFF_FLAPS_MAX: u32 = 3;

/// How long the delays of a [`Backoff`] are.
///
/// Every length of time is accepted: a base above its cap counts as the cap, and lengths beyond
/// 584 years count as 584 years.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use safe_rt::BackoffOptions;
///
/// let options = BackoffOptions::new()
///     .base(Duration::from_millis(500))
///     .cap(Duration::from_secs(60))
///     .first_attempt_spread(Duration::from_secs(10));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffOptions {
    short: Spans,
    long: Spans,
    stable_after: Duration,
    floor: Duration,
    first_attempt_spread: Duration,
}

impl BackoffOptions {
    /// Starts with the named defaults, and with a first attempt at once.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            short: Spans {
                base: BACKOFF_BASE_DEFAULT,
                cap: BACKOFF_CAP_DEFAULT,
            },
            long: Spans {
                base: BACKOFF_LONG_BASE_DEFAULT,
                cap: BACKOFF_LONG_CAP_DEFAULT,
            },
            stable_after: BACKOFF_STABLE_AFTER_DEFAULT,
            floor: BACKOFF_FLOOR_DEFAULT,
            first_attempt_spread: Duration::ZERO,
        }
    }

    /// Sets the span of the first short delay, [`BACKOFF_BASE_DEFAULT`] at first.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.short.base = base;
        self
    }

    /// Sets the longest span of short delays, [`BACKOFF_CAP_DEFAULT`] at first.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.short.cap = cap;
        self
    }

    /// Sets the span of the first long delay, [`BACKOFF_LONG_BASE_DEFAULT`] at first.
    #[must_use]
    pub const fn long_base(mut self, base: Duration) -> Self {
        self.long.base = base;
        self
    }

    /// Sets the longest span of long delays, [`BACKOFF_LONG_CAP_DEFAULT`] at first.
    #[must_use]
    pub const fn long_cap(mut self, cap: Duration) -> Self {
        self.long.cap = cap;
        self
    }

    /// Sets how long a connection must have lasted for the spans to begin anew,
    /// [`BACKOFF_STABLE_AFTER_DEFAULT`] at first.
    #[must_use]
    pub const fn stable_after(mut self, stable_after: Duration) -> Self {
        self.stable_after = stable_after;
        self
    }

    /// Sets the least time between the starts of two attempts, [`BACKOFF_FLOOR_DEFAULT`] at first.
    ///
    /// It goes before the spans: a floor above them lengthens the delays.
    #[must_use]
    pub const fn floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// Sets the span of the delay before the very first attempt, nothing at first.
    ///
    /// For devices that are all switched on at once.
    #[must_use]
    pub const fn first_attempt_spread(mut self, spread: Duration) -> Self {
        self.first_attempt_spread = spread;
        self
    }
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why there is to be another attempt, as far as it decides how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// The link was lost, or the server could not be reached.
    Short,
    /// The server answered and refused: asking again soon does not help.
    Long,
}

/// The delays between attempts to connect to one server.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use safe_rt::{Backoff, BackoffOptions, Class};
///
/// let mut backoff = Backoff::new(BackoffOptions::new());
/// assert_eq!(backoff.first_delay(u64::MAX), Duration::ZERO);
///
/// // The first attempt found nobody: half of one second, for a draw from the middle.
/// let draw = u64::MAX / 2;
/// let delay = backoff.next_delay(Class::Short, Duration::from_secs(30), draw);
/// assert_eq!(delay.as_millis(), 500);
///
/// // The second one made a connection that lasted and did its work: the spans begin anew.
/// backoff.connection_ended(Duration::from_secs(3600), true);
/// let delay = backoff.next_delay(Class::Short, Duration::from_secs(3600), draw);
/// assert_eq!(delay.as_millis(), 500);
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    options: BackoffOptions,
    /// Delays given out since the spans began, by class: a refusal after many lost links begins at
    /// the first long span.
    short_delays: u32,
    long_delays: u32,
    /// Flapping connections since the last one that lasted.
    flaps: u32,
}

impl Backoff {
    /// Starts before the first attempt.
    #[must_use]
    pub const fn new(options: BackoffOptions) -> Self {
        Self {
            options,
            short_delays: 0,
            long_delays: 0,
            flaps: 0,
        }
    }

    /// Notes that a connection ended which had been up for `up`; `answered` says whether the server
    /// had answered anything on it beyond accepting it.
    ///
    /// To be called before the delay is asked for. The spans begin anew if the connection was
    /// stable and answered, unless connections flap.
    pub fn connection_ended(&mut self, up: Duration, answered: bool) {
        self.flaps = if up < BACKOFF_FLAP_WINDOW {
            self.flaps.saturating_add(1)
        } else {
            0
        };
        if answered && up >= self.options.stable_after && !self.is_flapping() {
            self.short_delays = 0;
            self.long_delays = 0;
        }
    }

    /// Notes that a connection ended because this side wanted it to: it does not flap. Otherwise as
    /// [`Backoff::connection_ended`].
    pub fn connection_left(&mut self, up: Duration, answered: bool) {
        self.connection_ended(
            up.max(BACKOFF_FLAP_WINDOW),
            answered && up >= self.options.stable_after,
        );
    }

    /// Returns how long to wait before the next attempt, and counts it as made.
    ///
    /// `since_attempt` is how long ago the last attempt began; `random` is a number all of whose
    /// values are equally likely. While connections flap, every class counts as [`Class::Long`].
    pub fn next_delay(&mut self, class: Class, since_attempt: Duration, random: u64) -> Duration {
        let (spans, delays) = match class {
            Class::Short if !self.is_flapping() => (self.options.short, &mut self.short_delays),
            Class::Short | Class::Long => (self.options.long, &mut self.long_delays),
        };
        let span = spans.span(*delays);
        *delays = delays.saturating_add(1);
        jitter(span, random).max(self.earliest(since_attempt))
    }

    /// Returns how long to wait at least before the next attempt, whoever asks for it:
    /// [`BackoffOptions::floor`] from the start of the last one, which was `since_attempt` ago.
    #[must_use]
    pub fn earliest(&self, since_attempt: Duration) -> Duration {
        self.options.floor.saturating_sub(since_attempt)
    }
}

impl Backoff {
    /// Returns how long to wait before the very first attempt: evenly within
    /// [`BackoffOptions::first_attempt_spread`].
    #[must_use]
    pub fn first_delay(&self, random: u64) -> Duration {
        jitter(self.options.first_attempt_spread, random)
    }

    /// Returns whether [`Backoff::first_delay`] depends on its number.
    #[must_use]
    pub const fn has_first_delay(&self) -> bool {
        !self.options.first_attempt_spread.is_zero()
    }

    /// Returns whether the last three connections, or more, each ended within a minute.
    #[must_use]
    pub const fn is_flapping(&self) -> bool {
        self.flaps >= BACKOFF_FLAPS_MAX
    }
}

/// Spans that double from `base` to `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spans {
    base: Duration,
    cap: Duration,
}

impl Spans {
    /// Returns the span after `delays` earlier ones.
    fn span(self, delays: u32) -> Duration {
        let (base, cap) = (nanos(self.base), nanos(self.cap));
        // Beyond 64 bits every base but nothing at all is past every cap.
        let doubled = u128::from(base) << delays.min(u64::BITS);
        Duration::from_nanos(u64::try_from(doubled).map_or(cap, |doubled| doubled.min(cap)))
    }
}

/// Returns a length of time in [0, `span`], as evenly as `random` is.
fn jitter(span: Duration, random: u64) -> Duration {
    let choices = u128::from(nanos(span)) + 1;
    // At most 2^64 times less than 2^64 fits; the upper half is below `choices`, so it fits as well.
    let choice = (choices * u128::from(random)) >> u64::BITS;
    Duration::from_nanos(u64::try_from(choice).unwrap_or(u64::MAX))
}

/// Returns the length in nanoseconds, 584 years at most.
fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
