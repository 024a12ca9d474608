//! Timers that call a closure: [`after`] once, [`every`] again and again.
//!
//! The closure runs on a fiber of its own, so it may wait like any other code and holds up nobody.
//! That fiber is there from the start: a timer that was armed needs nothing more to fire, and cannot
//! fail for want of memory or fibers at the moment when it matters. It costs one parked fiber: four
//! and a half kilobytes of memory (measured on x86-64: a page of its stack, its record) and not a
//! single turn until the timer is due. How many there may be is a matter of the runtime's bound on
//! fibers.
//!
//! For code that has a fiber anyway, [`fiber::sleep`], [`fiber::interval`] and [`fiber::Timer`] are
//! simpler.
//!
//! ```text
//!             reset                    due
//!  not armed ───────► armed ─────────────────► closure runs
//!     ▲  ▲              │ cancel                 │   │ panic
//!     │  └──────────────┘                        │   └────► ended
//!     └─────────────── after ────────────────────┤
//!                      armed ◄───── every ───────┘
//! ```
//!
//! Time is [`fiber::Instant`]'s: it never steps, and it counts the time that the machine is
//! suspended. What became due meanwhile fires as the machine goes on.

use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use fiber::{Event, FiberBuilder, Instant, SpawnError};

/// Why a timer could not be started or armed.
#[derive(Debug)]
#[non_exhaustive]
pub enum TimerError {
    /// Ticks that have no time between them.
    ZeroPeriod,
    /// No fiber could be had for the closure: outside a runtime, at its bound on fibers, or without
    /// memory for a stack.
    Spawn(SpawnError),
    /// The handle was dropped, the closure has panicked, or the runtime is over: this timer fires no
    /// more.
    Ended,
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroPeriod => {
                f.write_str("expected a period of at least a nanosecond, found zero")
            }
            Self::Spawn(_) => f.write_str("no fiber could be had for a timer"),
            Self::Ended => f.write_str("the timer has ended and cannot be armed"),
        }
    }
}

impl std::error::Error for TimerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spawn(error) => Some(error),
            Self::ZeroPeriod | Self::Ended => None,
        }
    }
}

/// Calls `body` once, `delay` from now, on a fiber of its own. Does not yield.
///
/// With no delay that is as soon as the other fibers had their turn. [`TimerHandle::reset`] arms it
/// anew, before it fired and after, as one does to notice that something did not come in time.
/// **Dropping the handle cancels**; see there.
///
/// # Errors
/// [`TimerError::Spawn`].
///
/// # Examples
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use safe_rt::timer;
/// # fiber::Runtime::builder().paused_clock(true).run(|| -> Result<(), Box<dyn std::error::Error>> {
/// const SECOND: Duration = Duration::from_secs(1);
/// let silent = Rc::new(Cell::new(false));
/// let told = Rc::clone(&silent);
/// let watchdog = timer::after(5 * SECOND, move |_| told.set(true))?;
/// for _ in 0..10 {
///     fiber::sleep(SECOND)?; // something comes, each second
///     watchdog.reset(5 * SECOND)?;
/// }
/// assert!(!silent.get());
/// fiber::sleep(6 * SECOND)?; // nothing comes
/// assert!(silent.get());
/// # Ok(())
/// # }).expect("the runtime ran")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn after(
    delay: Duration,
    body: impl FnMut(&TimerHandle) + 'static,
) -> Result<TimerHandle, TimerError> {
    start(None, delay, body)
}

