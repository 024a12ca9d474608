//! What one runtime consists of, and how a call finds the runtime it runs in.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Stopped;
use crate::no_park::NoPark;
use crate::park::Waiters;
use crate::remote::Inbox;
use crate::run_queue::RunQueue;
use crate::runtime::Settings;
use crate::scheduler::Fibers;
use crate::scope_tree::Scopes;
use crate::stack::Stacks;
use crate::stats::Counters;
use crate::timer::Timers;
use crate::world::clock::Clock;
use crate::world::net::Reactor;
use crate::world::offload::Offload;
use crate::world::watchdog::Watchdog;

/// Index that names no fiber.
pub(crate) const NO_FIBER: u32 = u32::MAX;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The next runtime's number. It wraps after 2^32 runtimes of one process.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// One runtime. Everything is owned by one thread; nothing is borrowed across a switch.
pub(crate) struct Core {
    /// Tells the runtimes of a process apart.
    pub(crate) id: u32,
    pub(crate) fibers: RefCell<Fibers>,
    pub(crate) ready: RunQueue,
    /// The running fiber, or [`NO_FIBER`].
    pub(crate) current: Cell<u32>,
    pub(crate) scopes: RefCell<Scopes>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) waiters: RefCell<Waiters>,
    pub(crate) stacks: Stacks,
    pub(crate) clock: Clock,
    pub(crate) reactor: Reactor,
    pub(crate) offload: Offload,
    pub(crate) remote: Inbox,
    pub(crate) counters: Counters,
    pub(crate) watchdog: Option<Watchdog>,
    /// I/O operations the running fiber may still do before it gives up its turn.
    pub(crate) budget: Cell<u32>,
    pub(crate) no_park: NoPark,
    pub(crate) fibers_max: usize,
}

impl Core {
    pub(crate) fn new(settings: &Settings, stacks: Stacks) -> io::Result<Rc<Self>> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let reactor = Reactor::new()?;
        let offload = Offload::new(reactor.waker());
        let watchdog = settings.watch.map(Watchdog::new).transpose()?;
        let remote = Inbox::new(id, reactor.waker());
        Ok(Rc::new(Self {
            id,
            fibers: RefCell::new(Fibers::new()),
            ready: RunQueue::new(),
            current: Cell::new(NO_FIBER),
            scopes: RefCell::new(Scopes::new()),
            timers: RefCell::new(Timers::new()),
            waiters: RefCell::new(Waiters::new()),
            stacks,
            clock: Clock::new(settings.paused_clock),
            reactor,
            offload,
            remote,
            counters: Counters::default(),
            watchdog,
            budget: Cell::new(0),
            no_park: NoPark::default(),
            fibers_max: settings.fibers_max,
        }))
    }
}

/// The runtime of this thread, if one runs.
#[inline(always)]
pub(crate) fn current() -> Option<Rc<Core>> {
    // A thread that ends drops its thread-locals in any order: values of users that are dropped
    // after this one find no runtime.
    CURRENT
        .try_with(|current| current.borrow().clone())
        .unwrap_or(None)
}

/// The runtime of this thread, for a call that needs one.
#[inline(always)]
pub(crate) fn required() -> Result<Rc<Core>, Stopped> {
    current().ok_or(Stopped::NoRuntime)
}

/// Makes a runtime the current one of this thread while it lives.
pub(crate) struct Installed;

impl Installed {
    /// Returns nothing when the thread has a runtime already.
    pub(crate) fn new(core: &Rc<Core>) -> Option<Self> {
        CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            if current.is_some() {
                return None;
            }
            *current = Some(Rc::clone(core));
            Some(Self)
        })
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let core = CURRENT.with(|current| current.borrow_mut().take());
        if let Some(core) = core {
            core.remote.end();
        }
    }
}
