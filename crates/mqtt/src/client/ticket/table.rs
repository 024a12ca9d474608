//! The table of tickets: one slot for each message and request that is open or held.

use std::ops::{Index, IndexMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use fiber::Unparker;

use super::{NOWHERE, Outcome, Ticket};
use crate::client::outbox::Place;
use crate::client::remote_ticket::Fate;
use crate::client::shared::Shared;
use crate::outbound_log::LogOffset;
use crate::packet::QoS;
use crate::session::TicketKey;
use crate::store::StorePos;

/// The open ends of messages and requests: one slot each, used again.
#[derive(Debug, Default)]
pub(in crate::client) struct Tickets {
    pub(super) slots: Slots,
    free: Option<u32>,
    /// Open slots of QoS 2 messages.
    exactly_once: usize,
    /// Code of the program in other threads, to be called where nothing is borrowed.
    pub(in crate::client) wakers: Vec<Waker>,
}

#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    /// How many [`Ticket`]s and waiting calls hold it.
    holders: u32,
    /// It is counted among the QoS 2 messages under way while it is open.
    exactly_once: bool,
    /// The session or the client will settle it.
    open: bool,
    /// Where its message waits to be sent, if it does so without a store.
    queued: Option<Place>,
    /// Its outcome follows from what was sent.
    at_most_once: bool,
    /// Where its packet ends in the log.
    end: LogOffset,
    outcome: Option<Outcome>,
    /// Its message in the store, if it is there.
    stored: Option<StorePos>,
    /// The broker may have it, from a session that is over.
    maybe_sent: bool,
    waiter: Option<Unparker>,
    /// Those that wait beside the first.
    more_waiters: Vec<Unparker>,
    /// Other threads wait for the outcome.
    pub(super) fates: Vec<Arc<Fate>>,
    next_free: Option<u32>,
}

/// Slots by number. One place checks it for all who ask, where `[number]` would tell of each: that is less
/// code.
#[derive(Debug, Default)]
pub(super) struct Slots(pub(super) Vec<Slot>);

impl Slots {
    #[inline(always)]
    fn at(&self, number: u32) -> &Slot {
        &self.0[number as usize]
    }

    #[inline(always)]
    fn at_mut(&mut self, number: u32) -> &mut Slot {
        &mut self.0[number as usize]
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    #[inline(always)]
    fn index(&self, number: u32) -> &Slot {
        self.at(number)
    }
}

impl IndexMut<u32> for Slots {
    #[inline(always)]
    fn index_mut(&mut self, number: u32) -> &mut Slot {
        self.at_mut(number)
    }
}

impl Slot {
    #[cold]
    fn wake_more(&mut self) {
        for waiter in self.more_waiters.drain(..) {
            waiter.unpark();
        }
    }

    /// Tells other threads.
    #[cold]
    fn tell(&mut self, outcome: Outcome, wakers: &mut Vec<Waker>) {
        for fate in self.fates.drain(..) {
            wakers.extend(fate.settle(Ok(outcome)));
        }
    }
}

impl Tickets {
    /// Opens a slot that is held and that the session will settle.
    #[inline]
    pub(in crate::client) fn open(&mut self, exactly_once: bool) -> TicketKey {
        self.exactly_once += usize::from(exactly_once);
        let index = match self.free {
            Some(index) => {
                let slot = &mut self.slots[index];
                self.free = slot.next_free;
                slot.generation = slot.generation.wrapping_add(1);
                slot.holders = 1;
                slot.exactly_once = exactly_once;
                slot.open = true;
                slot.queued = None;
                slot.at_most_once = false;
                slot.outcome = None;
                slot.stored = None;
                slot.maybe_sent = false;
                index
            }
            None => {
                self.slots.0.push(Slot {
                    generation: 0,
                    holders: 1,
                    exactly_once,
                    open: true,
                    queued: None,
                    at_most_once: false,
                    end: LogOffset::default(),
                    outcome: None,
                    stored: None,
                    maybe_sent: false,
                    waiter: None,
                    more_waiters: Vec::new(),
                    fates: Vec::new(),
                    next_free: None,
                });
                u32::try_from(self.slots.0.len() - 1).expect("slots are counted in 32 bits")
            }
        };
        TicketKey(index)
    }

    /// Opens a slot that nobody holds and that the session will settle.
    pub(in crate::client) fn open_unheard(&mut self) -> TicketKey {
        let key = self.open(false);
        self.slots[key.0].holders = 0;
        key
    }

    /// Opens a slot that is held, of a message that waits to be sent.
    pub(in crate::client) fn open_unsent(&mut self, qos: QoS) -> TicketKey {
        let key = self.open(false);
        let slot = &mut self.slots[key.0];
        slot.at_most_once = qos == QoS::AtMostOnce;
        slot.end = NOWHERE;
        key
    }

    /// Notes where the message of a slot waits to be sent.
    pub(in crate::client) fn queued(&mut self, key: TicketKey, place: Place) {
        self.slots[key.0].queued = Some(place);
    }

