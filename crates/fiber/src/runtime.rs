//! A runtime from start to end: run ready fibers, poll the reactor, fire timers; shut down.
//!
//! ```text
//!  loop: up to 64 resumptions (or 512 system calls, or 1 ms) of ready fibers
//!        poll the reactor: not waiting if a fiber is ready, else until the next timer
//!        fire the timers that are due, whether or not a descriptor was ready
//! ```

use std::borrow::Cow;
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::core::{Core, Installed, stacks};
use crate::error::{RunError, SpawnError, Stopped};
use crate::inspect::{DESCRIBED_MAX, FiberList};
use crate::join::JoinHandle;
use crate::scheduler::IO_BUDGET;
use crate::scope_tree::ScopeRef;
use crate::spawn::spawn_on;
use crate::stack::overflow::Reports;
use crate::stack::{StackClass, StackGuards, Trim};
use crate::timer::Target;
use crate::world::net::Forked;
use crate::world::watchdog::Watch;

/// Resumptions between two polls of the reactor, at most.
const RESUMES_PER_POLL_MAX: u32 = 64;
/// Successful reads and writes between two polls, at most.
const SYSCALLS_PER_POLL_MAX: u64 = 512;
/// Time between two polls, at most (as far as fibers give up control).
const NANOS_PER_POLL_MAX: u64 = 1_000_000;
/// Resumptions between two readings of the clock.
const RESUMES_PER_CLOCK_READ: u32 = 16;
/// Fibers of one runtime unless set otherwise.
pub const FIBERS_MAX_DEFAULT: usize = 1_000_000;
/// Time that fibers get to end at shutdown unless set otherwise.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(5);

/// What a runtime is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) paused_clock: bool,
    pub(crate) fibers_max: usize,
    pub(crate) grace: Duration,
    pub(crate) stack_guards: Option<StackGuards>,
    pub(crate) overflow_report: bool,
    pub(crate) watch: Option<Watch>,
    /// The world it runs in, unless that is the real one.
    #[cfg(feature = "sim")]
    pub(crate) sim: Option<Rc<crate::sim::State>>,
}

/// Entry to a runtime with settings; [`run`] takes the defaults.
#[derive(Debug)]
pub struct Runtime(());

impl Runtime {
    /// The default settings, to be changed.
    #[must_use]
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            settings: Settings {
                paused_clock: false,
                fibers_max: FIBERS_MAX_DEFAULT,
                grace: GRACE_DEFAULT,
                stack_guards: None,
                overflow_report: true,
                watch: None,
                #[cfg(feature = "sim")]
                sim: None,
            },
        }
    }
}

/// Settings of a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeBuilder {
    pub(crate) settings: Settings,
}

impl RuntimeBuilder {
    /// Lets time stand still while any fiber can run, and jump to the next timer when all wait.
    ///
    /// For tests: an hour of sleeping takes no time, and a run that can never go on is a
    /// [`RunError::Deadlock`].
    #[must_use]
    pub fn paused_clock(mut self, paused: bool) -> Self {
        self.settings.paused_clock = paused;
        self
    }

    /// Bounds the number of fibers (default [`FIBERS_MAX_DEFAULT`]); one more is a
    /// [`crate::SpawnError::FiberLimit`].
    #[must_use]
    pub fn fibers_max(mut self, fibers_max: usize) -> Self {
        self.settings.fibers_max = fibers_max;
        self
    }

    /// Sets how long fibers may take to end once the main fiber did (default
    /// [`GRACE_DEFAULT`]). What is left then is named in the log and leaked.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Chooses how stacks are guarded. By default the environment variable `FIBER_GUARDS` does
    /// (`regions`, `pages` or `mapped`), and without it the first kind that works.
    ///
    /// With a kind that does not work here the runtime does not start.
    #[must_use]
    pub fn stack_guards(mut self, guards: StackGuards) -> Self {
        self.settings.stack_guards = Some(guards);
        self
    }

    /// Sets whether a fiber that overflows its stack is named on standard error before the process
    /// dies of it (default: yes).
    ///
    /// That takes a handler of SIGSEGV and SIGBUS, which hands all else on to the handler that was
    /// there before, and an alternate signal stack for this thread while the runtime runs.
    #[must_use]
    pub fn overflow_report(mut self, report: bool) -> Self {
        self.settings.overflow_report = report;
        self
    }

    /// Watches over the fibers' turns (default: not): one that lasts longer than `bound` is counted
    /// in [`crate::Stats::slow_turns`], and the fiber is named in the log when it gives up its turn,
    /// in one line per second at most. Costs two readings of a clock for each turn.
    ///
    /// Time is real time, whatever the runtime's clock says, and counts what other processes take.
    #[must_use]
    pub fn watchdog(mut self, bound: Duration) -> Self {
        let thread = self.settings.watch.is_some_and(|watch| watch.thread);
        self.settings.watch = Some(Watch { bound, thread });
        self
    }

