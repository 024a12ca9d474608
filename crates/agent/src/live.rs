//! A value that changes while a fiber works by it.

use std::cell::RefCell;
use std::rc::Rc;

use fiber::{Event, Instant, Selected, Stopped};

/// A value that a reload of the configuration changes, for one fiber that works by it. Clones share
/// it.
#[derive(Clone, Debug)]
pub(crate) struct Live<T>(Rc<(RefCell<T>, Event)>);

impl<T: Clone + PartialEq> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Rc::new((RefCell::new(value), Event::new())))
    }

    /// Changes it, and wakes who works by it. Does not yield.
    pub(crate) fn set(&self, value: T) {
        let (place, changed) = &*self.0;
        if *place.borrow() != value {
            place.replace(value);
            changed.set();
        }
    }

    /// Returns what it is now; a change from here on ends the next wait.
    pub(crate) fn get(&self) -> T {
        let (place, changed) = &*self.0;
        changed.clear();
        place.borrow().clone()
    }

    /// Waits for a change. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub(crate) fn wait(&self) -> Result<(), Stopped> {
        self.0.1.wait()
    }

    /// Waits for a change until then; returns whether there was one. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub(crate) fn wait_until(&self, until: Instant) -> Result<bool, Stopped> {
        match fiber::select(&[&self.0.1], Some(until)) {
            Ok(Selected::Ready(_)) => Ok(true),
            Ok(Selected::Deadline) => Ok(false),
            Err(error) => Err(fiber::cause(&error).unwrap_or(Stopped::NoRuntime)),
        }
    }
}

impl<T> Live<Option<T>>
where
    T: Clone + PartialEq,
{
    /// Waits until it is something, and returns that. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub(crate) fn some(&self) -> Result<T, Stopped> {
        loop {
            if let Some(value) = self.get() {
                return Ok(value);
            }
            self.wait()?;
        }
    }
}
