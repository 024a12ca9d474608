//! The name service of the simulated world: the names of its machines, and what goes wrong with
//! asking for them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use crate::core::Core;
use crate::park::WaitReason;
use crate::sim::host::address_of;
use crate::sim::state::State;
use crate::world::offload::{Lane, OffloadError};

/// Time of one look-up unless set otherwise, at most.
const LOOK_UP_DEFAULT: Duration = Duration::from_millis(5);
/// Addresses that no machine has: what a lying answer leads to, if not to another machine.
const NOBODY: u32 = 0x0AFF_FF00;

/// What the service does.
pub(crate) struct Service {
    took: RangeInclusive<Duration>,
    slow: u32,
    slow_took: RangeInclusive<Duration>,
    failing: u32,
    lying: u32,
    broken: BTreeSet<String>,
    /// Names that have other addresses than their machine's.
    given: BTreeMap<String, Vec<IpAddr>>,
}

impl Service {
    pub(crate) fn new() -> RefCell<Self> {
        RefCell::new(Self {
            took: Duration::from_micros(50)..=LOOK_UP_DEFAULT,
            slow: 0,
            slow_took: Duration::ZERO..=Duration::ZERO,
            failing: 0,
            lying: 0,
            broken: BTreeSet::new(),
            given: BTreeMap::new(),
        })
    }
}

fn no_answer() -> io::Error {
    io::Error::other("the name service does not answer")
}

impl State {
    /// Looks up a name for the running fiber. Yields until there is an answer.
    pub(crate) fn look_up(&self, core: &Core, name: &str) -> io::Result<Vec<IpAddr>> {
        core.may_switch()?;
        core.check()?;
        let token = core.prepare()?;
        let nanos = {
            let service = self.names.borrow();
            let took = if self.chances.chance(service.slow) {
                &service.slow_took
            } else {
                &service.took
            };
            self.chances.nanos(took)
        };
        let slot = Rc::new(RefCell::new(None));
        let (answer, name) = (Rc::clone(&slot), name.to_owned());
        let queued = self.offload(core, Lane::Names, nanos, move |state, core| {
            *answer.borrow_mut() = Some(state.answer(&name));
            core.unpark(token);
        });
        let number = queued.ok_or(OffloadError::Full)?;
        loop {
            if let Err(stopped) = core.park(WaitReason::Offload) {
                self.withdraw(core, Lane::Names, number);
                return Err(stopped.into());
            }
            if let Some(answer) = slot.borrow_mut().take() {
                return answer;
            }
        }
    }

    fn answer(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        if name == "localhost" {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        }
        let service = self.names.borrow();
        if service.broken.contains(name) || self.chances.chance(service.failing) {
            return Err(no_answer());
        }
        let host = self.machines.find(name);
        let truth = match (service.given.get(name), host) {
            (Some(given), _) => given.clone(),
            (None, Some(host)) => vec![address_of(host)],
            (None, None) => {
                let what = format!("no machine has the name {name:?}");
                return Err(io::Error::other(what));
            }
        };
        if !self.chances.chance(service.lying) {
            return Ok(truth);
        }
        let machines = self.machines.count();
        let other = u32::try_from(self.chances.below(u64::from(machines))).unwrap_or(0);
        let lie = if truth.contains(&address_of(other)) {
            let nobody = NOBODY | u32::from(self.chances.below(200) as u8);
            IpAddr::V4(Ipv4Addr::from_bits(nobody))
        } else {
            address_of(other)
        };
        Ok(vec![lie])
    }
}

/// The name service of a simulated world. What is changed holds for what is asked from then on;
/// all rates are per million look-ups. Addresses and `localhost` are always answered.
#[derive(Clone, Debug)]
pub struct Names {
    state: Rc<State>,
}

impl Names {
    pub(crate) fn new(state: Rc<State>) -> Self {
        Self { state }
    }

    fn change(&self, change: impl FnOnce(&mut Service)) -> &Self {
        change(&mut self.state.names.borrow_mut());
        self
    }

    /// Sets how long a look-up takes, drawn from this range (default 50 µs to 5 ms).
    pub fn latency(&self, took: RangeInclusive<Duration>) -> &Self {
        self.change(|service| service.took = took)
    }

    /// Sets how many look-ups are slow, and how long these take.
    pub fn slow(&self, per_million: u32, took: RangeInclusive<Duration>) -> &Self {
        self.change(|service| {
            service.slow = per_million;
            service.slow_took = took;
        })
    }

    /// Sets how many look-ups fail.
    pub fn failing(&self, per_million: u32) -> &Self {
        self.change(|service| service.failing = per_million)
    }

    /// Sets how many answers are the address of another machine, or of none.
    pub fn lying(&self, per_million: u32) -> &Self {
        self.change(|service| service.lying = per_million)
    }

    /// Gives a name these addresses, answered in this order, instead of that of the machine that has
    /// it. None at all give the name back to its machine.
    ///
    /// # Examples
    /// ```
    /// use fiber::sim::SimBuilder;
    ///
    /// let ran = SimBuilder::new(1).run(|world| {
    ///     let addresses = [world.host("old").address(), world.host("new").address()];
    ///     world.names().addresses("cloud", &addresses);
    ///     let found = fiber::resolve("cloud", 80).expect("an answer");
    ///     assert_eq!(found.iter().map(|at| at.ip()).collect::<Vec<_>>(), addresses);
    /// });
    /// # ran.expect("a run");
    /// ```
    pub fn addresses(&self, name: &str, addresses: &[IpAddr]) -> &Self {
        self.change(|service| {
            if addresses.is_empty() {
                service.given.remove(name);
            } else {
                service.given.insert(name.to_owned(), addresses.to_vec());
            }
        })
    }

    /// Lets every look-up of this name fail until [`Names::mend`].
    pub fn break_name(&self, name: &str) -> &Self {
        self.change(|service| {
            service.broken.insert(name.to_owned());
        })
    }

    /// Ends [`Names::break_name`].
    pub fn mend(&self, name: &str) -> &Self {
        self.change(|service| {
            service.broken.remove(name);
        })
    }
}
