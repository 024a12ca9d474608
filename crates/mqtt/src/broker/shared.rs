//! What the handles, the listeners and the connections of a broker share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fiber::{Event, Instant, JoinHandle};

use super::core::{ConnectionId, Core, Woken};
use super::faults::FaultTable;
use super::options::{BROKER_ARRIVALS_MAX, BROKER_CONNECTIONS_MAX, BrokerOptions, Hooks};
use crate::time::Time;

/// The one state of a broker; borrowed only between waits.
pub(super) struct Shared {
    core: RefCell<Core>,
    pub(super) faults: RefCell<FaultTable>,
    pub(super) hooks: Hooks,
    pub(super) events: RefCell<BTreeMap<Woken, Event>>,
    pub(super) listeners: RefCell<Vec<JoinHandle<()>>>,
    /// Connections that are open or in their handshake.
    connections: Cell<usize>,
    /// Counts the stops: what began before the last one is over.
    stops: Cell<u64>,
}

impl Shared {
    pub(super) fn new(options: BrokerOptions) -> Rc<Self> {
        Rc::new(Self {
            core: RefCell::new(Core::new(options.limits)),
            faults: RefCell::default(),
            hooks: options.hooks,
            events: RefCell::default(),
            listeners: RefCell::default(),
            connections: Cell::new(0),
            stops: Cell::new(0),
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
    pub(super) fn place(self: &Rc<Self>) -> Option<Place> {
        let open = self.connections.get();
        if open >= BROKER_CONNECTIONS_MAX + BROKER_ARRIVALS_MAX {
            log::warn!("broker: {open} connections are open, another one is closed");
            return None;
        }
        self.connections.set(open + 1);
        Some(Place {
            shared: Rc::clone(self),
            stops: self.stops.get(),
        })
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

/// A place among the connections, given back when it is dropped.
pub(super) struct Place {
    pub(super) shared: Rc<Shared>,
    stops: u64,
}

impl Place {
    /// Makes it a connection; `None` if the broker was stopped since.
    pub(super) fn enter(self) -> Option<Entry> {
        if self.stops != self.shared.stops.get() {
            return None;
        }
        let id = self.shared.with(|core| core.open(now()));
        let wake = Event::new();
        let woken = Woken::Connection(id);
        self.shared.events.borrow_mut().insert(woken, wake.clone());
        Some(Entry {
            place: self,
            id,
            wake,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connections = &self.shared.connections;
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
        &self.place.shared
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let shared = &self.place.shared;
        let woken = Woken::Connection(self.id);
        shared.events.borrow_mut().remove(&woken);
        shared.with(|core| core.close(self.id));
    }
}

/// The time of the runtime, as the core takes it.
pub(super) fn now() -> Time {
    Time(Instant::now().as_nanos())
}
