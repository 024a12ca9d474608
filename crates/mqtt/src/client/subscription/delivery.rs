//! From a message that arrived to the queues of those that want it, and out of them again.

use fiber::Unparker;

use super::super::handler::Inline;
use super::super::inbox::Arrived;
use super::super::message::Topic;
use super::{
    Ack, Backlog, Entry, Handler, Message, Policy, QUEUED_OVERHEAD, Special, SubscriptionId,
    Subscriptions, Taker,
};
use crate::packet::PacketId;
use crate::session::AckToken;
use crate::time::Time;

/// What happened to a message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Routed {
    /// Nobody wants it.
    Unwanted,
    /// It is queued, or to be given to handlers by the driver.
    Taken(Delivered),
}

/// What else came of a message that somebody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Delivered {
    /// Older QoS 0 messages that were dropped for it.
    pub(in super::super) dropped: u64,
    /// It is to be acknowledged now.
    pub(in super::super) ack: Option<AckToken>,
    /// There are handlers that the driver is to call.
    pub(in super::super) calls: bool,
}

/// A handler that the driver is to call for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Call {
    pub(in super::super) id: SubscriptionId,
    /// The message is not acknowledged before that has returned.
    pub(in super::super) holds_ack: bool,
}

impl Subscriptions {
    /// Sets such a handler; returns the one before.
    pub(in super::super) fn set_special(
        &mut self,
        special: Special,
        id: SubscriptionId,
    ) -> Option<SubscriptionId> {
        self.rest.special[special as usize].replace(id)
    }

    /// Such a handler, if it was set.
    pub(super) fn special(&self, special: Special) -> Option<SubscriptionId> {
        self.rest.get()?.special[special as usize]
    }

    /// Queues a message for such a handler, if there is one and room.
    pub(in super::super) fn deliver_special(
        &mut self,
        special: Special,
        arrived: Arrived,
        mut start: impl FnMut(SubscriptionId) -> bool,
    ) -> Result<u64, Arrived> {
        let id = self.special(special);
        let Some(id) = id.filter(|id| self.contains(*id)) else {
            return Err(arrived);
        };
        let held = arrived.ack.is_some();
        if held && !self.has_room(arrived.message.len()) {
            return Err(arrived);
        }
        // What was acknowledged before is bounded by nothing but this.
        let entry = self.get_mut(id).filter(|_| arrived.is_acknowledged());
        if entry.is_some_and(|entry| !entry.inbox.may_acknowledge(&arrived.message)) {
            return Err(arrived);
        }
        if held {
            self.held.add(&arrived.message, 1);
        }
        Ok(self.queue(id, arrived, &mut start))
    }

    /// Whether one more message of so many bytes may be held. One is always taken, so that a large one
    /// does not end every connection.
    #[inline]
    pub(in super::super) fn has_room(&self, len: usize) -> bool {
        let bytes = self.held.bytes;
        bytes == 0 || bytes + len + QUEUED_OVERHEAD <= self.bytes_max
    }

    /// The messages that are not handled, with those that are being handled.
    pub(in super::super) fn backlog(&self) -> Backlog {
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        let mut backlog = self.held;
        for taken in entries.filter_map(|entry| entry.inbox.taken()) {
            backlog.add(&taken.message, 1);
        }
        backlog
    }

    /// Whether some subscription has a QoS 1 message with this identifier and content.
    pub(in super::super) fn has_message(
        &self,
        packet_id: PacketId,
        topic: &str,
        payload: &[u8],
    ) -> bool {
        let is_same = |arrived: &Arrived| arrived.is_same(packet_id, topic, payload);
        let mut entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        let manual = self.rest.get().map(|rest| &rest.manual);
        manual.is_some_and(|manual| manual.iter().any(is_same))
            || entries.any(|entry| entry.inbox.iter().chain(entry.inbox.taken()).any(is_same))
    }

