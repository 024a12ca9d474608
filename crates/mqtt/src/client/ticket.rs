//! Tickets: what became of a message that was published.

mod table;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use fiber::{Instant, Stopped, Unparker};

pub(super) use self::table::Tickets;
use super::error::{AlreadySent, WaitCause};
use super::limit::park_within;
use super::remote_ticket::Fate;
use super::shared::{Shared, State};
use super::{link, remote};
use crate::outbound_log::LogOffset;
use crate::session::TicketKey;
use crate::time::Time;

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
    /// The client ended before it was sent, so that the broker never saw all of it; or the program
    /// withdrew it ([`Ticket::abandon`]).
    Withdrawn,
    /// The client ended before it was acknowledged; it is still in the store, and the next client
    /// with that store goes on with it. Where the disk was never sure of what the client found in its
    /// store, a power cut may still take that: then a wait for [`Wait::Stored`] fails.
    Kept,
    /// The broker refused it, with this reason code. In 3.1.1 nothing comes to that: PUBACK, PUBREC
    /// and PUBCOMP say nothing but yes, and a refused subscription
    /// ([`Error::SubscribeRefused`](super::Error::SubscribeRefused)) has no ticket. A store may have it
    /// of a client that spoke a later version.
    Refused(u8),
    /// It was too old to be sent ([`Publish::expires_after`](super::Publish::expires_after),
    /// [`ClientOptions::queue_age_max`](super::ClientOptions::queue_age_max)).
    Expired,
    /// It was not sent, because there was no room or another took its place, as the
    /// [`QueuePolicy`](super::QueuePolicy) says; or it was in the store and could not be sent or read
    /// any more.
    DroppedByPolicy,
}

impl Outcome {
    /// Each outcome there is, once for each value that it may have where those are few: for tables.
    pub const ALL: [Self; 9] = [
        Self::Acked { maybe_twice: false },
        Self::Acked { maybe_twice: true },
        Self::Sent,
        Self::SessionLost,
        Self::Withdrawn,
        Self::Kept,
        Self::Refused(0x80),
        Self::Expired,
        Self::DroppedByPolicy,
    ];

