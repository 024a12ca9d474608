//! Counters of a runtime: what it did since it started.

use std::cell::Cell;

use crate::core;
use crate::coroutine;
use crate::stack::StackGuards;

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Declares the counters once: as cells that the runtime adds to, and as numbers to be read.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            fn read(&self) -> Stats {
                Stats {
                    $($name: self.$name.get(),)+
                }
            }
        }

        /// What the running runtime did so far. Every number only grows; differences between two
        /// readings are what a piece of work took.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }
    };
}

counters! {
    /// Fibers started, the main fiber and children of scopes among them.
    spawns,
    /// Fibers that have ended, in whatever way; `spawns` less this is how many there are.
    ended,
    /// Fibers of these that ended by a panic.
    panics,
    /// Switches into a fiber. Brought up to date at each poll: the last 64 may be missing.
    resumes,
    /// Waits that parked their fiber.
    parks,
    /// Parked fibers that were made ready: by what they waited for, by time or by their scope.
    wakes,
    /// Calls of the operating system's event queue.
    polls,
    /// Timers that were due: ends of waits, and of scopes that had a deadline.
    timers_fired,
    /// Jobs given to other threads.
    offload_jobs,
    /// Turns that lasted longer than [`crate::RuntimeBuilder::watchdog`] allows; none without it.
    slow_turns,
    /// Read calls on sockets and pipes that moved bytes, took a datagram or found the end. One of
    /// several buffers is one.
    reads,
    /// Write calls on sockets and pipes that moved bytes or a datagram, likewise.
    writes,
    /// Bytes those reads moved.
    bytes_read,
    /// Bytes those writes moved.
    bytes_written,
    /// Stacks taken from the system; all others were used before.
    stacks_made,
    /// Stacks whose memory was given back to the system, each time counted.
    stacks_trimmed,
}

/// Reads the counters of this thread's runtime; all zero outside one. Does not yield.
#[must_use]
pub fn stats() -> Stats {
    let Some(core) = core::current() else {
        return Stats::default();
    };
    let mut stats = core.counters.read();
    (stats.stacks_made, stats.stacks_trimmed) = core.stacks.counts();
    stats
}

/// How much of its stack the running fiber has touched at most, in bytes and whole pages; none
/// outside a fiber. Does not yield.
///
/// Asks the system which pages are in memory, so what was swapped out does not count, and what an
/// earlier fiber touched of the same stack does: exact for a stack that was never used before, of
/// which [`Stats::stacks_made`] tells; [`crate::trim_stack`] makes it less, as the client of crate `mqtt` does once it is
/// connected. For choosing the size of a stack, not for every day.
#[must_use]
pub fn stack_high_water() -> Option<usize> {
    coroutine::with_running(|_, stack| stack.touched())
}

/// How the stacks of this thread's runtime are guarded; none outside one. Does not yield.
#[must_use]
pub fn stack_guards() -> Option<StackGuards> {
    core::current().map(|core| core.stacks.guards())
}
