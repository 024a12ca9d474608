//! The one waiting primitive: a fiber parks, something unparks it.
//!
//! ```text
//!  prepare ──► token {index, generation, epoch} ──► handed to a wait list, timer or job
//!     │                                                     │
//!     └──► park: Running ──► Parked ◄── unpark(token) ──────┘  (stale epoch: nothing happens)
//!                              └─► Ready ──► Running: Ok, or Err(why the scope is over)
//! ```
//!
//! Each wait has its own epoch, so a token kept too long wakes nobody. A wake that comes between
//! `prepare` and `park` is remembered. Who waits for one thing stands in a list, see `wait_list.rs`.

use std::mem;

use crate::core::{self, Core};
use crate::coroutine;
use crate::error::Stopped;
use crate::scheduler::{State, Wake};
#[cfg(all(test, feature = "sim"))]
use crate::sim::{self, Planted};
use crate::timer::Target;
use crate::world::clock::Instant;

pub(crate) use crate::wait_list::{FrontList, Line, WaitList, Waiters, wait_apart, wait_on};

/// What a parked fiber waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitReason {
    /// Time to pass.
    Sleep,
    /// Another fiber's end.
    Join,
    /// The end of the children of a [`crate::scope()`]. Cancellation reaches the children.
    ScopeEnd,
    /// Room in a channel.
    Send,
    /// A value in a channel.
    Receive,
    /// The value of a oneshot.
    Oneshot,
    /// An event being set.
    Event,
    /// Data, or the end of data.
    Readable,
    /// Room for data.
    Writable,
    /// Permits of a semaphore.
    Acquire,
    /// A mutex that another fiber holds.
    Lock,
    /// A signal of the operating system.
    Signal,
    /// Work on another thread.
    Offload,
    /// The first of several things.
    Select,
    /// A call of [`Unparker::unpark`].
    Unpark,
    /// A pause, because a loop swallows the error of every wait. It always lasts its 1 ms.
    Penalty,
}

impl WaitReason {
    /// Whether the wait goes on although its scope is over.
    fn is_shielded(self) -> bool {
        match self {
            Self::ScopeEnd | Self::Penalty => true,
            Self::Sleep
            | Self::Join
            | Self::Send
            | Self::Receive
            | Self::Oneshot
            | Self::Event
            | Self::Readable
            | Self::Writable
            | Self::Acquire
            | Self::Lock
            | Self::Signal
            | Self::Offload
            | Self::Select
            | Self::Unpark => false,
        }
    }
}

/// Names one wait of one fiber. Waking with it after that wait is over does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unparker {
    pub(crate) runtime: u32,
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) epoch: u32,
}

impl Unparker {
    /// Wakes the fiber if that wait is still on. Does not yield.
    ///
    /// Returns whether it did. Only on the thread of the fiber's runtime while that runs;
    /// elsewhere nothing happens.
    #[inline]
    pub fn unpark(self) -> bool {
        core::with(|core| core.id == self.runtime && core.unpark(self)).unwrap_or(false)
    }
}

/// Begins a wait of the running fiber, to be ended by the token's [`Unparker::unpark`].
///
/// For building other things to wait for: hand the token to whoever will wake, then [`park`].
/// Does not yield. Tokens of earlier waits of the fiber are stale from here on, and so is this
/// one once the fiber waits for anything else; giving up the turn in between is fine.
///
/// # Errors
///
/// [`Stopped::NoRuntime`] outside a fiber.
#[inline]
pub fn prepare() -> Result<Unparker, Stopped> {
    core::within(Core::prepare)
}

/// Waits for the wake that [`prepare`] began. Yields unless it came already.
///
/// # Errors
///
/// [`Stopped`] when the wait ended early. A wake may be for nothing: look again at what you wait
/// for.
#[inline]
pub fn park() -> Result<(), Stopped> {
    core::within(|core| core.park(WaitReason::Unpark))
}

/// As [`park`], and waits until `at` at most. Returns whether that time came.
///
/// The time is this wait's own, beside those of the scopes around it, and costs less than a scope
/// ([`crate::timeout`]) does. A wake may have come as well: look at what you wait for first. Each call
/// takes a [`prepare`] of its own.
///
/// # Errors
///
/// As [`park`].
#[inline]
pub fn park_until(at: Instant) -> Result<bool, Stopped> {
    core::within(|core| core.park_until(at.as_nanos(), WaitReason::Unpark))
}

