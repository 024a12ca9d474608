//! Children that borrow: a scope is not left while one of its fibers lives.

#![allow(
    unsafe_code,
    reason = "children borrow the parent's locals; see docs/unsafe.md"
)]

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::process;
use std::rc::Rc;

use crate::cancel::{Entered, ScopeRef};
use crate::core::{self, Core};
use crate::coroutine::FiberCoroutine;
use crate::error::{SpawnError, Stopped};
use crate::park::{WaitList, WaitReason, wait_on};

/// Where the children of one [`scope`] are spawned.
pub struct Scope<'scope, 'env: 'scope, E> {
    runtime: Option<(Rc<Core>, ScopeRef)>,
    children: Cell<usize>,
    child_ended: WaitList,
    /// The first error that came before the scope was over, and the first that came after.
    errors: RefCell<(Option<E>, Option<E>)>,
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    /// Invariant in both lifetimes, as in std: neither may shrink or grow.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<E> fmt::Debug for Scope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("children", &self.children.get())
            .finish_non_exhaustive()
    }
}

impl<'scope, E> Scope<'scope, '_, E> {
    /// Starts a child that may borrow whatever outlives the scope. Does not yield.
    ///
    /// # Errors
    ///
    /// [`SpawnError`], as [`crate::spawn`].
    #[track_caller]
    pub fn spawn<F>(&'scope self, body: F) -> Result<(), SpawnError>
    where
        F: FnOnce() -> Result<(), E> + 'scope,
        E: 'scope,
    {
        let location = Location::caller();
        let (core, scope) = self.runtime.as_ref().ok_or(SpawnError::NoRuntime)?;
        let stack = core.stack_for_spawn()?;
        let end = move |result| self.child_done(result);
        // SAFETY: `body` and `end` borrow what outlives 'scope. `scope` below does not return,
        // or unwind, before `children` is back at zero, which is the last thing `end` does; by
        // then `body` was consumed. A child that never ends keeps `scope` waiting for ever, so
        // the borrowed data is never freed.
        let coroutine = unsafe { FiberCoroutine::new_unchecked(stack, body, end) };
        self.children.set(self.children.get() + 1);
        core.add_fiber(coroutine, Some(*scope), Cow::Borrowed(""), location);
        Ok(())
    }

    /// Cancels the scope: every wait of its body and its children fails from now on.
    pub fn cancel(&self) {
        if let Some((core, scope)) = &self.runtime {
            core.expire(*scope, Stopped::Cancelled);
        }
    }

    /// Keeps an error; the first one that is not the consequence of an end cancels the rest.
    fn record(&self, error: E) {
        let over = match &self.runtime {
            Some((core, scope)) => core.scopes.borrow().is_over(*scope),
            None => false,
        };
        let mut errors = self.errors.borrow_mut();
        let place = if over { &mut errors.1 } else { &mut errors.0 };
        if place.is_none() {
            *place = Some(error);
        }
        drop(errors);
        if !over {
            self.cancel();
        }
    }

    fn child_done(&self, result: Result<Result<(), E>, Box<dyn Any + Send>>) {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.record(error),
            Err(payload) => {
                self.panic.borrow_mut().get_or_insert(payload);
                self.cancel();
            }
        }
        self.children.set(self.children.get() - 1);
        if let Some((core, _)) = &self.runtime {
            self.child_ended.wake_all(core);
        }
    }

    /// Waits until no child is left, however long that takes.
    fn join_all(&self) {
        let Some((core, _)) = &self.runtime else {
            return;
        };
        while self.children.get() > 0 {
            if wait_on(core, &self.child_ended, WaitReason::ScopeEnd).is_err() {
                // Only a fiber that unwinds cannot wait here, and such a one could not have
                // spawned a child. To go on would free what the children borrow.
                process::abort();
            }
        }
    }
}

/// Runs `body`, which may spawn children that borrow its surroundings, and waits for them all.
///
/// Yields until body and children have ended; this wait itself cannot be cancelled, but the
/// children are. A panic of body or child cancels the others, waits for them and goes on here.
///
/// # Errors
///
/// The first error, in time, of body or child that came before the scope was over; it cancels
/// the rest. If the scope was cancelled or timed out first, the first error that came after.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// # fiber::run(|| {
/// let sum = Cell::new(0);
/// fiber::scope(|s| {
///     for n in 1..=3 {
///         let sum = &sum;
///         s.spawn(move || { fiber::yield_now()?; sum.set(sum.get() + n); Ok(()) })
///             .map_err(std::io::Error::from)?;
///     }
///     Ok::<_, std::io::Error>(())
/// })
/// .unwrap();
/// assert_eq!(sum.get(), 6);
/// # }).unwrap();
/// ```
pub fn scope<'env, T, E, F>(body: F) -> Result<T, E>
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env, E>) -> Result<T, E>,
{
    let core = core::current();
    let entered = core.as_deref().and_then(|core| Entered::new(core).ok());
    let scope = Scope {
        runtime: core
            .clone()
            .zip(entered.as_ref().map(|entered| entered.scope)),
        children: Cell::new(0),
        child_ended: WaitList::new(),
        errors: RefCell::new((None, None)),
        panic: RefCell::new(None),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    let value = match result {
        Ok(Ok(value)) => Some(Ok(value)),
        Ok(Err(error)) => {
            scope.record(error);
            None
        }
        Err(payload) => {
            scope.cancel();
            Some(Err(payload))
        }
    };
    scope.join_all();
    drop(entered);
    let child_panic = scope.panic.take();
    let (before, after) = scope.errors.take();
    match (value, child_panic) {
        (Some(Err(payload)), _) | (_, Some(payload)) => resume_unwind(payload),
        (value, None) => match (before.or(after), value) {
            (Some(error), _) => Err(error),
            (None, Some(Ok(value))) => Ok(value),
            (None, _) => unreachable!("a body without a value left an error or a panic"),
        },
    }
}