    /// As [`RuntimeBuilder::watchdog`], and a thread of its own names the fiber while its turn still
    /// lasts, once for each such turn: a fiber that never gives it up is named too. The thread sleeps
    /// while no fiber can run.
    #[must_use]
    pub fn watchdog_thread(mut self, bound: Duration) -> Self {
        let thread = true;
        self.settings.watch = Some(Watch { bound, thread });
        self
    }

    /// Runs `main` as the first fiber; see [`run`].
    ///
    /// # Errors
    ///
    /// As [`run`].
    #[track_caller]
    pub fn run<T, F>(self, main: F) -> Result<T, RunError>
    where
        T: 'static,
        F: FnOnce() -> T + 'static,
    {
        let location = Location::caller();
        let stacks =
            stacks(&self.settings).map_err(|error| RunError::Spawn(SpawnError::Stack(error)))?;
        let core = Core::new(&self.settings, stacks).map_err(RunError::Reactor)?;
        let _installed = Installed::new(&core).ok_or(RunError::Nested)?;
        let _reports = self
            .settings
            .overflow_report
            .then(Reports::start)
            .transpose()
            .map_err(|error| RunError::Spawn(SpawnError::Stack(error)))?;
        let main = spawn_on(
            &core,
            Cow::Borrowed("main"),
            StackClass::DEFAULT,
            location,
            main,
        )
        .map_err(RunError::Spawn)?;
        drive(&core, &main, self.settings.grace)
    }
}

/// Runs `main` as the first fiber of a new runtime on this thread, until it ends.
///
/// When `main` returns, all other fibers are cancelled and get a grace period to end; those that
/// do not are named in the log and leaked: they never run again, and their memory stays.
///
/// A runtime belongs to the process it was started in. In a child that `fork` makes of it nothing
/// waits any more: the first wait of any fiber ends `run` there with [`RunError::Forked`], and the
/// parent's descriptors stay as they are. What such a child may do at all is what the system says
/// of children of programs with threads: little before `exec` or `_exit`. A new runtime in the
/// child is another matter, and sound.
///
/// # Errors
///
/// [`RunError`]; in particular [`RunError::Panicked`] when `main` panicked.
///
/// # Examples
///
/// ```
/// let answer = fiber::run(|| {
///     let mut child = fiber::spawn(|| 6 * 7).unwrap();
///     child.join().unwrap()
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[track_caller]
pub fn run<T, F>(main: F) -> Result<T, RunError>
where
    T: 'static,
    F: FnOnce() -> T + 'static,
{
    Runtime::builder().run(main)
}

/// Runs until `main` ended and then until all fibers did, or the grace period passed.
fn drive<T: 'static>(
    core: &Rc<Core>,
    main: &JoinHandle<T>,
    grace: Duration,
) -> Result<T, RunError> {
    let end_by = Cell::new(None);
    let mut deadlock = None;
    loop {
        run_ready(core);
        if main.is_finished() && end_by.get().is_none() {
            core.remote.close();
            core.expire(ScopeRef::ROOT, Stopped::Cancelled);
            end_by.set(Some(core.clock.read().saturating_add(nanos(grace))));
        }
        if core.fibers.borrow().live == 0 {
            break;
        }
        if end_by
            .get()
            .is_some_and(|end_by| core.clock.read() >= end_by)
        {
            log::error!("leaked at the end of the grace period:\n{}", describe(core));
            break;
        }
        let waited = wait(core, end_by.get()).map_err(|error| {
            if error.get_ref().is_some_and(|error| error.is::<Forked>()) {
                return RunError::Forked;
            }
            log::error!("leaked by a broken event loop:\n{}", describe(core));
            RunError::Reactor(error)
        })?;
        if !waited {
            if deadlock.is_some() {
                log::error!("leaked, waiting for ever:\n{}", describe(core));
                break;
            }
            deadlock = Some(describe(core).to_string());
            core.remote.close();
            core.expire(ScopeRef::ROOT, Stopped::Cancelled);
            end_by.set(Some(core.clock.read().saturating_add(nanos(grace))));
        }
    }
    if let Some(fibers) = deadlock {
        return Err(RunError::Deadlock(fibers));
    }
    match main.take() {
        Some(Ok(value)) => Ok(value),
        Some(Err(payload)) => Err(RunError::Panicked(payload)),
        None => Err(RunError::Leaked),
    }
}

