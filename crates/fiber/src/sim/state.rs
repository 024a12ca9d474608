//! The simulated world as the runtime sees it: what happens next, and when.
//!
//! Events of the world (a packet arrives, a disk answers) and timers of the program are merged by
//! time; where two are due at the same time the seed says which comes first.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use crate::core::Core;
use crate::run_queue::RunQueue;
use crate::runtime::fire;
use crate::scheduler::{Fiber, Fibers};
use crate::sim::builder::{Options, Order};
use crate::sim::disk::Disks;
use crate::sim::host::Machines;
use crate::sim::link::Links;
use crate::sim::names::Service;
use crate::sim::offload::Lanes;
use crate::sim::rng::{Decision, Rng, Trace};
use crate::sim::signals::Handled;
use crate::sim::sockets::Net;

/// Ready fibers among which the next one is drawn.
const PICK_WINDOW: usize = 256;

/// What the clock of every simulated world shows at its start, in nanoseconds. Not zero, so that
/// programs that mistake zero for "never" are found out.
pub(crate) const BEGIN_NANOS: u64 = 3_600_000_000_000;

/// What happens at some time.
type Happen = Box<dyn FnOnce(&Rc<State>, &Core)>;

struct Event {
    at: u64,
    /// Drawn: the order among events of the same time.
    rank: u64,
    happen: Happen,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.rank).cmp(&(other.at, other.rank))
    }
}

/// Why a run was stopped from outside the program.
#[derive(Clone, Debug)]
pub(crate) enum Halt {
    Steps,
    Time,
    /// A program of this machine panicked.
    Panicked(String),
}

/// One simulated world. The runtime in it holds it, and so do the handles of the test.
pub(crate) struct State {
    pub(crate) options: Options,
    order: Order,
    pub(crate) trace: Trace,
    /// Draws that order what the program could not order.
    pub(crate) schedule: Rng,
    pub(crate) machines: Machines,
    pub(crate) lanes: Lanes,
    pub(crate) disks: Disks,
    pub(crate) net: Net,
    pub(crate) links: Links,
    pub(crate) names: RefCell<Service>,
    pub(crate) handled: Handled,
    /// Draws of what happens in the world.
    pub(crate) chances: Rng,
    /// Bytes for the program.
    randomness: Rng,
    steps: Cell<u64>,
    now: Cell<u64>,
    halted: RefCell<Option<Halt>>,
    events: RefCell<BinaryHeap<Reverse<Event>>>,
    sequence: Cell<u64>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("seed", &self.options.seed)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn new(options: Options) -> Self {
        let seed = options.seed;
        let schedule = Rng::stream(seed, 1);
        let order = match options.order {
            Order::Drawn if schedule.below(4) == 0 => Order::Fifo,
            Order::Drawn => Order::Random,
            order => order,
        };
        Self {
            order,
            trace: Trace::default(),
            schedule,
            randomness: Rng::stream(seed, 2),
            machines: Machines::new(),
            lanes: Lanes::default(),
            disks: Disks::default(),
            net: Net::new(),
            links: Links::default(),
            names: Service::new(),
            handled: Handled::default(),
            chances: Rng::stream(seed, 3),
            steps: Cell::new(0),
            now: Cell::new(BEGIN_NANOS),
            halted: RefCell::new(None),
            events: RefCell::new(BinaryHeap::new()),
            sequence: Cell::new(0),
            options,
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// The time, also when the runtime is over.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn halted(&self) -> Option<Halt> {
        self.halted.borrow().clone()
    }

    /// Ends the run when the world has its next turn; the first reason counts.
    pub(crate) fn halt(&self, halt: Halt) {
        self.halted.borrow_mut().get_or_insert(halt);
    }

    pub(crate) fn wall_start(&self) -> SystemTime {
        self.options.wall_start
    }

    /// Takes the fiber that runs next.
    pub(crate) fn pick<'a>(
        &self,
        core: &Core,
        queue: &RunQueue,
        fibers: &'a mut Fibers,
    ) -> Option<(u32, &'a mut Fiber)> {
        let nth = match self.order {
            Order::Fifo => 0,
            Order::Random | Order::Drawn => {
                self.schedule.index(queue.len_up_to(fibers, PICK_WINDOW))
            }
        };
        let (index, fiber) = queue.pop_nth(fibers, nth)?;
        self.steps.set(self.steps.get() + 1);
        let cost = self.schedule.nanos(&self.options.step);
        self.advance(core, core.clock.now().saturating_add(cost));
        self.trace.note(
            Decision::Resume,
            u64::from(index),
            core.clock.now() - BEGIN_NANOS,
        );
        Some((index, fiber))
    }

