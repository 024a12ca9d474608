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
//! `prepare` and `park` is remembered. Waiters are entries of one slab, linked by index into the
//! list of what they wait for: nothing is allocated to wait.

use std::cell::Cell;
use std::mem;

use crate::core::{self, Core};
use crate::coroutine;
use crate::error::Stopped;
use crate::scheduler::{State, Wake};
#[cfg(all(test, feature = "sim"))]
use crate::sim::{self, Planted};
use crate::timer::Target;
use crate::world::clock::Instant;

const NONE: u32 = u32::MAX;
const UNLINKED: u32 = u32::MAX - 1;

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
        core::current().is_some_and(|core| core.id == self.runtime && core.unpark(self))
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
    core::required()?.prepare()
}

/// Waits for the wake that [`prepare`] began. Yields unless it came already.
///
/// # Errors
///
/// [`Stopped`] when the wait ended early. A wake may be for nothing: look again at what you wait
/// for.
#[inline]
pub fn park() -> Result<(), Stopped> {
    core::required()?.park(WaitReason::Unpark)
}

/// As [`park`], and waits until `at` at most. Returns whether that time came.
///
/// The time is this wait's own, beside those of the scopes around it, and costs less than a scope
/// ([`crate::timeout`]) does. A wake may have come as well: look at what you wait for first.
///
/// # Errors
///
/// As [`park`].
#[inline]
pub fn park_until(at: Instant) -> Result<bool, Stopped> {
    core::required()?.park_until(at.as_nanos(), WaitReason::Unpark)
}

impl Core {
    /// As [`Core::park`], until `at` at most; returns whether that time came.
    #[inline]
    pub(crate) fn park_until(&self, at: u64, reason: WaitReason) -> Result<bool, Stopped> {
        let timer = self.add_timer(at, Target::Fiber(self.token()?));
        let parked = self.park(reason);
        self.cancel_timer(timer);
        parked.map(|()| self.clock.now() >= at)
    }

