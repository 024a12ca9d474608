//! An arena of equal stack slots in a few large mappings, and the pool of its free ones.
//!
//! ```text
//!  chunk (4 MiB, then doubling to 64 MiB)
//!  | slot 0                            | slot 1                            | ..
//!  | guard | ..... usable ..... |colour| guard | ..... usable ..... |colour|
//!  ^ low                        ^ base
//! ```
//!
//! Stacks grow down into the guard. `base` is lowered by up to 15 x 128 bytes ("colour"): tops at
//! the same offset of every page would fight for the same cache sets.
//!
//! The slot freed last is taken first, so those at the bottom of the free list are the coldest.
//!
//! ```text
//!  free:  [ .... trimmed .... | .... not used for a period .... | .. used .. | .. hot .. ]
//!          ^0                  ^trimmed                          ^cold             len^
//! ```

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use super::guard::{Splits, StackGuards};
use crate::cell::RefCell;
use crate::error::SpawnError;
use crate::sys::{self, Guard, Mapping};
use crate::target::GUARD_BYTES;

/// Size of an arena's first chunk of stacks.
const CHUNK_BYTES_FIRST: usize = 4 * 1024 * 1024;
/// Size at which chunks stop doubling.
const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Number of different offsets of stack tops.
const COLOURS: usize = 16;
/// Distance between two offsets.
const COLOUR_BYTES: usize = 128;
/// Free stacks of one size whose memory is never given back.
const HOT_STACKS_MAX: usize = 64;
/// Size of all those stacks together: of large ones fewer are kept.
pub(super) const HOT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a cold stack keeps: the page that every fiber touches.
const KEPT_BYTES: usize = 4 * 1024;

/// Slots of one size.
pub(super) struct Arena {
    slot_bytes: usize,
    guard_bytes: usize,
    kept_bytes: usize,
    hot_max: usize,
    guard: Cell<Guard>,
    /// Set when a slot is given back beyond those that keep their memory.
    surplus: Rc<Cell<bool>>,
    splits: Splits,
    state: RefCell<State>,
}

struct State {
    /// Kept for their memory; dropped, and so unmapped, with the arena. In the order of their addresses.
    chunks: Vec<Mapping>,
    /// Low ends of free slots with a guard in place, last freed last.
    free: Vec<NonZeroUsize>,
    /// The fewest that were free at once since the period began.
    least_free: usize,
    /// Of the first so many the memory was given back.
    trimmed: usize,
    /// The first so many were not used in the whole last period.
    cold: usize,
    fresh: Option<Fresh>,
    next_chunk_bytes: usize,
}

/// The slots of the newest chunk that were never used.
#[derive(Clone, Copy)]
struct Fresh {
    low: NonZeroUsize,
    left: usize,
}

impl Arena {
    /// An arena of slots of `slot_bytes`, guard included unless it would take more than a quarter
    /// of them.
    pub(super) fn new(slot_bytes: usize, guards: StackGuards, surplus: Rc<Cell<bool>>) -> Self {
        let guard_bytes = GUARD_BYTES.next_multiple_of(sys::page_size());
        let slot_bytes = if guard_bytes > slot_bytes / 4 {
            (slot_bytes + guard_bytes).next_power_of_two()
        } else {
            slot_bytes
        };
        Self {
            slot_bytes,
            guard_bytes,
            kept_bytes: KEPT_BYTES.next_multiple_of(sys::page_size()),
            hot_max: HOT_STACKS_MAX.min(HOT_BYTES_MAX / slot_bytes),
            guard: Cell::new(match guards {
                StackGuards::Regions => Guard::Region,
                StackGuards::Pages | StackGuards::Mapped => Guard::Page,
            }),
            surplus,
            splits: Splits::default(),
            state: RefCell::new(State {
                chunks: Vec::new(),
                free: Vec::new(),
                least_free: 0,
                trimmed: 0,
                cold: 0,
                fresh: None,
                next_chunk_bytes: CHUNK_BYTES_FIRST,
            }),
        }
    }

    /// Sizes of the guard and of a slot with it.
    pub(super) fn layout(&self) -> (usize, usize) {
        (self.guard_bytes, self.slot_bytes)
    }

    /// Takes a slot, a free one first, and tells its two ends, the low one first. The flag says
    /// whether it is new.
    ///
    /// # Errors
    ///
    /// [`SpawnError::StackLimit`], or what mmap, madvise or mprotect answered.
    #[inline]
    pub(super) fn take(&self) -> Result<(NonZeroUsize, NonZeroUsize, bool), SpawnError> {
        let free = {
            let mut state = self.state.borrow_mut();
            let free = state.free.pop();
            state.least_free = state.least_free.min(state.free.len());
            free
        };
        let (low, fresh) = match free {
            Some(low) => (low, false),
            None => (self.carve()?, true),
        };
        // The size is a power of two: no division on this path.
        let number = low.get() >> self.slot_bytes.trailing_zeros();
        let colour = number % COLOURS * COLOUR_BYTES;
        let base = low
            .checked_add(self.slot_bytes - colour)
            .expect("a mapping ends below the address limit");
        Ok((low, base, fresh))
    }

    /// Makes a slot the next one to be taken.
    #[inline]
    pub(super) fn give_back(&self, low: NonZeroUsize) {
        let mut state = self.state.borrow_mut();
        state.free.push(low);
        if state.free.len() > self.hot_max {
            self.surplus.set(true);
        }
    }

