//! The only place that touches corosensei's coroutines: create, resume, suspend. And the pointers that
//! a switch goes by: to the fiber and to the runtime that run on this thread.
//!
//! A fiber's body runs to its end here and nowhere is a stack unwound by force: a coroutine that
//! is dropped while suspended is leaked, stack and all. Panics are caught at the root of the
//! body, so none ever crosses a switch.

#![allow(
    unsafe_code,
    reason = "stack switching; every site is listed in docs/unsafe.md"
)]

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::cell::RefCell;
use crate::core::Core;
use crate::local::Locals;
use crate::stack::{Bounds, CACHE_LINE, FiberStack, HEAD_BYTES};
use crate::sys;

/// What a panic leaves behind.
pub(crate) type PanicPayload = Box<dyn Any + Send + 'static>;

/// Bytes of the closures that go onto the new stack itself, padding included, for an alignment may
/// be far larger than a size. corosensei takes no more than 1 024 bytes there; larger ones go to
/// the heap and run from there, so that not even one larger than the stack is copied onto it.
const CLOSURE_BYTES_MAX: usize = 512;

thread_local! {
    /// The head of the coroutine that runs on this thread now; null when none does.
    ///
    /// Invariant: when not null it points to a head that is not dropped before it is null again.
    static RUNNING: Cell<*const Head> = const { Cell::new(ptr::null()) };
}

