//! Sections of a fiber that must not wait.
//!
//! While one is on no other fiber runs, so one note per runtime is enough. Where a call would give
//! up control it asks here first; it then fails, and the first that does so is told in the log.

use std::cell::Cell;
use std::panic::Location;

use crate::core::{self, Core, NO_FIBER};
use crate::error::Stopped;

/// The innermost section that is on, of one runtime.
#[derive(Debug, Default)]
pub(crate) struct NoPark {
    on: Cell<Option<&'static Location<'static>>>,
    /// Whether a wait inside the outermost one failed and was told.
    told: Cell<bool>,
}

/// Leaves a section however its body ends.
struct Leave<'a> {
    state: &'a NoPark,
    outer: Option<&'static Location<'static>>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.state.on.set(self.outer);
        if self.outer.is_none() {
            self.state.told.set(false);
        }
    }
}

/// Runs `body`, in which nothing may wait: other fibers do not run before it returned.
///
/// For code that holds a borrow, a thread-local or an invariant that others must not see half
/// changed, and for callers that hand control to code they do not know. A call in `body` that would
/// wait, or only give up its turn, fails with [`Stopped::WouldWait`], at once and without a switch;
/// the first one is named in the log as an error, with the place of this call. Calls that need no
/// wait work: what is there can be received, what is ready can be read. [`crate::spawn`] works, its
/// fiber starts later; [`crate::Scope::spawn`] is refused, for the end of its scope is a wait. A
/// turn that would be given up after many operations is kept. Sections nest.
///
/// Does not yield. Outside a fiber it only runs `body`.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// let (sender, receiver) = fiber::channel(1);
/// fiber::no_park(|| {
///     assert!(sender.send(1).is_ok());
///     assert_eq!(receiver.recv(), Ok(Some(1)));
///     assert_eq!(receiver.recv(), Err(fiber::Stopped::WouldWait));
/// });
/// # }).unwrap();
/// ```
#[track_caller]
pub fn no_park<T>(body: impl FnOnce() -> T) -> T {
    let location = Location::caller();
    let core = match core::current() {
        Some(core) if core.current.get() != NO_FIBER => core,
        _ => return body(),
    };
    let _leave = Leave {
        state: &core.no_park,
        outer: core.no_park.on.replace(Some(location)),
    };
    body()
}

impl NoPark {
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get().is_some()
    }
}

impl Core {
    /// Fails where the running fiber may not give up control.
    #[inline(always)]
    pub(crate) fn may_switch(&self) -> Result<(), Stopped> {
        if std::thread::panicking() {
            return Err(Stopped::Unwinding);
        }
        if self.no_park.is_on() {
            return Err(self.would_wait());
        }
        Ok(())
    }

    #[cold]
    fn would_wait(&self) -> Stopped {
        if let Some(location) = self.no_park.on.get()
            && !self.no_park.told.replace(true)
        {
            let fiber = self.fiber_info(self.current.get());
            log::error!("a wait failed inside the no_park at {location}: {fiber}");
        }
        Stopped::WouldWait
    }
}