    /// Whether it is not for want of a connection that it is so.
    const fn is_final(self) -> bool {
        match self {
            Self::Acked { .. }
            | Self::Sent
            | Self::Refused(_)
            | Self::Expired
            | Self::DroppedByPolicy => true,
            Self::SessionLost | Self::Withdrawn | Self::Kept => false,
        }
    }
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
        let end = if self.slot == NO_SLOT {
            self.end
        } else {
            let outcome = state.tickets.outcome(self.slot, self.generation);
            if outcome.is_some() {
                return outcome;
            }
            state.tickets.unacknowledged_end(self.slot)?
        };
        if state.flushed >= end {
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
    /// once the client is over. Or the store fails, so that [`Wait::Stored`] is not reached for now.
    pub fn wait(&mut self, level: Wait) -> Result<Option<Outcome>, WaitCause> {
        match level {
            Wait::None => {}
            Wait::Stored => {
                let shared = Rc::clone(&self.shared);
                shared.limited(|| self.wait_stored())?;
            }
            Wait::Ack if self.slot != NO_SLOT => return self.wait_settled(None),
            Wait::Sent | Wait::Ack => self.wait_sent()?,
        }
        Ok(self.poll())
    }

    /// Withdraws the message, if it was never sent: its outcome is [`Outcome::Withdrawn`], and it
    /// leaves no trace at the broker. With a store that is recorded: it does not come back. Does nothing
    /// where it was dropped or has expired. Does not yield.
    ///
    /// # Errors
    ///
    /// [`AlreadySent`]: it was given to the connection, or its client is over; nothing has changed.
    pub fn abandon(&self) -> Result<(), AlreadySent> {
        let withdrawn = self.withdraw();
        link::wake_threads(&self.shared);
        withdrawn
    }

    fn withdraw(&self) -> Result<(), AlreadySent> {
        let key = self.key().ok_or(AlreadySent)?;
        let mut state = self.shared.state();
        let outcome = state.tickets.outcome(self.slot, self.generation);
        if outcome.is_none() && state.withdraw_open(key) {
            self.shared.wake.set();
            return Ok(());
        }
        match outcome {
            Some(Outcome::Withdrawn | Outcome::Expired | Outcome::DroppedByPolicy) => Ok(()),
            Some(_) | None => Err(AlreadySent),
        }
    }

    /// Tells another thread the outcome, now or when it is settled.
    pub(super) fn tell(self, fate: Arc<Fate>) {
        if let Some(outcome) = self.poll() {
            remote::wake(fate.settle(Ok(outcome)));
            return;
        }
        let mut state = self.shared.state();
        let end = self.key().map_or(self.end, |key| state.tickets.end(key));
        if self.is_unacknowledged(&state) && end != NOWHERE {
            state.remote_unsent.push_back((end, fate));
        } else {
            fate.note_slot(self.slot);
            state.tickets.slots[self.slot].fates.push(fate);
        }
    }

    /// Whether its outcome follows from what was sent.
    fn is_unacknowledged(&self, state: &State) -> bool {
        self.slot == NO_SLOT || state.tickets.unacknowledged_end(self.slot).is_some()
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
            let outcome = state.tickets.outcome(self.slot, self.generation);
            // The others say that it never was, or nothing; but for what the program withdrew itself.
            let is_known = !matches!(
                outcome,
                None | Some(Outcome::Withdrawn | Outcome::SessionLost | Outcome::Kept)
            );
            // One that found no room and was taken back counts as durable, for its end is.
            let is_withdrawn = matches!(outcome, Some(Outcome::Withdrawn));
            let is_known = is_known || (is_withdrawn && !state.over);
            if is_known || (!is_withdrawn && durable.store.is_durable(pos)) {
                return Some(Ok(()));
            }
            if state.over || is_withdrawn {
                let end = state.end.clone();
                return Some(Err(end.map_or(WaitCause::Closed, WaitCause::ConnectionLost)));
            }
            if let Some(failure) = state.store_failure() {
                return Some(Err(WaitCause::StoreFailed(failure)));
            }
            // What the disk has no room for is not there the sooner.
            if pos > durable.store.durable() {
                durable.store.hurry();
            }
            None
        });
        stored?
    }

    fn wait_sent(&self) -> Result<(), WaitCause> {
        let limit = self.shared.limit();
        let mut is_over = false;
        loop {
            let (token, end) = {
                let mut state = self.shared.state();
                let end = self.key().map_or(self.end, |key| state.tickets.end(key));
                let outcome = self
                    .key()
                    .and_then(|_| state.tickets.outcome(self.slot, self.generation));
                let settled = match outcome {
                    Some(Outcome::Acked { .. } | Outcome::SessionLost) => true,
                    // It will not be sent any more.
                    Some(outcome) => end == NOWHERE && (outcome.is_final() || state.end.is_none()),
                    None => false,
                };
                if state.flushed >= end || settled {
                    return Ok(());
                }
                if let Some(end) = &state.end {
                    return Err(WaitCause::ConnectionLost(end.clone()));
                }
                if is_over {
                    return Err(Stopped::TimedOut.into());
                }
                let token = fiber::prepare()?;
                if end == NOWHERE {
                    state.tickets.wait(self.slot, token);
                } else {
                    state.wait_for_sent(end, token);
                }
                (token, end)
            };
            let parked = park_within(limit);
            let mut state = self.shared.state();
            if end == NOWHERE {
                state.tickets.unwait(self.slot, token);
            } else if !matches!(parked, Ok(false)) {
                state.forget_sent_waiter(token);
            }
            drop(state);
            is_over = parked?;
        }
    }

    /// Begins the wait for the outcome of a message that has just entered the log of a connection, where
    /// it has a slot and the fiber may wait. The driver of the connection sees to its limit, so that
    /// it needs no timer; the caller sees to it that the driver takes a turn.
    #[inline]
    pub(super) fn begin_wait(&self, state: &mut State) -> Option<BegunWait> {
        if self.slot == NO_SLOT {
            return None;
        }
        let token = fiber::prepare().ok()?;
        state.tickets.wait(self.slot, token);
        let limit = self.shared.limit();
        if let Some(limit) = limit {
            state.watch_wait(limit);
        }
        Some(BegunWait { token, limit })
    }

    /// As [`Ticket::wait`] at [`Wait::Ack`], where the wait was begun.
    #[inline]
    pub(super) fn wait_on(&self, begun: BegunWait) -> Result<Option<Outcome>, WaitCause> {
        self.wait_settled(Some(begun))
    }

    /// Waits for the outcome of a message that has a slot. The wait may have begun.
    fn wait_settled(&self, begun: Option<BegunWait>) -> Result<Option<Outcome>, WaitCause> {
        let mut limit = None;
        let mut waited = None;
        if let Some(begun) = begun {
            limit = Some(begun.limit);
            waited = Some((begun.token, fiber::park().map(|()| false)));
        }
        loop {
            let token = {
                let mut state = self.shared.state();
                let outcome = state.tickets.outcome(self.slot, self.generation);
                match (outcome, &state.end) {
                    (Some(outcome), _) if outcome.is_final() => return Ok(Some(outcome)),
                    _ => {}
                }
                if let Some((token, _)) = waited {
                    state.tickets.unwait(self.slot, token);
                }
                if state.tickets.unacknowledged_end(self.slot).is_some() {
                    drop(state);
                    self.wait_sent()?;
                    return Ok(self.poll());
                }
                match (outcome, &state.end) {
                    // Given up for ever or, without an outcome, until there is a connection.
                    (_, Some(end)) => return Err(WaitCause::ConnectionLost(end.clone())),
                    (Some(_), None) => return Ok(outcome),
                    (None, None) => {}
                }
                if let Some((_, parked)) = waited {
                    match parked {
                        Ok(false) => {}
                        Ok(true) => return Err(Stopped::TimedOut.into()),
                        Err(stopped) => return Err(WaitCause::from(stopped)),
                    }
                }
                let token = fiber::prepare()?;
                state.tickets.wait(self.slot, token);
                token
            };
            let limit = *limit.get_or_insert_with(|| self.shared.limit());
            waited = Some((token, park_within(limit)));
        }
    }
}

