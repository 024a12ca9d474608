//! Stacks for fibers: one guarded slot each, pooled.
//!
//! The strategy is chosen once per runtime. Where the kernel has guard regions
//! (`MADV_GUARD_INSTALL`, Linux 6.13), slots are carved from an arena and a million of them need
//! a few dozen mappings. Elsewhere each stack is corosensei's `DefaultStack`, with an mprotected
//! guard page and two mappings of its own.

#![allow(
    unsafe_code,
    reason = "implements corosensei's unsafe Stack trait; see docs/unsafe.md"
)]

mod arena;

use std::cell::RefCell;
use std::io;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use corosensei::stack::{DefaultStack, Stack, StackPointer};

use self::arena::{Arena, Slot};
use crate::sys;

/// Usable size of a fiber's stack when nothing else is asked for, guard included.
#[cfg(target_pointer_width = "64")]
pub const STACK_BYTES_DEFAULT: usize = 256 * 1024;
/// Usable size of a fiber's stack when nothing else is asked for, guard included.
#[cfg(not(target_pointer_width = "64"))]
pub const STACK_BYTES_DEFAULT: usize = 64 * 1024;

/// Finished stacks that are kept for the next fiber where each is a mapping of its own.
const SPARE_STACKS_MAX: usize = 64;

/// Where a runtime's stacks come from.
pub(crate) struct Stacks {
    source: Source,
}

enum Source {
    Arena(Rc<Arena>),
    Mapped(Rc<RefCell<Vec<DefaultStack>>>),
}

impl Stacks {
    /// Chooses the guard strategy by trying it out.
    pub(crate) fn new() -> Self {
        let source = if sys::guard_is_real() {
            Source::Arena(Rc::new(Arena::new(STACK_BYTES_DEFAULT)))
        } else {
            Source::Mapped(Rc::new(RefCell::new(Vec::new())))
        };
        Self { source }
    }

    /// Stacks that are a mapping each, whatever the kernel can do.
    #[cfg(test)]
    pub(crate) fn mapped() -> Self {
        Self {
            source: Source::Mapped(Rc::new(RefCell::new(Vec::new()))),
        }
    }

    /// Takes a stack: the one freed last if there is one.
    pub(crate) fn take(&self) -> io::Result<FiberStack> {
        match &self.source {
            Source::Arena(arena) => {
                let slot = Arena::take(arena)?;
                Ok(FiberStack {
                    base: below_head(slot.base()),
                    limit: slot.limit(),
                    _memory: Memory::Slot(slot),
                })
            }
            Source::Mapped(spare) => {
                let stack = match spare.borrow_mut().pop() {
                    Some(stack) => stack,
                    None => DefaultStack::new(STACK_BYTES_DEFAULT)?,
                };
                Ok(FiberStack {
                    base: below_head(stack.base()),
                    limit: stack.limit(),
                    _memory: Memory::Mapped(Pooled {
                        stack: Some(stack),
                        spare: Rc::clone(spare),
                    }),
                })
            }
        }
    }
}

/// Bytes above a stack that belong to whoever owns it; a multiple of a cache line.
pub(crate) const HEAD_BYTES: usize = 128;

/// One fiber's stack. Dropping it gives it back; it must not be dropped while a coroutine lives
/// on it, which `coroutine.rs` sees to.
pub(crate) struct FiberStack {
    /// Where the stack begins; the [`HEAD_BYTES`] above are the owner's.
    base: StackPointer,
    limit: StackPointer,
    /// Keeps the memory between the two.
    _memory: Memory,
}

impl FiberStack {
    /// The bytes above the stack, for its owner's use: [`HEAD_BYTES`] of them, aligned to as many,
    /// written by nobody else for as long as the stack is not dropped.
    pub(crate) fn head(&self) -> NonNull<u8> {
        let address = self.base.get();
        NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("a base is not zero")
    }
}

/// The end of a slot less what is kept for the head.
fn below_head(end: StackPointer) -> StackPointer {
    StackPointer::new(end.get() - HEAD_BYTES).expect("a stack is larger than its head")
}

enum Memory {
    Slot(#[expect(dead_code, reason = "held for its drop")] Slot),
    Mapped(#[expect(dead_code, reason = "held for its drop")] Pooled),
}

/// A mapping of its own that goes back among the spare ones.
struct Pooled {
    /// There until the drop.
    stack: Option<DefaultStack>,
    spare: Rc<RefCell<Vec<DefaultStack>>>,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_STACKS_MAX {
            spare.extend(self.stack.take());
        }
    }
}

// SAFETY: base and limit are the ends of memory that this value keeps mapped for as long as it
// lives (a slot counts its arena, a DefaultStack owns its mapping), that no other FiberStack
// shares, that is readable and writable above the guard at its low end, and that is aligned:
// both ends are multiples of 128.
unsafe impl Stack for FiberStack {
    #[inline(always)]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline(always)]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_stack_is_the_next_one_taken() {
        let stacks = Stacks::new();
        let first = stacks.take().unwrap();
        let second = stacks.take().unwrap();
        let base = second.base();
        drop(second);
        assert_eq!(stacks.take().unwrap().base(), base);
        drop(first);
    }

    #[test]
    fn stacks_never_overlap_and_stay_aligned() {
        let stacks = Stacks::new();
        let taken: Vec<_> = (0..100).map(|_| stacks.take().unwrap()).collect();
        let mut ranges: Vec<_> = taken
            .iter()
            .map(|stack| (stack.limit().get(), stack.base().get()))
            .collect();
        ranges.sort_unstable();
        assert!(
            ranges
                .iter()
                .all(|(low, high)| low < high && high % 128 == 0)
        );
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }

    #[test]
    fn mapped_stacks_are_pooled_too() {
        let stacks = Stacks::mapped();
        let base = stacks.take().unwrap().base();
        assert_eq!(stacks.take().unwrap().base(), base);
    }
}
