//! Bounded channels: values in order, from any number of fibers to any number.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::core;
use crate::error::Stopped;
use crate::park::{FrontList, Line as _, Link, Unparker, WaitReason, wait_on};
use crate::sync::Source;

struct State<T> {
    queue: RefCell<VecDeque<T>>,
    capacity: usize,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiting_to_send: FrontList,
    waiting_to_receive: FrontList,
}

/// The sending end of a [`channel`]; clones share the channel.
pub struct Sender<T>(Rc<State<T>>);

/// The receiving end of a [`channel`]; clones share the channel, each value goes to one of them.
pub struct Receiver<T>(Rc<State<T>>);

/// A value that could not be sent, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T> {
    /// The value, given back.
    pub value: T,
    /// Why it was not sent.
    pub cause: SendCause,
}

/// Why a value was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendCause {
    /// Every receiver is gone.
    Closed,
    /// The wait for room ended early.
    Stopped(Stopped),
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            SendCause::Closed => f.write_str("every receiver of the channel is gone"),
            SendCause::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            SendCause::Closed => None,
            SendCause::Stopped(stopped) => Some(stopped),
        }
    }
}

/// A value that could not be sent at once, given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The channel holds as many values as it may.
    Full(T),
    /// Every receiver is gone.
    Closed(T),
}

/// Why there was no value to take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No value is there now.
    Empty,
    /// No value is there and every sender is gone.
    Closed,
}

/// A channel that holds up to `capacity` values (at least 1).
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.max(1);
    let state = Rc::new(State {
        queue: RefCell::new(VecDeque::with_capacity(capacity.min(64))),
        capacity,
        senders: Cell::new(1),
        receivers: Cell::new(1),
        waiting_to_send: FrontList::new(),
        waiting_to_receive: FrontList::new(),
    });
    (Sender(Rc::clone(&state)), Receiver(state))
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.0.queue.borrow().len();
        f.debug_struct("Sender").field("queued", &queued).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.0.queue.borrow().len();
        f.debug_struct("Receiver").field("queued", &queued).finish()
    }
}

impl<T> Sender<T> {
    /// Sends a value, waiting for room. Does not yield when there is room.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value when every receiver is gone or the wait ended early.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut value = value;
        loop {
            value = match self.try_send(value) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(value)) => {
                    return Err(SendError {
                        value,
                        cause: SendCause::Closed,
                    });
                }
                Err(TrySendError::Full(value)) => value,
            };
            let waited =
                core::within(|core| wait_on(core, &self.0.waiting_to_send, WaitReason::Send));
            if let Err(stopped) = waited {
                return Err(SendError {
                    value,
                    cause: SendCause::Stopped(stopped),
                });
            }
        }
    }

    /// Sends a value if there is room. Does not yield.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the value.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.0.receivers.get() == 0 {
            return Err(TrySendError::Closed(value));
        }
        let mut queue = self.0.queue.borrow_mut();
        if queue.len() >= self.0.capacity {
            return Err(TrySendError::Full(value));
        }
        queue.push_back(value);
        drop(queue);
        self.0.waiting_to_receive.wake_one_here();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Self(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0
            && let Some(core) = core::current()
        {
            self.0.waiting_to_receive.wake_all(&core);
        }
    }
}

impl<T> Receiver<T> {
    /// Takes the next value, waiting for one; `None` when every sender is gone and all values
    /// were taken. Does not yield when a value is there.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early.
    #[inline(always)]
    pub fn recv(&self) -> Result<Option<T>, Stopped> {
        loop {
            match self.try_recv() {
                Ok(value) => return Ok(Some(value)),
                Err(TryRecvError::Closed) => return Ok(None),
                Err(TryRecvError::Empty) => {}
            }
            core::within(|core| wait_on(core, &self.0.waiting_to_receive, WaitReason::Receive))?;
        }
    }

    /// Takes the next value if one is there. Does not yield.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let value = self.0.queue.borrow_mut().pop_front();
        match value {
            Some(value) => {
                self.0.waiting_to_send.wake_one_here();
                Ok(value)
            }
            None if self.0.senders.get() == 0 => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.receivers.set(self.0.receivers.get() + 1);
        Self(Rc::clone(&self.0))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receivers.set(self.0.receivers.get() - 1);
        if self.0.receivers.get() > 0 {
            return;
        }
        if let Some(core) = core::current() {
            self.0.waiting_to_send.wake_all(&core);
        }
        // Nobody will take what is queued: it is dropped now, not with the last sender, for it
        // may hold what others wait for. The borrow is over before code of the user runs.
        let queued = self.0.queue.take();
        drop(queued);
    }
}

impl<T> State<T> {
    fn has_room(&self) -> bool {
        self.queue.borrow().len() < self.capacity
    }
}

impl<T> Source for Sender<T> {
    /// Whether a send would not wait: there is room, or no receiver is left.
    fn is_ready(&self) -> bool {
        self.0.has_room() || self.0.receivers.get() == 0
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        let core = core::required()?;
        Ok(self.0.waiting_to_send.link(&core, waiter))
    }

    fn unlink(&self, link: Link) {
        if let Some(core) = core::current() {
            self.0.waiting_to_send.unlink(&core, link);
            if self.0.has_room() {
                // This wait may have been woken for room that its fiber now leaves there.
                self.0.waiting_to_send.wake_one(&core);
            }
        }
    }
}

impl<T> Source for Receiver<T> {
    /// Whether a receive would not wait: a value is there or none can come.
    fn is_ready(&self) -> bool {
        !self.0.queue.borrow().is_empty() || self.0.senders.get() == 0
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        let core = core::required()?;
        Ok(self.0.waiting_to_receive.link(&core, waiter))
    }

    fn unlink(&self, link: Link) {
        if let Some(core) = core::current() {
            self.0.waiting_to_receive.unlink(&core, link);
            if !self.0.queue.borrow().is_empty() {
                // This wait may have been woken for a value that its fiber now leaves there.
                self.0.waiting_to_receive.wake_one(&core);
            }
        }
    }
}
