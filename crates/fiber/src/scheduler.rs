//! The fibers of a runtime, running the next one, and starting new ones.
//!
//! No I/O. A new fiber goes to the end of the run queue and its parent runs on.

use std::borrow::Cow;
use std::ops::{Index, IndexMut};
use std::panic::Location;
use std::rc::Rc;

use crate::cancel::Canceller;
use crate::core::{self, Core, NO_FIBER};
use crate::coroutine::{self, FiberCoroutine, PanicPayload, Switch};
use crate::error::{SpawnError, Stopped};
use crate::join::{JoinCell, JoinHandle};
use crate::local::Locals;
use crate::park::WaitReason;
use crate::scope_tree::{Over, ScopeRef};
use crate::stack::{FiberStack, StackClass};

const NONE: u32 = NO_FIBER;

/// I/O operations without a wait after which a fiber gives up its turn.
pub(crate) const IO_BUDGET: u32 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Ready,
    Running,
    Parked,
}

/// Why a fiber was made ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wake {
    /// It gave up its turn, without a wait.
    Turn,
    /// Its wait was over.
    Ready,
    /// Its scope was over.
    Stopped(Over),
}

/// One fiber's record.
pub(crate) struct Fiber {
    pub(crate) generation: u32,
    pub(crate) epoch: u32,
    pub(crate) state: State,
    pub(crate) wake: Wake,
    /// Woken between preparing to wait and parking.
    pub(crate) notified: bool,
    pub(crate) reason: WaitReason,
    pub(crate) next_ready: u32,
    /// Innermost scope, and neighbours among the fibers that share it.
    pub(crate) scope: u32,
    pub(crate) scope_previous: u32,
    pub(crate) scope_next: u32,
    /// Why the innermost scope is over, if it is.
    pub(crate) stopped: Option<Over>,
    /// Waits that failed in a row because the scope is over.
    pub(crate) failures: u32,
    /// Turns it was given.
    pub(crate) resumes: u64,
    /// The simulated machine it runs on.
    #[cfg(feature = "sim")]
    pub(crate) host: u32,
    coroutine: Option<FiberCoroutine>,
}

/// What is asked of a fiber only at its start, at its end and by those who look: apart from its
/// record, which every switch goes through.
pub(crate) struct Facts {
    pub(crate) name: Cow<'static, str>,
    pub(crate) location: &'static Location<'static>,
    /// When it was spawned, in nanoseconds of the runtime's clock.
    pub(crate) born: u64,
    pub(crate) locals: Locals,
    /// It has ended as far as new values of its own go.
    pub(crate) locals_ended: bool,
    /// The fiber's own scope, unless it runs in that of a [`crate::scope()`].
    own_scope: Option<ScopeRef>,
}

impl Fiber {
    pub(crate) fn is_shielded(&self) -> bool {
        matches!(self.reason, WaitReason::ScopeEnd | WaitReason::Penalty)
    }
}

/// All fibers by index. A record is used again, under the next generation.
pub(crate) struct Fibers {
    pub(crate) records: Vec<Fiber>,
    /// As many as records.
    facts: Vec<Facts>,
    free: u32,
    pub(crate) live: usize,
}

