//! Waiting for time: sleeping, a point in time as a source, and ticks at an interval.

use std::io;
use std::time::Duration;

use crate::core;
use crate::error::Stopped;
use crate::park::{Link, Unparker, WaitReason};
use crate::sync::Source;
use crate::timer::{Target, TimerKey};
use crate::world::clock::Instant;

/// Waits for `duration` to pass.
///
/// # Errors
///
/// [`Stopped`] when the wait ended early.
pub(crate) fn sleep(duration: Duration) -> Result<(), Stopped> {
    sleep_until(Instant::now() + duration)
}

pub(crate) fn sleep_until(at: Instant) -> Result<(), Stopped> {
    let core = core::required()?;
    loop {
        let token = core.prepare()?;
        let timer = core.add_timer(at.as_nanos(), Target::Fiber(token));
        let woken = core.park_apart(WaitReason::Sleep);
        core.cancel_timer(timer);
        woken?;
        if core.clock.now() >= at.as_nanos() {
            return Ok(());
        }
    }
}

/// A point in time, as something to [`crate::select`] on: ready from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer(Instant);

impl Timer {
    /// Ready from `at` on.
    #[must_use]
    pub fn at(at: Instant) -> Self {
        Self(at)
    }

    /// Ready once `duration` has passed.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }
}

impl Source for Timer {
    fn is_ready(&self) -> bool {
        Instant::recent() >= self.0
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        let core = core::required()?;
        let timer = core.add_timer(self.0.as_nanos(), Target::Fiber(waiter));
        Ok(Link {
            slot: timer.run,
            generation: timer.rank,
        })
    }

    fn unlink(&self, link: Link) {
        if let Some(core) = core::current() {
            core.cancel_timer(TimerKey {
                deadline: self.0.as_nanos(),
                rank: link.generation,
                run: link.slot,
            });
            // What is left of the timer is to mean nothing, also to who would go on with this wait.
            core.end_wait();
        }
    }
}

/// Ticks at a fixed distance, see [`interval`].
#[derive(Clone, Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

/// Ticks every `period` (at least a nanosecond), the first time one period from now.
///
/// Ticks do not drift: they lie on the grid that begins now, however late a call is. **Ticks that
/// were missed are skipped**: of all that are due, one call of [`Interval::tick`] takes the latest
/// and the next one waits for the next point of the grid. Nothing runs between ticks.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// # fiber::Runtime::builder().paused_clock(true).run(|| {
/// let period = Duration::from_secs(60);
/// let mut interval = fiber::interval(period);
/// let first = interval.tick()?;
/// fiber::sleep(period * 5 / 2)?;
/// assert_eq!(interval.tick()? - first, period * 2);
/// assert_eq!(interval.tick()? - first, period * 3);
/// # Ok::<_, fiber::Stopped>(())
/// # }).unwrap().unwrap();
/// ```
#[must_use]
pub fn interval(period: Duration) -> Interval {
    let period = period.max(Duration::from_nanos(1));
    Interval {
        next: Instant::now() + period,
        period,
    }
}

impl Interval {
    /// Waits for the next tick; returns the point in time it was due. Yields unless one is due
    /// already.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early; the tick is still to come then.
    pub fn tick(&mut self) -> Result<Instant, Stopped> {
        let core = core::required()?;
        core.check()?;
        core.spend();
        core.yield_if_spent()?;
        if !self.is_ready() {
            sleep_until(self.next)?;
        }
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        let (now, next) = (core.clock.now(), self.next.as_nanos());
        let late = now.saturating_sub(next);
        let due = Instant::from_nanos(next + (late - late % period));
        self.next = due + self.period;
        Ok(due)
    }

    /// When the next tick is due, or was.
    #[must_use]
    pub fn next_tick(&self) -> Instant {
        self.next
    }

    /// The distance between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

impl Source for Interval {
    /// Whether a tick is due.
    fn is_ready(&self) -> bool {
        Timer(self.next).is_ready()
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        Timer(self.next).link(waiter)
    }

    fn unlink(&self, link: Link) {
        Timer(self.next).unlink(link);
    }
}
