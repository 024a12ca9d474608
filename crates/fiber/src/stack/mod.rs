//! Stacks for fibers: one guarded slot each, pooled by size.
//!
//! The guards are chosen once per runtime (`guard.rs`). Slots are carved from an arena of their
//! size (`arena.rs`); where that is not possible each is a mapping of its own (`mapped.rs`). What
//! was used and is not needed any more goes back to the system before the runtime sleeps.

#![allow(
    unsafe_code,
    reason = "implements corosensei's unsafe Stack trait; see docs/unsafe.md"
)]

mod arena;
mod guard;
mod mapped;
pub(crate) mod overflow;

use std::cell::Cell;
use std::io;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use corosensei::stack::{Stack, StackPointer};

use self::arena::Arena;
pub use self::guard::StackGuards;
use self::mapped::Mapped;
use crate::error::SpawnError;
use crate::stats::Counter;
use crate::sys;
use crate::target::CLASSES;
pub use crate::target::STACK_BYTES_DEFAULT;

/// Size of the smallest stacks.
pub const STACK_BYTES_MIN: usize = 64 * 1024;

/// Size of the largest stacks.
pub const STACK_BYTES_MAX: usize = STACK_BYTES_MIN << (2 * (CLASSES - 1));

/// Time for which a stack is not used before it counts as cold, and half of that at least.
const COLD_PERIOD_NANOS: u64 = 1_000_000_000;

/// Stacks whose memory is given back before the runtime looks whether there is something to do.
const TRIM_STACKS_MAX: usize = 64;

/// The class of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackClass(u8);

impl StackClass {
    /// That of the default size.
    pub(crate) const DEFAULT: Self = Self::of(STACK_BYTES_DEFAULT);

    /// The smallest class of at least so many bytes; for more than the largest has, one that
    /// there is not.
    const fn of(bytes: usize) -> Self {
        let mut class = 0;
        while (class as usize) < CLASSES && Self(class).bytes() < bytes {
            class += 1;
        }
        Self(class)
    }

    /// The smallest class of at least so many bytes.
    ///
    /// # Errors
    ///
    /// [`SpawnError::StackTooLarge`].
    pub(crate) fn holding(bytes: usize) -> Result<Self, SpawnError> {
        let class = Self::of(bytes);
        if usize::from(class.0) == CLASSES {
            return Err(SpawnError::StackTooLarge { bytes });
        }
        Ok(class)
    }

    const fn bytes(self) -> usize {
        STACK_BYTES_MIN << (2 * self.0)
    }
}

/// Where a runtime's stacks come from.
pub(crate) struct Stacks {
    guards: StackGuards,
    pools: [Rc<Pool>; CLASSES],
    /// When stacks that are not used in the present period become cold.
    period_end: Cell<u64>,
    /// Whether more stacks became free since it was last looked than are kept as they are.
    surplus: Rc<Cell<bool>>,
    made: Counter,
    trimmed: Counter,
}

/// Stacks of one size. Each in use holds a count on it, so that no stack can outlive its memory.
enum Pool {
    Arena(Arena),
    Mapped(Mapped),
}

/// What is to be done about cold stacks before a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// Nothing: sleep as long as you like.
    Done,
    /// A batch was trimmed: look whether a fiber can run, then ask again.
    Again,
    /// Sleep no longer than so many nanoseconds, then ask again.
    After(u64),
}

impl Stacks {
    /// Chooses the guards: as they are set, else as the environment says, else by trying them out.
    ///
    /// # Errors
    ///
    /// The guards that were asked for do not work, or the environment names none.
    pub(crate) fn new(guards: Option<StackGuards>) -> io::Result<Self> {
        let guards = StackGuards::choose(guards)?;
        let surplus = Rc::new(Cell::new(false));
        let pool = |class: usize| {
            let bytes = STACK_BYTES_MIN << (2 * class);
            Rc::new(match guards {
                StackGuards::Mapped => Pool::Mapped(Mapped::new(bytes)),
                StackGuards::Regions | StackGuards::Pages => {
                    Pool::Arena(Arena::new(bytes, guards, Rc::clone(&surplus)))
                }
            })
        };
        Ok(Self {
            guards,
            pools: std::array::from_fn(pool),
            period_end: Cell::new(0),
            surplus,
            made: Counter::default(),
            trimmed: Counter::default(),
        })
    }

    /// The guards that were chosen.
    pub(crate) fn guards(&self) -> StackGuards {
        self.guards
    }

