//! Scopes of time and cancellation: `timeout`, `deadline`, `cancellable`, `shield`.
//!
//! What they have in common, the tree and what it means to be over, is in `scope_tree.rs`.

use std::error::Error;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::core::{self, Core};
use crate::error::Stopped;
use crate::scope_tree::ScopeRef;
use crate::world::clock::Instant;

/// Leaves a scope however its body ends.
pub(crate) struct Entered<'a> {
    core: &'a Core,
    pub(crate) scope: ScopeRef,
    left: bool,
}

impl<'a> Entered<'a> {
    pub(crate) fn new(core: &'a Core) -> Result<Self, Stopped> {
        Ok(Self {
            core,
            scope: core.push_scope()?,
            left: false,
        })
    }

    fn shielded(core: &'a Core) -> Result<Self, Stopped> {
        Ok(Self {
            core,
            scope: core.push_shield()?,
            left: false,
        })
    }

    pub(crate) fn leave(mut self) -> Option<Stopped> {
        self.left = true;
        self.core.pop_scope(self.scope)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.core.pop_scope(self.scope);
        }
    }
}

/// A wait inside a [`timeout`] or [`deadline`] failed because its time was over.
///
/// Holds what the body returned all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed<T>(pub T);

impl<T> fmt::Display for Elapsed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stopped::TimedOut.fmt(f)
    }
}

impl<T: fmt::Debug> Error for Elapsed<T> {}

/// A wait inside a [`cancellable`] failed because its [`Canceller`] was used.
///
/// Holds what the body returned all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled<T>(pub T);

impl<T> fmt::Display for Cancelled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stopped::Cancelled.fmt(f)
    }
}

impl<T: fmt::Debug> Error for Cancelled<T> {}

/// Runs `body` with at most `duration` for all its waits together.
///
/// Yields where the body does. One timer serves the whole scope, however many waits it holds.
/// Outside a fiber the body runs without a limit: its waits fail by themselves.
///
/// # Errors
///
/// [`Elapsed`] with the body's value when a wait in it failed by this very limit. A body that
/// never waited past the limit, or that failed by an outer scope, gives `Ok`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// # fiber::run(|| {
/// let slow = fiber::timeout(Duration::from_millis(5), || fiber::sleep(Duration::from_secs(60)));
/// assert!(slow.is_err());
/// # }).unwrap();
/// ```
pub fn timeout<T>(duration: Duration, body: impl FnOnce() -> T) -> Result<T, Elapsed<T>> {
    deadline(Instant::now() + duration, body)
}

/// Runs `body` with `at` as the end of all its waits; otherwise as [`timeout`].
///
/// # Errors
///
/// As [`timeout`].
pub fn deadline<T>(at: Instant, body: impl FnOnce() -> T) -> Result<T, Elapsed<T>> {
    let Some(core) = core::current() else {
        return Ok(body());
    };
    let Ok(entered) = Entered::new(&core) else {
        return Ok(body());
    };
    run_until(&core, entered, at, body)
}

fn run_until<T>(
    core: &Core,
    entered: Entered<'_>,
    at: Instant,
    body: impl FnOnce() -> T,
) -> Result<T, Elapsed<T>> {
    core.set_deadline(entered.scope, at);
    let value = body();
    match entered.leave() {
        Some(_) => Err(Elapsed(value)),
        None => Ok(value),
    }
}

/// Runs `body` with a time of its own, whatever has become of the scopes around it.
///
/// For clean-up: in a scope that is over every wait fails, and here waits work again, for at most
/// `limit` together. No outer deadline or cancellation is seen in `body`, in a [`crate::scope()`]
/// in it or in the fibers of such a scope; limits inside it work as ever, and another shield has
/// its own time again. After it the outer scopes are what they have become meanwhile. At shutdown
/// the grace period bounds it. A fiber started by [`crate::spawn`] is not in the shield.
///
/// Yields where the body does. Outside a fiber as [`timeout`].
///
/// # Errors
///
/// [`Elapsed`] with the body's value when a wait in it failed by this very limit.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// # fiber::run(|| {
/// const SECOND: Duration = Duration::from_secs(1);
/// let worked = fiber::timeout(Duration::from_millis(1), || {
///     assert!(fiber::sleep(60 * SECOND).is_err());
///     // Out of time, and still there is something to put in order.
///     fiber::shield(SECOND, || fiber::sleep(Duration::from_millis(1)))
/// });
/// assert_eq!(worked.unwrap_err().0, Ok(Ok(())));
/// # }).unwrap();
/// ```
pub fn shield<T>(limit: Duration, body: impl FnOnce() -> T) -> Result<T, Elapsed<T>> {
    let Some(core) = core::current() else {
        return Ok(body());
    };
    let at = Instant::now() + limit;
    let Ok(entered) = Entered::shielded(&core) else {
        return Ok(body());
    };
    run_until(&core, entered, at, body)
}

/// Ends the waits of a [`cancellable`] body, or of a fiber, from outside it.
#[derive(Clone, Debug)]
pub struct Canceller {
    core: Weak<Core>,
    scope: ScopeRef,
}

impl Canceller {
    pub(crate) fn new(core: &Rc<Core>, scope: ScopeRef) -> Self {
        Self {
            core: Rc::downgrade(core),
            scope,
        }
    }

    /// Cancels: every wait in the scope fails with [`Stopped::Cancelled`] from now on.
    ///
    /// Does not yield. Nothing happens when the scope was left already.
    pub fn cancel(&self) {
        if let Some(core) = self.core.upgrade() {
            core.expire(self.scope, Stopped::Cancelled);
        }
    }
}

/// Runs `body` in a scope that others can cancel.
///
/// Yields where the body does.
///
/// # Errors
///
/// [`Cancelled`] with the body's value when a wait in it failed because of the [`Canceller`].
pub fn cancellable<T>(body: impl FnOnce(&Canceller) -> T) -> Result<T, Cancelled<T>> {
    let nowhere = Canceller {
        core: Weak::new(),
        scope: ScopeRef::ROOT,
    };
    let Some(core) = core::current() else {
        return Ok(body(&nowhere));
    };
    let Ok(entered) = Entered::new(&core) else {
        return Ok(body(&nowhere));
    };
    let value = body(&Canceller::new(&core, entered.scope));
    match entered.leave() {
        Some(_) => Err(Cancelled(value)),
        None => Ok(value),
    }
}

/// The nearest deadline over the running fiber, if any; beyond a [`shield`] none counts.
///
/// Does not yield. For calls that set themselves a default when nobody set a limit.
#[must_use]
#[inline]
pub fn ambient_deadline() -> Option<Instant> {
    core::with(|core| {
        let scopes = core.scopes.borrow();
        if !scopes.have_deadlines() {
            return None;
        }
        let scope = core.fibers.borrow().get(core.current.get())?.scope;
        scopes.nearest_deadline(scope).map(Instant::from_nanos)
    })?
}