impl Fibers {
    pub(crate) fn new() -> Self {
        Self {
            records: Vec::new(),
            facts: Vec::new(),
            free: NONE,
            live: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&Fiber> {
        self.records.get(index as usize)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Fiber> {
        self.records.get_mut(index as usize)
    }

    /// How many slots there are, used and free.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.records.len()).expect("fewer than 2^32 fibers")
    }

    pub(crate) fn facts(&self, index: u32) -> &Facts {
        &self.facts[index as usize]
    }

    pub(crate) fn facts_mut(&mut self, index: u32) -> &mut Facts {
        &mut self.facts[index as usize]
    }

    #[inline(always)]
    fn add(
        &mut self,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
        born: u64,
    ) -> u32 {
        self.live += 1;
        let record = Fiber {
            generation: 0,
            epoch: 0,
            state: State::Ready,
            wake: Wake::Turn,
            notified: false,
            reason: WaitReason::Sleep,
            next_ready: NONE,
            scope: NONE,
            scope_previous: NONE,
            scope_next: NONE,
            stopped: None,
            failures: 0,
            resumes: 0,
            coroutine: None,
            #[cfg(feature = "sim")]
            host: 0,
        };
        if self.free == NONE {
            self.records.push(record);
            self.facts.push(Facts {
                name,
                location,
                born,
                locals: None,
                locals_ended: false,
                own_scope: None,
            });
            return u32::try_from(self.records.len() - 1).expect("fewer than 2^32 fibers");
        }
        let index = self.free;
        let facts = &mut self.facts[index as usize];
        facts.name = name;
        facts.location = location;
        facts.born = born;
        facts.locals_ended = false;
        facts.own_scope = None;
        let old = &mut self.records[index as usize];
        self.free = old.next_ready;
        *old = Fiber {
            generation: old.generation.wrapping_add(1),
            ..record
        };
        index
    }

    fn remove(&mut self, index: u32) {
        self.live -= 1;
        let fiber = &mut self.records[index as usize];
        fiber.state = State::Free;
        fiber.next_ready = self.free;
        self.free = index;
    }
}

impl Index<u32> for Fibers {
    type Output = Fiber;

    #[inline(always)]
    fn index(&self, index: u32) -> &Fiber {
        &self.records[index as usize]
    }
}

impl IndexMut<u32> for Fibers {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut Fiber {
        &mut self.records[index as usize]
    }
}

impl Core {
    /// Runs the first fiber of the queue until it gives up control. False if there is none.
    #[inline(always)]
    pub(crate) fn run_next(&self) -> bool {
        let (index, mut coroutine) = {
            let mut fibers = self.fibers.borrow_mut();
            #[cfg(not(feature = "sim"))]
            let picked = self.ready.pop(&mut fibers);
            #[cfg(feature = "sim")]
            let picked = self.pick(&mut fibers);
            let Some((index, fiber)) = picked else {
                return false;
            };
            fiber.state = State::Running;
            fiber.resumes += 1;
            (
                index,
                fiber
                    .coroutine
                    .take()
                    .expect("a ready fiber has its coroutine"),
            )
        };
        self.current.set(index);
        self.budget.set(IO_BUDGET);
        let switch = coroutine.resume();
        self.current.set(NO_FIBER);
        match switch {
            Switch::Suspended => self.fibers.borrow_mut()[index].coroutine = Some(coroutine),
            Switch::Finished => {
                drop(coroutine);
                self.bury(index);
            }
        }
        true
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

    /// Counts an operation that did not wait.
    #[inline(always)]
    pub(crate) fn spend(&self) {
        self.budget.set(self.budget.get().saturating_sub(1));
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
    fn bury(&self, index: u32) {
        let mut fibers = self.fibers.borrow_mut();
        let mut scopes = self.scopes.borrow_mut();
        scopes.leave(&mut fibers, index);
        if let Some(own) = fibers.facts(index).own_scope
            && let Some(timer) = scopes.remove(own)
        {
            self.timers.borrow_mut().cancel(timer);
        }
        fibers.remove(index);
        self.counters.ended.add(1);
    }

    /// Checks that a fiber may be started here and now, and takes a stack for it.
    pub(crate) fn stack_for_spawn(&self, class: StackClass) -> Result<FiberStack, SpawnError> {
        if std::thread::panicking() {
            return Err(SpawnError::Unwinding);
        }
        if self.fibers.borrow().live >= self.fibers_max {
            return Err(SpawnError::FiberLimit {
                fibers_max: self.fibers_max,
            });
        }
        self.stacks.take(class)
    }

    /// Makes a fiber and puts it at the end of the queue.
    ///
    /// It runs in `scope` when one is given, else in a new one of its own below the root.
    pub(crate) fn add_fiber(
        &self,
        mut coroutine: FiberCoroutine,
        scope: Option<ScopeRef>,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
    ) -> ScopeRef {
        coroutine.label(name.clone(), location);
        let mut fibers = self.fibers.borrow_mut();
        let mut scopes = self.scopes.borrow_mut();
        let index = fibers.add(name, location, self.clock.now());
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.sim {
            let parent = fibers.get(self.current.get()).map(|parent| parent.host);
            fibers[index].host = sim.host_of_new(parent);
        }
        let scope = match scope {
            Some(scope) => scope,
            None => {
                let own = scopes.add(ScopeRef::ROOT.index);
                fibers.facts_mut(index).own_scope = Some(own);
                own
            }
        };
        fibers[index].coroutine = Some(coroutine);
        scopes.enter(&mut fibers, index, scope.index);
        self.ready.push(&mut fibers, index);
        self.counters.spawns.add(1);
        scope
    }
}

/// Starts fibers with settings of their own.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// let mut blink = fiber::FiberBuilder::new().name("blink").spawn(|| 7).unwrap();
/// assert_eq!(blink.join().unwrap(), 7);
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct FiberBuilder {
    name: Cow<'static, str>,
    stack_bytes: Option<usize>,
}

impl FiberBuilder {
    /// A fiber without a name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the fiber in logs and reports.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the size of the fiber's stack (default [`crate::STACK_BYTES_DEFAULT`]), rounded up to
    /// 64 KiB, 256 KiB, 1 MiB and so on up to [`crate::STACK_BYTES_MAX`].
    ///
    /// Of that a guard at the low end (4 KiB on x86-64, else 64 KiB) and up to 2 KiB at the top
    /// cannot be used. Only pages that are touched cost memory.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// Starts the fiber; see [`spawn`].
    ///
    /// # Errors
    ///
    /// As [`spawn`], and [`SpawnError::StackTooLarge`].
    #[track_caller]
    pub fn spawn<T, F>(self, body: F) -> Result<JoinHandle<T>, SpawnError>
    where
        T: 'static,
        F: FnOnce() -> T + 'static,
    {
        let location = Location::caller();
        let core = core::current().ok_or(SpawnError::NoRuntime)?;
        let class = match self.stack_bytes {
            None => StackClass::DEFAULT,
            Some(bytes) => StackClass::holding(bytes)?,
        };
        spawn_on(&core, self.name, class, location, body)
    }
}

/// As [`FiberBuilder::spawn`], for a runtime at hand.
pub(crate) fn spawn_on<T, F>(
    core: &Rc<Core>,
    name: Cow<'static, str>,
    class: StackClass,
    location: &'static Location<'static>,
    body: F,
) -> Result<JoinHandle<T>, SpawnError>
where
    T: 'static,
    F: FnOnce() -> T + 'static,
{
    let stack = core.stack_for_spawn(class)?;
    let cell = Rc::new(JoinCell::new());
    let end = {
        let cell = Rc::clone(&cell);
        move |result: Result<T, PanicPayload>| cell.complete(result)
    };
    let coroutine = FiberCoroutine::new(stack, body, end);
    let own = core.add_fiber(coroutine, None, name, location);
    Ok(JoinHandle::new(cell, Canceller::new(core, own)))
}

/// Starts a fiber that runs `body`, after those that are ready now. Does not yield.
///
/// The fiber is independent of the scopes around this call; it ends by itself, by its handle's
/// `cancel`, or when the runtime shuts down. For children that borrow, see [`crate::scope()`].
///
/// # Errors
///
/// [`SpawnError`] outside a runtime, while unwinding, at the bound on fibers, or without memory
/// for a stack.
#[track_caller]
pub fn spawn<T, F>(body: F) -> Result<JoinHandle<T>, SpawnError>
where
    T: 'static,
    F: FnOnce() -> T + 'static,
{
    FiberBuilder::new().spawn(body)
}

/// Gives up the turn: every other ready fiber runs first.
///
/// # Errors
///
/// [`Stopped`] when the scope is over (the turn is given up all the same), outside a fiber, while
/// unwinding, in a [`crate::no_park`], or in [`crate::on_big_stack`].
#[inline(always)]
pub fn yield_now() -> Result<(), Stopped> {
    let core = core::required()?;
    core.may_switch()?;
    let stopped = {
        let mut fibers = core.fibers.borrow_mut();
        let index = core.current.get();
        let fiber = fibers.get_mut(index).ok_or(Stopped::NoRuntime)?;
        if fiber.stopped.is_none() {
            fiber.state = State::Ready;
            fiber.wake = Wake::Turn;
            core.ready.push(&mut fibers, index);
            None
        } else {
            fiber.stopped
        }
    };
    match stopped {
        None => {
            coroutine::suspend();
            Ok(())
        }
        Some(over) => Err(core.fail(over)),
    }
}