    /// Takes a slot that was never used and puts its guard in place.
    #[cold]
    fn carve(&self) -> Result<NonZeroUsize, SpawnError> {
        let mut state = self.state.borrow_mut();
        let fresh = match state.fresh {
            Some(fresh) => fresh,
            None => self.map_chunk(&mut state)?,
        };
        let chunk = chunk_of(&state.chunks, fresh.low);
        self.install_guard(chunk, fresh.low.get() - chunk.base().get())?;
        let next = fresh
            .low
            .checked_add(self.slot_bytes)
            .expect("a mapping ends below the address limit");
        state.fresh = (fresh.left > 1).then_some(Fresh {
            low: next,
            left: fresh.left - 1,
        });
        Ok(fresh.low)
    }

    fn map_chunk(&self, state: &mut State) -> Result<Fresh, SpawnError> {
        let bytes = state.next_chunk_bytes.max(self.slot_bytes);
        let chunk = Mapping::new(bytes).map_err(SpawnError::Stack)?;
        let fresh = Fresh {
            low: chunk.base(),
            left: chunk.len() / self.slot_bytes,
        };
        let at = first_above(&state.chunks, chunk.base());
        state.chunks.insert(at, chunk);
        state.next_chunk_bytes = (bytes * 2).min(CHUNK_BYTES_MAX);
        state.fresh = Some(fresh);
        Ok(fresh)
    }

    fn install_guard(&self, chunk: &Mapping, offset: usize) -> Result<(), SpawnError> {
        if self.guard.get() == Guard::Region {
            match chunk.install_guard(Guard::Region, offset, self.guard_bytes) {
                Ok(()) => return Ok(()),
                // Memory that the program has locked since the runtime began takes no regions.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.guard.set(Guard::Page);
                }
                Err(error) => return Err(SpawnError::Stack(error)),
            }
        }
        self.splits.add()?;
        chunk
            .install_guard(Guard::Page, offset, self.guard_bytes)
            .map_err(|error| {
                self.splits.remove();
                SpawnError::Stack(error)
            })
    }

    /// Whether there are free slots that may have memory to give back.
    pub(super) fn has_surplus(&self) -> bool {
        let state = self.state.borrow();
        let trimmed = state.trimmed.min(state.least_free);
        state.free.len() > trimmed + self.hot_max
    }

    /// Begins a period: what was not used in the one that ends is cold.
    pub(super) fn begin_period(&self) {
        let mut state = self.state.borrow_mut();
        state.trimmed = state.trimmed.min(state.least_free);
        state.cold = state.least_free;
        state.least_free = state.free.len();
    }

    /// Gives back the memory of up to `most` cold slots but for their tops. Returns of how many.
    pub(super) fn trim(&self, most: usize) -> usize {
        let mut state = self.state.borrow_mut();
        let State {
            chunks,
            free,
            least_free,
            trimmed,
            cold,
            ..
        } = &mut *state;
        *trimmed = (*trimmed).min(*least_free);
        *cold = (*cold).min(*least_free);
        let end = free.len().saturating_sub(self.hot_max).min(*cold);
        let batch = end.saturating_sub(*trimmed).min(most);
        for low in &free[*trimmed..*trimmed + batch] {
            let chunk = chunk_of(chunks, *low);
            let offset = low.get() - chunk.base().get() + self.guard_bytes;
            chunk.release(offset, self.slot_bytes - self.guard_bytes - self.kept_bytes);
        }
        *trimmed += batch;
        batch
    }
}

/// The chunk that holds a slot.
fn chunk_of(chunks: &[Mapping], low: NonZeroUsize) -> &Mapping {
    let at = first_above(chunks, low).checked_sub(1);
    at.and_then(|at| chunks.get(at))
        .expect("every slot lies in a chunk")
}

/// The place of the first chunk that begins above an address.
fn first_above(chunks: &[Mapping], address: NonZeroUsize) -> usize {
    chunks.partition_point(|chunk| chunk.base() <= address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena(slot_bytes: usize) -> Arena {
        Arena::new(slot_bytes, StackGuards::Pages, Rc::default())
    }

    /// Takes so many at once and gives all back.
    fn burst(arena: &Arena, stacks: usize) {
        let taken: Vec<_> = (0..stacks).map(|_| arena.take().unwrap().0).collect();
        taken.into_iter().for_each(|low| arena.give_back(low));
    }

    #[test]
    fn only_what_was_cold_for_a_whole_period_is_trimmed_once_and_in_batches() {
        let arena = arena(64 * 1024);
        burst(&arena, HOT_STACKS_MAX + 10);
        assert!(arena.has_surplus());
        arena.begin_period();
        assert_eq!(arena.trim(100), 0, "used in the period that ended");
        arena.begin_period();
        assert_eq!(arena.trim(4), 4);
        assert_eq!(arena.trim(100), 6);
        assert!(!arena.has_surplus());
        // Used again: the three that were reached are to be trimmed again, after a period.
        burst(&arena, HOT_STACKS_MAX + 3);
        assert!(arena.has_surplus());
        assert_eq!(arena.trim(100), 0);
        arena.begin_period();
        assert_eq!(arena.trim(100), 0);
        arena.begin_period();
        assert_eq!(arena.trim(100), 3);
    }

    #[test]
    fn of_large_stacks_fewer_are_kept_hot() {
        let hot = |bytes| arena(bytes).hot_max;
        assert_eq!(hot(256 * 1024), HOT_STACKS_MAX);
        assert_eq!(hot(4 * 1024 * 1024), 4);
        assert_eq!(hot(64 * 1024 * 1024), 0);
    }
}
