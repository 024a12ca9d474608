//! The ways between machines: how long they take, what they lose, and whether they are open.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use crate::sim::rng::{Rng, nanos};
use crate::sim::state::State;

/// Time from one machine to another unless set otherwise, at most.
const LATENCY_DEFAULT: Duration = Duration::from_millis(5);
/// When a lost segment is sent again for the first time; each further time after twice as long.
const RESEND_NANOS: u64 = 200_000_000;
/// How often in a row a segment is lost at most: then the link is lucky.
const LOSSES_MAX: u32 = 6;

/// How much longer than the slowest other a datagram is under way that is overtaken, at most.
const OVERTAKEN_NANOS: u64 = 10_000_000;

/// What a way is like, in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    pub(crate) latency: RangeInclusive<Duration>,
    pub(crate) bytes_per_second: Option<u64>,
    /// Per million segments.
    pub(crate) lost: u32,
    /// Per million segments: the connection is reset instead.
    pub(crate) reset: u32,
    /// Per million segments: nothing of this direction of the connection arrives from here on.
    pub(crate) silenced: u32,
    /// Per million connections.
    pub(crate) refused: u32,
    /// The connection that carries the byte after so many is cut before it.
    pub(crate) cut_after: Option<u64>,
    /// Per million datagrams.
    pub(crate) doubled: u32,
    /// Per million datagrams: those after it may come first.
    pub(crate) overtaken: u32,
}

/// One arrival of a datagram.
pub(crate) struct Copy {
    /// From leaving to arriving.
    pub(crate) nanos: u64,
    /// It does not hold up those after it.
    pub(crate) is_overtaken: bool,
}

impl Conditions {
    fn new() -> Self {
        Self {
            latency: Duration::from_micros(50)..=LATENCY_DEFAULT,
            bytes_per_second: None,
            lost: 0,
            reset: 0,
            silenced: 0,
            refused: 0,
            cut_after: None,
            doubled: 0,
            overtaken: 0,
        }
    }

    /// How often a datagram arrives, and when.
    pub(crate) fn copies(&self, rng: &Rng) -> Vec<Copy> {
        let count = if rng.chance(self.lost) {
            0
        } else {
            1 + u32::from(rng.chance(self.doubled))
        };
        let latest = nanos(*self.latency.end());
        let mut copies = Vec::new();
        for _ in 0..count {
            let is_overtaken = rng.chance(self.overtaken);
            let held = if is_overtaken {
                latest.saturating_add(rng.below(OVERTAKEN_NANOS))
            } else {
                0
            };
            copies.push(Copy {
                nanos: rng.nanos(&self.latency).saturating_add(held),
                is_overtaken,
            });
        }
        copies
    }

    /// Nanoseconds that `bytes` need to leave.
    pub(crate) fn sending(&self, bytes: usize) -> u64 {
        let Some(rate) = self.bytes_per_second else {
            return 0;
        };
        let nanos = u128::from(bytes as u64) * 1_000_000_000 / u128::from(rate.max(1));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// Nanoseconds from leaving to arriving, losses included.
    pub(crate) fn travelling(&self, rng: &Rng) -> u64 {
        let mut nanos = rng.nanos(&self.latency);
        for loss in 0..LOSSES_MAX {
            if !rng.chance(self.lost) {
                break;
            }
            nanos += RESEND_NANOS << loss;
        }
        nanos
    }
}

/// All ways, by the machines they lead from and to.
#[derive(Default)]
pub(crate) struct Links {
    conditions: RefCell<BTreeMap<(u32, u32), Conditions>>,
    blocked: RefCell<BTreeSet<(u32, u32)>>,
}

impl Links {
    /// Looks at a way, or changes it. A machine's way to itself takes next to no time.
    pub(crate) fn with<T>(&self, way: (u32, u32), change: impl FnOnce(&mut Conditions) -> T) -> T {
        let mut all = self.conditions.borrow_mut();
        let conditions = all.entry(way).or_insert_with(|| {
            let mut conditions = Conditions::new();
            if way.0 == way.1 {
                conditions.latency = Duration::from_micros(1)..=Duration::from_micros(20);
            }
            conditions
        });
        change(conditions)
    }
}

impl State {
    /// Whether what is sent from one machine reaches the other.
    pub(crate) fn is_open(&self, way: (u32, u32)) -> bool {
        !self.links.blocked.borrow().contains(&way) && self.machines.is_on(way.1)
    }
}

/// The way from one machine to another, in that direction alone.
///
/// All rates are per million. What is changed holds for what is sent from then on.
#[derive(Clone, Debug)]
pub struct Way {
    state: Rc<State>,
    way: (u32, u32),
}

impl Way {
    pub(crate) fn new(state: Rc<State>, from: u32, to: u32) -> Self {
        Self {
            state,
            way: (from, to),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) -> &Self {
        self.state.links.with(self.way, change);
        self
    }

    /// Sets how long a segment is under way, drawn from this range (default 50 µs to 5 ms).
    pub fn latency(&self, latency: RangeInclusive<Duration>) -> &Self {
        self.change(|way| way.latency = latency)
    }

    /// Sets how many bytes leave each connection in a second; `None` = no limit, the default.
    pub fn bytes_per_second(&self, rate: Option<u64>) -> &Self {
        self.change(|way| way.bytes_per_second = rate)
    }

    /// Sets how many segments and datagrams are lost. Segments are sent again, 200 ms later or
    /// more: a lossy way is a slow way. A datagram is gone for good.
    pub fn lost(&self, per_million: u32) -> &Self {
        self.change(|way| way.lost = per_million)
    }

    /// Sets how many datagrams arrive twice.
    pub fn doubled(&self, per_million: u32) -> &Self {
        self.change(|way| way.doubled = per_million)
    }

    /// Sets how many datagrams are held up for some time, so that later ones come before them. All
    /// others of one socket arrive in their order.
    pub fn overtaken(&self, per_million: u32) -> &Self {
        self.change(|way| way.overtaken = per_million)
    }

    /// Sets how many segments end their connection by a reset.
    pub fn reset(&self, per_million: u32) -> &Self {
        self.change(|way| way.reset = per_million)
    }

    /// Sets how many segments are the last of their connection to arrive: after them this
    /// direction is a black hole, and the other works on.
    pub fn silenced(&self, per_million: u32) -> &Self {
        self.change(|way| way.silenced = per_million)
    }

    /// Sets how many attempts to connect are refused.
    pub fn refused(&self, per_million: u32) -> &Self {
        self.change(|way| way.refused = per_million)
    }

    /// Cuts the connection that carries byte `bytes` + 1 from now on: the bytes before it arrive,
    /// then both ends find a reset. Happens once.
    pub fn cut_after(&self, bytes: u64) -> &Self {
        self.change(|way| way.cut_after = Some(bytes))
    }

    /// Lets nothing pass until [`Way::open`]. What was sent is sent again then; what waited for
    /// longer than a system tries fails with a timeout.
    pub fn block(&self) -> &Self {
        self.state.links.blocked.borrow_mut().insert(self.way);
        self
    }

    /// Ends [`Way::block`].
    pub fn open(&self) -> &Self {
        self.state.links.blocked.borrow_mut().remove(&self.way);
        self.state.resend(|way| way == self.way);
        self
    }

    /// Resets every connection between the two machines.
    pub fn reset_now(&self) -> &Self {
        self.state.reset_between(self.way);
        self
    }

    /// Makes this direction of every connection that is open now a black hole for good: half-open
    /// connections, as after a router forgot them.
    pub fn silence_now(&self) -> &Self {
        self.state.silence(self.way);
        self
    }
}
