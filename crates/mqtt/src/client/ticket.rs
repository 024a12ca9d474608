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

const NO_SLOT: u32 = u32::MAX;

/// How far a call waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// Until the message is in the bounded queue, which may mean waiting for room there.
    #[default]
    None,
    /// Until the promise to deliver holds. With the session in memory that is as `None`.
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
            Wait::None | Wait::Stored => {}
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

    fn wait_sent(&self) -> Result<(), WaitCause> {
        loop {
            let token = {
                let mut state = self.shared.state();
                let settled = self.slot != NO_SLOT
                    && matches!(
                        state.tickets.outcome(self.slot, self.generation),
                        Some(Outcome::Acked { .. } | Outcome::SessionLost)
                    );
                if state.flushed >= self.end || settled {
                    return Ok(());
                }
                if let Some(end) = &state.end {
                    return Err(WaitCause::ConnectionLost(end.clone()));
                }
                let token = fiber::prepare()?;
                state.wait_for_sent(self.end, token);
                token
            };
            if let Err(stopped) = fiber::park() {
                self.shared.state().forget_sent_waiter(token);
                return Err(stopped.into());
            }
        }
    }

    fn wait_settled(&self) -> Result<(), WaitCause> {
        loop {
            {
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
                state.tickets.slots[self.slot as usize].waiter = Some(token);
            }
            let parked = fiber::park();
            self.shared.state().tickets.slots[self.slot as usize].waiter = None;
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
    /// A [`Ticket`] or a waiting call holds it.
    held: bool,
    /// It is counted among the QoS 2 messages under way while it is open.
    exactly_once: bool,
    /// The session will settle it.
    open: bool,
    /// Where its packet ends in the log.
    end: LogOffset,
    outcome: Option<Outcome>,
    waiter: Option<Unparker>,
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
                slot.held = true;
                slot.exactly_once = exactly_once;
                slot.open = true;
                slot.outcome = None;
                index
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    held: true,
                    exactly_once,
                    open: true,
                    end: LogOffset::default(),
                    outcome: None,
                    waiter: None,
                    fate: None,
                    next_free: None,
                });
                u32::try_from(self.slots.len() - 1).expect("at most 65 535 packets are in flight")
            }
        };
        TicketKey(index)
    }

    /// Opens a slot that nobody holds and that the session will settle.
    pub(super) fn open_unheard(&mut self) -> TicketKey {
        let key = self.open(false);
        self.slots[key.0 as usize].held = false;
        key
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
        slot.held = false;
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
        if !slot.held {
            self.free_slot(key.0);
        } else if let Some(waiter) = slot.waiter.take() {
            waiter.unpark();
        }
    }

    /// Wakes everyone who waits for an outcome.
    pub(super) fn wake_all(&mut self) {
        for slot in &mut self.slots {
            if let Some(waiter) = slot.waiter.take() {
                waiter.unpark();
            }
        }
    }

    /// Settles every open slot at the end of the client; `flushed` is what was sent.
    pub(super) fn settle_all(&mut self, flushed: LogOffset) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.open {
                let sent = slot.end <= flushed;
                let key = TicketKey(u32::try_from(index).expect("slots are counted in 32 bits"));
                self.settle(
                    key,
                    if sent {
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
        self.slots[key.0 as usize].held
    }

    fn outcome(&self, slot: u32, generation: u32) -> Option<Outcome> {
        let slot = &self.slots[slot as usize];
        debug_assert_eq!(slot.generation, generation, "a held slot is not used again");
        slot.outcome
    }

    fn drop_handle(&mut self, index: u32, generation: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert_eq!(slot.generation, generation, "a held slot is not used again");
        slot.held = false;
        slot.waiter = None;
        if !slot.open {
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
        tickets.settle_all(LogOffset(20));
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
