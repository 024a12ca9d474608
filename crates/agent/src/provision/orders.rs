//! Renewals that somebody asks for, beside those that are due.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Elapsed, Event, Stopped, timeout};

/// The way to a device that keeps its identity renewed: asks for a renewal now, and sees what became of
/// it. A clone is the same way.
#[derive(Clone, Default)]
pub struct Renewals(Rc<Shared>);

#[derive(Default)]
struct Shared {
    wanted: Event,
    report: RefCell<RenewalReport>,
}

/// What became of renewals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewalReport {
    /// One is wanted, or under way.
    pub is_busy: bool,
    /// How many have ended, well or not.
    pub ended: u64,
    /// Why the last one came to nothing, if it did.
    pub failure: Option<String>,
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

impl Renewals {
    /// Asks for a renewal now, or for the one that is under way. Does not yield. Returns what
    /// [`RenewalReport::ended`] will be once it has ended.
    pub fn order(&self) -> u64 {
        let mut report = self.0.report.borrow_mut();
        if !std::mem::replace(&mut report.is_busy, true) {
            self.0.wanted.set();
        }
        report.ended.saturating_add(1)
    }

    /// Returns what became of them so far. Does not yield.
    #[must_use]
    pub fn report(&self) -> RenewalReport {
        self.0.report.borrow().clone()
    }

    /// Waits, at most so long, for an order. Yields.
    pub(super) fn sleep(&self, length: Duration) -> Result<(), Stopped> {
        match timeout(length, || self.0.wanted.wait()) {
            Ok(waited) => waited,
            Err(Elapsed(_)) => Ok(()),
        }
    }

    /// Whether there is an order.
    pub(super) fn is_ordered(&self) -> bool {
        self.0.wanted.is_set()
    }

    pub(super) fn begin(&self) {
        self.0.wanted.clear();
        self.0.report.borrow_mut().is_busy = true;
    }

    pub(super) fn end(&self, failure: Option<String>) {
        let mut report = self.0.report.borrow_mut();
        report.is_busy = false;
        report.ended = report.ended.saturating_add(1);
        report.failure = failure;
    }
}
