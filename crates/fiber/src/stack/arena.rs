//! An arena of equal stack slots in a few large mappings.
//!
//! ```text
//!  chunk (4 MiB, then doubling to 64 MiB)
//!  | slot 0                            | slot 1                            | ..
//!  | guard | ..... usable ..... |colour| guard | ..... usable ..... |colour|
//!  ^ limit                      ^ base
//! ```
//!
//! Stacks grow down into the guard. `base` is lowered by up to 15 x 128 bytes ("colour"): tops at
//! the same offset of every page would fight for the same cache sets.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;

use crate::sys::{self, Mapping};

/// Size of an arena's first chunk of stacks.
const CHUNK_BYTES_FIRST: usize = 4 * 1024 * 1024;
/// Size at which chunks stop doubling.
const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Number of different offsets of stack tops.
const COLOURS: usize = 16;
/// Distance between two offsets.
const COLOUR_BYTES: usize = 128;

/// Size of the guard at the low end: one page where rustc probes every page of a frame and so
/// does the C library; 64 KiB where either may step over a page.
fn guard_bytes() -> usize {
    if cfg!(target_arch = "x86_64") {
        sys::page_size()
    } else {
        64 * 1024
    }
}

/// Slots of one size. Each slot in use holds a count on it, so that no stack can outlive it.
pub(crate) struct Arena {
    slot_bytes: usize,
    guard_bytes: usize,
    state: RefCell<State>,
}

struct State {
    /// Kept for their memory; dropped, and so unmapped, with the arena.
    chunks: Vec<Mapping>,
    /// Low ends of free slots with a guard in place, last freed last.
    free: Vec<NonZeroUsize>,
    /// Low end and number of the slots of the newest chunk that were never used.
    fresh: Option<(NonZeroUsize, usize)>,
    next_chunk_bytes: usize,
}

impl Arena {
    /// An arena of slots of `slot_bytes`, guard included unless it would take a quarter of them.
    pub(crate) fn new(slot_bytes: usize) -> Self {
        let guard_bytes = guard_bytes();
        let extra = if guard_bytes > slot_bytes / 4 {
            guard_bytes
        } else {
            0
        };
        Self {
            slot_bytes: slot_bytes + extra,
            guard_bytes,
            state: RefCell::new(State {
                chunks: Vec::new(),
                free: Vec::new(),
                fresh: None,
                next_chunk_bytes: CHUNK_BYTES_FIRST,
            }),
        }
    }

    /// Takes a slot, from the free list first.
    ///
    /// # Errors
    ///
    /// What mmap or madvise answered when memory or mappings ran out.
    pub(crate) fn take(arena: &Rc<Self>) -> io::Result<Slot> {
        let free = arena.state.borrow_mut().free.pop();
        let low = match free {
            Some(low) => low,
            None => arena.carve()?,
        };
        let size = arena.slot_bytes;
        let colour = (low.get() / size) % COLOURS * COLOUR_BYTES;
        let base = low
            .checked_add(size - colour)
            .expect("a mapping ends below the address limit");
        Ok(Slot {
            arena: Rc::clone(arena),
            low,
            base,
        })
    }

    /// Takes a slot that was never used and puts its guard in place.
    fn carve(&self) -> io::Result<NonZeroUsize> {
        let mut state = self.state.borrow_mut();
        let (low, left) = match state.fresh {
            Some(fresh) => fresh,
            None => {
                let bytes = state.next_chunk_bytes.max(self.slot_bytes);
                let chunk = Mapping::new(bytes)?;
                let fresh = (chunk.base(), chunk.len() / self.slot_bytes);
                state.chunks.push(chunk);
                state.next_chunk_bytes = (bytes * 2).min(CHUNK_BYTES_MAX);
                state.fresh = Some(fresh);
                fresh
            }
        };
        let chunk = state
            .chunks
            .last()
            .expect("fresh slots lie in the newest chunk");
        chunk.install_guard(low.get() - chunk.base().get(), self.guard_bytes)?;
        let next = low
            .checked_add(self.slot_bytes)
            .expect("a mapping ends below the address limit");
        state.fresh = (left > 1).then_some((next, left - 1));
        Ok(low)
    }
}

/// A stack's memory. Dropping it makes it the next one to be taken.
pub(crate) struct Slot {
    arena: Rc<Arena>,
    low: NonZeroUsize,
    base: NonZeroUsize,
}

impl Slot {
    /// High end, where the stack begins.
    pub(crate) fn base(&self) -> NonZeroUsize {
        self.base
    }

    /// Low end, guard included.
    pub(crate) fn limit(&self) -> NonZeroUsize {
        self.low
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.arena.state.borrow_mut().free.push(self.low);
    }
}
