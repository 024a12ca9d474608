//! How a message without a store comes into the log: directly, or by way of the queue of those that
//! were never sent.
//!
//! It goes directly where there is a connection, nothing of its QoS waits, and there is room. What
//! waits goes when room appears, the oldest first, by whoever brings the room about: the driver, that
//! has written or read. A message that finds the log full holds back all others, so that a large one
//! is not overtaken for ever; one that finds its window full holds back those of its QoS alone.

use std::rc::Rc;

use super::error::PublishError;
use super::line::Line;
use super::outbox::{self, Place, QueuePolicy};
use super::publish::{Publish, check};
use super::room::{Arrival, Room};
use super::shared::{Shared, State, now};
use super::ticket::{Outcome, Ticket};
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::QoS;
use crate::session::{Admitted, NoRoom, Outgoing, Rejected, Session, TicketKey};
use crate::store::{DoneCause, StorePos};
use crate::time::Time;

/// How many stored messages expire before others run: a store may be full of those that were too old
/// when the program began.
pub(super) const EXPIRED_PER_TURN_MAX: usize = 256;

/// Enters a message into the log or the queue; returns what to wait for where there is no room.
/// `expires` is when it is not to be sent any more.
pub(super) fn enter(
    shared: &Rc<Shared>,
    state: &mut State,
    publish: &Publish<'_>,
    arrival: Arrival,
    expires: Option<Time>,
) -> Result<Result<Ticket, Room>, PublishError> {
    if let Some(cause) = state.refusal() {
        return Err(PublishError::Full(cause));
    }
    let qos = publish.outgoing().qos;
    if state.may_pass(qos, arrival)
        && let Some(ticket) = pass::<true>(shared, state, publish.outgoing())
    {
        return Ok(Ok(ticket));
    }
    // What is wrong with it is found there.
    queue(shared, state, publish, arrival, expires)
}

/// Encodes a message into the log; none where there is no room, or something is wrong with it. `APART` is for
/// a message that has waited: see [`publish_apart`].
// Each QoS for itself: what the others have is no question there.
#[inline(always)]
pub(super) fn pass<const APART: bool>(
    shared: &Rc<Shared>,
    state: &mut State,
    outgoing: Outgoing<'_>,
) -> Option<Ticket> {
    let publish = |session: &mut Session, outgoing, key, log: &mut _| {
        if APART {
            publish_apart(session, outgoing, key, log)
        } else {
            session.publish(outgoing, key, log)
        }
    };
    match outgoing.qos {
        QoS::AtMostOnce => {
            let qos = QoS::AtMostOnce;
            let outgoing = Outgoing { qos, ..outgoing };
            let none = TicketKey::default();
            let admitted = publish(&mut state.session, outgoing, none, &mut state.log).ok()?;
            shared.wake.set();
            Some(Ticket::of_sent(shared, admitted.end))
        }
        QoS::ExactlyOnce if state.exactly_once_room() == 0 => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => {
            let key = state.tickets.open(outgoing.qos == QoS::ExactlyOnce);
            match publish(&mut state.session, outgoing, key, &mut state.log) {
                Ok(admitted) => {
                    shared.wake.set();
                    Some(state.tickets.ticket(shared, key, admitted.end))
                }
                Err(_) => {
                    state.tickets.cancel(key);
                    None
                }
            }
        }
    }
}

/// As [`Session::publish`], for a message that has waited: a small program holds this once, and the other
/// once for each place that calls it.
#[inline(never)]
fn publish_apart(
    session: &mut Session,
    message: Outgoing<'_>,
    key: TicketKey,
    log: &mut OutboundLog,
) -> Result<Admitted, Rejected> {
    session.publish(message, key, log)
}

/// Puts a message into the queue, as its policy says.
#[cold]
fn queue(
    shared: &Rc<Shared>,
    state: &mut State,
    publish: &Publish<'_>,
    arrival: Arrival,
    expires: Option<Time>,
) -> Result<Result<Ticket, Room>, PublishError> {
    check(state, publish)?;
    let outgoing = publish.outgoing();
    let policy = publish.policy_with(&shared.options);
    let room = Room::of(outgoing.qos);
    if policy == QueuePolicy::KeepLast && state.lines.comes_before(room, arrival) {
        // One that waits may be of the same topic: its older value must not come last.
        return Ok(Err(room));
    }
    let key = state.tickets.open_unsent(outgoing.qos);
    let crowded = state.lines.is_crowded(arrival);
    let message = outbox::Message {
        outgoing,
        key,
        policy,
        expires,
    };
    let mut dropped = Vec::new();
    let offered = state
        .outbox
        .offer(message, crowded, |key| dropped.push(key));
    for key in dropped {
        if policy == QueuePolicy::KeepLast {
            state.stats.replaced += 1;
        } else {
            state.stats.dropped_oldest += 1;
        }
        state.tickets.settle(key, Outcome::DroppedByPolicy);
    }
    if let Ok(place) = offered {
        state.tickets.queued(key, place);
        // What was dropped may have been what everything waited for.
        state.admit_queued();
        shared.wake.set();
        return Ok(Ok(state.tickets.held(shared, key)));
    }
    match policy {
        QueuePolicy::Wait | QueuePolicy::KeepLast => {
            state.tickets.cancel(key);
            Ok(Err(room))
        }
        QueuePolicy::Reject => {
            state.tickets.cancel(key);
            state.stats.rejected += 1;
            Err(PublishError::QueueFull)
        }
        QueuePolicy::DropOldest | QueuePolicy::DropNewest => {
            state.stats.dropped_newest += 1;
            state.tickets.settle(key, Outcome::DroppedByPolicy);
            Ok(Ok(state.tickets.held(shared, key)))
        }
    }
}

