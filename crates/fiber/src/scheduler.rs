//! The fibers of a runtime: their records, and running the next one. No I/O.

use std::mem;
use std::ops::{Index, IndexMut};

use crate::core::{self, Core, NO_FIBER};
use crate::coroutine::{self, Facts, FiberCoroutine, Switch};
use crate::error::Stopped;
use crate::park::{Unparker, WaitReason};
use crate::stack::Bounds;
use crate::table::Table;

const NONE: u32 = NO_FIBER;

/// Turns that compute for long between two polls, at most.
pub(crate) const LONG_TURNS_PER_POLL_MAX: u32 = 4;
/// I/O operations without a wait after which a fiber gives up its turn.
pub(crate) const IO_BUDGET: u32 = 128;
/// Bytes that count as much as one more such operation: copying them takes about as long.
pub(crate) const OPERATION_BYTES: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Ready,
    Running,
    Parked,
}

/// Why a fiber was made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// It gave up its turn, without a wait.
    Turn,
    /// Its wait was over.
    Ready,
    /// Its scope was over.
    Stopped,
}

/// One fiber's record.
pub(crate) struct Fiber {
    pub(crate) generation: u32,
    pub(crate) epoch: u32,
    pub(crate) state: State,
    pub(crate) wake: Wake,
    /// Woken between preparing to wait and parking.
    pub(crate) notified: bool,
    /// Whether its innermost scope is over.
    pub(crate) stopped: bool,
    /// Whether the outermost of its scopes below the root is its own; without one it is right below
    /// the root.
    pub(crate) has_scope: bool,
    pub(crate) reason: WaitReason,
    pub(crate) next_ready: u32,
    /// Innermost scope, and neighbours among the fibers that share it.
    pub(crate) scope: u32,
    pub(crate) scope_previous: u32,
    pub(crate) scope_next: u32,
    /// Waits that failed in a row because the scope is over.
    pub(crate) failures: u8,
    /// The simulated machine it runs on.
    #[cfg(feature = "sim")]
    pub(crate) host: u32,
    coroutine: Option<FiberCoroutine>,
}

impl Fiber {
    #[inline(always)]
    fn take_coroutine(&mut self) -> FiberCoroutine {
        self.coroutine
            .take()
            .expect("a ready fiber has its coroutine")
    }

    pub(crate) fn is_shielded(&self) -> bool {
        matches!(self.reason, WaitReason::ScopeEnd | WaitReason::Penalty)
    }
}

/// All fibers by index. A record is used again, under the next generation.
pub(crate) struct Fibers {
    pub(crate) records: Table<Fiber>,
    free: u32,
    pub(crate) live: usize,
}

