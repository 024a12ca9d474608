//! Tickets: what became of a message that was published.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use fiber::Unparker;

use super::error::WaitCause;
use super::remote;
use super::remote_ticket::Fate;
use super::shared::Shared;
use crate::outbound_log::LogOffset;
use crate::session::TicketKey;
use crate::store::StorePos;

const NO_SLOT: u32 = u32::MAX;
/// The end of a packet that is not in the log.
const NOWHERE: LogOffset = LogOffset(u64::MAX);

/// How far a call waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// Until the message is in the bounded queue, which may mean waiting for room there.
    #[default]
    None,
    /// Until the promise to deliver holds: the message is in the store, as durable as that makes it
    /// ([`ClientOptions::store`](super::ClientOptions::store)). Without a store, and for QoS 0, that
    /// is as `None`.
    Stored,
    /// Until every byte of it was accepted by the kernel, encryption included.
    Sent,
    /// Until the broker acknowledged it; for QoS 0 as `Sent`.
    Ack,
}

/// What finally became of a message. Each ticket gets exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The broker has it (MQTT3-4.3.2).
    Acked {
        /// Whether the broker may have got it more than once.
        maybe_twice: bool,
    },
    /// QoS 0: every byte was accepted by the kernel. Whether it arrived nobody tells.
    Sent,
    /// It was sent and will not be acknowledged: the client ended before, or the broker lost the
    /// session and the message was given up, as [`OnSessionLoss::Finish`] says. The broker may have
    /// it or not.
    ///
    /// [`OnSessionLoss::Finish`]: crate::session::OnSessionLoss::Finish
    SessionLost,
    /// The client ended before it was sent: the broker never saw all of it.
    Withdrawn,
    /// The client ended before it was acknowledged; it is still in the store, and the next client
    /// with that store goes on with it.
    Kept,
    /// The broker refused it, with this reason code.
    Refused(u8),
    /// It was too old to be sent.
    Expired,
    /// It was in the store and could not be sent or read any more, or a rule dropped it.
    DroppedByPolicy,
}

/// A message that was accepted for delivery.
///
/// Dropping the ticket changes nothing for the message.
pub struct Ticket {
    shared: Rc<Shared>,
    end: LogOffset,
    /// QoS 0 has no slot: its outcome follows from what was sent.
    slot: u32,
    generation: u32,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("outcome", &self.poll())
            .finish_non_exhaustive()
    }
}

impl Ticket {
    pub(super) fn of_sent(shared: &Rc<Shared>, end: LogOffset) -> Self {
        Self {
            shared: Rc::clone(shared),
            end,
            slot: NO_SLOT,
            generation: 0,
        }
    }

    /// The outcome, if it is settled. Does not yield.
    #[must_use]
    pub fn poll(&self) -> Option<Outcome> {
        let state = self.shared.state();
        if self.slot != NO_SLOT {
            return state.tickets.outcome(self.slot, self.generation);
        }
        if state.flushed >= self.end {
            Some(Outcome::Sent)
        } else if state.over {
            Some(Outcome::Withdrawn)
        } else {
            None
        }
    }

    /// Waits until `level` holds. Yields until then; the ambient deadline limits it, else the
    /// client's operation timeout.
    ///
    /// Returns the outcome if that is settled by then, which at [`Wait::Ack`] it is.
    ///
    /// # Errors
    ///
    /// [`WaitCause`]: the wait was stopped, in which case the ticket can be asked again, or the
    /// connection ended before `level` was reached and the client does not make another by itself:
    /// the ticket can be asked again when it was given one, and [`Ticket::poll`] tells the outcome
    /// once the client is over.
    pub fn wait(&mut self, level: Wait) -> Result<Option<Outcome>, WaitCause> {
        let shared = Rc::clone(&self.shared);
        match level {
            Wait::None => {}
            Wait::Stored => shared.limited(|| self.wait_stored())?,
            Wait::Sent => shared.limited(|| self.wait_sent())?,
            Wait::Ack if self.slot == NO_SLOT => shared.limited(|| self.wait_sent())?,
            Wait::Ack => shared.limited(|| self.wait_settled())?,
        }
        Ok(self.poll())
    }

