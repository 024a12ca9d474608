//! Timers: a few runs in ascending order, and a heap for what fits in none. Ordered by deadline and
//! then by order of insertion.
//!
//! ```text
//!   insert ─┬─ not before the last of a run ─► appended there     [ 3 5 5 9 ]   the runs
//!           │                                                     [ 40 41 ]
//!           └─ else ─► heap                                       { 1 7 2 }     the heap
//!   next: the first of all their firsts
//! ```
//! Timers of one length, as those of a time limit that every operation has, come in ascending order:
//! they enter and leave a run at its ends, whatever their number. A timer goes to the run whose last is
//! the latest that is not after it, so that one far in the future does not keep others out.
//!
//! A timer that is cancelled is taken out if it stands at an end of its run, and else stays until it
//! comes to be the first, or until such ones are more than half of all. Whether one still means
//! something is seen by its target: a wait that is over and a scope that was left are known as such.
//!
//! Pure: deadlines are nanoseconds of whatever clock the caller keeps. Inserting and cancelling
//! allocate only when more timers are kept than ever before.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use crate::core::Core;
use crate::park::Unparker;
use crate::scope_tree::ScopeRef;

/// Runs beside the heap.
const RUNS: usize = 4;
/// Cancelled timers that are kept whatever the number of others.
const DEAD_FREE_MAX: usize = 64;

/// What a timer does when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Ends one wait of a fiber.
    Fiber(Unparker),
    /// Ends a scope.
    Scope(ScopeRef),
}

/// Names a live timer. Stale once it fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    pub(crate) deadline: u64,
    /// The last bits of its rank.
    pub(crate) rank: u32,
    /// Its run; [`RUNS`] for the heap.
    pub(crate) run: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    /// Puts timers of one deadline into the order in which they were inserted, or another one that
    /// was drawn.
    rank: u64,
    target: Target,
}

impl Entry {
    fn is_named(&self, key: TimerKey) -> bool {
        self.deadline == key.deadline && self.rank as u32 == key.rank
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earlier is the greater one: that comes first out of a heap.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.deadline, other.rank).cmp(&(self.deadline, self.rank))
    }
}

