//! The seeded simulator: a program of fibers in a world of which everything is drawn from one seed.
//!
//! It stands behind the doors of this crate, so that a program runs in it unchanged: the order in
//! which fibers run, the clocks, the randomness, names, sockets of all kinds, signals and files are the
//! simulator's. A run takes no real time to wait, comes again by its seed, and ends with the list of
//! its fibers when none can ever go on.
//!
//! What it cannot see is what a program does beside the doors: a hash map with a random hasher, the
//! clock of the standard library, a thread. [`Run::trace`] shows that: two runs of one seed differ.

mod builder;
mod check;
mod disk;
mod host;
mod link;
mod names;
mod net;
mod offload;
#[cfg(test)]
mod planted;
mod queue;
mod rng;
mod signals;
mod sockets;
mod state;
mod tcp;
mod udp;
mod unix;

pub use self::builder::{
    Failure, FailureKind, Order, Run, STEPS_MAX_DEFAULT, SimBuilder, TIME_MAX_DEFAULT,
};
pub use self::check::check;
#[cfg(test)]
pub(crate) use self::check::verdict;
pub(crate) use self::disk::{Pace, SimFile};
pub use self::host::Host;
pub use self::link::Way;
pub use self::names::Names;
#[cfg(test)]
pub(crate) use self::planted::{Planted, bites};
pub(crate) use self::sockets::{is_simulated, unwatch, watch};
pub(crate) use self::state::{BEGIN_NANOS, State};
pub(crate) use self::tcp::Tcp;
pub(crate) use self::udp::Udp;
pub(crate) use self::unix::{UnixListener, UnixStream};

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::core::Core;
use crate::stack::Stacks;
use crate::world::net::Reactor;

/// The simulated world, as the test that runs in it sees it: what it may look at and change.
#[derive(Clone, Debug)]
pub struct World {
    state: Rc<State>,
}

impl World {
    pub(crate) fn new(state: Rc<State>) -> Self {
        Self { state }
    }

    /// The machine with this name, which comes into being at the first call.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        Host::new(Rc::clone(&self.state), self.state.machines.named(name))
    }

    /// The way from one machine to another; both come into being if they are new.
    #[must_use]
    pub fn way(&self, from: &str, to: &str) -> Way {
        let machines = &self.state.machines;
        let (from, to) = (machines.named(from), machines.named(to));
        Way::new(Rc::clone(&self.state), from, to)
    }

    /// Lets nothing pass between two machines until [`World::heal`].
    pub fn partition(&self, one: &str, other: &str) {
        self.way(one, other).block();
        self.way(other, one).block();
    }

    /// Ends [`World::partition`].
    pub fn heal(&self, one: &str, other: &str) {
        self.way(one, other).open();
        self.way(other, one).open();
    }

    /// The name service of the world.
    #[must_use]
    pub fn names(&self) -> Names {
        Names::new(Rc::clone(&self.state))
    }

    /// The seed of the run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.state.options.seed
    }
}

/// The parts of a runtime that the kernel has a share in.
pub(crate) type Parts = (Rc<Reactor>, Rc<Stacks>);

thread_local! {
    static PARTS: RefCell<Option<Parts>> = const { RefCell::new(None) };
}

/// What all simulated runtimes of a thread share: thousands of them, with fibers that never end,
/// then cost neither descriptors nor mappings. The reactor watches nothing in a simulated world.
pub(crate) fn parts() -> io::Result<Parts> {
    PARTS.with(|parts| {
        let mut parts = parts.borrow_mut();
        if let Some((reactor, stacks)) = &*parts {
            return Ok((Rc::clone(reactor), Rc::clone(stacks)));
        }
        let made = (Rc::new(Reactor::new()?), Rc::new(Stacks::new(None)?));
        *parts = Some((Rc::clone(&made.0), Rc::clone(&made.1)));
        Ok(made)
    })
}

/// The world that a runtime is in.
pub(crate) fn world(core: &Core) -> io::Result<Rc<State>> {
    let state = core.sim.as_ref().ok_or(ErrorKind::Unsupported)?;
    Ok(Rc::clone(state))
}

thread_local! {
    static STAND_IN: RefCell<Option<Rc<OwnedFd>>> = const { RefCell::new(None) };
}

/// The descriptor that simulated sockets show where a type's contract demands one: the reading end
/// of a pipe that nobody writes to. Options of sockets are refused for it with `ENOTSOCK`.
pub(crate) fn stand_in() -> io::Result<Rc<OwnedFd>> {
    STAND_IN.with(|stand_in| {
        let mut stand_in = stand_in.borrow_mut();
        if let Some(stand_in) = &*stand_in {
            return Ok(Rc::clone(stand_in));
        }
        let (reader, _) = io::pipe()?;
        let made = Rc::new(OwnedFd::from(reader));
        *stand_in = Some(Rc::clone(&made));
        Ok(made)
    })
}