    /// Tells another thread the outcome, now or when it is settled.
    pub(super) fn tell(self, fate: Arc<Fate>) {
        if let Some(outcome) = self.poll() {
            remote::wake(fate.settle(Ok(outcome)));
            return;
        }
        let mut state = self.shared.state();
        if self.slot == NO_SLOT {
            state.remote_unsent.push_back((self.end, fate));
        } else {
            state.tickets.slots[self.slot as usize].fate = Some(fate);
        }
    }

    pub(super) fn key(&self) -> Option<TicketKey> {
        (self.slot != NO_SLOT).then_some(TicketKey(self.slot))
    }

    /// Waits until the store is sure of the message.
    fn wait_stored(&self) -> Result<(), WaitCause> {
        let stored = self.shared.look_until(|state| {
            let pos = self.key().and_then(|key| state.tickets.stored(key));
            let (Some(pos), Some(durable)) = (pos, &state.durable) else {
                return Some(Ok(()));
            };
            let settled = state.tickets.outcome(self.slot, self.generation).is_some();
            if settled || durable.store.is_durable(pos) {
                return Some(Ok(()));
            }
            if state.over {
                let end = state.end.clone();
                return Some(Err(end.map_or(WaitCause::Closed, WaitCause::ConnectionLost)));
            }
            durable.store.hurry();
            None
        });
        stored?
    }

    fn wait_sent(&self) -> Result<(), WaitCause> {
        loop {
            let (token, end) = {
                let mut state = self.shared.state();
                let settled = self.slot != NO_SLOT
                    && matches!(
                        state.tickets.outcome(self.slot, self.generation),
                        Some(Outcome::Acked { .. } | Outcome::SessionLost)
                    );
                let end = self.key().map_or(self.end, |key| state.tickets.end(key));
                if state.flushed >= end || settled {
                    return Ok(());
                }
                if let Some(end) = &state.end {
                    return Err(WaitCause::ConnectionLost(end.clone()));
                }
                let token = fiber::prepare()?;
                if end == NOWHERE {
                    state.tickets.wait(self.slot, token);
                } else {
                    state.wait_for_sent(end, token);
                }
                (token, end)
            };
            let parked = fiber::park();
            let mut state = self.shared.state();
            if end == NOWHERE {
                state.tickets.unwait(self.slot, token);
            } else if parked.is_err() {
                state.forget_sent_waiter(token);
            }
            drop(state);
            parked?;
        }
    }

    fn wait_settled(&self) -> Result<(), WaitCause> {
        loop {
            let token = {
                let mut state = self.shared.state();
                let outcome = state.tickets.outcome(self.slot, self.generation);
                match (outcome, &state.end) {
                    (Some(Outcome::Acked { .. } | Outcome::Sent), _) => return Ok(()),
                    // Given up for ever or, without an outcome, until there is a connection.
                    (_, Some(end)) => return Err(WaitCause::ConnectionLost(end.clone())),
                    (Some(_), None) => return Ok(()),
                    (None, None) => {}
                }
                let token = fiber::prepare()?;
                state.tickets.wait(self.slot, token);
                token
            };
            let parked = fiber::park();
            self.shared.state().tickets.unwait(self.slot, token);
            parked?;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.slot != NO_SLOT {
            self.shared
                .state()
                .tickets
                .drop_handle(self.slot, self.generation);
        }
    }
}

/// The open ends of messages and requests: one slot each, used again.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    slots: Vec<Slot>,
    free: Option<u32>,
    /// Open slots of QoS 2 messages.
    exactly_once: usize,
    /// Code of the program in other threads, to be called where nothing is borrowed.
    pub(super) wakers: Vec<Waker>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// How many [`Ticket`]s and waiting calls hold it.
    holders: u32,
    /// It is counted among the QoS 2 messages under way while it is open.
    exactly_once: bool,
    /// The session will settle it.
    open: bool,
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
    /// Another thread waits for the outcome.
    fate: Option<Arc<Fate>>,
    next_free: Option<u32>,
}