/// All timers of one runtime.
pub(crate) struct Timers {
    runs: [VecDeque<Entry>; RUNS],
    /// The deadline of the last of each run, 0 of an empty one.
    lasts: [u64; RUNS],
    heap: BinaryHeap<Entry>,
    /// The run to which a timer was added last.
    latest: usize,
    /// How many of all were cancelled.
    dead: usize,
    /// None that is kept comes before.
    bound: u64,
    /// Those of this deadline and before have fired, when one last did.
    fired: Option<u64>,
    ranks: u64,
    /// Draws the order of timers of one deadline.
    #[cfg(feature = "sim")]
    shuffle: Option<std::rc::Rc<crate::sim::State>>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            runs: Default::default(),
            lasts: [0; RUNS],
            heap: BinaryHeap::new(),
            latest: 0,
            dead: 0,
            bound: u64::MAX,
            fired: None,
            ranks: 0,
            #[cfg(feature = "sim")]
            shuffle: None,
        }
    }

    /// Timers of which those of one deadline fire in an order that is drawn.
    #[cfg(feature = "sim")]
    pub(crate) fn shuffled(sim: std::rc::Rc<crate::sim::State>) -> Self {
        Self {
            shuffle: Some(sim),
            ..Self::new()
        }
    }

    /// The rank of the next timer among those of its deadline.
    #[inline]
    fn next_rank(&mut self) -> u64 {
        let rank = self.ranks;
        self.ranks += 1;
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.shuffle {
            return (sim.schedule.next() & !0xFFFF_FFFF) | (rank & 0xFFFF_FFFF);
        }
        rank
    }

    /// Adds a timer.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, target: Target) -> TimerKey {
        let rank = self.next_rank();
        let entry = Entry {
            deadline,
            rank,
            target,
        };
        // One that is due when it is inserted is no exception: it fires, and then its key is stale.
        self.fired = self.fired.filter(|&fired| fired < deadline);
        self.bound = self.bound.min(deadline);
        let run = match self.run_for(&entry) {
            Some(run) => {
                self.runs[run].push_back(entry);
                self.lasts[run] = deadline;
                self.latest = run;
                run
            }
            None => {
                self.heap.push(entry);
                RUNS
            }
        };
        TimerKey {
            deadline,
            rank: rank as u32,
            run: run as u32,
        }
    }

    /// The run that an entry can be appended to, if there is one: of several the one that ends last.
    #[inline]
    fn run_for(&self, entry: &Entry) -> Option<usize> {
        // Those that are set in one turn for one length are due at one time.
        let best = if self.lasts.get(self.latest) == Some(&entry.deadline) {
            self.latest
        } else {
            self.latest_before(entry.deadline)
        };
        // Of one deadline the rank decides, which is not always that of insertion.
        let last = self.runs.get(best)?.back();
        last.is_none_or(|last| last.deadline < entry.deadline || last.rank < entry.rank)
            .then_some(best)
    }

    /// Of the runs that end at this time or before the one that ends last; [`RUNS`] if there is none.
    #[inline]
    fn latest_before(&self, deadline: u64) -> usize {
        let (mut best, mut latest) = (RUNS, 0);
        for (run, &last) in self.lasts.iter().enumerate() {
            if last <= deadline && (best == RUNS || last > latest) {
                (best, latest) = (run, last);
            }
        }
        best
    }

    /// Removes a timer, whose target means nothing any more or never will be looked at; nothing happens
    /// when it has fired.
    #[inline]
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        if self.fired.is_some_and(|fired| key.deadline <= fired) {
            return;
        }
        let run = key.run as usize;
        if let Some(entries) = self.runs.get_mut(run) {
            if entries.front().is_some_and(|first| first.is_named(key)) {
                entries.pop_front();
                if entries.is_empty() {
                    self.lasts[run] = 0;
                }
                return;
            }
            if entries.back().is_some_and(|last| last.is_named(key)) {
                entries.pop_back();
                self.lasts[run] = entries.back().map_or(0, |last| last.deadline);
                return;
            }
        }
        self.dead += 1;
    }

    /// Whether so many were cancelled that it is time for [`Timers::compact`].
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.dead > DEAD_FREE_MAX && self.dead > self.len() / 2
    }

    /// Takes out what `is_live` says to mean nothing any more.
    #[cold]
    pub(crate) fn compact(&mut self, is_live: impl Fn(Target) -> bool) {
        for (run, last) in self.runs.iter_mut().zip(&mut self.lasts) {
            run.retain(|entry| is_live(entry.target));
            *last = run.back().map_or(0, |last| last.deadline);
        }
        self.heap.retain(|entry| is_live(entry.target));
        self.dead = 0;
    }

    /// How many are kept, cancelled ones among them.
    pub(crate) fn len(&self) -> usize {
        let in_runs: usize = self.runs.iter().map(VecDeque::len).sum();
        in_runs + self.heap.len()
    }

    /// The earliest deadline of those that `is_live` says to mean something. That at the end of the
    /// clock, which durations without end come to, never comes: nobody waits for it.
    pub(crate) fn next_deadline(&mut self, is_live: impl Fn(Target) -> bool) -> Option<u64> {
        while let Some((run, first)) = self.first() {
            if is_live(first.target) {
                self.bound = first.deadline;
                return Some(self.bound).filter(|&deadline| deadline < u64::MAX);
            }
            self.take(run);
            self.dead = self.dead.saturating_sub(1);
        }
        self.bound = u64::MAX;
        None
    }

    /// A time that no deadline comes before, found without a look at the timers: after
    /// [`Timers::next_deadline`] that one, until an earlier one is added.
    #[inline]
    pub(crate) const fn bound(&self) -> u64 {
        self.bound
    }

    /// Takes the earliest timer that is due at `now`. It may have been cancelled.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Target> {
        if now < self.bound {
            return None;
        }
        self.pop_first_due(now)
    }

    fn pop_first_due(&mut self, now: u64) -> Option<Target> {
        let due = self.first().filter(|(_, first)| first.deadline <= now);
        let Some((run, first)) = due else {
            self.bound = self.first().map_or(u64::MAX, |(_, first)| first.deadline);
            self.fired = Some(now);
            return None;
        };
        let target = first.target;
        self.take(run);
        Some(target)
    }

    /// The earliest timer, and the run that it is in; [`RUNS`] for the heap.
    fn first(&self) -> Option<(usize, &Entry)> {
        let mut first = self.heap.peek().map(|entry| (RUNS, entry));
        for (index, run) in self.runs.iter().enumerate() {
            if let Some(entry) = run.front()
                && first.is_none_or(|(_, first)| entry > first)
            {
                first = Some((index, entry));
            }
        }
        first
    }

    /// Takes the first of a run or of the heap out.
    fn take(&mut self, run: usize) {
        let Some(entries) = self.runs.get_mut(run) else {
            self.heap.pop();
            return;
        };
        entries.pop_front();
        if entries.is_empty() {
            self.lasts[run] = 0;
        }
    }
}

impl Core {
    /// Adds a timer.
    #[inline]
    pub(crate) fn add_timer(&self, deadline: u64, target: Target) -> TimerKey {
        let mut timers = self.timers.borrow_mut();
        if timers.is_crowded() {
            timers.compact(|target| self.is_live(target));
        }
        timers.insert(deadline, target)
    }

    /// Removes a timer whose wait is over or whose scope was left.
    #[inline]
    pub(crate) fn cancel_timer(&self, key: TimerKey) {
        self.timers.borrow_mut().cancel(key);
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        let mut timers = self.timers.borrow_mut();
        timers.next_deadline(|target| self.is_live(target))
    }

    /// Whether a timer still has something to end.
    pub(crate) fn is_live(&self, target: Target) -> bool {
        match target {
            Target::Fiber(token) => self.fibers.borrow().is_in_wait(token),
            Target::Scope(scope) => self.scopes.borrow().is_entered(scope),
        }
    }
}

#[cfg(test)]
mod tests;