thread_local! {
    /// The runtime that runs on this thread; null when none does.
    ///
    /// Invariant: when not null it is the pointer of the one [`Here`] of this thread.
    static HERE: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

/// Makes a runtime the one of its thread while it lives.
pub(crate) struct Here {
    /// Invariant: came from `Rc::into_raw`, and has a count of its own until the drop.
    core: *const Core,
}

impl Here {
    /// Returns nothing when the thread has a runtime already.
    pub(crate) fn new(core: Rc<Core>) -> Option<Self> {
        if !HERE.get().is_null() {
            return None;
        }
        let core = Rc::into_raw(core);
        HERE.set(core);
        Some(Self { core })
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        HERE.set(ptr::null());
        // SAFETY: the pointer and the count are its own, and are given up here, once.
        drop(unsafe { Rc::from_raw(self.core) });
    }
}

/// Shows the runtime of this thread, if one runs. `show` may suspend the fiber that calls this.
#[inline(always)]
pub(crate) fn with_core<T>(show: impl FnOnce(&Core) -> T) -> Option<T> {
    let core = HERE.get();
    if core.is_null() {
        return None;
    }
    // SAFETY: not null, so by the invariant a `Here` keeps it alive. That is dropped where the runtime
    // ends, which is never inside `show`: it lies further down on the stack of the thread. A fiber that
    // is suspended in `show` then is never resumed, and its runtime never freed.
    Some(show(unsafe { &*core }))
}

/// The runtime of this thread, if one runs.
#[inline(always)]
pub(crate) fn core_here() -> Option<Rc<Core>> {
    let core = HERE.get();
    if core.is_null() {
        return None;
    }
    // SAFETY: came from `Rc::into_raw` and is alive, as in `with_core`; the count that is added is that
    // of the value that is made.
    unsafe {
        Rc::increment_strong_count(core);
        Some(Rc::from_raw(core))
    }
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
///  | guard | ...... stack, growing down | head |
///                                       ^ base
/// ```
///
/// corosensei's own value, stack included, lies in the head of that very stack, so that this one is
/// a pointer: it is moved at every switch.
pub(crate) struct FiberCoroutine {
    /// Invariant: points to a head that nobody else frees or has a `&mut` to, until the drop.
    head: NonNull<Head>,
}

type Inner = Coroutine<(), (), (), FiberStack>;

/// What lies above a stack. What every switch goes through comes first, in one cache line.
#[repr(C)]
struct Head {
    coroutine: Inner,
    /// Null until the body starts; then on the stack below, for as long as the body runs.
    yielder: Cell<*const Yielder<(), ()>>,
    facts: Facts,
    /// The stack that the fiber is on.
    stack: Cell<Bounds>,
}

/// What is known of a fiber from its start, and what it keeps for itself. Only those who look ask
/// for it, so it lies with the fiber, on a page that is in memory anyway.
#[repr(C)]
pub(crate) struct Facts {
    /// Turns that its body was given.
    pub(crate) resumes: Cell<u64>,
    pub(crate) name: Cow<'static, str>,
    pub(crate) location: &'static Location<'static>,
    /// When it was spawned, in nanoseconds of the runtime's clock.
    pub(crate) born: u64,
    pub(crate) locals: RefCell<Locals>,
    /// It has ended as far as new values of its own go.
    pub(crate) locals_ended: Cell<bool>,
}

impl Facts {
    pub(crate) fn new(
        name: Cow<'static, str>,
        location: &'static Location<'static>,
        born: u64,
    ) -> Self {
        Self {
            resumes: Cell::new(0),
            name,
            location,
            born,
            locals: RefCell::new(None),
            locals_ended: Cell::new(false),
        }
    }
}

/// Shows the fiber that runs on this thread, if one does, and the stack that it is on. `show` must
/// not suspend it. May be called in a signal handler, where only what does not change is looked at.
#[inline(always)]
pub(crate) fn with_running<T>(show: impl FnOnce(&Facts, Bounds) -> T) -> Option<T> {
    let head = RUNNING.get();
    if head.is_null() {
        return None;
    }
    // SAFETY: points to a head, by the invariant, that is not dropped while `show` runs: the fiber
    // itself calls this, or is interrupted by the handler that does. Nobody has a `&mut` to these
    // two fields; the bounds are set by the fiber itself: a handler that interrupts it just then
    // reads some of each.
    let (facts, stack) = unsafe { (&(*head).facts, (*head).stack.get()) };
    Some(show(facts, stack))
}

impl FiberCoroutine {
    /// Prepares `body`, which starts at the first resume; `end` then gets its value or its panic.
    pub(crate) fn new<T, F, D>(stack: FiberStack, facts: Facts, body: F, end: D) -> Self
    where
        T: 'static,
        F: FnOnce() -> T + 'static,
        D: FnOnce(Result<T, PanicPayload>) + 'static,
    {
        // SAFETY: everything the closures hold is 'static.
        unsafe { Self::new_unchecked(stack, facts, body, end) }
    }

    /// As [`FiberCoroutine::new`] for a body that borrows.
    ///
    /// # Safety
    ///
    /// What `body` and `end` borrow must stay valid until the coroutine finished or for ever if
    /// it never does.
    pub(crate) unsafe fn new_unchecked<T, F, D>(
        stack: FiberStack,
        facts: Facts,
        body: F,
        end: D,
    ) -> Self
    where
        F: FnOnce() -> T,
        D: FnOnce(Result<T, PanicPayload>),
    {
        if size_of::<(F, D)>() > CLOSURE_BYTES_MAX {
            let body: Box<dyn FnOnce() -> T + '_> = Box::new(body);
            // SAFETY: the caller's promise covers the body wherever it lies.
            return unsafe { Self::new_inline(stack, facts, body, end) };
        }
        // SAFETY: the caller's promise.
        unsafe { Self::new_inline(stack, facts, body, end) }
    }

    /// As [`FiberCoroutine::new_unchecked`] for closures that are known to fit on the stack.
    ///
    /// # Safety
    ///
    /// As [`FiberCoroutine::new_unchecked`].
    #[inline]
    unsafe fn new_inline<T, F, D>(stack: FiberStack, facts: Facts, body: F, end: D) -> Self
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
            // SAFETY: this very coroutine runs, so its head is alive.
            unsafe { (*RUNNING.get()).yielder.set(ptr::from_ref(yielder)) };
            let result = catch_unwind(AssertUnwindSafe(body));
            // `end` may drop the value, and dropping may panic.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| end(result))) {
                discard(payload, "while the value of its fiber was dropped");
            }
        };
        let head = stack.head().cast::<Head>();
        let bounds = stack.bounds();
        // SAFETY: the caller keeps the borrowed data valid; the stack is owned by the coroutine
        // and is freed only when that is done (see Drop).
        let coroutine = unsafe { Coroutine::with_stack_unchecked(stack, run) };
        // SAFETY: that is what is above the stack that the coroutine owns.
        unsafe { Self::with_head(head, coroutine, facts, bounds) }
    }

    /// Writes the head of a coroutine. Once for all bodies, since the program is smaller for it.
    ///
    /// # Safety
    ///
    /// `head` must be what is above the stack of `coroutine`.
    #[inline]
    unsafe fn with_head(
        head: NonNull<Head>,
        coroutine: Coroutine<(), (), (), FiberStack>,
        facts: Facts,
        bounds: Bounds,
    ) -> Self {
        const {
            assert!(size_of::<Head>() <= HEAD_BYTES && align_of::<Head>() <= CACHE_LINE);
        };
        // SAFETY: there is room for it above the stack, by size and alignment (asserted), which is
        // kept for it until the stack is dropped.
        unsafe {
            head.write(Head {
                coroutine,
                yielder: Cell::new(ptr::null()),
                facts,
                stack: Cell::new(bounds),
            });
        };
        Self { head }
    }

    /// What is known of the fiber, and its stack. While it runs [`with_running`] shows them.
    pub(crate) fn facts(&self) -> (&Facts, Bounds) {
        let head = self.head.as_ptr();
        // SAFETY: points to a live head, by the invariant, and nobody has a `&mut` to these fields.
        unsafe { (&(*head).facts, (*head).stack.get()) }
    }

    /// Asks the processor for what the next switch to this fiber looks at first. Stacks lie far apart,
    /// so without it that look often waits for a walk of the page tables.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        let head = self.head.as_ptr();
        // SAFETY: a hint, which changes nothing and reads nothing that the program could see.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(head.cast());
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!(
                "prfm pldl1keep, [{}]",
                in(reg) head,
                options(nostack, preserves_flags, readonly)
            );
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = head;
    }

    /// Switches to the body until it suspends or ends.
    #[inline(always)]
    pub(crate) fn resume(&mut self) -> Switch {
        RUNNING.set(self.head.as_ptr());
        // SAFETY: points to a live head, by the invariant; its coroutine is borrowed until control
        // comes back, and what runs meanwhile touches the other fields alone.
        let coroutine = unsafe { &mut (*self.head.as_ptr()).coroutine };
        let resumes = &self.facts().0.resumes;
        resumes.set(resumes.get() + 1);
        let switch = match coroutine.resume(()) {
            CoroutineResult::Yield(()) => Switch::Suspended,
            CoroutineResult::Return(()) => Switch::Finished,
        };
        RUNNING.set(ptr::null());
        switch
    }
}

