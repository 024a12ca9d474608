//! Children that borrow: a scope is not left while one of its fibers lives.

#![allow(
    unsafe_code,
    reason = "children borrow the parent's locals; see docs/unsafe.md"
)]

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::process;
use std::rc::Rc;

use crate::cancel::Entered;
use crate::core::{self, Core};
use crate::coroutine::{Facts, FiberCoroutine, PanicPayload, discard};
use crate::error::{SpawnError, Stopped};
use crate::local;
use crate::park::{WaitList, WaitReason, wait_apart};
use crate::scope_tree::ScopeRef;
use crate::stack::StackClass;

/// Which panics of a scope nobody is told of.
const SECOND_PANIC: &str = "of a second fiber of one scope";

/// Where the children of one [`scope()`] are spawned.
///
/// What a child borrows must outlive the whole scope; a local of the scope's body does not:
///
/// ```compile_fail,E0597
/// fiber::scope(|s| {
///     let local = 1;
///     let borrowed = &local;
///     s.spawn(move || { assert_eq!(*borrowed, 1); Ok(()) }).unwrap();
///     Ok::<(), ()>(())
/// }).unwrap();
/// ```
///
/// nor does one that is gone before the scope is left:
///
/// ```compile_fail,E0505
/// let text = String::new();
/// fiber::scope(|s| {
///     s.spawn(|| { assert!(text.is_empty()); Ok(()) }).unwrap();
///     drop(text);
///     Ok::<(), ()>(())
/// }).unwrap();
/// ```
///
/// and the way to spawn cannot be carried out of its scope:
///
/// ```compile_fail,E0521
/// let mut kept = None;
/// fiber::scope(|s| { kept = Some(s); Ok::<(), ()>(()) }).unwrap();
/// ```
pub struct Scope<'scope, 'env: 'scope, E> {
    runtime: Option<(Rc<Core>, ScopeRef)>,
    children: Cell<usize>,
    child_ended: WaitList,
    /// The first error that came before the scope was over, and the first that came after.
    errors: RefCell<(Option<E>, Option<E>)>,
    panic: RefCell<Option<PanicPayload>>,
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
    /// [`crate::FiberBuilder::spawn_scoped`] gives it a name, or a stack of another size.
    ///
    /// # Errors
    ///
    /// [`SpawnError`], as [`crate::spawn`], in a [`crate::no_park`], and in [`crate::on_big_stack`].
    #[track_caller]
    pub fn spawn<F>(&'scope self, body: F) -> Result<(), SpawnError>
    where
        F: FnOnce() -> Result<(), E> + 'scope,
        E: 'scope,
    {
        self.spawn_as(
            Cow::Borrowed(""),
            StackClass::DEFAULT,
            Location::caller(),
            body,
        )
    }

    /// As [`Scope::spawn`], of a fiber with settings.
    pub(crate) fn spawn_as<F>(
        &'scope self,
        name: Cow<'static, str>,
        class: StackClass,
        location: &'static Location<'static>,
        body: F,
    ) -> Result<(), SpawnError>
    where
        F: FnOnce() -> Result<(), E> + 'scope,
        E: 'scope,
    {
        let (core, scope) = self.runtime.as_ref().ok_or(SpawnError::NoRuntime)?;
        if core.no_park.is_on() {
            return Err(SpawnError::WouldWait);
        }
        let stack = core.stack_for_spawn(class)?;
        let facts = Facts::new(name, location, core.clock.now());
        let end = move |result| self.child_done(result);
        // SAFETY: `body` and `end` borrow what outlives 'scope. `scope` below does not return,
        // or unwind, before `children` is back at zero, which is the last thing `end` does; by
        // then `body` was consumed and errors and panics of it were kept or dropped. A child
        // that never ends keeps `scope` waiting for ever, so the borrowed data is never freed.
        let coroutine = unsafe { FiberCoroutine::new_unchecked(stack, facts, body, end) };
        self.children.set(self.children.get() + 1);
        core.add_fiber(coroutine, *scope);
        Ok(())
    }

    /// Cancels the scope: every wait of its body and its children fails from now on.
    pub fn cancel(&self) {
        if let Some((core, scope)) = &self.runtime {
            core.expire(*scope, Stopped::Cancelled);
        }
    }

    /// Keeps an error if it is the first of its kind, else gives it back to be dropped where that
    /// is safe. The first one that is not the consequence of an end cancels the rest.
    fn record(&self, error: E) -> Option<E> {
        let over = match &self.runtime {
            Some((core, scope)) => core.scopes.borrow().is_over(*scope),
            None => false,
        };
        let mut errors = self.errors.borrow_mut();
        let place = if over { &mut errors.1 } else { &mut errors.0 };
        let surplus = match place {
            Some(_) => Some(error),
            None => {
                *place = Some(error);
                None
            }
        };
        drop(errors);
        if !over {
            self.cancel();
        }
        surplus
    }

    /// Keeps the first panic and cancels the rest.
    fn record_panic(&self, payload: PanicPayload) {
        let mut first = self.panic.borrow_mut();
        let surplus = match *first {
            Some(_) => Some(payload),
            None => {
                *first = Some(payload);
                None
            }
        };
        drop(first);
        self.cancel();
        if let Some(payload) = surplus {
            discard(payload, SECOND_PANIC);
        }
    }

    /// Ends a child. Nothing in here unwinds, and nothing of the child is left after the count.
    fn child_done(&self, result: Result<Result<(), E>, PanicPayload>) {
        if let Some((core, _)) = &self.runtime {
            local::end();
            core.counters.panics.add(u64::from(result.is_err()));
        }
        let panic = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                // Code of the user runs where a surplus error is dropped.
                catch_unwind(AssertUnwindSafe(|| drop(self.record(error)))).err()
            }
            Err(payload) => Some(payload),
        };
        if let Some(payload) = panic {
            self.record_panic(payload);
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
            if wait_apart(core, &self.child_ended, WaitReason::ScopeEnd).is_err() {
                // Only a fiber that unwinds or may not wait here cannot, and such a one
                // could not have spawned a child. To go on would free what the children borrow.
                process::abort();
            }
        }
    }
}

/// Ends the process if a scope is left by a panic of this file's own while children live: what
/// they borrow must not be freed under them.
struct NoChildLeft<'a>(&'a Cell<usize>);

impl Drop for NoChildLeft<'_> {
    fn drop(&mut self) {
        if self.0.get() > 0 {
            process::abort();
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
    let no_child_left = NoChildLeft(&scope.children);
    let mut surplus = None;
    let result = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    let value = match result {
        Ok(Ok(value)) => Some(Ok(value)),
        Ok(Err(error)) => {
            surplus = scope.record(error);
            None
        }
        Err(payload) => {
            scope.cancel();
            Some(Err(payload))
        }
    };
    scope.join_all();
    drop(no_child_left);
    drop(entered);
    drop(surplus);
    let (before, after) = scope.errors.take();
    match (value, scope.panic.take()) {
        (Some(Err(payload)), child_panic) => {
            if let Some(second) = child_panic {
                discard(second, SECOND_PANIC);
            }
            resume_unwind(payload)
        }
        (_, Some(payload)) => resume_unwind(payload),
        (value, None) => match (before.or(after), value) {
            (Some(error), _) => Err(error),
            (None, Some(Ok(value))) => Ok(value),
            (None, _) => unreachable!("a body without a value left an error or a panic"),
        },
    }
}
