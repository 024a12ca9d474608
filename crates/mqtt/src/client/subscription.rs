//! Subscriptions: who gets a message that arrived, and what waits to be handled.
//!
//! One subscription has one or more topic filters, a queue, and either a handler, which runs on
//! a fiber of its own while there is something to handle, or an iterator. Nothing here waits.

mod alone;
mod delivery;

use fiber::Unparker;

use super::ack::{Ack, Manual};
use super::handler::{Handler, OnError};
use super::inbox::Inbox;
use super::master::Masters;
use super::message::Message;
use super::overrun::Backlog;
use crate::packet::QoS;
use crate::seldom::Seldom;
use crate::session::AckToken;
use crate::sorted::sorted;
use crate::topic::{RouteId, Router, TopicFilter};

pub(super) use self::alone::Alone;
pub(super) use self::delivery::{Call, Delivered, Routed};

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
    /// A handler that does not run now.
    Handler(Handler),
    /// A fiber that has the handler, or the driver.
    Lent,
    /// An iterator.
    Iterator,
}

/// One topic filter of a subscription.
struct Route {
    id: RouteId,
    qos: QoS,
    standing: Standing,
}

/// How the messages of a topic filter come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The broker is asked for it.
    Asked,
    /// The broker has granted it, now or on an earlier connection.
    Granted,
    /// By a master subscription: the broker does not know of it.
    Local,
}

/// How the messages of a subscription are treated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy {
    pub(super) ack: Ack,
    pub(super) on_error: OnError,
}

/// Handlers that no topic filter leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Special {
    /// Of messages that nobody else wants.
    Unwanted,
    /// Of messages that their own handler could not handle.
    DeadLetters,
}

struct Entry {
    routes: Vec<Route>,
    taker: Taker,
    policy: Policy,
    /// A fiber for the handler is on its way.
    starting: bool,
    inbox: Inbox,
    /// Who waits for the next message.
    waiter: Option<Unparker>,
}

impl Entry {
    /// Whether it is a handler with nothing to handle, which does not run.
    fn is_idle_handler(&self) -> bool {
        matches!(self.taker, Taker::Handler(_)) && self.inbox.is_empty()
    }

    /// Whether the driver may call its handler for a message that comes now: nothing comes before it.
    fn is_callable(&self) -> bool {
        matches!(self.taker, Taker::Handler(Handler::Inline(_))) && self.inbox.is_empty()
    }
}

struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

/// What a subscription leaves when it is removed. It holds code of the user, so it is dropped
/// where nothing is borrowed.
pub(super) struct Removed {
    _entry: Option<Entry>,
    _handler: Option<Handler>,
    /// Acknowledgements that nobody will give now.
    pub(super) acks: Vec<AckToken>,
}

impl Removed {
    /// A handler that ran while its subscription was removed.
    pub(super) const fn handler(handler: Handler) -> Self {
        Self {
            _entry: None,
            _handler: Some(handler),
            acks: Vec::new(),
        }
    }
}

/// The subscriptions of one client.
#[derive(Default)]
pub(super) struct Subscriptions {
    router: Router<SubscriptionId>,
    slots: Vec<Slot>,
    /// Counts messages that were queued.
    queued: u64,
    /// How many takers are not done yet with a message that several subscriptions share.
    shared_acks: Vec<(AckToken, usize)>,
    /// The queued messages that await an acknowledgement, and those that await that by the program.
    held: Backlog,
    /// The bound on the bytes of those.
    bytes_max: usize,
    pub(super) masters: Masters,
    rest: Seldom<Rest>,
}

/// What a client has no need of before its first subscription.
#[derive(Default)]
struct Rest {
    /// Those that match the message at hand; kept for its memory.
    matches: Vec<SubscriptionId>,
    /// The handlers that the driver is to call for the message at hand.
    calls: Vec<Call>,
    /// Subscriptions with messages for which no fiber could be started.
    starved: Vec<SubscriptionId>,
    /// Messages that wait to be acknowledged by the program.
    manual: Manual,
    /// One place for each [`Special`].
    special: [Option<SubscriptionId>; 2],
}

