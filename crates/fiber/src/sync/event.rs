//! A flag to wait for.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::core;
use crate::error::Stopped;
use crate::park::{FrontList, Line as _, Link, Unparker, WaitReason, wait_on};
use crate::sync::Source;

struct State {
    set: Cell<bool>,
    waiters: FrontList,
}

/// A flag that fibers wait for. It stays set until it is cleared; clones share it.
#[derive(Clone)]
pub struct Event(Rc<State>);

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .finish_non_exhaustive()
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(State {
            set: Cell::new(false),
            waiters: FrontList::new(),
        }))
    }

    /// Sets the flag and wakes all who wait for it. Does not yield.
    #[inline]
    pub fn set(&self) {
        if !self.0.set.replace(true) {
            self.0.waiters.wake_all_here();
        }
    }

    /// Clears the flag. Does not yield.
    #[inline]
    pub fn clear(&self) {
        self.0.set.set(false);
    }

    /// Whether the flag is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.set.get()
    }

    /// Waits until the flag is set; it may be cleared again by the time this returns.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early.
    #[inline(always)]
    pub fn wait(&self) -> Result<(), Stopped> {
        if self.is_set() {
            return Ok(());
        }
        core::within(|core| wait_on(core, &self.0.waiters, WaitReason::Event))
    }
}

impl Source for Event {
    fn is_ready(&self) -> bool {
        self.is_set()
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        core::within(|core| Ok(self.0.waiters.link(core, waiter)))
    }

    #[inline]
    fn stand(&self, waiter: Unparker) -> io::Result<Option<Link>> {
        core::within(|core| Ok(self.0.waiters.stand(core, waiter)))
    }

    fn unlink(&self, link: Link) {
        core::with(|core| self.0.waiters.unlink(core, link));
    }
}
