//! What the handles, the listeners and the connections of a broker share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, Instant, JoinHandle, Stopped};

use super::core::{ConnectionId, Core, Woken};
use super::faults::FaultTable;
use super::options::{BROKER_ARRIVALS_MAX, BROKER_CONNECTIONS_MAX, BrokerOptions, Hooks};
use crate::time::Time;

/// The least time between two lines of the log that say that all places are taken.
const FULL_TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The one state of a broker; borrowed only between waits.
pub(super) struct Shared {
    core: RefCell<Core>,
    pub(super) faults: RefCell<FaultTable>,
    pub(super) hooks: Hooks,
    pub(super) events: RefCell<BTreeMap<Woken, Event>>,
    pub(super) listeners: RefCell<Vec<JoinHandle<()>>>,
    /// Connections that are open or in their handshake.
    connections: Cell<usize>,
    /// The places of these, and those that are reserved for the next ones.
    places: Cell<usize>,
    /// Set when a place was given back.
    place_free: Event,
    /// When the log may tell again that all places are taken.
    full_untold_until: Cell<Option<Instant>>,
    /// Counts the stops: what began before the last one is over.
    stops: Cell<u64>,
    /// What connections read into, one after the other; empty while one does.
    pub(super) space: Cell<Vec<u8>>,
}

impl Shared {
    pub(super) fn new(options: BrokerOptions) -> Rc<Self> {
        Rc::new(Self {
            core: RefCell::new(Core::new(options.limits, options.policy)),
            faults: RefCell::default(),
            hooks: options.hooks,
            events: RefCell::default(),
            listeners: RefCell::default(),
            connections: Cell::new(0),
            places: Cell::new(0),
            place_free: Event::new(),
            full_untold_until: Cell::new(None),
            stops: Cell::new(0),
            space: Cell::default(),
        })
    }

    /// Lets `act` change the state, then wakes whom the change concerns. Does not yield.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.borrow_mut();
        let value = act(&mut core);
        let woken = core.take_woken();
        drop(core);
        let events = self.events.borrow();
        for one in woken {
            if let Some(event) = events.get(&one) {
                event.set();
            }
        }
        value
    }

    /// Reserves a place for a connection; `None` at the bound of their number. Who may stay beyond
    /// [`BROKER_CONNECTIONS_MAX`] its CONNECT decides.
    pub(super) fn reserve(self: &Rc<Self>) -> Option<Reserved> {
        let taken = self.places.get();
        if taken >= BROKER_CONNECTIONS_MAX + BROKER_ARRIVALS_MAX {
            self.tell_full(Instant::recent());
            return None;
        }
        self.places.set(taken + 1);
        Some(Reserved {
            shared: Rc::clone(self),
            stops: self.stops.get(),
        })
    }

    /// As [`reserve`](Self::reserve), and waits until there is a place.
    pub(super) fn wait_for_place(self: &Rc<Self>) -> Result<Reserved, Stopped> {
        loop {
            self.place_free.clear();
            if let Some(reserved) = self.reserve() {
                return Ok(reserved);
            }
            self.place_free.wait()?;
        }
    }

    /// Says that all places are taken, as often as whoever connects may bring it about.
    fn tell_full(&self, now: Instant) {
        if self
            .full_untold_until
            .get()
            .is_some_and(|until| now < until)
        {
            return;
        }
        self.full_untold_until
            .set(Some(now + FULL_TOLD_AGAIN_AFTER));
        let open = self.connections.get();
        log::warn!("broker: {open} connections are open, as many as may be: no more are accepted");
    }

    /// Returns how many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Ends what listens and what is connected.
    pub(super) fn stop(&self) {
        self.stops.set(self.stops.get() + 1);
        for listener in self.listeners.borrow_mut().drain(..) {
            listener.cancel();
        }
        self.with(Core::end_all);
    }
}

/// A place for a connection that is still to come, given back when it is dropped.
pub(super) struct Reserved {
    pub(super) shared: Rc<Shared>,
    stops: u64,
}

impl Reserved {
    /// Counts the connection, which is there now.
    pub(super) fn take(self) -> Place {
        let connections = &self.shared.connections;
        connections.set(connections.get() + 1);
        Place { reserved: self }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let places = &self.shared.places;
        places.set(places.get() - 1);
        self.shared.place_free.set();
    }
}

/// A place among the connections, given back when it is dropped.
pub(super) struct Place {
    reserved: Reserved,
}

impl Place {
    /// Makes it a connection; `None` if the broker was stopped since.
    pub(super) fn enter(self) -> Option<Entry> {
        let shared = &self.reserved.shared;
        if self.reserved.stops != shared.stops.get() {
            return None;
        }
        let id = shared.with(|core| core.open(now()));
        let wake = Event::new();
        let woken = Woken::Connection(id);
        shared.events.borrow_mut().insert(woken, wake.clone());
        Some(Entry {
            place: self,
            id,
            wake,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connections = &self.reserved.shared.connections;
        connections.set(connections.get() - 1);
    }
}

/// A connection as the core knows it; dropping it, also by a panic, ends it there as lost.
pub(super) struct Entry {
    place: Place,
    pub(super) id: ConnectionId,
    pub(super) wake: Event,
}

impl Entry {
    pub(super) fn shared(&self) -> &Shared {
        &self.place.reserved.shared
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let shared = &self.place.reserved.shared;
        let woken = Woken::Connection(self.id);
        shared.events.borrow_mut().remove(&woken);
        shared.with(|core| core.close(self.id));
    }
}

/// The time of the runtime, as the core takes it.
pub(super) fn now() -> Time {
    Time(Instant::now().as_nanos())
}
