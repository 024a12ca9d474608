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

    /// Takes a stack: the one freed last if there is one.
    pub(crate) fn take(&self) -> io::Result<FiberStack> {
        let kind = match &self.source {
            Source::Arena(arena) => Kind::Slot(Arena::take(arena)?),
            Source::Mapped(spare) => {
                let stack = match spare.borrow_mut().pop() {
                    Some(stack) => stack,
                    None => DefaultStack::new(STACK_BYTES_DEFAULT)?,
                };
                Kind::Mapped {
                    stack: Some(stack),
                    spare: Rc::clone(spare),
                }
            }
        };
        Ok(FiberStack { kind })
    }
}

/// One fiber's stack. Dropping it gives it back; it must not be dropped while a coroutine lives
/// on it, which `coroutine.rs` sees to.
pub(crate) struct FiberStack {
    kind: Kind,
}

enum Kind {
    Slot(Slot),
    Mapped {
        stack: Option<DefaultStack>,
        spare: Rc<RefCell<Vec<DefaultStack>>>,
    },
}

impl Drop for FiberStack {
    fn drop(&mut self) {
        if let Kind::Mapped { stack, spare } = &mut self.kind
            && let Some(stack) = stack.take()
            && spare.borrow().len() < SPARE_STACKS_MAX
        {
            spare.borrow_mut().push(stack);
        }
    }
}

const NOT_TAKEN: &str = "a mapped stack is taken out only by drop";

// SAFETY: base and limit are the ends of memory that this value keeps mapped for as long as it
// lives (a slot counts its arena, a DefaultStack owns its mapping), that no other FiberStack
// shares, that is readable and writable above the guard at its low end, and that is aligned:
// both ends are multiples of 128.
unsafe impl Stack for FiberStack {
    #[inline]
    fn base(&self) -> StackPointer {
        match &self.kind {
            Kind::Slot(slot) => slot.base(),
            Kind::Mapped { stack, .. } => stack.as_ref().expect(NOT_TAKEN).base(),
        }
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        match &self.kind {
            Kind::Slot(slot) => slot.limit(),
            Kind::Mapped { stack, .. } => stack.as_ref().expect(NOT_TAKEN).limit(),
        }
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
        let stacks = Stacks {
            source: Source::Mapped(Rc::new(RefCell::new(Vec::new()))),
        };
        let base = stacks.take().unwrap().base();
        assert_eq!(stacks.take().unwrap().base(), base);
    }
}
