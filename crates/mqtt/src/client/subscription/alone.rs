//! Messages that one subscription alone wants, as nearly all are: who that is, for a run of them.

use super::super::inbox::Arrived;
use super::super::message::{Message, Topic};
use super::{Ack, SubscriptionId, Subscriptions, Taker};
use crate::packet::QoS;
use crate::session::AckToken;

/// Who alone wants the messages of a topic.
#[derive(Clone, Debug)]
pub(in super::super) struct Alone {
    pub(in super::super) id: SubscriptionId,
    pub(in super::super) topic: Topic,
    /// The driver may call its handler for a message that comes now.
    pub(in super::super) is_callable: bool,
}

impl Subscriptions {
    /// Finds who alone wants the messages of this topic; `None` where it was not routed not long ago, where
    /// several want them, or none, and where they are not acknowledged after the handler alone.
    #[inline]
    pub(in super::super) fn find_alone(&mut self, topic: &[u8]) -> Option<Alone> {
        let (text, routes) = self.router.known(topic)?;
        let &[route] = routes else { return None };
        let topic = Topic::shared(text);
        let id = *self.router.get(route)?;
        let entry = self.get_mut(id)?;
        (entry.policy.ack == Ack::AfterHandler).then(|| Alone {
            id,
            topic,
            is_callable: entry.is_callable(),
        })
    }

    /// Changes with whatever may change what becomes of the next message: other filters, or a message that
    /// is queued, which comes before it.
    #[inline]
    pub(in super::super) const fn changes(&self) -> u64 {
        self.router.generation().wrapping_add(self.queued)
    }

    /// Queues a message of this QoS and length for a subscription that wants it alone; returns how many
    /// older ones were dropped for it. [`Subscriptions::call_taker`] is due after the last one of a run.
    #[inline(always)]
    pub(in super::super) fn queue_alone(
        &mut self,
        id: SubscriptionId,
        qos: QoS,
        len: usize,
        ack: Option<AckToken>,
        message: impl FnOnce() -> Message,
    ) -> u64 {
        let slot = self.slots.get_mut(id.slot);
        let slot = slot.filter(|slot| slot.generation == id.generation);
        let Some(entry) = slot.and_then(|slot| slot.entry.as_mut()) else {
            return 0;
        };
        if ack.is_some() {
            self.held.add_one(len);
        }
        let arrived = || Arrived::new(message(), ack);
        entry.inbox.push_with(qos, len, ack, arrived)
    }

    /// Sees to it that somebody takes what was queued: wakes who waits for it, or starts a fiber for the
    /// handler.
    #[inline]
    pub(in super::super) fn call_taker(
        &mut self,
        id: SubscriptionId,
        start: &mut impl FnMut(SubscriptionId) -> bool,
    ) {
        self.queued += 1;
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        if let Some(waiter) = entry.waiter.take() {
            waiter.unpark();
        } else if let Taker::Handler(_) = entry.taker
            && !entry.starting
        {
            entry.starting = true;
            if !start(id) {
                self.rest.starved.push(id);
            }
        }
    }
}