/// A wait for an acknowledgement that goes on without a timer.
#[derive(Clone, Copy)]
pub(super) struct BegunWait {
    token: Unparker,
    /// When it is to end: one that is woken for nothing goes on with a timer for that.
    limit: Option<Instant>,
}

impl State {
    /// Has the driver end the waits without a timer at `limit`.
    #[inline]
    fn watch_wait(&mut self, limit: Instant) {
        let limit = Time(limit.as_nanos());
        let is_only = self.session.unacknowledged() <= 1;
        if is_only || self.waits_end.is_none_or(|end| limit < end) {
            self.waits_end = Some(limit);
        }
    }

    /// When the first wait without a timer is to end, while there is something to wait for.
    #[inline]
    pub(super) fn waits_deadline(&self) -> Option<Time> {
        self.waits_end.filter(|_| self.session.unacknowledged() > 0)
    }

    /// Has all who wait without a timer go on with one.
    pub(super) fn end_waits(&mut self) {
        if self.waits_end.take().is_some() {
            self.tickets.wake_all();
        }
    }

    /// Withdraws a message that is open, if it was never sent.
    fn withdraw_open(&mut self, key: TicketKey) -> bool {
        if let Some(place) = self.tickets.place(key) {
            self.withdraw_queued(place);
            return true;
        }
        let stored = self.tickets.stored(key);
        stored.is_some_and(|pos| self.withdraw_one_stored(pos))
    }

    /// As [`Ticket::abandon`], for a message of another thread that is in the client.
    pub(super) fn abandon_remote(&mut self, fate: &Arc<Fate>) -> bool {
        let Some(slot) = fate.slot() else {
            return false;
        };
        let entry = self.tickets.slots.0.get(slot as usize);
        // The slot may have another message by now.
        let is_open = entry.is_some_and(|entry| {
            let mut fates = entry.fates.iter();
            fates.any(|open| Arc::ptr_eq(open, fate))
        });
        is_open && self.withdraw_open(TicketKey(slot))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Its place in the list; a new one does not compile without.
    const fn place(outcome: Outcome) -> usize {
        match outcome {
            Outcome::Acked { maybe_twice: false } => 0,
            Outcome::Acked { maybe_twice: true } => 1,
            Outcome::Sent => 2,
            Outcome::SessionLost => 3,
            Outcome::Withdrawn => 4,
            Outcome::Kept => 5,
            Outcome::Refused(_) => 6,
            Outcome::Expired => 7,
            Outcome::DroppedByPolicy => 8,
        }
    }

    #[test]
    fn the_list_of_outcomes_is_complete() {
        let places = Outcome::ALL.map(place);
        assert_eq!(Vec::from(places), Vec::from_iter(0..Outcome::ALL.len()));
    }
}