/// Begins a wait, gives its token to `hand_out`, and waits for the wake until `at` at most, where that has no
/// consequences: for calls that need not wait, and would rather let something happen first. Does nothing, and
/// does not begin a wait, where [`give_way`](crate::give_way) does nothing; a scope that ends meanwhile ends
/// the wait, and does not count one that failed.
///
/// Returns whether the wake came before `at`, and the token is used up.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// use std::time::Duration;
/// let began = fiber::Instant::now();
/// let mut token = None;
/// let is_woken =
///     fiber::give_way_until(began + Duration::from_millis(1), |begun| token = Some(begun));
/// assert!(!is_woken && began.elapsed() >= Duration::from_millis(1));
/// assert!(!token.unwrap().unpark(), "nobody waits any more");
/// assert!(!fiber::no_park(|| fiber::give_way_until(began, |_| panic!("no wait"))));
/// # }).unwrap();
/// ```
pub fn give_way_until(at: Instant, hand_out: impl FnOnce(Unparker)) -> bool {
    let waited = core::with(|core| {
        if !core.may_give_way() {
            return false;
        }
        let Ok(token) = core.prepare() else {
            return false;
        };
        hand_out(token);
        match core.settle_down(WaitReason::Unpark) {
            Ok(Some(token)) => {
                let timer = core.add_timer(at.as_nanos(), Target::Fiber(token));
                core.counters.parks.add(1);
                coroutine::suspend();
                core.cancel_timer(timer);
                core.end_wait();
                matches!(core.woken.get(), Wake::Ready) && core.clock.now() < at.as_nanos()
            }
            Ok(None) => true,
            Err(_) => false,
        }
    });
    waited.unwrap_or(false)
}

impl Core {
    /// As [`Core::park`], until `at` at most; returns whether that time came.
    #[inline]
    pub(crate) fn park_until(&self, at: u64, reason: WaitReason) -> Result<bool, Stopped> {
        if let Some(token) = self.settle_down(reason)? {
            let timer = self.add_timer(at, Target::Fiber(token));
            let parked = self.leave_turn();
            self.cancel_timer(timer);
            parked?;
        }
        Ok(self.clock.now() >= at)
    }

    /// Begins a wait of the running fiber: tokens of earlier waits are stale from here on.
    #[inline(always)]
    pub(crate) fn prepare(&self) -> Result<Unparker, Stopped> {
        let index = self.current.get();
        let mut fibers = self.fibers.borrow_mut();
        let fiber = fibers.get_mut(index).ok_or(Stopped::NoRuntime)?;
        fiber.epoch = fiber.epoch.wrapping_add(1);
        fiber.notified = false;
        Ok(Unparker {
            runtime: self.id,
            index,
            generation: fiber.generation,
            epoch: fiber.epoch,
        })
    }

    /// Makes all tokens of the running fiber stale.
    pub(crate) fn end_wait(&self) {
        if let Some(fiber) = self.fibers.borrow_mut().get_mut(self.current.get()) {
            fiber.epoch = fiber.epoch.wrapping_add(1);
        }
    }

    /// Goes on with an earlier wait of the running fiber, so that what kept its token still wakes the
    /// fiber. Fails if that was another fiber, or one that has begun another wait since.
    #[inline(always)]
    pub(crate) fn go_on(&self, token: Unparker) -> bool {
        let index = self.current.get();
        let mut fibers = self.fibers.borrow_mut();
        let Some(fiber) = fibers.get_mut(index) else {
            return false;
        };
        let is_same = fiber.epoch == token.epoch
            && fiber.generation == token.generation
            && index == token.index
            && self.id == token.runtime;
        if is_same {
            fiber.notified = false;
        }
        is_same
    }

    /// Parks the running fiber until its token is used or its scope is over.
    ///
    /// Wakes may be early: callers look again at what they wait for.
    #[inline(always)]
    pub(crate) fn park(&self, reason: WaitReason) -> Result<(), Stopped> {
        match self.settle_down(reason)? {
            Some(_) => self.leave_turn(),
            None => Ok(()),
        }
    }

