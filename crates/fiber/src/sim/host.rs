//! The machines of a simulated world: which fibers are whose, what their clocks show, and their end.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::core::{self, Core, NO_FIBER};
use crate::coroutine;
use crate::error::SpawnError;
use crate::inspect::FiberList;
use crate::join::JoinHandle;
use crate::sim::state::{Halt, State};
use crate::spawn::spawn_on;
use crate::stack::StackClass;

/// The machine `main` runs on.
pub(crate) const WORLD: u32 = 0;

/// One machine.
pub(crate) struct Machine {
    name: String,
    is_on: Cell<bool>,
    /// How often it crashed: what was under way on it before is recognised by that.
    pub(crate) crashes: Cell<u32>,
    clock_ahead: Cell<Duration>,
    clock_behind: Cell<Duration>,
}

/// All machines, by number.
pub(crate) struct Machines {
    list: RefCell<Vec<Rc<Machine>>>,
    /// The machine of the next fiber, if that is not its parent's.
    starting: Cell<Option<u32>>,
}

impl Machines {
    pub(crate) fn new() -> Self {
        let machines = Self {
            list: RefCell::new(Vec::new()),
            starting: Cell::new(None),
        };
        machines.named("world");
        machines
    }

    /// The number of the machine with this name, which is added if there is none.
    pub(crate) fn named(&self, name: &str) -> u32 {
        if let Some(host) = self.find(name) {
            return host;
        }
        let mut list = self.list.borrow_mut();
        list.push(Rc::new(Machine {
            name: name.to_owned(),
            is_on: Cell::new(true),
            crashes: Cell::new(0),
            clock_ahead: Cell::new(Duration::ZERO),
            clock_behind: Cell::new(Duration::ZERO),
        }));
        u32::try_from(list.len() - 1).expect("fewer than 2^24 machines")
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let list = self.list.borrow();
        let at = list.iter().position(|machine| machine.name == name)?;
        u32::try_from(at).ok()
    }

    pub(crate) fn get(&self, host: u32) -> Rc<Machine> {
        Rc::clone(&self.list.borrow()[host as usize])
    }

    pub(crate) fn is_on(&self, host: u32) -> bool {
        self.get(host).is_on.get()
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.list.borrow().len()).expect("fewer than 2^24 machines")
    }

    /// The machine that has this address.
    pub(crate) fn at(&self, address: IpAddr) -> Option<u32> {
        (0..self.count()).find(|&host| address_of(host) == address)
    }
}

/// The address of a machine: 10.0.0.1 and on, in the order they were named.
pub(crate) fn address_of(host: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0001 + host))
}

impl State {
    /// The machine of the running fiber.
    pub(crate) fn current_host(&self, core: &Core) -> u32 {
        let fibers = core.fibers.borrow();
        fibers
            .get(core.current.get())
            .map_or(WORLD, |fiber| fiber.host)
    }

    /// The machine of a fiber that is being made.
    pub(crate) fn host_of_new(&self, parent: Option<u32>) -> u32 {
        let starting = self.machines.starting.take();
        starting.or(parent).unwrap_or(WORLD)
    }

    /// What the running fiber's machine takes for the wall time.
    pub(crate) fn wall_time(&self, core: &Core, wall: SystemTime) -> SystemTime {
        let machine = self.machines.get(self.current_host(core));
        let ahead = wall.checked_add(machine.clock_ahead.get()).unwrap_or(wall);
        ahead
            .checked_sub(machine.clock_behind.get())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// A machine of the simulated world. It has a name, an address, a clock, and programs that run
/// on it as fibers; what these spawn runs on it too.
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) state: Rc<State>,
    pub(crate) number: u32,
}

impl Host {
    pub(crate) fn new(state: Rc<State>, number: u32) -> Self {
        Self { state, number }
    }

    fn machine(&self) -> Rc<Machine> {
        self.state.machines.get(self.number)
    }

    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> String {
        self.machine().name.clone()
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        address_of(self.number)
    }

    /// Whether the machine is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.machine().is_on.get()
    }

    /// Starts a program on the machine, which is turned on if it is off. Does not yield.
    ///
    /// A panic of the program ends the run: [`crate::sim::FailureKind::Panicked`]. After a crash
    /// the handle's `join` never returns, unless its scope is over.
    ///
    /// # Errors
    ///
    /// As [`crate::spawn`].
    #[track_caller]
    pub fn start<T, F>(&self, program: F) -> Result<JoinHandle<T>, SpawnError>
    where
        T: 'static,
        F: FnOnce() -> T + 'static,
    {
        let location = Location::caller();
        let core = core::current().ok_or(SpawnError::NoRuntime)?;
        let machine = self.machine();
        if !machine.is_on.replace(true) {
            self.state.resend(|(_, to)| to == self.number);
        }
        let watch = Watch {
            state: Rc::clone(&self.state),
            host: self.number,
        };
        let name = Cow::Owned(machine.name.clone());
        self.state.machines.starting.set(Some(self.number));
        let started = spawn_on(&core, name, StackClass::DEFAULT, location, move || {
            let _watch = watch;
            program()
        });
        self.state.machines.starting.set(None);
        started
    }

    /// Ends all programs of the machine at once, as `kill -9` does: none of their fibers runs
    /// again and nothing of them is dropped; the machine closes their sockets.
    ///
    /// Does not yield, unless called on the machine itself: then it never returns.
    pub fn kill(&self) {
        self.crash(true);
    }

    /// Takes the machine's power away: as [`Host::kill`], and the machine is off until the next
    /// [`Host::start`]. Of its files only what was synced is sure to be left. Its peers hear nothing of it.
    pub fn power_cut(&self) {
        self.crash(false);
    }

    fn crash(&self, stays_on: bool) {
        let Some(core) = core::current() else { return };
        let machine = self.machine();
        machine.crashes.set(machine.crashes.get() + 1);
        machine.is_on.set(stays_on);
        self.state.forget_jobs(self.number);
        self.state.handled.forget(self.number);
        self.state.crash_sockets(self.number, stays_on);
        self.state.disks.close_all(self.number);
        if !stays_on {
            self.state.disks.cut(self.number, &self.state.chances);
        }
        core.abandon(|fiber| fiber.host == self.number);
        let current = core.current.get();
        let is_own = current != NO_FIBER && core.fibers.borrow()[current].host == self.number;
        if is_own {
            // Abandoned: nobody resumes it.
            coroutine::suspend();
        }
    }

    /// The fibers of the machine that have not ended, as [`crate::fibers`] lists those of all. Does not
    /// yield.
    #[must_use]
    pub fn fibers(&self) -> FiberList {
        let number = self.number;
        match core::current() {
            Some(core) => core.fiber_list_where(|fiber| fiber.host == number),
            None => FiberList::default(),
        }
    }

    /// Puts the machine's wall clock ahead of the world's. [`crate::Instant`] is not moved.
    pub fn set_clock_ahead(&self, by: Duration) {
        let machine = self.machine();
        machine.clock_ahead.set(by);
        machine.clock_behind.set(Duration::ZERO);
    }

    /// Puts the machine's wall clock behind the world's. [`crate::Instant`] is not moved.
    pub fn set_clock_behind(&self, by: Duration) {
        let machine = self.machine();
        machine.clock_behind.set(by);
        machine.clock_ahead.set(Duration::ZERO);
    }
}

/// Sees a program's panic.
struct Watch {
    state: Rc<State>,
    host: u32,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = self.state.machines.get(self.host).name.clone();
            self.state.halt(Halt::Panicked(name));
        }
    }
}