    /// Where the message of a slot waits to be sent, if it does.
    pub(super) fn place(&self, key: TicketKey) -> Option<Place> {
        self.slots[key.0].queued
    }

    /// Makes the ticket of a slot that is held.
    pub(in crate::client) fn held(&self, shared: &Rc<Shared>, key: TicketKey) -> Ticket {
        let slot = &self.slots[key.0];
        Ticket {
            shared: Rc::clone(shared),
            end: slot.end,
            slot: key.0,
            generation: slot.generation,
        }
    }

    /// Opens a slot that nobody holds, of a message in the store, which is not in the log yet.
    pub(in crate::client) fn open_stored(&mut self, pos: StorePos, maybe_sent: bool) -> TicketKey {
        let key = self.open_unheard();
        let slot = &mut self.slots[key.0];
        slot.stored = Some(pos);
        slot.maybe_sent = maybe_sent;
        slot.end = NOWHERE;
        key
    }

    /// Makes one more ticket of a slot that is open.
    pub(in crate::client) fn another(&mut self, shared: &Rc<Shared>, key: TicketKey) -> Ticket {
        let slot = &mut self.slots[key.0];
        slot.holders += 1;
        Ticket {
            shared: Rc::clone(shared),
            end: slot.end,
            slot: key.0,
            generation: slot.generation,
        }
    }

    /// Makes the ticket of a message that was done before.
    pub(in crate::client) fn settled(&mut self, shared: &Rc<Shared>, outcome: Outcome) -> Ticket {
        let key = self.open(false);
        self.settle(key, outcome);
        self.ticket(shared, key, LogOffset::default())
    }

    /// The message of a slot, if that is in the store.
    #[inline]
    pub(in crate::client) fn stored(&self, key: TicketKey) -> Option<StorePos> {
        // Without the feature none is, and what would be done with one is not in the program.
        self.slots[key.0].stored.filter(|_| cfg!(feature = "store"))
    }

    /// Where the packet of a slot ends in the log.
    pub(super) fn end(&self, key: TicketKey) -> LogOffset {
        self.slots[key.0].end
    }

    /// Notes that the message of a slot has come into the log.
    pub(in crate::client) fn admitted(&mut self, key: TicketKey, end: LogOffset) {
        let slot = &mut self.slots[key.0];
        slot.end = end;
        slot.queued = None;
        self.wake(key.0);
    }

    /// Notes that the message of a slot has come into the log, and that nothing but its being sent is
    /// to be told of it; returns who is to be told in another thread.
    pub(in crate::client) fn admitted_unacknowledged(
        &mut self,
        key: TicketKey,
        end: LogOffset,
    ) -> Option<Arc<Fate>> {
        self.admitted(key, end);
        let slot = &mut self.slots[key.0];
        slot.open = false;
        let fate = slot.fates.pop();
        if slot.holders == 0 {
            self.free_slot(key.0);
        }
        fate
    }

    /// Where the packet of a slot ends whose outcome follows from what was sent.
    pub(super) fn unacknowledged_end(&self, slot: u32) -> Option<LogOffset> {
        let slot = &self.slots[slot];
        slot.at_most_once.then_some(slot.end)
    }

    /// Counts a message among the QoS 2 messages under way.
    pub(in crate::client) fn begin_exactly_once(&mut self, key: TicketKey) {
        let slot = &mut self.slots[key.0];
        self.exactly_once += usize::from(!slot.exactly_once);
        slot.exactly_once = true;
    }

    /// Whether a message is one of QoS 2 under way.
    pub(in crate::client) fn is_exactly_once(&self, key: TicketKey) -> bool {
        self.slots[key.0].exactly_once
    }

    /// Notes that the message of a slot is out of the session again; returns whether the broker may
    /// have it.
    pub(in crate::client) fn hand_back(&mut self, key: TicketKey, maybe_sent: bool) -> bool {
        let slot = &mut self.slots[key.0];
        self.exactly_once -= usize::from(slot.exactly_once);
        slot.exactly_once = false;
        slot.end = NOWHERE;
        slot.maybe_sent |= maybe_sent;
        slot.maybe_sent
    }

    /// Notes whether the broker may have the message of a slot.
    pub(in crate::client) fn mark(&mut self, key: TicketKey, maybe_sent: bool) {
        self.slots[key.0].maybe_sent |= maybe_sent;
    }

    /// Whether the broker may have the message of a slot from a session that is over.
    pub(in crate::client) fn is_maybe_sent(&self, key: TicketKey) -> bool {
        self.slots[key.0].maybe_sent
    }

    pub(super) fn wait(&mut self, slot: u32, token: Unparker) {
        let slot = &mut self.slots[slot];
        if slot.waiter.is_none() {
            slot.waiter = Some(token);
        } else {
            slot.more_waiters.push(token);
        }
    }

    pub(super) fn unwait(&mut self, slot: u32, token: Unparker) {
        let slot = &mut self.slots[slot];
        if slot.waiter == Some(token) {
            slot.waiter = None;
        } else {
            slot.more_waiters.retain(|other| *other != token);
        }
    }

