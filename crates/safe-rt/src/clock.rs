//! Whether the wall clock can be right: a time before which it cannot be.
//!
//! A device without a battery behind its clock starts in 1970, or on the day its image was made, and
//! learns the time later, if it ever does. Certificates are judged by the wall clock, so such a
//! device could not connect to whoever would tell it the time. But some times are past for certain:
//! the day this program was built, and any time learned from a source that is believed. The latest of
//! these is the [`ClockFloor`]. A wall clock before it is wrong, and certificates are judged as of the
//! floor instead, see [`ClockFloor::judged_at`]. Nothing here sets a clock.
//!
//! Only certificates and people are told the wall time. Timers, deadlines, pauses and caches go by
//! [`fiber::Instant`], which counts suspend and which no jump of the wall clock moves.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::utc::seconds_of;

/// How far beyond the build date a [`ClockFloor`] can be raised, and that beyond the release: 20 years of 365 days, longer than a
/// device runs one build. A time given by mistake moves it no further.
pub const CLOCK_FLOOR_SPAN_MAX: Duration = Duration::from_secs(20 * 365 * 86_400);

/// The date of the newest release, in seconds of Unix time: 1 January 2026. It is raised with every
/// heading of a release in `CHANGELOG.md`, to that date.
const RELEASE_SECONDS: u64 = 1_767_225_600;

/// When this program was built, in seconds of Unix time: what `SOURCE_DATE_EPOCH` said then, unless
/// that is before the release. The hour of the compiler is not asked: the same source is to give the
/// same program.
const BUILD_SECONDS: u64 = match build_seconds(option_env!("SOURCE_DATE_EPOCH")) {
    Some(seconds) => seconds,
    None => panic!(
        "SOURCE_DATE_EPOCH: expected seconds of Unix time, at most 20 years after the release"
    ),
};

/// Returns the build date for what `SOURCE_DATE_EPOCH` says; nothing for what it cannot mean. An
/// empty text counts as none. A date far ahead, milliseconds for example, would have every certificate
/// expired for good.
const fn build_seconds(source_date: Option<&str>) -> Option<u64> {
    let text = match source_date {
        Some(text) if !text.is_empty() => text,
        _ => return Some(RELEASE_SECONDS),
    };
    match parse(text.as_bytes()) {
        Some(seconds) if seconds <= RELEASE_SECONDS => Some(RELEASE_SECONDS),
        Some(seconds) if seconds - RELEASE_SECONDS <= CLOCK_FLOOR_SPAN_MAX.as_secs() => {
            Some(seconds)
        }
        _ => None,
    }
}

/// Reads a decimal number of up to eleven digits, which is the year 5138.
const fn parse(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 11 {
        return None;
    }
    let (mut seconds, mut index) = (0, 0);
    while index < text.len() {
        if !text[index].is_ascii_digit() {
            return None;
        }
        seconds = seconds * 10 + (text[index] - b'0') as u64;
        index += 1;
    }
    Some(seconds)
}

/// What a [`ClockFloor`] says of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockVerdict {
    /// It may be right.
    Plausible,
    /// It is wrong: it shows a time that is past for certain.
    Behind {
        /// How far it is behind the floor; behind the true time by at least as much.
        by: Duration,
    },
}

/// The earliest time that it can be: the latest of the build date and all times that it was
/// [raised](Self::raise) to, in whole seconds.
///
/// A clone is the same floor: the connections, fibers and threads that share it see each rise. It
/// lives as long as the program; one that keeps the newest time it has seen raises it at the start.
/// No call waits or yields.
///
/// # Examples
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use safe_rt::{ClockFloor, ClockVerdict};
///
/// let floor = ClockFloor::new();
/// assert!(matches!(floor.check(UNIX_EPOCH), ClockVerdict::Behind { .. }));
/// // Certificates are judged as of the floor meanwhile.
/// assert_eq!(floor.judged_at(UNIX_EPOCH), floor.earliest());
///
/// // What an earlier run has noted, from a source that it believed.
/// let noted = floor.earliest() + Duration::from_secs(90 * 86_400);
/// assert!(floor.raise(noted));
/// assert_eq!(floor.check(noted), ClockVerdict::Plausible);
/// ```
#[derive(Clone)]
pub struct ClockFloor(Arc<AtomicU64>);

impl ClockFloor {
    /// Starts with the build date alone.
    ///
    /// That is the date of the newest release of this crate, or `SOURCE_DATE_EPOCH` as it was when
    /// the crate was compiled, if that is later.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(BUILD_SECONDS)))
    }

    /// Notes that `time` is past: a time from a source that is believed, such as a signed answer, or
    /// what an earlier run of the program noted. The wall clock of this device is no such source.
    ///
    /// A floor never sinks: an earlier time changes nothing. Returns false for a time more than
    /// [`CLOCK_FLOOR_SPAN_MAX`] beyond the build date, which is taken for a mistake and not believed.
    pub fn raise(&self, time: SystemTime) -> bool {
        let seconds = seconds_of(time);
        if seconds > BUILD_SECONDS.saturating_add(CLOCK_FLOOR_SPAN_MAX.as_secs()) {
            return false;
        }
        self.0.fetch_max(seconds, Ordering::Relaxed);
        true
    }

    /// Returns the earliest time that it can be.
    #[must_use]
    pub fn earliest(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    /// Returns whether a clock that shows `wall` can be right.
    #[must_use]
    pub fn check(&self, wall: SystemTime) -> ClockVerdict {
        match self.earliest().duration_since(wall) {
            Ok(by) if !by.is_zero() => ClockVerdict::Behind { by },
            Ok(_) | Err(_) => ClockVerdict::Plausible,
        }
    }

    /// Returns the time that certificates are judged at by a device whose clock shows `wall`: the
    /// later of the two.
    ///
    /// It is never before `wall`, so a certificate that has expired by the clock of the device stays
    /// expired; and never after the true time unless the clock is ahead.
    #[must_use]
    pub fn judged_at(&self, wall: SystemTime) -> SystemTime {
        wall.max(self.earliest())
    }
}

impl Default for ClockFloor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClockFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClockFloor({})", crate::Utc(self.earliest()))
    }
}

#[cfg(test)]
mod tests;
