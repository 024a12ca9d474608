//! What a packet from the broker brings about: tickets settled, messages queued.

use std::rc::Rc;

use fiber::Instant;

use super::early::Early;
use super::error::EndCause;
use super::handler;
use super::inbox::Arrived;
use super::message::{Message, Topic};
use super::read_buffer::Shared as Bytes;
use super::room::Room;
use super::shared::{Shared, State};
use super::subscription::{Delivered, Routed, Special};
use super::ticket::Outcome;
use crate::packet::{self, PacketRef, Publish};
use crate::session::{AckToken, Effect, Input};
use crate::store::DoneCause;
use crate::time::Time;

/// The driver is to call handlers with the message at hand ([`super::inline`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    /// What acknowledges the message.
    pub(super) ack: Option<AckToken>,
}

/// Hands a packet, which ends there in what was read, to the session and acts on what it says. Handlers are
/// left to be called in place if it `may_call` them.
#[inline]
pub(super) fn handle_packet(
    shared: &Rc<Shared>,
    state: &mut State,
    (bytes, end): (&Bytes, usize),
    packet: PacketRef<'_>,
    may_call: bool,
    now: Time,
) -> Result<Option<Calls>, EndCause> {
    let effect = state
        .session
        .handle(Input::Packet(packet), now, &mut state.log)
        .map_err(EndCause::Peer)?;
    if let Effect::Completed { .. } | Effect::SubAcked { .. } | Effect::UnsubAcked { .. } = effect {
        state.last_acked = Some(Instant::from_nanos(now.0));
    }
    match (effect, packet) {
        (Effect::Completed { key, maybe_twice }, _) => {
            if state.durable.is_some() {
                let maybe_twice = maybe_twice | state.tickets.is_maybe_sent(key);
                state.settle_stored(key, DoneCause::Acked { maybe_twice });
                return Ok(None);
            }
            state.tickets.settle(key, Outcome::Acked { maybe_twice });
            state.wake_for_room(Room::Log);
            state.check_drained();
        }
        (Effect::Deliver { ack }, PacketRef::Publish(publish)) => {
            state.received += 1;
            if let Some(ack) = ack
                && (publish.dup() || !state.settled.is_empty())
                && state.is_repeated(shared, &publish, ack)
            {
                return Ok(None);
            }
            let message = |topic| Message::hold(bytes, end, &publish, topic);
            let start = |id| handler::start(shared, id);
            match state
                .subscriptions
                .deliver(publish.topic(), message, ack, may_call, start)
            {
                Routed::Taken(delivered) => {
                    state.delivered(shared, delivered);
                    return Ok(delivered.calls.then_some(Calls { ack }));
                }
                Routed::Unwanted => {
                    let topic = Topic::new(publish.topic());
                    let message = Message::hold(bytes, end, &publish, topic);
                    state.receive_unwanted(shared, Arrived::new(message, ack), now);
                }
            }
        }
        (Effect::SubAcked { key }, PacketRef::SubAck(suback)) => {
            state.answer_request(key, suback.reasons().iter());
            state
                .tickets
                .settle(key, Outcome::Acked { maybe_twice: false });
            state.wake_for_room(Room::Requests);
        }
        (Effect::UnsubAcked { key }, _) => {
            state.answer_request(key, std::iter::empty());
            state
                .tickets
                .settle(key, Outcome::Acked { maybe_twice: false });
            state.wake_for_room(Room::Requests);
        }
        (Effect::Recorded { key, packet_id }, _) => state.on_recorded(key, packet_id, now),
        (Effect::Released { packet_id, known }, _) => state.on_released(packet_id, known, now),
        (Effect::Nothing, PacketRef::PubComp(_)) => {
            // An identifier may have become free of what the broker held under it.
            if let Some(durable) = &state.durable {
                durable.room();
            }
        }
        (Effect::Nothing | Effect::Deliver { .. } | Effect::SubAcked { .. }, _) => {}
    }
    Ok(None)
}

impl State {
    /// Settles the messages that are answered at the start of what is `unread`, as [`handle_packet`] does
    /// with one. Returns how many bytes the answers were.
    #[inline]
    pub(super) fn settle_run(&mut self, unread: &[u8], now: Time) -> usize {
        if self.durable.is_some() || packet::split_answer(unread).is_none() {
            return 0;
        }
        self.settle_all(unread, now)
    }