    /// The token of the wait that the running fiber began last.
    #[inline]
    fn token(&self) -> Result<Unparker, Stopped> {
        let index = self.current.get();
        let fibers = self.fibers.borrow();
        let fiber = fibers.get(index).ok_or(Stopped::NoRuntime)?;
        Ok(Unparker {
            runtime: self.id,
            index,
            generation: fiber.generation,
            epoch: fiber.epoch,
        })
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

    /// Parks the running fiber until its token is used or its scope is over.
    ///
    /// Wakes may be early: callers look again at what they wait for.
    #[inline(always)]
    pub(crate) fn park(&self, reason: WaitReason) -> Result<(), Stopped> {
        self.may_switch()?;
        let index = self.current.get();
        let is_over = {
            let mut fibers = self.fibers.borrow_mut();
            let fiber = fibers.get_mut(index).ok_or(Stopped::NoRuntime)?;
            let is_over = fiber.stopped && !reason.is_shielded();
            if !is_over {
                if mem::take(&mut fiber.notified) {
                    return Ok(());
                }
                fiber.state = State::Parked;
                fiber.reason = reason;
            }
            is_over
        };
        if is_over {
            return Err(self.fail());
        }
        self.counters.parks.add(1);
        coroutine::suspend();
        let wake = self.fibers.borrow()[index].wake;
        match wake {
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

/// A waiter in its list.
pub(crate) struct Waiter {
    /// The wait, without the runtime, which is the list's.
    index: u32,
    generation: u32,
    epoch: u32,
    /// [`UNLINKED`] once it was taken out of its list.
    previous: u32,
    next: u32,
    /// Permits it waits for; none once it was served, and where there are no permits.
    wants: u32,
}

impl Waiter {
    #[inline(always)]
    fn token(&self, core: &Core) -> Unparker {
        Unparker {
            runtime: core.id,
            index: self.index,
            generation: self.generation,
            epoch: self.epoch,
        }
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

/// The waiters of every list of one runtime.
pub(crate) struct Waiters {
    entries: Vec<Waiter>,
    free: u32,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
        }
    }

    /// Entries that are in use.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> usize {
        let mut free = 0;
        let mut next = self.free;
        while next != NONE {
            free += 1;
            next = self.entries[next as usize].next;
        }
        self.entries.len() - free
    }

    #[inline(always)]
    fn add(&mut self, token: Unparker, wants: u32, previous: u32) -> u32 {
        let waiter = Waiter {
            index: token.index,
            generation: token.generation,
            epoch: token.epoch,
            previous,
            next: NONE,
            wants,
        };
        if self.free == NONE {
            let index = u32::try_from(self.entries.len())
                .ok()
                .filter(|&index| index < UNLINKED)
                .expect("fewer than 2^32 - 1 waiters");
            self.entries.push(waiter);
            return index;
        }
        let index = self.free;
        self.free = self.entries[index as usize].next;
        self.entries[index as usize] = waiter;
        index
    }
}

/// Who waits for one thing, in order of arrival.
#[derive(Debug)]
pub(crate) struct WaitList {
    head: Cell<u32>,
    tail: Cell<u32>,
    /// The runtime whose slab the indexes are of; a list may outlive its runtime.
    runtime: Cell<u32>,
}

impl WaitList {
    pub(crate) const fn new() -> Self {
        Self {
            head: Cell::new(NONE),
            tail: Cell::new(NONE),
            runtime: Cell::new(0),
        }
    }

    /// Appends a wait. The waiting fiber itself gives the link back with [`WaitList::unlink`].
    pub(crate) fn link(&self, core: &Core, token: Unparker) -> Link {
        self.link_for(core, token, 0)
    }

    /// Appends a wait for permits, to be ended by [`WaitList::serve`].
    #[inline(always)]
    pub(crate) fn link_for(&self, core: &Core, token: Unparker, wants: u32) -> Link {
        if self.runtime.replace(core.id) != core.id {
            self.head.set(NONE);
            self.tail.set(NONE);
        }
        let mut waiters = core.waiters.borrow_mut();
        let tail = self.tail.get();
        let index = waiters.add(token, wants, tail);
        match tail {
            NONE => self.head.set(index),
            tail => waiters.entries[tail as usize].next = index,
        }
        self.tail.set(index);
        Link {
            slot: index,
            generation: 0,
        }
    }

    /// Ends a wait, woken or not.
    ///
    /// Returns how many permits it is still without.
    #[inline]
    pub(crate) fn unlink(&self, core: &Core, link: Link) -> u32 {
        let mut waiters = core.waiters.borrow_mut();
        if waiters.entries[link.slot as usize].previous != UNLINKED {
            self.cut(&mut waiters, link.slot);
        }
        let free = mem::replace(&mut waiters.free, link.slot);
        let waiter = &mut waiters.entries[link.slot as usize];
        waiter.next = free;
        waiter.wants
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self, core: &Core) -> bool {
        self.head.get() == NONE || self.runtime.get() != core.id
    }

    /// Hands `available` permits out to those who wait, strictly in order: one that there are not
    /// enough for holds back all behind it. A permit goes with a wake, so one whose wait ended
    /// otherwise is passed over.
    pub(crate) fn serve(&self, core: &Core, available: &Cell<u32>) {
        while !self.is_empty(core) {
            let head = self.head.get();
            let (token, wants) = {
                let mut waiters = core.waiters.borrow_mut();
                let waiter = &waiters.entries[head as usize];
                let (token, wants) = (waiter.token(core), waiter.wants);
                if wants > available.get() {
                    return;
                }
                self.cut(&mut waiters, head);
                (token, wants)
            };
            if core.unpark(token) {
                available.set(available.get() - wants);
                core.waiters.borrow_mut().entries[head as usize].wants = 0;
            }
        }
    }

    /// Wakes the first that still waits. Returns whether there was one.
    #[inline(always)]
    pub(crate) fn wake_one(&self, core: &Core) -> bool {
        while let Some(token) = self.pop(core) {
            if core.unpark(token) {
                return true;
            }
        }
        false
    }

    /// As [`WaitList::wake_one`], in this thread's runtime, if there is one.
    #[inline(always)]
    pub(crate) fn wake_one_here(&self) {
        if self.head.get() != NONE
            && let Some(core) = core::current()
        {
            self.wake_one(&core);
        }
    }

    /// Wakes all that wait now.
    pub(crate) fn wake_all(&self, core: &Core) {
        while let Some(token) = self.pop(core) {
            core.unpark(token);
        }
    }

    #[inline(always)]
    fn pop(&self, core: &Core) -> Option<Unparker> {
        let head = self.head.get();
        if head == NONE || self.runtime.get() != core.id {
            return None;
        }
        let mut waiters = core.waiters.borrow_mut();
        self.cut(&mut waiters, head);
        Some(waiters.entries[head as usize].token(core))
    }

    #[inline]
    fn cut(&self, waiters: &mut Waiters, index: u32) {
        let waiter = &mut waiters.entries[index as usize];
        let previous = mem::replace(&mut waiter.previous, UNLINKED);
        let next = waiter.next;
        match previous {
            NONE => self.head.set(next),
            previous => waiters.entries[previous as usize].next = next,
        }
        match next {
            NONE => self.tail.set(previous),
            next => waiters.entries[next as usize].previous = previous,
        }
    }
}

/// Parks until the list wakes the running fiber once, or its scope is over.
#[inline(always)]
pub(crate) fn wait_on(core: &Core, list: &WaitList, reason: WaitReason) -> Result<(), Stopped> {
    let token = core.prepare()?;
    let link = list.link(core, token);
    let woken = core.park(reason);
    list.unlink(core, link);
    woken
}