impl Subscriptions {
    /// None yet; unhandled messages may count that many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            ..Self::default()
        }
    }

    /// Adds a subscription; no handler means an iterator.
    pub(super) fn add(
        &mut self,
        filters: impl IntoIterator<Item = (TopicFilter, QoS, Standing)>,
        policy: Policy,
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
            .map(|(filter, qos, standing)| Route {
                id: self.router.insert(filter, id),
                qos,
                standing,
            })
            .collect();
        self.slots[slot].entry = Some(Entry {
            routes,
            taker: handler.map_or(Taker::Iterator, Taker::Handler),
            policy,
            starting: false,
            inbox: Inbox::default(),
            waiter: None,
        });
        id
    }

    #[inline]
    fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(id.slot)?;
        if slot.generation == id.generation {
            slot.entry.as_mut()
        } else {
            None
        }
    }

    /// All routes with their filters.
    fn routes(&self) -> impl Iterator<Item = (&TopicFilter, &Route)> {
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        let routes = entries.flat_map(|entry| &entry.routes);
        routes.filter_map(|route| Some((self.router.filter(route.id)?, route)))
    }

    /// Whether the broker is to send what matches exactly this filter.
    pub(super) fn is_wanted(&self, filter: &str) -> bool {
        let asked = |(other, route): (&TopicFilter, &Route)| {
            other.as_str() == filter && route.standing != Standing::Local
        };
        self.masters.contains(filter) || self.routes().any(asked)
    }

    /// Returns how many filters the broker is to know.
    pub(super) fn wanted_count(&self) -> usize {
        let asked = self
            .routes()
            .filter(|(_, route)| route.standing != Standing::Local);
        let asked = asked.map(|(filter, _)| filter.as_str());
        let mut filters = sorted(asked.chain(self.masters.filters()).collect());
        filters.dedup();
        filters.len()
    }

    /// Whether some subscription has exactly this filter.
    pub(super) fn has_filter(&self, filter: &str) -> bool {
        self.routes().any(|(other, _)| other.as_str() == filter)
    }

    /// Removes one subscription; gives the filters that the broker has been asked for and nobody
    /// wants from it now.
    pub(super) fn take_out(&mut self, id: SubscriptionId) -> (Removed, Vec<String>) {
        let routes = self
            .get_mut(id)
            .map(|entry| std::mem::take(&mut entry.routes));
        let mut filters = Vec::new();
        for route in routes.into_iter().flatten() {
            if let Some(filter) = self.router.filter(route.id)
                && route.standing != Standing::Local
            {
                filters.push(filter.as_str().to_owned());
            }
            self.router.remove(route.id);
        }
        filters.retain(|filter| !self.is_wanted(filter));
        (self.remove(id), filters)
    }

    /// Makes filters the broker's that no master subscription brings any more; gives those.
    pub(super) fn promote(&mut self) -> Vec<(String, QoS)> {
        let mut promoted = Vec::new();
        let (router, masters) = (&self.router, &self.masters);
        let entries = self.slots.iter_mut().filter_map(|slot| slot.entry.as_mut());
        for route in entries.flat_map(|entry| &mut entry.routes) {
            if let Some(filter) = router.filter(route.id)
                && route.standing == Standing::Local
                && !masters.brings(filter, route.qos)
            {
                route.standing = Standing::Granted;
                promoted.push((filter.as_str().to_owned(), route.qos));
            }
        }
        promoted
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
                    self.held.remove(&arrived.message);
                }
                acks.extend(arrived.ack);
            }
            // Its handler still runs, and could not ask here for it any more.
            acks.extend(entry.inbox.renewed());
            if let Some(waiter) = entry.waiter {
                waiter.unpark();
            }
        }
        acks.retain(|ack| self.done(*ack));
        Removed {
            _entry: entry,
            _handler: None,
            acks,
        }
    }

    /// Removes all handlers that have nothing to handle: nothing more will come. That of dead letters
    /// stays until the others are done, which may fail.
    pub(super) fn remove_idle(&mut self, removed: &mut Vec<Removed>) {
        let letters = self.special(Special::DeadLetters);
        let mut busy = false;
        for slot in 0..self.slots.len() {
            let Slot { generation, entry } = &self.slots[slot];
            let Some(entry) = entry else { continue };
            let id = SubscriptionId {
                slot,
                generation: *generation,
            };
            if letters == Some(id) {
                continue;
            }
            if entry.is_idle_handler() {
                removed.push(self.remove(id));
            } else {
                busy |= !matches!(entry.taker, Taker::Iterator);
            }
        }
        if let Some(id) = letters.filter(|_| !busy)
            && self
                .get_mut(id)
                .is_some_and(|entry| entry.is_idle_handler())
        {
            removed.push(self.remove(id));
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

    /// Notes the broker's answer to the filters that were asked for a subscription: those it refused are
    /// removed, and the subscription if it has no other. In one pass, since there may be many.
    pub(super) fn answer(
        &mut self,
        id: SubscriptionId,
        asked: &[(String, QoS)],
        refused: &[String],
    ) -> Option<Removed> {
        let asked = sorted(asked.iter().map(|(filter, _)| filter.as_str()).collect());
        let refused = sorted(refused.iter().map(String::as_str).collect());
        let slot = self.slots.get_mut(id.slot);
        let entry = slot.filter(|slot| slot.generation == id.generation)?;
        let entry = entry.entry.as_mut()?;
        let router = &mut self.router;
        let routes = entry.routes.len();
        entry.routes.retain_mut(|route| {
            let Some(filter) = router.filter(route.id).map(TopicFilter::as_str) else {
                return true;
            };
            if route.standing != Standing::Asked || asked.binary_search(&filter).is_err() {
                return true;
            }
            if refused.binary_search(&filter).is_ok() {
                router.remove(route.id);
                return false;
            }
            route.standing = Standing::Granted;
            true
        });
        // The handler of unwanted messages has no filter from the start, and stays.
        (entry.routes.len() < routes && entry.routes.is_empty()).then(|| self.remove(id))
    }

    /// Every filter that the broker has granted, once and with its highest quality of service, in
    /// their order.
    pub(super) fn granted(&self) -> Vec<(String, QoS)> {
        let routes = self.routes();
        let own = routes.filter(|(_, route)| route.standing == Standing::Granted);
        let own = own.map(|(filter, route)| (filter, route.qos));
        let all = own.chain(self.masters.granted());
        let mut granted: Vec<(String, QoS)> = Vec::new();
        for (filter, qos) in sorted(all.map(|(filter, qos)| (filter.as_str(), qos)).collect()) {
            match granted.last_mut() {
                // The highest of one filter comes last.
                Some((last, highest)) if last == filter => *highest = qos,
                _ => granted.push((filter.to_owned(), qos)),
            }
        }
        granted
    }
}

impl Backlog {
    /// Adds a message that so many have.
    fn add(&mut self, message: &Message, times: usize) {
        self.messages += times;
        self.bytes += times * (message.len() + QUEUED_OVERHEAD);
    }

    /// Adds a message of so many bytes.
    #[inline]
    const fn add_one(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len + QUEUED_OVERHEAD;
    }

    #[inline]
    fn remove(&mut self, message: &Message) {
        self.messages -= 1;
        self.bytes -= message.len() + QUEUED_OVERHEAD;
    }
}