    // Never: with the registers of the driver's loop there are too few.
    #[inline(never)]
    fn settle_all(&mut self, unread: &[u8], now: Time) -> usize {
        let Self {
            session,
            tickets,
            log,
            last_acked,
            ..
        } = self;
        let len = session.handle_answers(unread, now, log, |key, maybe_twice| {
            tickets.settle(key, Outcome::Acked { maybe_twice });
            *last_acked = Some(Instant::from_nanos(now.0));
        });
        if len > 0 {
            self.wake_for_room(Room::Log);
            self.check_drained();
        }
        len
    }

    /// Whether a QoS 1 message has come again that came on an earlier connection: it is acknowledged
    /// when it is handled, at once if it was.
    #[cold]
    fn is_repeated(&mut self, shared: &Shared, publish: &Publish<'_>, ack: AckToken) -> bool {
        let (topic, payload) = (publish.topic(), publish.payload());
        if !self.settled.is_empty() && !ack.is_exactly_once() {
            let packet_id = ack.packet_id();
            let is_settled = publish.dup() && self.settled.has(packet_id, topic, payload);
            // Another message under that identifier means that the broker is done with this one.
            self.settled.forget(packet_id);
            if is_settled {
                self.acknowledge(shared, ack);
                return true;
            }
        }
        if !publish.dup() {
            return false;
        }
        let early = self.early.get_mut();
        self.subscriptions.renew(topic, payload, ack)
            || early.is_some_and(|early| early.renew(topic, payload, ack))
    }

    /// Holds a message that nobody wants while a subscription may still come, or lets it go.
    #[cold]
    fn receive_unwanted(&mut self, shared: &Rc<Shared>, arrived: Arrived, now: Time) {
        if self.early.get().is_none_or(|early| !early.is_open(now)) {
            self.let_go(shared, arrived);
            return;
        }
        let mut next = self.early.hold(Some(arrived));
        while let Some(oldest) = next {
            self.let_go(shared, oldest);
            next = self.early.hold(None);
        }
    }

    /// Gives a message that nobody wants to the default handler, or acknowledges and counts it.
    fn let_go(&mut self, shared: &Rc<Shared>, arrived: Arrived) {
        let start = |id| handler::start(shared, id);
        let subscriptions = &mut self.subscriptions;
        match subscriptions.deliver_special(Special::Unwanted, arrived, start) {
            Ok(dropped) => self.count_dropped(dropped),
            Err(arrived) => {
                self.stats.unrouted += 1;
                if let Some(ack) = arrived.ack {
                    self.acknowledge(shared, ack);
                }
            }
        }
    }

    /// Acknowledges a message that has no taker left.
    fn acknowledge(&mut self, shared: &Shared, ack: AckToken) {
        if self.finish_received(ack) {
            shared.wake.set();
        }
    }

    /// Notes what came of a message that somebody wants.
    #[inline]
    fn delivered(&mut self, shared: &Shared, delivered: Delivered) {
        self.count_dropped(delivered.dropped);
        if let Some(ack) = delivered.ack {
            self.acknowledge(shared, ack);
        }
    }

    /// Gives the messages that came early to the subscriptions that want them now, also where there is no
    /// room for others of the connection: they had room, and those behind them must not come first.
    pub(super) fn deliver_early(&mut self, shared: &Rc<Shared>) {
        for _ in 0..self.early.get().map_or(0, Early::len) {
            let Some(Arrived { message, ack, .. }) = self.early.pop() else {
                return;
            };
            let topic = message.topic.clone();
            let copy = |_| message.clone();
            let start = |id| handler::start(shared, id);
            match self.subscriptions.deliver(&topic, copy, ack, false, start) {
                Routed::Taken(delivered) => self.delivered(shared, delivered),
                Routed::Unwanted => {
                    // It stays, behind those that came before it.
                    let _ = self.early.hold(Some(Arrived::new(message, ack)));
                }
            }
        }
    }

    /// Lets go of the messages that came early when their time is over, or of `all`.
    pub(super) fn release_early(&mut self, shared: &Rc<Shared>, now: Time, all: bool) {
        if !all && self.early_deadline().is_none_or(|until| now < until) {
            return;
        }
        while let Some(arrived) = self.early.get_mut().and_then(Early::pop) {
            self.let_go(shared, arrived);
        }
    }
}
