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

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) resumes: Counter,
    pub(crate) polls: Counter,
    pub(crate) spawns: Counter,
    pub(crate) reads: Counter,
    pub(crate) writes: Counter,
    pub(crate) bytes_read: Counter,
    pub(crate) bytes_written: Counter,
}

/// What the running runtime did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Switches into a fiber.
    pub resumes: u64,
    /// Calls of the operating system's event queue.
    pub polls: u64,
    /// Fibers started.
    pub spawns: u64,
    /// Read calls on sockets and pipes that moved bytes or found the end.
    pub reads: u64,
    /// Write calls on sockets and pipes that moved bytes.
    pub writes: u64,
    /// Bytes those reads moved.
    pub bytes_read: u64,
    /// Bytes those writes moved.
    pub bytes_written: u64,
    /// Stacks taken from the system; all others were used before.
    pub stacks_made: u64,
    /// Stacks whose memory was given back to the system, each time counted.
    pub stacks_trimmed: u64,
}

/// Reads the counters of this thread's runtime; all zero outside one. Does not yield.
#[must_use]
pub fn stats() -> Stats {
    let Some(core) = core::current() else {
        return Stats::default();
    };
    let counters = &core.counters;
    let (stacks_made, stacks_trimmed) = core.stacks.counts();
    Stats {
        resumes: counters.resumes.get(),
        polls: counters.polls.get(),
        spawns: counters.spawns.get(),
        reads: counters.reads.get(),
        writes: counters.writes.get(),
        bytes_read: counters.bytes_read.get(),
        bytes_written: counters.bytes_written.get(),
        stacks_made,
        stacks_trimmed,
    }
}

/// How much of its stack the running fiber has touched at most, in bytes and whole pages; none
/// outside a fiber. Does not yield.
///
/// Asks the system which pages are in memory, so what was swapped out does not count, and what an
/// earlier fiber touched of the same stack does: exact for a stack that was never used before, of
/// which [`Stats::stacks_made`] tells. For choosing the size of a stack, not for every day.
#[must_use]
pub fn stack_high_water() -> Option<usize> {
    coroutine::with_running(|running| running.stack.touched())
}

/// How the stacks of this thread's runtime are guarded; none outside one. Does not yield.
#[must_use]
pub fn stack_guards() -> Option<StackGuards> {
    core::current().map(|core| core.stacks.guards())
}