    /// Stacks made and stacks trimmed so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.made.get(), self.trimmed.get())
    }

    /// Takes a stack: the one of its size freed last if there is one.
    ///
    /// # Errors
    ///
    /// [`SpawnError::StackLimit`] or [`SpawnError::Stack`].
    #[inline]
    pub(crate) fn take(&self, class: StackClass) -> Result<FiberStack, SpawnError> {
        let pool = &self.pools[usize::from(class.0)];
        let (limit, end, fresh) = match &**pool {
            Pool::Arena(arena) => arena.take()?,
            Pool::Mapped(mapped) => mapped.take()?,
        };
        if fresh {
            self.made.add(1);
        }
        Ok(FiberStack {
            base: below_head(end),
            limit,
            pool: Rc::clone(pool),
        })
    }

    /// Whether there may be memory to give back.
    #[inline]
    pub(crate) fn may_trim(&self) -> bool {
        self.surplus.get()
    }

    /// Gives memory of cold stacks back, a batch at a time, before a sleep of so many nanoseconds
    /// (none: for ever). Costs next to nothing when there is nothing to give back.
    #[inline]
    pub(crate) fn trim(&self, now: u64, sleep: Option<u64>) -> Trim {
        if self.surplus.get() {
            self.trim_surplus(now, sleep)
        } else {
            Trim::Done
        }
    }

    fn trim_surplus(&self, now: u64, sleep: Option<u64>) -> Trim {
        let arenas = || {
            self.pools.iter().filter_map(|pool| match &**pool {
                Pool::Arena(arena) => Some(arena),
                // They go back as soon as they are spare.
                Pool::Mapped(_) => None,
            })
        };
        if !arenas().any(Arena::has_surplus) {
            self.surplus.set(false);
            return Trim::Done;
        }
        if now >= self.period_end.get() {
            arenas().for_each(Arena::begin_period);
            self.period_end.set(now.saturating_add(COLD_PERIOD_NANOS));
        }
        let mut left = TRIM_STACKS_MAX;
        for arena in arenas() {
            left -= arena.trim(left);
        }
        if left < TRIM_STACKS_MAX {
            self.trimmed.add((TRIM_STACKS_MAX - left) as u64);
            return Trim::Again;
        }
        let wait = self.period_end.get() - now;
        if sleep.is_some_and(|sleep| sleep <= wait) {
            Trim::Done
        } else {
            Trim::After(wait)
        }
    }
}

/// Bytes above a stack that belong to whoever owns it: a few cache lines, to the byte.
pub(crate) const HEAD_BYTES: usize = 3 * CACHE_LINE;

/// What ends of stacks are aligned to.
pub(crate) const CACHE_LINE: usize = 64;

/// One fiber's stack. Dropping it gives it back; it must not be dropped while a coroutine lives
/// on it, which `coroutine.rs` sees to.
pub(crate) struct FiberStack {
    /// Where the stack begins; the [`HEAD_BYTES`] above are the owner's.
    base: StackPointer,
    /// The low end, guard included.
    limit: StackPointer,
    /// Keeps the memory between the two.
    pool: Rc<Pool>,
}

impl FiberStack {
    /// The bytes above the stack, for its owner's use: [`HEAD_BYTES`] of them, aligned to
    /// [`CACHE_LINE`], written by nobody else for as long as the stack is not dropped.
    pub(crate) fn head(&self) -> NonNull<u8> {
        let address = self.base.get();
        NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("a base is not zero")
    }

    /// Where the stack lies.
    pub(crate) fn bounds(&self) -> Bounds {
        let (guard, size) = match &*self.pool {
            Pool::Arena(arena) => arena.layout(),
            Pool::Mapped(mapped) => mapped.layout(),
        };
        let low = self.limit.get();
        Bounds {
            low,
            usable: low + guard,
            end: low + size,
        }
    }
}

/// The memory of a stack, by address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The low end, where the guard begins.
    pub(crate) low: usize,
    /// Where the guard ends and what may be used begins.
    pub(crate) usable: usize,
    /// The high end, head and colour included.
    pub(crate) end: usize,
}

impl Bounds {
    /// Bytes from the lowest page that is in memory to the high end.
    pub(crate) fn touched(&self) -> usize {
        self.end - sys::first_resident(self.usable, self.end)
    }

    /// Whether the address lies in the guard.
    pub(crate) fn is_guard(&self, address: usize) -> bool {
        (self.low..self.usable).contains(&address)
    }
}