    /// Resumptions before the world gets its turn.
    pub(crate) fn resumes_per_poll(&self, bound: u32) -> u32 {
        let drawn = self.schedule.below(u64::from(bound));
        1 + u32::try_from(drawn).expect("below a u32")
    }

    fn advance(&self, core: &Core, to: u64) {
        core.clock.advance_to(to);
        self.now.set(core.clock.now());
    }

    /// Random bytes for the program.
    pub(crate) fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.randomness.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        self.trace.note(Decision::Random, buffer.len() as u64, 0);
    }

    /// Makes something happen in the world at `at`.
    pub(crate) fn schedule_at(&self, at: u64, happen: impl FnOnce(&Rc<Self>, &Core) + 'static) {
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        let rank = (self.schedule.next() & !0xFFFF_FFFF) | (sequence & 0xFFFF_FFFF);
        self.events.borrow_mut().push(Reverse(Event {
            at: at.max(self.now.get()),
            rank,
            happen: Box::new(happen),
        }));
    }

    fn next_event(&self) -> Option<u64> {
        self.events.borrow().peek().map(|event| event.0.at)
    }

    /// Gives the world its turn: moves time on if no fiber can run, then lets happen what is due.
    ///
    /// Returns false when nothing is left that could ever wake a fiber.
    pub(crate) fn turn(self: &Rc<Self>, core: &Rc<Core>, end_by: Option<u64>) -> io::Result<bool> {
        self.check_bounds()?;
        // What the run's own fibers asked of it as though from outside.
        core.remote.drain(core);
        let timer = core.next_timer();
        let next = [timer, self.next_event(), end_by]
            .into_iter()
            .flatten()
            .min();
        if core.ready.is_empty() {
            let Some(next) = next else { return Ok(false) };
            self.advance(core, next);
            self.trace
                .note(Decision::Advance, core.clock.now() - BEGIN_NANOS, 0);
        }
        self.happen_until(core, core.clock.now());
        Ok(true)
    }

    fn check_bounds(&self) -> io::Result<()> {
        let bounds = [
            (self.steps.get() >= self.options.steps_max, Halt::Steps),
            (
                self.now.get() - BEGIN_NANOS >= self.options.time_max,
                Halt::Time,
            ),
        ];
        for (is_reached, halt) in bounds {
            if is_reached {
                self.halt(halt);
            }
        }
        if self.halted.borrow().is_some() {
            return Err(io::Error::other("the simulated run was stopped"));
        }
        Ok(())
    }

    /// Lets timers and events happen in the order of their time.
    fn happen_until(self: &Rc<Self>, core: &Core, now: u64) {
        loop {
            let timer = core.next_timer();
            let event = self.next_event();
            let Some(next) = [timer, event].into_iter().flatten().min() else {
                return;
            };
            if next > now {
                return;
            }
            let timers_first = if timer == event {
                self.schedule.below(2) == 0
            } else {
                timer == Some(next)
            };
            if timers_first {
                fire(core, next);
                continue;
            }
            let Some(Reverse(event)) = self.events.borrow_mut().pop() else {
                return;
            };
            self.trace
                .note(Decision::Event, event.at - BEGIN_NANOS, event.rank);
            (event.happen)(self, core);
        }
    }
}