fn describe(core: &Core) -> FiberList {
    core.fiber_list(DESCRIBED_MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs ready fibers until none is left or one of the bounds asks for a poll.
fn run_ready(core: &Core) {
    match &core.watchdog {
        None => run_each(core, || core.run_next()),
        Some(watchdog) => run_each(core, || core.run_next_watched(watchdog)),
    }
}

#[inline(always)]
fn run_each(core: &Core, run_next: impl Fn() -> bool) {
    let began = core.clock.now();
    core.long_turns.set(0);
    let calls = || core.counters.reads.get() + core.counters.writes.get();
    let calls_before = calls();
    let mut resumes = 0;
    let resumes_max = resumes_per_poll(core);
    while resumes < resumes_max && run_next() {
        resumes += 1;
        let budget = core.budget.get();
        if budget < IO_BUDGET && calls() - calls_before >= SYSCALLS_PER_POLL_MAX {
            break;
        }
        // A turn that used its whole budget may have taken as long as many short ones.
        let reads_clock = resumes % RESUMES_PER_CLOCK_READ == 0 || budget == 0;
        if reads_clock && core.clock.read() - began >= NANOS_PER_POLL_MAX {
            break;
        }
    }
    core.counters.resumes.add(u64::from(resumes));
}

#[cfg(not(feature = "sim"))]
#[inline(always)]
fn resumes_per_poll(_: &Core) -> u32 {
    RESUMES_PER_POLL_MAX
}

#[cfg(feature = "sim")]
fn resumes_per_poll(core: &Core) -> u32 {
    match &core.sim {
        Some(sim) => sim.resumes_per_poll(RESUMES_PER_POLL_MAX),
        None => RESUMES_PER_POLL_MAX,
    }
}

/// Polls the reactor for as long as nothing else is to do, then fires timers.
///
/// Returns false when nothing is left that could ever wake a fiber.
fn wait(core: &Rc<Core>, end_by: Option<u64>) -> std::io::Result<bool> {
    #[cfg(feature = "sim")]
    if let Some(sim) = &core.sim {
        return sim.turn(core, end_by);
    }
    // Before anything is done with descriptors that a child process shares with its parent.
    core.reactor.check_process()?;
    core.remote.retry(core);
    let idle = core.ready.is_empty();
    if idle && end_by.is_none() && wakes_by_itself(core) {
        poll(core, None)?;
        fire(core, core.clock.read());
        return Ok(true);
    }
    let next = core.next_timer();
    let next = match (next, end_by) {
        (Some(timer), Some(end)) => Some(timer.min(end)),
        (timer, end) => timer.or(end),
    };
    let outside =
        || core.reactor.has_sources() || core.offload.is_pending() || core.remote.may_bring_more();
    if idle && next.is_none() && !outside() {
        return Ok(false);
    }
    let (idle, next) = if idle {
        trim_stacks(core, next)
    } else {
        (false, next)
    };
    let timeout = if !idle {
        Some(Duration::ZERO)
    } else if core.clock.is_paused() && next.is_some() {
        // Work on other threads takes real time; virtual time stands still meanwhile.
        if core.offload.is_pending() {
            None
        } else {
            Some(Duration::ZERO)
        }
    } else {
        next.and_then(|next| core.reactor.timeout_until(next, || core.clock.read()))
    };
    poll(core, timeout)?;
    let mut now = core.clock.read();
    if idle && core.ready.is_empty() && core.clock.is_paused() && !core.offload.is_pending() {
        core.clock.advance_to(next.unwrap_or(now));
        now = core.clock.now();
    }
    fire(core, now);
    Ok(true)
}

/// Whether a wait without a time limit of its own is all there is to do: a descriptor may end it, and no
/// timer is due before the alarm rings, as it is set. So it is in most waits of a busy program.
#[inline]
fn wakes_by_itself(core: &Core) -> bool {
    core.reactor.has_sources()
        && core.reactor.rings_by(core.timers.borrow().bound())
        && !core.stacks.may_trim()
        && !core.clock.is_paused()
}

/// Polls the reactor, and takes in what came from other threads.
#[inline]
fn poll(core: &Rc<Core>, timeout: Option<Duration>) -> std::io::Result<()> {
    if core.reactor.poll(core, timeout)? {
        core.offload.drain(core);
        core.remote.drain(core);
    }
    Ok(())
}

/// Gives memory back before a sleep until `next`. Says whether to sleep at all and until when:
/// work is done in batches, so that a fiber that becomes ready meanwhile does not wait for all.
fn trim_stacks(core: &Core, next: Option<u64>) -> (bool, Option<u64>) {
    if !core.stacks.may_trim() {
        return (true, next);
    }
    let now = core.clock.read();
    let sleep = next.map(|next| next.saturating_sub(now));
    match core.stacks.trim(now, sleep) {
        Trim::Done => (true, next),
        Trim::Again => (false, next),
        Trim::After(nanos) => (true, Some(now.saturating_add(nanos))),
    }
}

/// Fires the timers that are due.
pub(crate) fn fire(core: &Core, now: u64) {
    loop {
        let due = core.timers.borrow_mut().pop_due(now);
        let Some(target) = due else {
            break;
        };
        if !core.is_live(target) {
            continue;
        }
        core.counters.timers_fired.add(1);
        #[cfg(all(test, feature = "sim"))]
        if crate::sim::bites(core, crate::sim::Planted::ForgottenTimer) {
            continue;
        }
        match target {
            Target::Fiber(token) => {
                core.unpark(token);
            }
            Target::Scope(scope) => core.expire(scope, Stopped::TimedOut),
        }
    }
}
