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
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::stack::{FiberStack, HEAD_BYTES};

/// What a panic leaves behind.
pub(crate) type PanicPayload = Box<dyn Any + Send + 'static>;

/// Bytes of the closures that go onto the new stack itself, padding included, for an alignment may
/// be far larger than a size. corosensei takes no more than 1 024 bytes there; larger ones go to
/// the heap and run from there, so that not even one larger than the stack is copied onto it.
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
///
/// ```text
///  | guard | ...... stack, growing down | head: corosensei's coroutine |
///                                       ^ base
/// ```
///
/// corosensei's own value, stack included, lies in the head of that very stack, so that this one is
/// a pointer: it is moved at every switch.
pub(crate) struct FiberCoroutine {
    /// Invariant: points to a coroutine that nobody else names, until the drop.
    inner: NonNull<Inner>,
}

type Inner = Coroutine<(), (), (), FiberStack>;

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
            let body: Box<dyn FnOnce() -> T + '_> = Box::new(body);
            // SAFETY: the caller's promise covers the body wherever it lies.
            return unsafe { Self::new_inline(stack, body, end) };
        }
        // SAFETY: the caller's promise.
        unsafe { Self::new_inline(stack, body, end) }
    }

    /// As [`FiberCoroutine::new_unchecked`] for closures that are known to fit on the stack.
    ///
    /// # Safety
    ///
    /// As [`FiberCoroutine::new_unchecked`].
    unsafe fn new_inline<T, F, D>(stack: FiberStack, body: F, end: D) -> Self
    where
        F: FnOnce() -> T,
        D: FnOnce(Result<T, PanicPayload>),
    {
        const {
            assert!(
                size_of::<D>() <= size_of::<usize>() * 2,
                "what a fiber does at its end holds a pointer or two"
            );
        };
        let run = move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(ptr::from_ref(yielder));
            let result = catch_unwind(AssertUnwindSafe(body));
            // `end` may drop the value, and dropping may panic.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| end(result))) {
                discard(payload, "while the value of its fiber was dropped");
            }
        };
        const {
            assert!(size_of::<Inner>() <= HEAD_BYTES && align_of::<Inner>() <= HEAD_BYTES);
        };
        let inner = stack.head().cast::<Inner>();
        // SAFETY: the caller keeps the borrowed data valid; the stack is owned by the coroutine
        // and is freed only when that is done (see Drop).
        let coroutine = unsafe { Coroutine::with_stack_unchecked(stack, run) };
        // SAFETY: the head has room for the coroutine, by size and alignment (asserted), and is
        // kept for it until its stack is dropped.
        unsafe { inner.write(coroutine) };
        Self { inner }
    }

    /// Switches to the body until it suspends or ends.
    #[inline(always)]
    pub(crate) fn resume(&mut self) -> Switch {
        // SAFETY: points to a coroutine that only this value names, by the invariant; it is borrowed
        // until control comes back, and what runs meanwhile knows nothing of it.
        let inner = unsafe { self.inner.as_mut() };
        let switch = match inner.resume(()) {
            CoroutineResult::Yield(()) => Switch::Suspended,
            CoroutineResult::Return(()) => Switch::Finished,
        };
        YIELDER.set(ptr::null());
        switch
    }
}

impl Drop for FiberCoroutine {
    fn drop(&mut self) {
        // SAFETY: as for `resume`.
        let inner = unsafe { self.inner.as_ref() };
        if inner.done() || !inner.started() {
            // SAFETY: moved out once, here, before its drop gives back the stack it lies on. Either
            // the body ended, or it never began and corosensei drops the closure where it lies;
            // both leave nothing on the stack.
            drop(unsafe { self.inner.read() });
        }
        // Suspended: others may hold borrows of what lies on the stack, so it stays for ever.
    }
}

/// Logs and drops a panic that nobody can be told of. One whose own drop panics is forgotten:
/// that second panic has nowhere to go.
pub(crate) fn discard(payload: PanicPayload, when: &str) {
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        log::error!("a panic {when} is forgotten");
        drop(payload);
    }));
    if let Err(second) = dropped {
        mem::forget(second);
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
