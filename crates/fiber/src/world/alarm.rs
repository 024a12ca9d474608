//! The clock door's alarm: ends a wait for events at a point in time, to the microsecond.
//!
//! The time limit of the event queue itself is in whole milliseconds, and the system adds slack to
//! it. Linux has timers that are descriptors; one of them serves all timers of a runtime. It is set
//! only when the next deadline is earlier than what it is set to: a deadline that moves away, as
//! those of busy connections do, costs no call of the system but, once, a wake-up for nothing.
//! Where there is no such timer the queue's own limit is used.

use std::cell::{Cell, OnceCell};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::sys::TimerFd;

/// Stands for a timer that is not set.
const NEVER: u64 = u64::MAX;

/// One runtime's alarm. It takes a descriptor with the first wait that needs it.
pub(crate) struct Alarm {
    timer: OnceCell<Option<TimerFd>>,
    /// When it rings: at or before the deadline of the last wait.
    set_to: Cell<u64>,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self {
            timer: OnceCell::new(),
            set_to: Cell::new(NEVER),
        }
    }

    /// Sees to it that an event named `token` comes at `deadline`, or before.
    ///
    /// Returns false where the system cannot do that.
    pub(crate) fn set(&self, registry: &Registry, token: Token, deadline: u64) -> bool {
        let timer = self.timer.get_or_init(|| start(registry, token));
        let Some(timer) = timer else {
            return false;
        };
        if self.rings_by(deadline) {
            return true;
        }
        if timer.set(deadline).is_err() {
            return false;
        }
        self.set_to.set(deadline);
        true
    }

    /// Whether an event comes by `deadline` as it is, at once if that is past.
    #[inline]
    pub(crate) fn rings_by(&self, deadline: u64) -> bool {
        self.set_to.get() <= deadline
    }

    /// Notes that the event came.
    pub(crate) fn rang(&self) {
        self.set_to.set(NEVER);
    }

    #[cfg(test)]
    pub(crate) fn set_to(&self) -> u64 {
        self.set_to.get()
    }
}

/// Edge-triggered, like all that the reactor watches: the timer is never read, for setting it
/// anew forgets that it rang.
fn start(registry: &Registry, token: Token) -> Option<TimerFd> {
    let timer = TimerFd::new().ok()?;
    let fd = timer.as_raw_fd();
    registry
        .register(&mut SourceFd(&fd), token, Interest::READABLE)
        .ok()?;
    Some(timer)
}
