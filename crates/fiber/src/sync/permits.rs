//! Permits and the line of those who wait for them: what a semaphore and a mutex are made of.
//!
//! ```text
//!  give back ──► available ──► first in line, if there are enough for it ──► next ...
//!                                  └─ its wait ended early: passed over, nothing is lost
//! ```
//!
//! Permits are handed over: whoever is woken has them already, so nobody who comes later can be
//! faster, and no wake is for nothing. Nothing polls, and waiting allocates nothing.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;

use crate::core;
use crate::error::Stopped;
use crate::park::{Link, Unparker, WaitList, WaitReason};

/// Why no permits were acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// The semaphore was closed.
    Closed,
    /// More permits were asked for than there are at all; the wait would never end.
    TooMany {
        /// How many were asked for.
        wanted: u32,
        /// How many the semaphore was made with.
        permits: u32,
    },
    /// The wait ended early.
    Stopped(Stopped),
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the semaphore was closed"),
            Self::TooMany { wanted, permits } => {
                write!(f, "expected at most {permits} permits, asked for {wanted}")
            }
            Self::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl Error for AcquireError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stopped(stopped) => Some(stopped),
            Self::Closed | Self::TooMany { .. } => None,
        }
    }
}

impl From<Stopped> for AcquireError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl From<AcquireError> for io::Error {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Stopped(stopped) => stopped.into(),
            error @ (AcquireError::Closed | AcquireError::TooMany { .. }) => Self::other(error),
        }
    }
}

/// Why no permits were to be had at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// Too few are there now, or others wait for them.
    NoPermits,
    /// They cannot be had at all.
    Failed(AcquireError),
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPermits => f.write_str("no permits are there now"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Error for TryAcquireError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoPermits => None,
            Self::Failed(error) => Some(error),
        }
    }
}

/// Some permits, and who waits for them.
#[derive(Debug)]
pub(crate) struct Permits {
    pub(crate) total: u32,
    pub(crate) available: Cell<u32>,
    pub(crate) closed: Cell<bool>,
    line: WaitList,
}

impl Permits {
    pub(crate) fn new(total: u32) -> Self {
        Self {
            total,
            available: Cell::new(total),
            closed: Cell::new(false),
            line: WaitList::new(),
        }
    }

    /// Takes permits if enough are there and nobody waits.
    #[inline]
    pub(crate) fn try_take(&self, wanted: u32) -> Result<(), TryAcquireError> {
        if self.closed.get() {
            return Err(TryAcquireError::Failed(AcquireError::Closed));
        }
        if wanted > self.total {
            let permits = self.total;
            let error = AcquireError::TooMany { wanted, permits };
            return Err(TryAcquireError::Failed(error));
        }
        let available = self.available.get();
        let waiting = core::current().is_some_and(|core| !self.line.is_empty(&core));
        // No permit at all is never waited for.
        if wanted > available || (waiting && wanted > 0) {
            return Err(TryAcquireError::NoPermits);
        }
        self.available.set(available - wanted);
        Ok(())
    }

    /// Takes permits, waiting in line for them.
    pub(crate) fn take(&self, wanted: u32, reason: WaitReason) -> Result<(), AcquireError> {
        loop {
            match self.try_take(wanted) {
                Ok(()) => return Ok(()),
                Err(TryAcquireError::Failed(error)) => return Err(error),
                Err(TryAcquireError::NoPermits) => {}
            }
            let core = core::required()?;
            let token = core.prepare()?;
            let link = self.line.link_for(&core, token, wanted);
            let woken = core.park(reason);
            let served = self.leave_line(link);
            match woken {
                Ok(()) if served => return Ok(()),
                // Closed, which is found at the top.
                Ok(()) => {}
                Err(stopped) => {
                    if served {
                        self.give_back(wanted);
                    }
                    return Err(stopped.into());
                }
            }
        }
    }

    /// Enters the line, to be served with a wake.
    pub(crate) fn join_line(&self, waiter: Unparker, wanted: u32) -> Result<Link, Stopped> {
        let core = core::required()?;
        Ok(self.line.link_for(&core, waiter, wanted))
    }

    /// Leaves the line. Returns whether the permits were handed over.
    pub(crate) fn leave_line(&self, link: Link) -> bool {
        let Some(core) = core::current() else {
            return false;
        };
        let served = self.line.leave(&core, link) == 0;
        if !served {
            // It may have held back others that there are enough for.
            self.line.serve(&core, &self.available);
        }
        served
    }

    #[inline]
    pub(crate) fn give_back(&self, count: u32) {
        self.available.set(self.available.get() + count);
        if let Some(core) = core::current() {
            self.line.serve(&core, &self.available);
        }
    }

    pub(crate) fn close(&self) {
        self.closed.set(true);
        if let Some(core) = core::current() {
            self.line.wake_all(&core);
        }
    }
}