impl Tickets {
    /// Opens a slot that is held and that the session will settle.
    #[inline]
    pub(super) fn open(&mut self, exactly_once: bool) -> TicketKey {
        self.exactly_once += usize::from(exactly_once);
        let index = match self.free {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                self.free = slot.next_free;
                slot.generation = slot.generation.wrapping_add(1);
                slot.holders = 1;
                slot.exactly_once = exactly_once;
                slot.open = true;
                slot.outcome = None;
                slot.stored = None;
                slot.maybe_sent = false;
                index
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    holders: 1,
                    exactly_once,
                    open: true,
                    end: LogOffset::default(),
                    outcome: None,
                    stored: None,
                    maybe_sent: false,
                    waiter: None,
                    more_waiters: Vec::new(),
                    fate: None,
                    next_free: None,
                });
                u32::try_from(self.slots.len() - 1).expect("slots are counted in 32 bits")
            }
        };
        TicketKey(index)
    }

    /// Opens a slot that nobody holds and that the session will settle.
    pub(super) fn open_unheard(&mut self) -> TicketKey {
        let key = self.open(false);
        self.slots[key.0 as usize].holders = 0;
        key
    }

    /// Opens a slot that nobody holds, of a message in the store, which is not in the log yet.
    pub(super) fn open_stored(&mut self, pos: StorePos, maybe_sent: bool) -> TicketKey {
        let key = self.open_unheard();
        let slot = &mut self.slots[key.0 as usize];
        slot.stored = Some(pos);
        slot.maybe_sent = maybe_sent;
        slot.end = NOWHERE;
        key
    }

    /// Makes one more ticket of a slot that is open.
    pub(super) fn another(&mut self, shared: &Rc<Shared>, key: TicketKey) -> Ticket {
        let slot = &mut self.slots[key.0 as usize];
        slot.holders += 1;
        Ticket {
            shared: Rc::clone(shared),
            end: slot.end,
            slot: key.0,
            generation: slot.generation,
        }
    }

    /// Makes the ticket of a message that was done before.
    pub(super) fn settled(&mut self, shared: &Rc<Shared>, outcome: Outcome) -> Ticket {
        let key = self.open(false);
        self.settle(key, outcome);
        self.ticket(shared, key, LogOffset::default())
    }

    /// The message of a slot, if that is in the store.
    #[inline]
    pub(super) fn stored(&self, key: TicketKey) -> Option<StorePos> {
        self.slots[key.0 as usize].stored
    }

    /// Where the packet of a slot ends in the log.
    fn end(&self, key: TicketKey) -> LogOffset {
        self.slots[key.0 as usize].end
    }

    /// Notes that the message of a slot has come into the log.
    pub(super) fn admitted(&mut self, key: TicketKey, end: LogOffset) {
        self.slots[key.0 as usize].end = end;
        self.wake(key.0);
    }

    /// Counts a message among the QoS 2 messages under way.
    pub(super) fn begin_exactly_once(&mut self, key: TicketKey) {
        let slot = &mut self.slots[key.0 as usize];
        self.exactly_once += usize::from(!slot.exactly_once);
        slot.exactly_once = true;
    }

    /// Whether a message is one of QoS 2 under way.
    pub(super) fn is_exactly_once(&self, key: TicketKey) -> bool {
        self.slots[key.0 as usize].exactly_once
    }

    /// Notes that the message of a slot is out of the session again; returns whether the broker may
    /// have it.
    pub(super) fn hand_back(&mut self, key: TicketKey, maybe_sent: bool) -> bool {
        let slot = &mut self.slots[key.0 as usize];
        self.exactly_once -= usize::from(slot.exactly_once);
        slot.exactly_once = false;
        slot.end = NOWHERE;
        slot.maybe_sent |= maybe_sent;
        slot.maybe_sent
    }

    /// Whether the broker may have the message of a slot from a session that is over.
    pub(super) fn is_maybe_sent(&self, key: TicketKey) -> bool {
        self.slots[key.0 as usize].maybe_sent
    }

    fn wait(&mut self, slot: u32, token: Unparker) {
        let slot = &mut self.slots[slot as usize];
        if slot.waiter.is_none() {
            slot.waiter = Some(token);
        } else {
            slot.more_waiters.push(token);
        }
    }

    fn unwait(&mut self, slot: u32, token: Unparker) {
        let slot = &mut self.slots[slot as usize];
        if slot.waiter == Some(token) {
            slot.waiter = None;
        } else {
            slot.more_waiters.retain(|other| *other != token);
        }
    }

    fn wake(&mut self, slot: u32) {
        let slot = &mut self.slots[slot as usize];
        if let Some(waiter) = slot.waiter.take() {
            waiter.unpark();
        }
        for waiter in slot.more_waiters.drain(..) {
            waiter.unpark();
        }
    }

    /// Makes the ticket of a slot whose packet was accepted.
    pub(super) fn ticket(&mut self, shared: &Rc<Shared>, key: TicketKey, end: LogOffset) -> Ticket {
        let slot = &mut self.slots[key.0 as usize];
        slot.end = end;
        Ticket {
            shared: Rc::clone(shared),
            end,
            slot: key.0,
            generation: slot.generation,
        }
    }

    /// Takes back a slot that was opened for a packet that was then not accepted.
    pub(super) fn cancel(&mut self, key: TicketKey) {
        let slot = &mut self.slots[key.0 as usize];
        slot.holders = 0;
        self.exactly_once -= usize::from(slot.exactly_once);
        self.free_slot(key.0);
    }

    /// How many QoS 2 messages are under way.
    #[inline]
    pub(super) const fn exactly_once(&self) -> usize {
        self.exactly_once
    }

    /// Settles a slot and wakes who waits for it.
    #[inline]
    pub(super) fn settle(&mut self, key: TicketKey, outcome: Outcome) {
        let slot = &mut self.slots[key.0 as usize];
        slot.open = false;
        slot.outcome = Some(outcome);
        self.exactly_once -= usize::from(slot.exactly_once);
        if let Some(fate) = slot.fate.take() {
            self.wakers.extend(fate.settle(Ok(outcome)));
        }
        if slot.holders == 0 {
            self.free_slot(key.0);
        } else {
            self.wake(key.0);
        }
    }

    /// Wakes everyone who waits for an outcome.
    pub(super) fn wake_all(&mut self) {
        for slot in 0..self.slots.len() {
            self.wake(u32::try_from(slot).expect("slots are counted in 32 bits"));
        }
    }

    /// Settles every open slot at the end of the client; `flushed` is what was sent, and `keeps` says
    /// that the store outlives it.
    pub(super) fn settle_all(&mut self, flushed: LogOffset, keeps: bool) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.open {
                let sent = slot.end <= flushed;
                let kept = keeps && slot.stored.is_some();
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
    pub(super) fn is_held(&self, key: TicketKey) -> bool {
        self.slots[key.0 as usize].holders > 0
    }

    fn outcome(&self, slot: u32, generation: u32) -> Option<Outcome> {
        let slot = &self.slots[slot as usize];
        debug_assert_eq!(slot.generation, generation, "a held slot is not used again");
        slot.outcome
    }

    fn drop_handle(&mut self, index: u32, generation: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert_eq!(slot.generation, generation, "a held slot is not used again");
        slot.holders -= 1;
        if slot.holders == 0 && !slot.open {
            self.free_slot(index);
        }
    }

    fn free_slot(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
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
            tickets.slots[key.0 as usize].end = LogOffset(end);
        }
        tickets.settle(keys[0], Outcome::Acked { maybe_twice: false });
        tickets.settle_all(LogOffset(20), false);
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