    fn wake(&mut self, slot: u32) {
        let slot = &mut self.slots[slot];
        if let Some(waiter) = slot.waiter.take() {
            waiter.unpark();
        }
        if !slot.more_waiters.is_empty() {
            slot.wake_more();
        }
    }

    /// Makes the ticket of a slot whose packet was accepted.
    pub(in crate::client) fn ticket(
        &mut self,
        shared: &Rc<Shared>,
        key: TicketKey,
        end: LogOffset,
    ) -> Ticket {
        let slot = &mut self.slots[key.0];
        slot.end = end;
        Ticket {
            shared: Rc::clone(shared),
            end,
            slot: key.0,
            generation: slot.generation,
        }
    }

    /// Takes back a slot that was opened for a packet that was then not accepted.
    pub(in crate::client) fn cancel(&mut self, key: TicketKey) {
        let slot = &mut self.slots[key.0];
        slot.holders = 0;
        self.exactly_once -= usize::from(slot.exactly_once);
        self.free_slot(key.0);
    }

    /// How many QoS 2 messages are under way.
    #[inline]
    pub(in crate::client) const fn exactly_once(&self) -> usize {
        self.exactly_once
    }

    /// Settles a slot and wakes who waits for it.
    #[inline]
    pub(in crate::client) fn settle(&mut self, key: TicketKey, outcome: Outcome) {
        let slot = &mut self.slots[key.0];
        slot.open = false;
        slot.queued = None;
        slot.outcome = Some(outcome);
        self.exactly_once -= usize::from(slot.exactly_once);
        if !slot.fates.is_empty() {
            slot.tell(outcome, &mut self.wakers);
        }
        if slot.holders == 0 {
            self.free_slot(key.0);
        } else {
            self.wake(key.0);
        }
    }

    /// Wakes everyone who waits for an outcome.
    pub(in crate::client) fn wake_all(&mut self) {
        for slot in 0..self.slots.0.len() {
            self.wake(u32::try_from(slot).expect("slots are counted in 32 bits"));
        }
    }

    /// Settles every open slot at the end of the client; `flushed` is what was sent, and `is_kept` says
    /// which stored messages outlive it.
    pub(in crate::client) fn settle_all(
        &mut self,
        flushed: LogOffset,
        is_kept: impl Fn(StorePos) -> bool,
    ) {
        for index in 0..self.slots.0.len() {
            let slot = &self.slots.0[index];
            if slot.open {
                let sent = slot.end <= flushed;
                let kept = slot.stored.is_some_and(&is_kept);
                let key = TicketKey(u32::try_from(index).expect("slots are counted in 32 bits"));
                self.settle(
                    key,
                    if kept {
                        Outcome::Kept
                    } else if sent {
                        Outcome::SessionLost
                    } else {
                        Outcome::Withdrawn
                    },
                );
            }
        }
    }

    /// Whether a call or a ticket still asks for the outcome.
    pub(in crate::client) fn is_held(&self, key: TicketKey) -> bool {
        self.slots[key.0].holders > 0
    }

    pub(super) fn outcome(&self, slot: u32, generation: u32) -> Option<Outcome> {
        let slot = &self.slots[slot];
        debug_assert_eq!(slot.generation, generation, "a held slot is not used again");
        slot.outcome
    }

    pub(super) fn drop_handle(&mut self, index: u32, generation: u32) {
        let slot = &mut self.slots[index];
        debug_assert_eq!(slot.generation, generation, "a held slot is not used again");
        slot.holders -= 1;
        if slot.holders == 0 && !slot.open {
            self.free_slot(index);
        }
    }

    fn free_slot(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        slot.open = false;
        slot.next_free = self.free;
        self.free = Some(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_only_when_neither_held_nor_open() {
        let mut tickets = Tickets::default();
        let first = tickets.open(false);
        tickets.drop_handle(first.0, 0);
        let second = tickets.open(false);
        assert_ne!(first, second, "the first is still open");
        tickets.settle(first, Outcome::Acked { maybe_twice: false });
        assert_eq!(tickets.open(false), first);
        tickets.settle(second, Outcome::Sent);
        assert_ne!(tickets.open(false), second, "the second is still held");
    }

    #[test]
    fn every_open_slot_is_settled_at_the_end() {
        let mut tickets = Tickets::default();
        let keys: Vec<_> = (0..3).map(|_| tickets.open(false)).collect();
        for (key, end) in keys.iter().zip([10, 20, 30]) {
            tickets.slots[key.0].end = LogOffset(end);
        }
        tickets.settle(keys[0], Outcome::Acked { maybe_twice: false });
        tickets.settle_all(LogOffset(20), |_| false);
        let outcomes: Vec<_> = keys.iter().map(|key| tickets.outcome(key.0, 0)).collect();
        assert_eq!(
            outcomes,
            [
                Some(Outcome::Acked { maybe_twice: false }),
                Some(Outcome::SessionLost),
                Some(Outcome::Withdrawn)
            ]
        );
    }
}
