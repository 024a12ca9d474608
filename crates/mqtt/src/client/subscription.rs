//! Subscriptions: who gets a message that arrived, and what waits to be handled.
//!
//! One subscription has one or more topic filters, a queue, and either a handler, which runs on
//! a fiber of its own while there is something to handle, or an iterator. Nothing here waits.

use std::collections::BTreeMap;

use fiber::Unparker;

use super::handler::Handler;
use super::inbox::{Arrived, Inbox};
use super::message::Message;
use crate::packet::QoS;
use crate::session::AckToken;
use crate::topic::{RouteId, Router, TopicFilter};

/// Bytes of unhandled QoS 1 and 2 messages of one client, counted for each handler that gets them and
/// with [`QUEUED_OVERHEAD`] for each; more end the connection, unless it is a single message.
pub const INBOUND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that a queued message counts beside its topic and payload. Each connection brings as many
/// messages as the broker's window holds, and those of the earlier ones may still be there: short
/// ones would be bounded by nothing else.
pub const QUEUED_OVERHEAD: usize = 256;

/// Names a subscription; never given twice by one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionId {
    slot: usize,
    generation: u32,
}

/// Who takes the messages of a subscription.
enum Taker {
    /// A handler that no fiber runs now.
    Handler(Handler),
    /// A fiber that has the handler.
    Fiber,
    /// An iterator.
    Iterator,
}

/// One topic filter of a subscription.
struct Route {
    id: RouteId,
    qos: QoS,
    /// The broker has granted it, now or on an earlier connection.
    granted: bool,
}

struct Entry {
    routes: Vec<Route>,
    taker: Taker,
    /// A fiber for the handler is on its way.
    starting: bool,
    inbox: Inbox,
    /// Who waits for the next message.
    waiter: Option<Unparker>,
}

struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

/// What a subscription leaves when it is removed. It holds code of the user, so it is dropped
/// where nothing is borrowed.
pub(super) struct Removed {
    _entry: Option<Entry>,
    /// Acknowledgements that nobody will give now.
    pub(super) acks: Vec<AckToken>,
}

/// The subscriptions of one client.
#[derive(Default)]
pub(super) struct Subscriptions {
    router: Router<SubscriptionId>,
    slots: Vec<Slot>,
    /// Those that match the message at hand; kept for its memory.
    matches: Vec<SubscriptionId>,
    /// How many takers are not done yet with a message that several subscriptions share.
    shared_acks: Vec<(AckToken, usize)>,
    /// Bytes of the queued messages that await an acknowledgement.
    held_bytes: usize,
    /// Subscriptions with messages for which no fiber could be started.
    starved: Vec<SubscriptionId>,
    /// Who gets the messages that nobody else wants.
    default: Option<SubscriptionId>,
}

/// What happened to a message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routed {
    /// Nobody wants it.
    Unwanted,
    /// It is queued; this many older QoS 0 messages were dropped for it.
    Queued { dropped: u64 },
    /// It is not queued: the bound on held bytes was reached.
    Overrun,
}