impl State {
    /// Whether nothing keeps a message from going past the queue, but perhaps room.
    #[inline]
    pub(super) fn may_pass(&self, qos: QoS, arrival: Arrival) -> bool {
        self.is_up()
            && (self.outbox.is_empty() || (self.outbox.is_clear(qos) && !self.log_is_full))
            && !self.lines.comes_before(Room::of(qos), arrival)
            && !self.is_log_waited_for()
    }

    /// Gives messages that wait their turn, as far as there is room, and tells those who wait for a
    /// place among them. Returns whether there is something new to send.
    #[inline]
    pub(super) fn admit_queued(&mut self) -> bool {
        if self.outbox.is_empty() && !self.lines.has_messages() {
            return false;
        }
        self.admit_some()
    }

    #[cold]
    fn admit_some(&mut self) -> bool {
        self.expire_outbox(now());
        let mut admitted = false;
        while self.is_up() && !self.is_log_waited_for() {
            self.log_is_full = false;
            let window = self.session.window_room() > 0;
            let exactly_once = window && self.exactly_once_room() > 0;
            let admits = |qos| match qos {
                QoS::AtMostOnce => true,
                QoS::AtLeastOnce => window,
                QoS::ExactlyOnce => exactly_once,
            };
            let Some((place, key, outgoing)) = self.outbox.first(admits) else {
                break;
            };
            let result = publish_apart(&mut self.session, outgoing, key, &mut self.log);
            match result {
                Ok(in_log) => {
                    self.outbox.remove(place);
                    self.note_admitted(place, key, in_log.end);
                    admitted = true;
                }
                Err(Rejected::NoRoom(NoRoom::Log(_))) => {
                    self.log_is_full = true;
                    break;
                }
                Err(Rejected::Argument(error)) => {
                    debug_assert!(false, "it was checked when it was published: {error}");
                    self.outbox.remove(place);
                    self.tickets.settle(key, Outcome::DroppedByPolicy);
                }
                Err(_) => break,
            }
        }
        self.wake_for_queue();
        admitted
    }

    fn note_admitted(&mut self, place: Place, key: TicketKey, end: LogOffset) {
        match place.qos() {
            QoS::AtMostOnce => {
                if let Some(fate) = self.tickets.admitted_unacknowledged(key, end) {
                    self.remote_unsent.push_back((end, fate));
                }
                return;
            }
            QoS::AtLeastOnce => {}
            QoS::ExactlyOnce => self.tickets.begin_exactly_once(key),
        }
        self.tickets.admitted(key, end);
    }

    fn wake_for_queue(&mut self) {
        let window = self.session.window_room();
        let exactly_once = self.exactly_once_room().min(window);
        let is_open = self.is_up() && !self.log_is_full && !self.is_log_waited_for();
        let outbox = &self.outbox;
        let past_it = |qos| match qos {
            _ if !is_open || !outbox.is_clear(qos) => 0,
            // How much it needs of the log shows when it tries.
            QoS::AtMostOnce => 1,
            QoS::AtLeastOnce => window,
            QoS::ExactlyOnce => exactly_once,
        };
        // How much each needs shows when it tries: one after the other.
        self.lines.wake_messages(outbox.room().min(1), past_it);
    }

    /// When the next message is too old to be sent.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        let stored = self.durable.as_ref().map(|durable| &durable.line);
        let stored = stored.and_then(Line::next_deadline);
        Time::earlier(self.outbox.next_deadline(), stored)
    }

    /// Lets go of what is too old to be sent, as far as that goes in one turn, and gives others its room.
    /// Returns whether more is: the caller gives up its turn, and goes on at once.
    pub(super) fn expire_queued(&mut self, shared: &Shared, now: Time) -> bool {
        let is_due = |state: &Self| state.next_expiry().is_some_and(|at| at <= now);
        if !is_due(self) {
            return false;
        }
        self.expire_outbox(now);
        for _ in 0..EXPIRED_PER_TURN_MAX {
            let Some(pos) = self.expire_stored(now) else {
                break;
            };
            self.stats.expired += 1;
            self.let_go_stored(pos, DoneCause::Expired);
        }
        // What was too old may have been what everything waited for.
        if self.admit_queued() {
            shared.wake.set();
        }
        is_due(self)
    }

    fn expire_outbox(&mut self, now: Time) {
        let mut expired = false;
        while let Some(key) = self.outbox.expire(now) {
            self.stats.expired += 1;
            self.tickets.settle(key, Outcome::Expired);
            expired = true;
        }
        if expired {
            self.check_drained();
        }
    }

    fn expire_stored(&mut self, now: Time) -> Option<StorePos> {
        self.durable.as_mut()?.line.expire(now)
    }

    /// Withdraws a stored message; false if it may have been sent.
    pub(super) fn withdraw_one_stored(&mut self, pos: StorePos) -> bool {
        let durable = self.durable.as_mut();
        let withdrawn = durable.and_then(|durable| durable.line.withdraw(pos));
        if withdrawn.is_some() {
            self.stats.withdrawn += 1;
            self.let_go_stored(pos, DoneCause::Withdrawn);
        }
        withdrawn.is_some()
    }

    /// Withdraws a message that waits to be sent.
    pub(super) fn withdraw_queued(&mut self, place: Place) {
        if let Some(key) = self.outbox.remove(place) {
            self.stats.withdrawn += 1;
            self.tickets.settle(key, Outcome::Withdrawn);
            self.admit_queued();
            self.check_drained();
        }
    }
}