impl Drop for FiberStack {
    #[inline]
    fn drop(&mut self) {
        match &*self.pool {
            Pool::Arena(arena) => arena.give_back(self.limit),
            Pool::Mapped(mapped) => mapped.give_back(self.limit),
        }
    }
}

/// The end of a slot less what is kept for the head.
fn below_head(end: StackPointer) -> StackPointer {
    StackPointer::new(end.get() - HEAD_BYTES).expect("a stack is larger than its head")
}

// SAFETY: base and limit are the ends of memory that this value keeps mapped for as long as it
// lives (it counts the pool, which unmaps nothing that is taken), that no other FiberStack
// shares, that is readable and writable above the guard at its low end, and that is aligned:
// both ends are multiples of a cache line.
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

    const ALL: [StackGuards; 2] = [StackGuards::Pages, StackGuards::Mapped];

    fn stacks() -> [Stacks; 3] {
        let [pages, mapped] = ALL.map(|guards| Stacks::new(Some(guards)).unwrap());
        [Stacks::new(None).unwrap(), pages, mapped]
    }

    #[test]
    fn a_freed_stack_is_the_next_one_taken_of_its_size() {
        for stacks in stacks() {
            let take = |bytes| stacks.take(StackClass::holding(bytes).unwrap()).unwrap();
            let first = take(STACK_BYTES_DEFAULT);
            let second = take(STACK_BYTES_DEFAULT);
            let base = second.base();
            drop(second);
            assert_ne!(take(STACK_BYTES_DEFAULT + 1).base(), base);
            assert_eq!(take(STACK_BYTES_DEFAULT).base(), base);
            drop(first);
            assert_eq!(stacks.counts(), (3, 0));
        }
    }

    #[test]
    fn stacks_of_all_sizes_never_overlap_are_aligned_and_as_large_as_asked() {
        for stacks in stacks() {
            let mut taken = Vec::new();
            for class in 0..CLASSES {
                let class = StackClass(class.try_into().unwrap());
                for _ in 0..20 {
                    let stack = stacks.take(class).unwrap();
                    let size = stack.base().get() - stack.limit().get();
                    // Less a guard, the head and a colour.
                    assert!(size >= class.bytes() - 2_048 - HEAD_BYTES, "{size}");
                    taken.push(stack);
                }
            }
            let mut ranges: Vec<_> = taken
                .iter()
                .map(|stack| (stack.limit().get(), stack.base().get()))
                .collect();
            ranges.sort_unstable();
            assert!(
                ranges
                    .iter()
                    .all(|(low, high)| low < high && high % CACHE_LINE == 0)
            );
            assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }
    }

    #[test]
    fn a_size_is_rounded_up_to_the_next_class() {
        let size = |bytes| StackClass::holding(bytes).map(StackClass::bytes);
        assert_eq!(size(0).unwrap(), STACK_BYTES_MIN);
        assert_eq!(size(STACK_BYTES_MIN).unwrap(), STACK_BYTES_MIN);
        assert_eq!(size(STACK_BYTES_MIN + 1).unwrap(), 4 * STACK_BYTES_MIN);
        assert_eq!(size(STACK_BYTES_MAX).unwrap(), STACK_BYTES_MAX);
        assert!(matches!(
            size(STACK_BYTES_MAX + 1),
            Err(SpawnError::StackTooLarge { .. })
        ));
        assert_eq!(StackClass::DEFAULT.bytes(), STACK_BYTES_DEFAULT);
    }

    #[test]
    fn a_runtime_that_goes_to_sleep_is_woken_once_to_trim_and_not_again() {
        let stacks = Stacks::new(Some(StackGuards::Pages)).unwrap();
        assert_eq!(stacks.trim(5, None), Trim::Done);
        let taken: Vec<_> = (0..200)
            .map(|_| stacks.take(StackClass::DEFAULT).unwrap())
            .collect();
        drop(taken);
        assert_eq!(stacks.trim(10, None), Trim::After(COLD_PERIOD_NANOS));
        assert_eq!(stacks.trim(10, Some(100)), Trim::Done, "a short sleep");
        let then = 10 + COLD_PERIOD_NANOS;
        for _ in 0..3 {
            assert_eq!(stacks.trim(then, None), Trim::Again);
        }
        assert_eq!(stacks.trim(then, None), Trim::Done);
        assert_eq!(stacks.counts(), (200, 136));
    }
}