    /// Queues a message for every subscription that wants it. Those whose handler the driver calls are
    /// left to [`Subscriptions::take_calls`], if it `may_call` them.
    ///
    /// `start` is called for each whose handler needs a fiber; it tells whether there is one.
    pub(in super::super) fn deliver(
        &mut self,
        topic: &str,
        message: impl FnOnce(Topic) -> Message,
        ack: Option<AckToken>,
        may_call: bool,
        mut start: impl FnMut(SubscriptionId) -> bool,
    ) -> Routed {
        let mut matches = std::mem::take(&mut self.rest.matches);
        let mut calls = std::mem::take(&mut self.rest.calls);
        matches.clear();
        calls.clear();
        let slots = &self.slots;
        self.router.route(topic, &mut |_, id| {
            if may_call
                && let Some(entry) = &slots[id.slot].entry
                && entry.is_callable()
            {
                if !calls.iter().any(|call: &Call| call.id == *id) {
                    let holds_ack = ack.is_some() && entry.policy.ack != Ack::OnReceipt;
                    calls.push(Call { id: *id, holds_ack });
                }
            } else if !matches.contains(id) {
                matches.push(*id);
            }
        });
        let mut delivered = Delivered {
            calls: !calls.is_empty(),
            ..Delivered::default()
        };
        let mut holders = calls.iter().filter(|call| call.holds_ack).count();
        if let Some((last, others)) = matches.split_last() {
            let text = self.router.known(topic.as_bytes());
            let text = text.map(|(text, _)| Topic::shared(text));
            let message = message(text.unwrap_or_else(|| Topic::new(topic)));
            let mut queued = 0;
            for id in others {
                let message = message.clone();
                let own = ack.filter(|_| self.holds_ack(*id, &message));
                queued += usize::from(own.is_some());
                delivered.dropped += self.queue(*id, Arrived::new(message, own), &mut start);
            }
            let own = ack.filter(|_| self.holds_ack(*last, &message));
            queued += usize::from(own.is_some());
            self.held.add(&message, queued);
            delivered.dropped += self.queue(*last, Arrived::new(message, own), &mut start);
            holders += queued;
        }
        let routed = if matches.is_empty() && calls.is_empty() {
            Routed::Unwanted
        } else {
            if let Some(ack) = ack
                && holders > 1
            {
                self.shared_acks.push((ack, holders));
            }
            delivered.ack = ack.filter(|_| holders == 0);
            Routed::Taken(delivered)
        };
        self.rest.matches = matches;
        self.rest.calls = calls;
        routed
    }