impl Subscriptions {
    /// Adds a subscription; no handler means an iterator.
    pub(super) fn add(
        &mut self,
        filters: impl IntoIterator<Item = (TopicFilter, QoS)>,
        handler: Option<Handler>,
    ) -> SubscriptionId {
        let slot = match self.slots.iter().position(|slot| slot.entry.is_none()) {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    entry: None,
                });
                self.slots.len() - 1
            }
        };
        let id = SubscriptionId {
            slot,
            generation: self.slots[slot].generation,
        };
        let routes = filters
            .into_iter()
            .map(|(filter, qos)| Route {
                id: self.router.insert(filter, id),
                qos,
                granted: false,
            })
            .collect();
        self.slots[slot].entry = Some(Entry {
            routes,
            taker: handler.map_or(Taker::Iterator, Taker::Handler),
            starting: false,
            inbox: Inbox::default(),
            waiter: None,
        });
        id
    }

    fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(id.slot)?;
        if slot.generation == id.generation {
            slot.entry.as_mut()
        } else {
            None
        }
    }

    /// Whether some subscription has exactly this filter.
    pub(super) fn has_filter(&self, filter: &str) -> bool {
        TopicFilter::new(filter).is_ok_and(|filter| self.router.count(&filter) > 0)
    }

    pub(super) fn contains(&self, id: SubscriptionId) -> bool {
        self.slots
            .get(id.slot)
            .is_some_and(|slot| slot.generation == id.generation && slot.entry.is_some())
    }

    /// Removes a subscription with all that is queued for it.
    pub(super) fn remove(&mut self, id: SubscriptionId) -> Removed {
        let mut acks = Vec::new();
        let entry = match self.slots.get_mut(id.slot) {
            Some(slot) if slot.generation == id.generation => slot.entry.take(),
            Some(_) | None => None,
        };
        if let Some(entry) = &entry {
            self.slots[id.slot].generation = id.generation.wrapping_add(1);
            for route in &entry.routes {
                self.router.remove(route.id);
            }
            for arrived in entry.inbox.iter() {
                if arrived.ack.is_some() {
                    self.held_bytes -= held_bytes(&arrived.message);
                }
                acks.extend(arrived.ack);
            }
            if let Some(waiter) = entry.waiter {
                waiter.unpark();
            }
        }
        acks.retain(|ack| self.done(*ack));
        Removed {
            _entry: entry,
            acks,
        }
    }

    /// Removes all handlers that have nothing to handle: nothing more will come.
    pub(super) fn remove_idle(&mut self, removed: &mut Vec<Removed>) {
        for slot in 0..self.slots.len() {
            let Slot { generation, entry } = &self.slots[slot];
            let generation = *generation;
            if let Some(entry) = entry
                && let Taker::Handler(_) = entry.taker
                && entry.inbox.is_empty()
            {
                removed.push(self.remove(SubscriptionId { slot, generation }));
            }
        }
    }

    /// Removes one filter wherever it is used, and subscriptions that have no other.
    pub(super) fn remove_filter(&mut self, filter: &str) -> Vec<Removed> {
        let mut removed = Vec::new();
        for slot in 0..self.slots.len() {
            let id = SubscriptionId {
                slot,
                generation: self.slots[slot].generation,
            };
            removed.extend(self.remove_filter_of(id, filter));
        }
        removed
    }

    /// Removes one filter of one subscription, and that if it has no other.
    pub(super) fn remove_filter_of(&mut self, id: SubscriptionId, filter: &str) -> Option<Removed> {
        let entry = self
            .slots
            .get_mut(id.slot)
            .filter(|slot| slot.generation == id.generation);
        let entry = entry?.entry.as_mut()?;
        let router = &mut self.router;
        let routes = entry.routes.len();
        entry.routes.retain(|route| {
            let same = router
                .filter(route.id)
                .is_some_and(|other| other.as_str() == filter);
            if same {
                router.remove(route.id);
            }
            !same
        });
        // The handler of unwanted messages has no filter from the start, and stays.
        (entry.routes.len() < routes && entry.routes.is_empty()).then(|| self.remove(id))
    }

    /// Notes that the broker has granted a filter of a subscription.
    pub(super) fn grant(&mut self, id: SubscriptionId, filter: &str) {
        let slot = self.slots.get_mut(id.slot);
        let entry = slot.filter(|slot| slot.generation == id.generation);
        let routes = entry.and_then(|slot| slot.entry.as_mut());
        for route in routes.into_iter().flat_map(|entry| &mut entry.routes) {
            let other = self.router.filter(route.id);
            route.granted |= other.is_some_and(|other| other.as_str() == filter);
        }
    }

    /// Every filter that the broker has granted, once and with its highest quality of service, in
    /// their order.
    pub(super) fn granted(&self) -> BTreeMap<String, QoS> {
        let mut granted = BTreeMap::new();
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        for route in entries.flat_map(|entry| &entry.routes) {
            if let Some(filter) = self.router.filter(route.id)
                && route.granted
            {
                let qos = granted.entry(filter.as_str().to_owned()).or_default();
                *qos = route.qos.max(*qos);
            }
        }
        granted
    }

    /// Sets who gets messages that nobody else wants.
    pub(super) fn set_default(&mut self, id: SubscriptionId) -> Option<SubscriptionId> {
        self.default.replace(id)
    }

    /// Queues a message that nobody else wants for the default handler, if there is one.
    pub(super) fn deliver_unwanted(
        &mut self,
        arrived: Arrived,
        mut start: impl FnMut(SubscriptionId) -> bool,
    ) -> Result<u64, Arrived> {
        let Some(id) = self.default else {
            return Err(arrived);
        };
        let held = arrived.ack.is_some();
        let bytes = held_bytes(&arrived.message);
        if held && self.held_bytes > 0 && self.held_bytes + bytes > INBOUND_BYTES_MAX {
            return Err(arrived);
        }
        if held {
            self.held_bytes += bytes;
        }
        Ok(self.queue(id, arrived, &mut start))
    }

    /// Queues a message for every subscription that wants it.
    ///
    /// `start` is called for each whose handler needs a fiber; it tells whether there is one.
    pub(super) fn deliver(
        &mut self,
        topic: &str,
        message: impl FnOnce() -> Message,
        ack: Option<AckToken>,
        mut start: impl FnMut(SubscriptionId) -> bool,
    ) -> Routed {
        let mut matches = std::mem::take(&mut self.matches);
        matches.clear();
        self.router.route(topic, &mut |_, id| {
            if !matches.contains(id) {
                matches.push(*id);
            }
        });
        let routed = match matches.split_last() {
            None => Routed::Unwanted,
            Some((last, others)) => {
                let message = message();
                let bytes = held_bytes(&message) * matches.len();
                // One is always taken, so that a large one does not end every connection.
                let held = self.held_bytes;
                if ack.is_some() && held > 0 && held + bytes > INBOUND_BYTES_MAX {
                    Routed::Overrun
                } else {
                    if let Some(ack) = ack {
                        self.held_bytes += bytes;
                        if !others.is_empty() {
                            self.shared_acks.push((ack, matches.len()));
                        }
                    }
                    let mut dropped = 0;
                    for id in others {
                        let arrived = Arrived {
                            message: message.clone(),
                            ack,
                        };
                        dropped += self.queue(*id, arrived, &mut start);
                    }
                    dropped += self.queue(*last, Arrived { message, ack }, &mut start);
                    Routed::Queued { dropped }
                }
            }
        };
        self.matches = matches;
        routed
    }

    fn queue(
        &mut self,
        id: SubscriptionId,
        arrived: Arrived,
        start: &mut impl FnMut(SubscriptionId) -> bool,
    ) -> u64 {
        let Some(entry) = self.get_mut(id) else {
            return 0;
        };
        let dropped = entry.inbox.push(arrived);
        if let Some(waiter) = entry.waiter.take() {
            waiter.unpark();
        } else if let Taker::Handler(_) = entry.taker
            && !entry.starting
        {
            entry.starting = true;
            if !start(id) {
                self.starved.push(id);
            }
        }
        dropped
    }

    /// Takes the next message of a subscription.
    pub(super) fn pop(&mut self, id: SubscriptionId) -> Option<Arrived> {
        let entry = self.get_mut(id)?;
        let arrived = entry.inbox.pop()?;
        if arrived.ack.is_some() {
            self.held_bytes -= held_bytes(&arrived.message);
        }
        Some(arrived)
    }

    /// Returns what acknowledges the message of a subscription that was taken with `ack`: it may have
    /// come again since.
    pub(super) fn finish(&mut self, id: SubscriptionId, ack: AckToken) -> AckToken {
        let entry = self.get_mut(id);
        entry.map_or(ack, |entry| entry.inbox.finish(ack))
    }

    /// Finds a message of an earlier connection that has come again, with its new acknowledgement,
    /// and gives it that. Returns whether there is one: then it need not be queued again.
    #[cold]
    pub(super) fn renew(&mut self, topic: &str, payload: &[u8], ack: AckToken) -> bool {
        let mut takers = 0;
        let mut earlier = None;
        let entries = self.slots.iter_mut().filter_map(|slot| slot.entry.as_mut());
        for entry in entries {
            if let Some(other) = entry.inbox.renew(topic, payload, ack) {
                earlier = Some(other);
                takers += 1;
            }
        }
        self.shared_acks
            .retain(|(other, _)| Some(*other) != earlier);
        if takers > 1 {
            self.shared_acks.push((ack, takers));
        }
        takers > 0
    }

    /// Notes that one taker is done with a message; true if it was the last that has it.
    pub(super) fn done(&mut self, ack: AckToken) -> bool {
        let Some(at) = self.shared_acks.iter().position(|(other, _)| *other == ack) else {
            return true;
        };
        self.shared_acks[at].1 -= 1;
        let last = self.shared_acks[at].1 == 0;
        if last {
            self.shared_acks.swap_remove(at);
        }
        last
    }

    /// Whether messages wait in a subscription's queue.
    pub(super) fn has_queued(&mut self, id: SubscriptionId) -> bool {
        self.get_mut(id)
            .is_some_and(|entry| !entry.inbox.is_empty())
    }

    /// Sets who is to be woken for the next message; false if the subscription is gone.
    pub(super) fn wait(&mut self, id: SubscriptionId, waiter: Option<Unparker>) -> bool {
        match self.get_mut(id) {
            Some(entry) => {
                entry.waiter = waiter;
                true
            }
            None => false,
        }
    }

    /// Lends the handler to a fiber.
    pub(super) fn take_handler(&mut self, id: SubscriptionId) -> Option<Handler> {
        let entry = self.get_mut(id)?;
        entry.starting = false;
        match std::mem::replace(&mut entry.taker, Taker::Fiber) {
            Taker::Handler(handler) => Some(handler),
            other @ (Taker::Fiber | Taker::Iterator) => {
                entry.taker = other;
                None
            }
        }
    }

    /// Takes the handler back; gives it to the caller if the subscription is gone.
    pub(super) fn return_handler(
        &mut self,
        id: SubscriptionId,
        handler: Handler,
    ) -> Option<Handler> {
        match self.get_mut(id) {
            Some(entry) => {
                entry.taker = Taker::Handler(handler);
                None
            }
            None => Some(handler),
        }
    }

    /// Subscriptions with messages that still need a fiber; the caller starts them.
    pub(super) fn take_starved(&mut self) -> Vec<SubscriptionId> {
        std::mem::take(&mut self.starved)
    }

    pub(super) fn add_starved(&mut self, id: SubscriptionId) {
        self.starved.push(id);
    }

    pub(super) fn has_starved(&self) -> bool {
        !self.starved.is_empty()
    }

    /// Wakes all iterators: no further message will come.
    pub(super) fn wake_all(&mut self) {
        for slot in &mut self.slots {
            if let Some(entry) = &mut slot.entry
                && let Some(waiter) = entry.waiter.take()
            {
                waiter.unpark();
            }
        }
    }
}

/// What a message counts that is queued.
fn held_bytes(message: &Message) -> usize {
    message.len() + QUEUED_OVERHEAD
}
