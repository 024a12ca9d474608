//! The clock door: time since some start, and wall time.
//!
//! Its second side stands still while any fiber can run and jumps to the next timer when all
//! wait, so that tests with timers need no real time.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the door that others must use"
)]

use std::cell::Cell;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

use crate::core;
use crate::sys;

/// A point in time of a clock that never steps and that counts suspend.
///
/// Unlike std's type it can be made of plain nanoseconds, so that pure code can take it as a
/// number, and it follows the paused clock of a test runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The time now, read from the clock. Does not yield.
    #[must_use]
    pub fn now() -> Self {
        let read = core::with(|core| core.clock.read());
        Self(read.unwrap_or_else(sys::boot_clock_nanos))
    }

    /// The time the running runtime last read: at most about a millisecond old, and free.
    #[inline]
    #[must_use]
    pub fn recent() -> Self {
        let recent = core::with(|core| core.clock.now());
        Self(recent.unwrap_or_else(sys::boot_clock_nanos))
    }

    /// A point in time by its nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start, which is the machine's where it counts suspend.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this, zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time from this to now. Does not yield.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of the clock, some 580 years on.
    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero if the other is later.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// The wall time, for certificates and people. It may jump; measure with [`Instant`].
#[must_use]
pub fn wall_time() -> SystemTime {
    match core::current() {
        Some(core) => {
            let wall = core.clock.wall_time();
            #[cfg(feature = "sim")]
            if let Some(sim) = &core.sim {
                return sim.wall_time(&core, wall);
            }
            wall
        }
        None => SystemTime::now(),
    }
}

/// One runtime's clock, with the time it last read.
pub(crate) struct Clock {
    side: Side,
    cached: Cell<u64>,
}

enum Side {
    Real,
    /// Stands still; began at this wall time and reading.
    Paused {
        wall: SystemTime,
        began: u64,
    },
}

impl Clock {
    pub(crate) fn new(paused: bool) -> Self {
        let now = sys::boot_clock_nanos();
        let side = if paused {
            Side::Paused {
                wall: SystemTime::now(),
                began: now,
            }
        } else {
            Side::Real
        };
        Self {
            side,
            cached: Cell::new(now),
        }
    }

    /// A clock that stands still but for [`Clock::advance_to`], and began as told.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(wall: SystemTime, began: u64) -> Self {
        Self {
            side: Side::Paused { wall, began },
            cached: Cell::new(began),
        }
    }

    /// The time last read.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        self.cached.get()
    }

    /// Reads the time.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        if let Side::Real = self.side {
            self.cached.set(sys::boot_clock_nanos());
        }
        self.cached.get()
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.side, Side::Paused { .. })
    }

    /// Moves a paused clock on to `nanos`.
    pub(crate) fn advance_to(&self, nanos: u64) {
        if self.is_paused() {
            self.cached.set(self.cached.get().max(nanos));
        }
    }

    fn wall_time(&self) -> SystemTime {
        match self.side {
            Side::Real => SystemTime::now(),
            Side::Paused { wall, began } => {
                wall + Duration::from_nanos(self.cached.get().saturating_sub(began))
            }
        }
    }
}