/// Calls `body` every `period`, on a fiber of its own, the first time one period from now. Does not
/// yield.
///
/// Ticks do not drift: they lie on the grid that begins now, however long the closure takes. It is
/// never called while it still runs. **Ticks that came meanwhile are skipped** and counted in
/// [`TimerHandle::missed`]; of those that are due, the latest fires. **Dropping the handle cancels**;
/// see there. For a first call at once, make it before this one.
///
/// # Errors
/// [`TimerError::ZeroPeriod`] and [`TimerError::Spawn`].
///
/// # Examples
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use safe_rt::timer;
/// # fiber::Runtime::builder().paused_clock(true).run(|| -> Result<(), Box<dyn std::error::Error>> {
/// let blinks = Rc::new(Cell::new(0));
/// let count = Rc::clone(&blinks);
/// let blinking = timer::every(Duration::from_millis(500), move |this| {
///     count.set(count.get() + 1);
///     if count.get() == 3 {
///         this.cancel();
///     }
/// })?;
/// fiber::sleep(Duration::from_secs(60))?;
/// assert_eq!(blinks.get(), 3);
/// assert!(!blinking.is_active());
/// # Ok(())
/// # }).expect("the runtime ran")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn every(
    period: Duration,
    body: impl FnMut(&TimerHandle) + 'static,
) -> Result<TimerHandle, TimerError> {
    start(Some(period), period, body)
}

#[track_caller]
fn start(
    period: Option<Duration>,
    delay: Duration,
    mut body: impl FnMut(&TimerHandle) + 'static,
) -> Result<TimerHandle, TimerError> {
    if period.is_some_and(|period| period.is_zero()) {
        return Err(TimerError::ZeroPeriod);
    }
    let state = Rc::new(State {
        period: Cell::new(period),
        due: Cell::new(Some(Instant::now() + delay)),
        wakes_at: Cell::new(None),
        keeper: Cell::new(Keeper::Handle),
        changed: Event::new(),
        fired: Cell::new(0),
        missed: Cell::new(0),
    });
    let timer = TimerHandle {
        state: Rc::clone(&state),
        owns: false,
    };
    let run = move || {
        let _ended = MarkEnded(&timer.state);
        while timer.state.take_due() {
            body(&timer);
        }
    };
    // The fiber is cancelled by the end of the runtime alone.
    drop(
        FiberBuilder::new()
            .name("timer")
            .spawn(run)
            .map_err(TimerError::Spawn)?,
    );
    Ok(TimerHandle { state, owns: true })
}

/// A timer that was started.
///
/// **Dropping it cancels the timer and ends its fiber**, which drops the closure there; so a timer
/// lives as long as what holds its handle, whatever scope it was started in. Its closure cannot arm
/// it again then.
/// [`detach`](Self::detach) lets it go on instead. Neither this nor [`cancel`](Self::cancel) breaks
/// into a run of the closure that is under way: it is let finish, and there is none after it.
///
/// The closure is given the handle by reference, to cancel or re-arm its own timer. A panic in it
/// ends the timer, and is reported as that of any fiber.
pub struct TimerHandle {
    state: Rc<State>,
    /// Whether dropping this cancels. The closure's does not.
    owns: bool,
}

impl TimerHandle {
    /// Keeps the timer from firing until it is armed again by [`reset`](Self::reset). Does not yield
    /// and does not wait for a run that is under way. Returns whether it was armed.
    pub fn cancel(&self) -> bool {
        let was_active = self.is_active();
        self.state.due.set(None);
        self.state.changed.set();
        was_active
    }

    /// Arms the timer anew: one that fires once does so `duration` from now, also if it has fired or
    /// was cancelled; a periodic one has this period from now on, and a grid that begins now. Does
    /// not yield. To put a timer off is cheap: its fiber is not woken for it.
    ///
    /// # Errors
    /// [`TimerError::ZeroPeriod`] for a periodic one, which stays as it is; [`TimerError::Ended`].
    pub fn reset(&self, duration: Duration) -> Result<(), TimerError> {
        let state = &self.state;
        if matches!(state.keeper.get(), Keeper::Nobody | Keeper::Ended) {
            return Err(TimerError::Ended);
        }
        if state.period.get().is_some() {
            if duration.is_zero() {
                return Err(TimerError::ZeroPeriod);
            }
            state.period.set(Some(duration));
        }
        let due = Instant::now() + duration;
        state.due.set(Some(due));
        if state.wakes_at.get().is_none_or(|wakes_at| due < wakes_at) {
            state.changed.set();
        }
        Ok(())
    }