impl Fibers {
    pub(crate) fn new() -> Self {
        Self {
            records: Table::new(),
            free: NONE,
            live: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&Fiber> {
        self.records.get(index)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Fiber> {
        self.records.get_mut(index)
    }

    /// Whether a fiber is in the wait that the token names, or was woken from it and has begun no other.
    pub(crate) fn is_in_wait(&self, token: Unparker) -> bool {
        self.get(token.index).is_some_and(|fiber| {
            fiber.generation == token.generation
                && fiber.epoch == token.epoch
                && fiber.state != State::Free
        })
    }

    /// Whether there is a fiber that has begun and not ended.
    pub(crate) fn have_begun(&self) -> bool {
        let mut coroutines = self.records.iter().flat_map(|fiber| &fiber.coroutine);
        coroutines.any(|coroutine| coroutine.facts().0.resumes.get() > 0)
    }

    /// How many slots there are, used and free.
    pub(crate) fn slots(&self) -> u32 {
        self.records.len()
    }

    /// Shows what is known of a fiber whose record is in use.
    pub(crate) fn with_facts<T>(&self, index: u32, show: impl FnOnce(&Facts, Bounds) -> T) -> T {
        match &self[index].coroutine {
            Some(coroutine) => {
                let (facts, stack) = coroutine.facts();
                show(facts, stack)
            }
            None => coroutine::with_running(show)
                .expect("a fiber whose coroutine is not in its record runs"),
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, coroutine: FiberCoroutine) -> u32 {
        self.live += 1;
        let record = Fiber {
            generation: 0,
            epoch: 0,
            state: State::Ready,
            wake: Wake::Turn,
            notified: false,
            stopped: false,
            has_scope: false,
            reason: WaitReason::Sleep,
            next_ready: NONE,
            scope: NONE,
            scope_previous: NONE,
            scope_next: NONE,
            failures: 0,
            coroutine: Some(coroutine),
            #[cfg(feature = "sim")]
            host: 0,
        };
        if self.free == NONE {
            return self.records.push(record);
        }
        let index = self.free;
        let old = &mut self.records[index];
        self.free = old.next_ready;
        *old = Fiber {
            generation: old.generation.wrapping_add(1),
            ..record
        };
        index
    }

    /// Removes a fiber that has ended, and gives back its stack.
    pub(crate) fn remove(&mut self, index: u32) {
        self.live -= 1;
        let fiber = &mut self.records[index];
        fiber.state = State::Free;
        fiber.next_ready = self.free;
        fiber.coroutine = None;
        self.free = index;
    }
}

impl Index<u32> for Fibers {
    type Output = Fiber;

    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    fn index(&self, index: u32) -> &Fiber {
        &self.records[index]
    }
}

impl IndexMut<u32> for Fibers {
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    fn index_mut(&mut self, index: u32) -> &mut Fiber {
        &mut self.records[index]
    }
}

impl Core {
    /// Runs the first fiber of the queue until it gives up control. False if there is none.
    #[inline(always)]
    pub(crate) fn run_next(&self) -> bool {
        match self.run_turn() {
            Some((index, Switch::Finished)) => {
                self.bury(index);
                true
            }
            turn => turn.is_some(),
        }
    }

    /// As [`Core::run_next`], and leaves it to the caller to bury a fiber whose body has ended.
    #[inline(always)]
    pub(crate) fn run_turn(&self) -> Option<(u32, Switch)> {
        let (index, mut coroutine) = {
            let mut fibers = self.fibers.borrow_mut();
            #[cfg(not(feature = "sim"))]
            let (index, fiber) = self.ready.pop(&mut fibers)?;
            #[cfg(feature = "sim")]
            let (index, fiber) = self.pick(&mut fibers)?;
            fiber.state = State::Running;
            self.woken.set(fiber.wake);
            let after = fiber.next_ready;
            let coroutine = fiber.take_coroutine();
            if let Some(Some(after)) = fibers.get(after).map(|fiber| &fiber.coroutine) {
                after.prefetch();
            }
            (index, coroutine)
        };
        self.current.set(index);
        self.budget.set(IO_BUDGET);
        let switch = coroutine.resume();
        self.current.set(NO_FIBER);
        let place = &mut self.fibers.borrow_mut()[index].coroutine;
        // The place is empty: nothing is to be dropped.
        mem::forget(place.replace(coroutine));
        Some((index, switch))
    }

    /// Puts the running fiber at the end of the queue and lets the others run.
    #[inline(always)]
    pub(crate) fn give_up_turn(&self) {
        {
            let mut fibers = self.fibers.borrow_mut();
            let index = self.current.get();
            fibers[index].state = State::Ready;
            fibers[index].wake = Wake::Turn;
            self.ready.push(&mut fibers, index);
        }
        coroutine::suspend();
    }

    /// Whether the running fiber may give up its turn, and no scope of it is over.
    pub(crate) fn may_give_way(&self) -> bool {
        let fibers = self.fibers.borrow();
        let fiber = fibers.get(self.current.get());
        let may_switch = !std::thread::panicking() && !self.no_park.is_on();
        may_switch && fiber.is_some_and(|fiber| !fiber.stopped)
    }

    /// Counts an operation that did not wait.
    #[inline(always)]
    pub(crate) fn spend(&self) {
        self.budget.set(self.budget.get().saturating_sub(1));
    }

    /// Counts what an operation moved beyond itself.
    #[inline(always)]
    pub(crate) fn spend_bytes(&self, bytes: usize) {
        let more = u32::try_from(bytes / OPERATION_BYTES).unwrap_or(u32::MAX);
        self.budget.set(self.budget.get().saturating_sub(more));
    }

    /// Gives up the turn if the fiber did too many operations without a wait.
    ///
    /// A fiber that may not be switched away from keeps its turn.
    ///
    /// # Errors
    ///
    /// The scope ended meanwhile.
    #[inline(always)]
    pub(crate) fn yield_if_spent(&self) -> Result<(), Stopped> {
        if self.budget.get() == 0 {
            return self.yield_spent();
        }
        Ok(())
    }

    #[cold]
    fn yield_spent(&self) -> Result<(), Stopped> {
        if std::thread::panicking() || self.no_park.is_on() {
            return Ok(());
        }
        self.give_up_turn();
        self.check()
    }

    /// Removes what is left of a fiber whose body ended.
    #[inline(always)]
    pub(crate) fn bury(&self, index: u32) {
        let mut fibers = self.fibers.borrow_mut();
        self.leave_scopes(&mut fibers, index);
        fibers.remove(index);
        self.counters.ended.add(1);
    }
}

/// Gives up the turn: every other ready fiber runs first.
///
/// # Errors
///
/// [`Stopped`] when the scope is over (the turn is given up all the same), outside a fiber, while
/// unwinding, in a [`crate::no_park`], or in [`crate::on_big_stack`].
#[inline(always)]
pub fn yield_now() -> Result<(), Stopped> {
    core::within(|core| {
        core.may_switch()?;
        let mut fibers = core.fibers.borrow_mut();
        let index = core.current.get();
        let fiber = fibers.get_mut(index).ok_or(Stopped::NoRuntime)?;
        if fiber.stopped {
            drop(fibers);
            return Err(core.fail());
        }
        fiber.state = State::Ready;
        fiber.wake = Wake::Turn;
        core.ready.push(&mut fibers, index);
        drop(fibers);
        coroutine::suspend();
        Ok(())
    })
}

/// Gives up the turn where that has no consequences: for calls that need not wait, and would rather let
/// others run first. Does nothing in a scope that is over, outside a fiber, while unwinding, in a
/// [`crate::no_park`], or in [`crate::on_big_stack`]; a scope that ends meanwhile does not count a wait
/// that failed.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// fiber::give_way();
/// fiber::no_park(fiber::give_way);
/// # }).unwrap();
/// ```
pub fn give_way() {
    core::with(|core| {
        if core.may_give_way() {
            core.give_up_turn();
        }
    });
}

/// Comes before work that keeps its turn for long, such as the arithmetic of a handshake: when four
/// others did this since the last poll of the event queue, it gives up the turn until the next one.
///
/// So a crowd of such fibers does not line up in front of those that have little to do: what becomes
/// ready meanwhile waits for a few of them, not for all. Does not yield where there is no crowd.
///
/// # Errors
///
/// As [`yield_now`], when it had to give up its turn.
///
/// # Examples
///
/// ```
/// fiber::run(|| {
///     fiber::long_turn()?;
///     let sum: u64 = (0..100_000).map(std::hint::black_box).sum();
///     assert_eq!(sum, 4_999_950_000);
///     Ok::<(), fiber::Stopped>(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub fn long_turn() -> Result<(), Stopped> {
    let core = core::required()?;
    while core.long_turns.get() >= LONG_TURNS_PER_POLL_MAX {
        yield_now()?;
    }
    core.long_turns.set(core.long_turns.get() + 1);
    Ok(())
}
