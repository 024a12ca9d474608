//! What one runtime consists of, and how a call finds the runtime it runs in.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cell::RefCell;
use crate::coroutine::Here;
use crate::error::Stopped;
use crate::no_park::NoPark;
use crate::park::Waiters;
use crate::remote::Inbox;
use crate::run_queue::RunQueue;
use crate::runtime::Settings;
use crate::scheduler::{Fibers, Wake};
use crate::scope_tree::Scopes;
#[cfg(feature = "sim")]
use crate::sim;
use crate::stack::Stacks;
use crate::stats::Counters;
use crate::timer::Timers;
use crate::world::clock::Clock;
use crate::world::net::Reactor;
use crate::world::offload::Offload;
use crate::world::watchdog::Watchdog;

/// Index that names no fiber.
pub(crate) const NO_FIBER: u32 = u32::MAX;

/// The next runtime's number. It wraps after 2^32 runtimes of one process.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// A part that simulated runtimes of a thread share.
#[cfg(feature = "sim")]
pub(crate) type Part<T> = Rc<T>;
/// A part of its runtime.
#[cfg(not(feature = "sim"))]
type Part<T> = T;

/// One runtime. Everything is owned by one thread; nothing is borrowed across a switch.
pub(crate) struct Core {
    /// Tells the runtimes of a process apart.
    pub(crate) id: u32,
    pub(crate) fibers: RefCell<Fibers>,
    pub(crate) ready: RunQueue,
    /// The running fiber, or [`NO_FIBER`].
    pub(crate) current: Cell<u32>,
    /// Why the running fiber was made ready.
    pub(crate) woken: Cell<Wake>,
    pub(crate) scopes: RefCell<Scopes>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) waiters: RefCell<Waiters>,
    pub(crate) stacks: Part<Stacks>,
    pub(crate) clock: Clock,
    pub(crate) reactor: Part<Reactor>,
    pub(crate) offload: Offload,
    pub(crate) remote: Inbox,
    pub(crate) counters: Counters,
    pub(crate) watchdog: Option<Watchdog>,
    /// I/O operations the running fiber may still do before it gives up its turn.
    pub(crate) budget: Cell<u32>,
    /// Long turns that were begun since the last poll.
    pub(crate) long_turns: Cell<u32>,
    pub(crate) no_park: NoPark,
    pub(crate) fibers_max: usize,
    /// The world it runs in, unless that is the real one.
    #[cfg(feature = "sim")]
    pub(crate) sim: Option<Rc<sim::State>>,
}

impl Core {
    pub(crate) fn new(settings: &Settings, stacks: Part<Stacks>) -> io::Result<Rc<Self>> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let reactor = reactor(settings)?;
        let offload = Offload::new(reactor.waker());
        let watchdog = settings.watch.map(Watchdog::new).transpose()?;
        let remote = Inbox::new(id, reactor.waker());
        Ok(Rc::new(Self {
            id,
            fibers: RefCell::new(Fibers::new()),
            ready: RunQueue::new(),
            current: Cell::new(NO_FIBER),
            woken: Cell::new(Wake::Turn),
            scopes: RefCell::new(Scopes::new()),
            timers: RefCell::new(timers(settings)),
            waiters: RefCell::new(Waiters::new()),
            stacks,
            clock: clock(settings),
            reactor,
            offload,
            remote,
            counters: Counters::default(),
            watchdog,
            budget: Cell::new(0),
            long_turns: Cell::new(0),
            no_park: NoPark::default(),
            fibers_max: settings.fibers_max,
            #[cfg(feature = "sim")]
            sim: settings.sim.clone(),
        }))
    }
}

#[cfg(feature = "sim")]
fn reactor(settings: &Settings) -> io::Result<Rc<Reactor>> {
    match settings.sim {
        Some(_) => Ok(sim::parts()?.0),
        None => Ok(Rc::new(Reactor::new()?)),
    }
}

#[cfg(not(feature = "sim"))]
fn reactor(_: &Settings) -> io::Result<Reactor> {
    Reactor::new()
}

/// The stacks for a runtime with these settings.
#[cfg(feature = "sim")]
pub(crate) fn stacks(settings: &Settings) -> io::Result<Rc<Stacks>> {
    match settings.sim {
        Some(_) => Ok(sim::parts()?.1),
        None => Ok(Rc::new(Stacks::new(settings.stack_guards)?)),
    }
}

/// The stacks for a runtime with these settings.
#[cfg(not(feature = "sim"))]
pub(crate) fn stacks(settings: &Settings) -> io::Result<Stacks> {
    Stacks::new(settings.stack_guards)
}

fn clock(settings: &Settings) -> Clock {
    #[cfg(feature = "sim")]
    if let Some(sim) = &settings.sim {
        return Clock::simulated(sim.wall_start(), sim::BEGIN_NANOS);
    }
    Clock::new(settings.paused_clock)
}

fn timers(settings: &Settings) -> Timers {
    #[cfg(feature = "sim")]
    if let Some(sim) = &settings.sim {
        return Timers::shuffled(Rc::clone(sim));
    }
    #[cfg(not(feature = "sim"))]
    let _ = settings;
    Timers::new()
}

pub(crate) use crate::coroutine::{core_here as current, with_core as with};

/// The runtime of this thread, for a call that needs one.
#[inline(always)]
pub(crate) fn required() -> Result<Rc<Core>, Stopped> {
    current().ok_or(Stopped::NoRuntime)
}

/// Runs a call that needs the runtime of this thread, and may give up control.
#[inline(always)]
pub(crate) fn within<T, E: From<Stopped>>(
    call: impl FnOnce(&Core) -> Result<T, E>,
) -> Result<T, E> {
    match with(call) {
        Some(result) => result,
        None => Err(Stopped::NoRuntime.into()),
    }
}

/// Makes a runtime the current one of this thread while it lives.
pub(crate) struct Installed {
    core: Rc<Core>,
    here: Option<Here>,
}

impl Installed {
    /// Returns nothing when the thread has a runtime already.
    pub(crate) fn new(core: &Rc<Core>) -> Option<Self> {
        let here = Here::new(Rc::clone(core))?;
        Some(Self {
            core: Rc::clone(core),
            here: Some(here),
        })
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if self.core.fibers.borrow().have_begun() {
            // Those that are leaked have references to it on their stacks: it is never freed.
            std::mem::forget(Rc::clone(&self.core));
        }
        self.here = None;
        self.core.remote.end();
        if let Some(watchdog) = &self.core.watchdog {
            watchdog.end();
        }
    }
}