impl Drop for FiberCoroutine {
    fn drop(&mut self) {
        // SAFETY: points to a live head that nobody has a `&mut` to: the coroutine does not run.
        let coroutine = unsafe { &self.head.as_ref().coroutine };
        if coroutine.done() || !coroutine.started() {
            // SAFETY: moved out once, here, before its drop gives back the stack it lies on. Either
            // the body ended, or it never began and corosensei drops the closure where it lies;
            // both leave nothing on the stack.
            drop(unsafe { self.head.read() });
        }
        // Suspended: others may hold borrows of what lies on the stack, so it stays for ever.
    }
}

/// Runs `body` on another stack while the running fiber stays where it is. Nothing in it may
/// suspend the fiber, which the callers see to. A panic goes on here.
pub(crate) fn on_stack<T>(stack: FiberStack, body: impl FnOnce() -> T) -> T {
    let head = RUNNING.get();
    assert!(!head.is_null(), "only a fiber goes onto another stack");
    // SAFETY: points to the head of the fiber that runs this very code, by the invariant; nobody has
    // a `&mut` to this field.
    let at = unsafe { &(*head).stack };
    let (here, there) = (at.get(), stack.bounds());
    let result = corosensei::on_stack(stack, || {
        at.set(there);
        let result = catch_unwind(AssertUnwindSafe(body));
        at.set(here);
        result
    });
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Gives back the memory of the running fiber's stack below what is in use of it, in whole pages. Does
/// nothing where no fiber runs.
pub(crate) fn trim() {
    if let Some(stack) = with_running(|_, stack| stack) {
        // SAFETY: that is a stack of this fiber, and where this code runs on it nothing below is in use; one
        // that runs elsewhere, on a stack of somebody else, is left alone.
        unsafe { sys::release_below_here(stack.usable, stack.end) };
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
    let head = RUNNING.get();
    assert!(!head.is_null(), "only a fiber suspends");
    // SAFETY: not null, so by the invariant it points to the head of the coroutine that runs this
    // very code; the yielder was set at its start and lies on its stack. Both are there when
    // control comes back, for a suspended coroutine is never freed.
    unsafe { (*(*head).yielder.get()).suspend(()) };
}
