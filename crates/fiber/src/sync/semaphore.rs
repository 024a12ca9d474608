//! A bound on how many may do something at a time.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::park::{Link, Unparker, WaitReason};
use crate::sync::Source;
use crate::sync::permits::{AcquireError, Permits, TryAcquireError};

/// Permits that fibers acquire and give back; clones share them.
///
/// Fair: who waits is served in order of arrival, and nobody who comes later passes by, not even
/// with a call that does not wait. A fiber that waits for many holds back those behind it that want
/// few. A wait that ends early takes no permit with it; the next in line gets it.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// let uploads = fiber::Semaphore::new(2);
/// let first = uploads.acquire().unwrap();
/// let second = uploads.acquire().unwrap();
/// assert!(uploads.try_acquire().is_err());
/// drop(first);
/// assert!(uploads.try_acquire().is_ok());
/// # drop(second);
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Semaphore(Rc<Permits>);

/// Permits that are given back when this is dropped.
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit {
    permits: Rc<Permits>,
    count: u32,
}

/// A wait for permits as something to [`crate::select`] on, see [`Semaphore::acquiring`].
pub struct Acquiring {
    permits: Rc<Permits>,
    wanted: u32,
    /// Whether they were handed over and not taken yet.
    served: Cell<bool>,
}

impl Semaphore {
    /// A semaphore with so many permits; there will never be more.
    #[must_use]
    pub fn new(permits: u32) -> Self {
        Self(Rc::new(Permits::new(permits)))
    }

    /// Acquires one permit, waiting for it. Does not yield when one is there and nobody waits.
    ///
    /// # Errors
    ///
    /// [`AcquireError`].
    pub fn acquire(&self) -> Result<Permit, AcquireError> {
        self.acquire_many(1)
    }

    /// Acquires `count` permits together, waiting until all of them are there; as
    /// [`Semaphore::acquire`].
    ///
    /// # Errors
    ///
    /// [`AcquireError`]; in particular [`AcquireError::TooMany`] when there are fewer at all.
    pub fn acquire_many(&self, count: u32) -> Result<Permit, AcquireError> {
        self.0.take(count, WaitReason::Acquire)?;
        Ok(self.permit(count))
    }

    /// Acquires one permit if one is there and nobody waits for it. Neither waits nor yields.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`].
    pub fn try_acquire(&self) -> Result<Permit, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Acquires `count` permits if they are there and nobody waits. Neither waits nor yields.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`].
    pub fn try_acquire_many(&self, count: u32) -> Result<Permit, TryAcquireError> {
        self.0.try_take(count)?;
        Ok(self.permit(count))
    }

    /// A wait for `count` permits, for [`crate::select`].
    #[must_use]
    pub fn acquiring(&self, count: u32) -> Acquiring {
        Acquiring {
            permits: Rc::clone(&self.0),
            wanted: count,
            served: Cell::new(false),
        }
    }

    /// Permits that nobody holds now.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.0.available.get()
    }

    /// Ends all waits for permits, and refuses further ones, with [`AcquireError::Closed`]. Permits
    /// that were acquired stay so. Does not yield.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether [`Semaphore::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    fn permit(&self, count: u32) -> Permit {
        Permit {
            permits: Rc::clone(&self.0),
            count,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("permits", &self.0.total)
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl Permit {
    /// How many permits this is.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.give_back(self.count);
    }
}

impl Acquiring {
    /// Takes the permits once a select found this ready; `None` before. Neither waits nor yields.
    ///
    /// From the moment it is ready the permits are held here, until they are taken or this is
    /// dropped, also when the select found an earlier source ready at the same time. After taking
    /// them it can be waited for again. The place in line is kept for the length of one select.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Closed`] or [`AcquireError::TooMany`], which are ready too.
    pub fn take(&self) -> Result<Option<Permit>, AcquireError> {
        if !self.served.replace(false) {
            match self.permits.try_take(self.wanted) {
                Ok(()) => {}
                Err(TryAcquireError::NoPermits) => return Ok(None),
                Err(TryAcquireError::Failed(error)) => return Err(error),
            }
        }
        Ok(Some(Permit {
            permits: Rc::clone(&self.permits),
            count: self.wanted,
        }))
    }
}

impl fmt::Debug for Acquiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquiring")
            .field("wanted", &self.wanted)
            .field("ready", &self.served.get())
            .finish_non_exhaustive()
    }
}

impl Source for Acquiring {
    /// Whether the permits are held here, or can never be.
    fn is_ready(&self) -> bool {
        if self.served.get() {
            return true;
        }
        match self.permits.try_take(self.wanted) {
            Ok(()) => {
                self.served.set(true);
                true
            }
            Err(TryAcquireError::NoPermits) => false,
            Err(TryAcquireError::Failed(_)) => true,
        }
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        Ok(self.permits.join_line(waiter, self.wanted)?)
    }

    fn unlink(&self, link: Link) {
        // Several fibers may wait with this one value, and it holds the permits of one.
        if self.permits.leave_line(link) && self.served.replace(true) {
            self.permits.give_back(self.wanted);
        }
    }
}

impl Drop for Acquiring {
    fn drop(&mut self) {
        if self.served.get() {
            self.permits.give_back(self.wanted);
        }
    }
}