    /// The handlers that the driver is to call for the message that was delivered last; given back by
    /// [`Subscriptions::keep_calls`].
    #[inline]
    pub(in super::super) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.rest.calls)
    }

    /// Keeps the memory of a list for later use.
    #[inline]
    pub(in super::super) fn keep_calls(&mut self, calls: Vec<Call>) {
        self.rest.calls = calls;
    }

    /// Queues a message for a handler that the driver was to call and cannot, behind what came before
    /// it; returns how many older ones were dropped for it, or the acknowledgement that nobody will
    /// give now where the subscription is gone.
    pub(in super::super) fn queue_uncalled(
        &mut self,
        id: SubscriptionId,
        message: impl FnOnce() -> Message,
        ack: Option<AckToken>,
        mut start: impl FnMut(SubscriptionId) -> bool,
    ) -> Result<u64, Option<AckToken>> {
        if !self.contains(id) {
            return Err(ack.filter(|ack| self.done(*ack)));
        }
        let message = message();
        self.held.add(&message, usize::from(ack.is_some()));
        Ok(self.queue(id, Arrived::new(message, ack), &mut start))
    }

    /// Puts a message that an inline handler failed to handle before all others of its subscription;
    /// gives it back where that is gone. The handler is to be given back after that.
    pub(in super::super) fn queue_first(
        &mut self,
        id: SubscriptionId,
        arrived: Arrived,
    ) -> Result<(), Arrived> {
        let Some(entry) = self.get_mut(id) else {
            return Err(arrived);
        };
        let held = arrived.ack.map(|_| arrived.message.clone());
        entry.inbox.push_first(arrived);
        self.queued += 1;
        if let Some(message) = held {
            self.held.add(&message, 1);
        }
        Ok(())
    }

    /// Whether a subscription acknowledges a message later than now.
    fn holds_ack(&self, id: SubscriptionId, message: &Message) -> bool {
        let entry = self.slots[id.slot].entry.as_ref();
        entry.is_none_or(|entry| match entry.policy.ack {
            Ack::OnReceipt => !entry.inbox.may_acknowledge(message),
            Ack::AfterHandler | Ack::Manual => true,
        })
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
        self.call_taker(id, start);
        dropped
    }

    /// Takes the next message of a subscription.
    // Always, as the queue that it comes from.
    #[inline(always)]
    pub(in super::super) fn pop(&mut self, id: SubscriptionId) -> Option<Arrived> {
        let slot = self.slots.get_mut(id.slot)?;
        let entry = slot
            .entry
            .as_mut()
            .filter(|_| slot.generation == id.generation)?;
        let first = entry.inbox.iter().next()?;
        if first.ack.is_some() {
            self.held.remove(&first.message);
        }
        entry.inbox.pop()
    }

    /// Returns what acknowledges the message of a subscription that was taken with `ack`: it may have
    /// come again since.
    #[inline]
    pub(in super::super) fn finish(&mut self, id: SubscriptionId, ack: AckToken) -> AckToken {
        let entry = self.get_mut(id);
        entry.map_or(ack, |entry| entry.inbox.finish(ack))
    }

    /// Finds a message of an earlier connection that has come again, with its new acknowledgement,
    /// and gives it that. Returns whether there is one: then it need not be queued again.
    #[cold]
    pub(in super::super) fn renew(&mut self, topic: &str, payload: &[u8], ack: AckToken) -> bool {
        let mut takers = 0;
        let mut earlier = None;
        if let Some(rest) = self.rest.get_mut() {
            rest.manual.renew(topic, payload, ack, |other| {
                earlier = Some(other);
                takers += 1;
            });
        }
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

    /// Keeps a message that the program is to acknowledge; returns its number.
    pub(in super::super) fn hold(
        &mut self,
        id: SubscriptionId,
        arrived: Arrived,
        until: Time,
    ) -> u64 {
        self.held.add(&arrived.message, 1);
        self.rest.manual.hold(id, arrived, until)
    }

    /// Takes a message that the program acknowledges; `None` if that was done.
    pub(in super::super) fn release(&mut self, number: u64) -> Option<Arrived> {
        let arrived = self.rest.get_mut()?.manual.release(number)?;
        self.held.remove(&arrived.message);
        Some(arrived)
    }

    /// Takes a message that the program has not acknowledged in time.
    pub(in super::super) fn expire(&mut self, now: Time) -> Option<Arrived> {
        let arrived = self.rest.get_mut()?.manual.expire(now)?;
        self.held.remove(&arrived.message);
        Some(arrived)
    }

    /// When the next one is to be acknowledged by the program at the latest.
    #[inline]
    pub(in super::super) fn ack_deadline(&self) -> Option<Time> {
        self.rest.get()?.manual.deadline()
    }

    /// The first filter of the subscription that has a message.
    pub(in super::super) fn filter_that_holds(&self, ack: AckToken) -> Option<String> {
        let has = |entry: &&Entry| entry.inbox.holds(ack);
        let queued = || {
            self.slots
                .iter()
                .filter_map(|slot| slot.entry.as_ref())
                .find(has)
        };
        let manual = self.rest.get().map(|rest| &rest.manual);
        let held = manual.and_then(|manual| manual.find(ack)).and_then(|id| {
            let slot = self.slots.get(id.slot)?;
            slot.entry
                .as_ref()
                .filter(|_| slot.generation == id.generation)
        });
        let route = held.or_else(queued)?.routes.first()?;
        self.router
            .filter(route.id)
            .map(|filter| filter.as_str().to_owned())
    }

    /// Notes that one taker is done with a message; true if it was the last that has it.
    #[inline]
    pub(in super::super) fn done(&mut self, ack: AckToken) -> bool {
        self.shared_acks.is_empty() || self.done_shared(ack)
    }

    fn done_shared(&mut self, ack: AckToken) -> bool {
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
    pub(in super::super) fn has_queued(&mut self, id: SubscriptionId) -> bool {
        self.get_mut(id)
            .is_some_and(|entry| !entry.inbox.is_empty())
    }

    /// Sets who is to be woken for the next message; false if the subscription is gone.
    pub(in super::super) fn wait(&mut self, id: SubscriptionId, waiter: Option<Unparker>) -> bool {
        match self.get_mut(id) {
            Some(entry) => {
                entry.waiter = waiter;
                true
            }
            None => false,
        }
    }

    /// Lends the handler to a fiber.
    pub(in super::super) fn take_handler(
        &mut self,
        id: SubscriptionId,
    ) -> Option<(Handler, Policy)> {
        let entry = self.get_mut(id)?;
        entry.starting = false;
        match std::mem::replace(&mut entry.taker, Taker::Lent) {
            Taker::Handler(handler) => Some((handler, entry.policy)),
            other @ (Taker::Lent | Taker::Iterator) => {
                entry.taker = other;
                None
            }
        }
    }

    /// Lends the handler to the driver, if that may call it.
    #[inline]
    pub(in super::super) fn take_inline(&mut self, id: SubscriptionId) -> Option<(Inline, Policy)> {
        let entry = self.get_mut(id).filter(|entry| entry.inbox.is_empty())?;
        match std::mem::replace(&mut entry.taker, Taker::Lent) {
            Taker::Handler(Handler::Inline(handler)) => Some((handler, entry.policy)),
            other => {
                entry.taker = other;
                None
            }
        }
    }

    /// Takes the handler back; gives it to the caller if the subscription is gone.
    pub(in super::super) fn return_handler(
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

    /// Takes the handler back from the driver, as [`Subscriptions::return_handler`]; `start` is called
    /// where a fiber is to handle what has been queued meanwhile.
    #[inline]
    pub(in super::super) fn return_inline(
        &mut self,
        id: SubscriptionId,
        handler: Inline,
        start: impl FnOnce(SubscriptionId) -> bool,
    ) -> Option<Handler> {
        let handler = Handler::Inline(handler);
        let Some(entry) = self.get_mut(id) else {
            return Some(handler);
        };
        entry.taker = Taker::Handler(handler);
        if !entry.inbox.is_empty() && !entry.starting {
            entry.starting = true;
            if !start(id) {
                self.rest.starved.push(id);
            }
        }
        None
    }

    /// Subscriptions with messages that still need a fiber; the caller starts them.
    pub(in super::super) fn take_starved(&mut self) -> Vec<SubscriptionId> {
        std::mem::take(&mut self.rest.starved)
    }

    pub(in super::super) fn add_starved(&mut self, id: SubscriptionId) {
        self.rest.starved.push(id);
    }

    #[inline]
    pub(in super::super) fn has_starved(&self) -> bool {
        self.rest.get().is_some_and(|rest| !rest.starved.is_empty())
    }

    /// Wakes all iterators: no further message will come.
    pub(in super::super) fn wake_all(&mut self) {
        for slot in &mut self.slots {
            if let Some(entry) = &mut slot.entry
                && let Some(waiter) = entry.waiter.take()
            {
                waiter.unpark();
            }
        }
    }
}
