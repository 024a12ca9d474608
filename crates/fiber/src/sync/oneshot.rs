//! One value, from one fiber to another.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::core;
use crate::error::Stopped;
use crate::park::{FrontList, Line as _, Link, Unparker, WaitReason, wait_on};
use crate::sync::Source;

struct State<T> {
    value: RefCell<Option<T>>,
    closed: Cell<bool>,
    receiver: FrontList,
}

/// Sends the value of a [`oneshot`].
pub struct OneshotSender<T>(Rc<State<T>>);

/// Receives the value of a [`oneshot`].
pub struct OneshotReceiver<T>(Rc<State<T>>);

impl<T> fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotReceiver").finish_non_exhaustive()
    }
}

/// A channel for one value.
#[must_use]
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let state = Rc::new(State {
        value: RefCell::new(None),
        closed: Cell::new(false),
        receiver: FrontList::new(),
    });
    (OneshotSender(Rc::clone(&state)), OneshotReceiver(state))
}

impl<T> OneshotSender<T> {
    /// Sends the value. Does not yield.
    ///
    /// # Errors
    ///
    /// The value itself when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.0.closed.get() {
            return Err(value);
        }
        *self.0.value.borrow_mut() = Some(value);
        Ok(())
        // Dropping self closes the channel and wakes the receiver.
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.receiver.wake_all_here();
    }
}

impl<T> OneshotReceiver<T> {
    /// Waits for the value; `None` when the sender was dropped without sending. Yields until
    /// either. The value comes once; after it `None`.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early; the value may still come.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Option<T>, Stopped> {
        loop {
            if let Some(value) = self.0.value.borrow_mut().take() {
                return Ok(Some(value));
            }
            if self.0.closed.get() {
                return Ok(None);
            }
            core::within(|core| wait_on(core, &self.0.receiver, WaitReason::Oneshot))?;
        }
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        self.0.closed.set(true);
    }
}

impl<T> Source for OneshotReceiver<T> {
    /// Whether a receive would not wait: the value is there or cannot come any more.
    fn is_ready(&self) -> bool {
        self.0.closed.get() || self.0.value.borrow().is_some()
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        let core = core::required()?;
        Ok(self.0.receiver.link(&core, waiter))
    }

    fn unlink(&self, link: Link) {
        if let Some(core) = core::current() {
            self.0.receiver.unlink(&core, link);
        }
    }
}
