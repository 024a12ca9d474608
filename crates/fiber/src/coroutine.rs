//! The only place that touches corosensei's coroutines: create, resume, suspend.
//!
//! A fiber's body runs to its end here and nowhere is a stack unwound by force: a coroutine that
//! is dropped while suspended is leaked, stack and all. Panics are caught at the root of the
//! body, so none ever crosses a switch.

#![allow(
    unsafe_code,
    reason = "stack switching; every site is listed in docs/unsafe.md"
)]

use std::any::Any;
use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::stack::FiberStack;

/// What a panic leaves behind.
pub(crate) type PanicPayload = Box<dyn Any + Send + 'static>;

/// Closures that go onto the new stack itself; corosensei takes no more than 1 024 bytes there, and
/// larger ones are boxed.
const CLOSURE_BYTES_MAX: usize = 512;

thread_local! {
    /// The yielder of the coroutine that runs on this thread now; null when none does.
    ///
    /// Invariant: when not null it points into the stack of the running coroutine.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
}

/// Why `resume` came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// The body called [`suspend`].
    Suspended,
    /// The body ended.
    Finished,
}

/// A body on a stack of its own.
pub(crate) struct FiberCoroutine {
    inner: ManuallyDrop<Coroutine<(), (), (), FiberStack>>,
}

impl FiberCoroutine {
    /// Prepares `body`, which starts at the first resume; `end` then gets its value or its panic.
    pub(crate) fn new<T, F, D>(stack: FiberStack, body: F, end: D) -> Self
    where
        T: 'static,
        F: FnOnce() -> T + 'static,
        D: FnOnce(Result<T, PanicPayload>) + 'static,
    {
        // SAFETY: everything the closures hold is 'static.
        unsafe { Self::new_unchecked(stack, body, end) }
    }

    /// As [`FiberCoroutine::new`] for a body that borrows.
    ///
    /// # Safety
    ///
    /// What `body` and `end` borrow must stay valid until the coroutine finished or for ever if
    /// it never does.
    pub(crate) unsafe fn new_unchecked<T, F, D>(stack: FiberStack, body: F, end: D) -> Self
    where
        F: FnOnce() -> T,
        D: FnOnce(Result<T, PanicPayload>),
    {
        if size_of::<(F, D)>() > CLOSURE_BYTES_MAX {
            // SAFETY: as for this function; the boxes hold the same closures.
            return unsafe { Self::start(stack, Box::new(body), Box::new(end)) };
        }
        // SAFETY: as for this function.
        unsafe { Self::start(stack, body, end) }
    }

    /// As [`FiberCoroutine::new_unchecked`], for closures of at most [`CLOSURE_BYTES_MAX`].
    ///
    /// # Safety
    ///
    /// As [`FiberCoroutine::new_unchecked`].
    unsafe fn start<T, F, D>(stack: FiberStack, body: F, end: D) -> Self
    where
        F: FnOnce() -> T,
        D: FnOnce(Result<T, PanicPayload>),
    {
        let run = move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(ptr::from_ref(yielder));
            let result = catch_unwind(AssertUnwindSafe(body));
            // `end` may drop the value, and dropping may panic; a second panic while its payload
            // is dropped has nowhere to go, so the payload is forgotten.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| end(result))) {
                log::error!("the value of a finished fiber panicked while it was dropped");
                mem::forget(payload);
            }
        };
        // SAFETY: the caller keeps the borrowed data valid; the stack is owned by the coroutine
        // and is freed only when that is done (see Drop).
        let coroutine = unsafe { Coroutine::with_stack_unchecked(stack, run) };
        Self {
            inner: ManuallyDrop::new(coroutine),
        }
    }

    /// Switches to the body until it suspends or ends.
    #[inline(always)]
    pub(crate) fn resume(&mut self) -> Switch {
        let switch = match self.inner.resume(()) {
            CoroutineResult::Yield(()) => Switch::Suspended,
            CoroutineResult::Return(()) => Switch::Finished,
        };
        YIELDER.set(ptr::null());
        switch
    }
}

impl Drop for FiberCoroutine {
    fn drop(&mut self) {
        if self.inner.done() || !self.inner.started() {
            // SAFETY: dropped once, here. Either the body ended, or it never began and corosensei
            // drops the closure where it lies; both leave nothing on the stack.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        }
        // Suspended: others may hold borrows of what lies on the stack, so it stays for ever.
    }
}

/// Gives control back to whoever resumed the running coroutine, until it is resumed again.
///
/// # Panics
///
/// When no coroutine runs; callers have found the running fiber before.
#[inline(always)]
pub(crate) fn suspend() {
    let yielder = YIELDER.get();
    assert!(!yielder.is_null(), "only a fiber suspends");
    // SAFETY: not null, so by the invariant it points into the stack of the coroutine that runs
    // this very code: set at its start and after each switch back, cleared by `resume` when
    // control leaves.
    unsafe { (*yielder).suspend(()) };
    YIELDER.set(yielder);
}

#[cfg(test)]
mod tests {
    /// A closure beyond what corosensei takes onto the new stack.
    #[test]
    fn a_body_may_capture_much() {
        let much = [7_u8; 4000];
        let sum = crate::run(move || much.iter().map(|byte| u32::from(*byte)).sum::<u32>());
        assert_eq!(sum.unwrap(), 28_000);
    }
}