    /// Lets the timer go on without a handle: one that fires once does so and is gone, a periodic one
    /// ends with the runtime, or by what its closure does to it.
    pub fn detach(mut self) {
        self.owns = false;
        self.state.leave(Keeper::Itself);
    }

    /// Returns whether it is armed: it will fire unless it is cancelled before.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.due().is_some()
    }

    /// Returns when it fires next, if it is armed.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let ended = self.state.keeper.get() == Keeper::Ended;
        self.state.due.get().filter(|_| !ended)
    }

    /// Returns how often the closure was called.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.state.fired.get()
    }

    /// Returns how many ticks of a periodic timer were skipped because the closure, or another fiber,
    /// took too long.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.state.missed.get()
    }
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        if self.owns {
            self.state.due.set(None);
            self.state.leave(Keeper::Nobody);
        }
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("due", &self.due())
            .field("period", &self.state.period.get())
            .field("fired", &self.fired())
            .field("missed", &self.missed())
            .finish_non_exhaustive()
    }
}

/// On whose account a timer's fiber is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    /// A handle may arm it.
    Handle,
    /// There is none: it ends when it is not armed.
    Itself,
    /// The handle was dropped: it ends, and cannot be armed, also not by its closure.
    Nobody,
    /// The fiber has ended.
    Ended,
}

/// What the handle and the fiber of a timer share.
struct State {
    /// The distance of the ticks of a periodic timer.
    period: Cell<Option<Duration>>,
    /// When it fires next; not armed without.
    due: Cell<Option<Instant>>,
    /// What the fiber's wait will end at by itself, while there is such a wait.
    wakes_at: Cell<Option<Instant>>,
    keeper: Cell<Keeper>,
    /// Set when the fiber has to look again.
    changed: Event,
    fired: Cell<u64>,
    missed: Cell<u64>,
}

impl State {
    /// Waits until the timer is due, and arms it for its next tick; `false` when it is over.
    fn take_due(&self) -> bool {
        loop {
            self.changed.clear();
            let waited = match (self.due.get(), self.keeper.get()) {
                (Some(due), _) => {
                    self.wakes_at.set(Some(due));
                    // Also if it is due: this gives up the turn now and then.
                    fiber::select(&[&self.changed], Some(due)).map(drop)
                }
                (None, Keeper::Handle) => {
                    self.wakes_at.set(None);
                    self.changed.wait().map_err(Into::into)
                }
                (None, Keeper::Itself | Keeper::Nobody | Keeper::Ended) => return false,
            };
            if waited.is_err() {
                return false;
            }
            // It may have been put off, or cancelled, meanwhile.
            let now = Instant::now();
            if let Some(due) = self.due.get().filter(|due| *due <= now) {
                let (next, missed) = match self.period.get() {
                    None => (None, 0),
                    Some(period) => {
                        let (next, missed) = next_tick(due, period, now);
                        (Some(next), missed)
                    }
                };
                self.due.set(next);
                self.missed.set(self.missed.get().saturating_add(missed));
                self.fired.set(self.fired.get().saturating_add(1));
                return true;
            }
        }
    }

    /// Takes note of a handle that is gone.
    fn leave(&self, keeper: Keeper) {
        if self.keeper.get() != Keeper::Ended {
            self.keeper.set(keeper);
            self.changed.set();
        }
    }
}

/// Returns the tick after the latest that is due at `now`, and how many between that and `due` there
/// were: they are skipped.
fn next_tick(due: Instant, period: Duration, now: Instant) -> (Instant, u64) {
    let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    let late = now.as_nanos().saturating_sub(due.as_nanos());
    let latest = due.as_nanos() + (late - late % period);
    (
        Instant::from_nanos(latest.saturating_add(period)),
        late / period,
    )
}

/// Marks the timer as ended however its fiber ends.
struct MarkEnded<'a>(&'a State);

impl Drop for MarkEnded<'_> {
    fn drop(&mut self) {
        self.0.keeper.set(Keeper::Ended);
        self.0.due.set(None);
    }
}

#[cfg(test)]
mod tests;