    /// As [`Core::park`], for waits that are long or seldom: a small program holds this once, and the other
    /// once for each place that calls it.
    #[inline(never)]
    pub(crate) fn park_apart(&self, reason: WaitReason) -> Result<(), Stopped> {
        self.park(reason)
    }

    /// Marks the running fiber as parked, and returns the token of its wait; none if it was woken
    /// already, and goes on.
    #[inline(always)]
    fn settle_down(&self, reason: WaitReason) -> Result<Option<Unparker>, Stopped> {
        self.may_switch()?;
        let index = self.current.get();
        let mut fibers = self.fibers.borrow_mut();
        let fiber = fibers.get_mut(index).ok_or(Stopped::NoRuntime)?;
        if fiber.stopped && !reason.is_shielded() {
            drop(fibers);
            return Err(self.fail());
        }
        if mem::take(&mut fiber.notified) {
            return Ok(None);
        }
        fiber.state = State::Parked;
        fiber.reason = reason;
        Ok(Some(Unparker {
            runtime: self.id,
            index,
            generation: fiber.generation,
            epoch: fiber.epoch,
        }))
    }

    /// Gives up the turn of a fiber that was marked as parked; says how its wait ended.
    #[inline(always)]
    fn leave_turn(&self) -> Result<(), Stopped> {
        self.counters.parks.add(1);
        coroutine::suspend();
        match self.woken.get() {
            Wake::Ready | Wake::Turn => Ok(()),
            Wake::Stopped => Err(self.note_failure()),
        }
    }

    /// Wakes the fiber whose current wait the token names.
    ///
    /// Returns whether it did: not when the wait is over or the fiber is awake already.
    #[inline(always)]
    pub(crate) fn unpark(&self, token: Unparker) -> bool {
        let mut fibers = self.fibers.borrow_mut();
        let Some(fiber) = fibers.get_mut(token.index) else {
            return false;
        };
        if fiber.generation != token.generation || fiber.epoch != token.epoch {
            #[cfg(all(test, feature = "sim"))]
            let is_stale = !sim::bites(self, Planted::DoubleWake);
            #[cfg(not(all(test, feature = "sim")))]
            let is_stale = true;
            if is_stale {
                return false;
            }
        }
        #[cfg(all(test, feature = "sim"))]
        if fiber.state == State::Parked && sim::bites(self, Planted::LostWake) {
            return true;
        }
        match fiber.state {
            State::Parked => {
                fiber.state = State::Ready;
                fiber.wake = Wake::Ready;
                self.counters.wakes.add(1);
                self.ready.push(&mut fibers, token.index);
                true
            }
            // Between prepare and park, where the fiber may have given up its turn.
            State::Running => !mem::replace(&mut fiber.notified, true),
            State::Ready if matches!(fiber.wake, Wake::Turn) => {
                !mem::replace(&mut fiber.notified, true)
            }
            State::Ready | State::Free => false,
        }
    }

    /// Fails if the running fiber's scope is over; giving up the turn then.
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        let is_over = {
            let fibers = self.fibers.borrow();
            let fiber = fibers.get(self.current.get());
            fiber.ok_or(Stopped::NoRuntime)?.stopped
        };
        if !is_over {
            return Ok(());
        }
        self.may_switch()?;
        Err(self.fail())
    }
}

/// A link of a wait into the list of what it waits for, or a timer that ends the wait. There is one
/// of each, so that it is given back once.
///
/// ```compile_fail,E0382
/// # fiber::run(|| {
/// use fiber::Source;
/// let event = fiber::Event::new();
/// let link = event.link(fiber::prepare().unwrap()).unwrap();
/// event.unlink(link);
/// event.unlink(link);
/// # });
/// ```
#[derive(Debug)]
pub struct Link {
    pub(crate) slot: u32,
    /// Tells a timer from later ones in its slot; an entry of a list is given back by its owner.
    pub(crate) generation: u32,
}

impl Link {
    /// The same link, for who keeps it until it is given back.
    #[inline(always)]
    pub(crate) const fn given_back(&self) -> Self {
        Self {
            slot: self.slot,
            generation: self.generation,
        }
    }

    /// Stands where there is none.
    pub(crate) const NONE: Self = Self {
        slot: u32::MAX,
        generation: 0,
    };
}
