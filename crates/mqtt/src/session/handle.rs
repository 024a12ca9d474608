//! What comes in: packets of the server, and time.

use super::Session;
use super::command::TicketKey;
use super::error::PeerError;
use super::in_flight::{Completed, Exchange, Recorded};
use super::inbound::AckToken;
use super::keep_alive::Silence;
use super::phase::{CloseCause, Phase};
use super::resume::Fate;
use super::{OnSessionLoss, TRIM_AFTER};
use crate::outbound_log::OutboundLog;
use crate::packet::{ConnAck, ConnectReason, Delivery, PacketId, PacketRef, Publish, SubAck};
use crate::time::Time;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A packet was received.
    Packet(PacketRef<'a>),
    /// The time of [`Session::next_deadline`] may have come.
    Timer,
}

/// What the caller must do about one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// The message published under `key` was acknowledged, by PUBACK or PUBCOMP, and its place in the
    /// window is free.
    Completed {
        /// The key given to [`Session::publish`].
        key: TicketKey,
        /// The server may have taken it twice: at QoS 1 sent again after a lost connection, at QoS 2 after a lost session.
        maybe_twice: bool,
    },
    /// The SUBSCRIBE under `key` was answered, with as many codes as it has filters: they are in
    /// the packet.
    SubAcked {
        /// The key given to [`Session::subscribe`].
        key: TicketKey,
    },
    /// The UNSUBSCRIBE under `key` was answered.
    UnsubAcked {
        /// The key given to [`Session::unsubscribe`].
        key: TicketKey,
    },
    /// The message in the packet is to be handled.
    Deliver {
        /// To be given to [`Session::acknowledge`] after that; `None` for QoS 0.
        ack: Option<AckToken>,
    },
    /// With a record ([`SessionOptions::recorded`](super::SessionOptions::recorded)): PUBREC came for
    /// the QoS 2 message under `key`. It is to be recorded; then [`Session::release`].
    Recorded {
        /// The key given to [`Session::publish_reserved`].
        key: TicketKey,
        /// The identifier of the message.
        packet_id: PacketId,
    },
    /// With a record: PUBREL came for a received QoS 2 message. The end of its identifier is to be
    /// recorded; then [`Session::complete`].
    Released {
        /// The identifier of the message.
        packet_id: PacketId,
        /// The message was remembered here.
        known: bool,
    },
}

impl From<Completed> for Effect {
    fn from(completed: Completed) -> Self {
        let Completed { key, maybe_twice } = completed;
        Self::Completed { key, maybe_twice }
    }
}

/// A rare event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// The server accepted the connection.
    Connected {
        /// It had kept the session.
        session_present: bool,
    },
    /// The connection is over: close the transport.
    Closed(CloseCause),
    /// The SUBSCRIBE or UNSUBSCRIBE under `key` was sent on the last connection, and its answer will
    /// not come: it may have been carried out or not, and must be asked for again if it matters.
    RequestLost {
        /// The key given to [`Session::subscribe`] or [`Session::unsubscribe`].
        key: TicketKey,
    },
    /// The rate of [`SessionOptions::publish_rate`](super::SessionOptions::publish_rate) holds
    /// messages back; said again when it does so after nothing was held back.
    Throttled,
    /// The server has lost the session in which the message under `key` was in flight. Comes after
    /// [`Output::Connected`], once for each such message, in the order in which they were published.
    SessionLost {
        /// The key given to [`Session::publish`].
        key: TicketKey,
        /// What became of the message.
        fate: Fate,
    },
}

impl Session {
    /// Handles one input. After an error the connection is over: close the transport.
    ///
    /// Bytes that were received are told by [`Session::received`] first, once for all packets in
    /// them.
    ///
    /// # Errors
    /// One variant of [`PeerError`] for each rule that a server can break.
    // Inlined always: a packet is large for a value, and would be copied for the call.
    #[inline(always)]
    pub fn handle(
        &mut self,
        input: Input<'_>,
        now: Time,
        log: &mut OutboundLog,
    ) -> Result<Effect, PeerError> {
        match input {
            Input::Packet(PacketRef::PubAck(puback)) if self.connection.is_up() => {
                Ok(self.on_puback(puback.packet_id, now, log))
            }
            Input::Packet(PacketRef::Publish(publish)) if self.connection.is_up() => {
                self.on_publish(&publish)
            }
            Input::Packet(PacketRef::PubRel(pubrel)) if self.connection.is_up() => {
                Ok(self.on_pubrel(pubrel.packet_id))
            }
            Input::Packet(PacketRef::PubRec(pubrec)) if self.connection.is_up() => {
                Ok(self.on_pubrec(pubrec.packet_id, now, log))
            }
            Input::Packet(PacketRef::PubComp(pubcomp)) if self.connection.is_up() => {
                Ok(self.on_pubcomp(pubcomp.packet_id, now, log))
            }
            Input::Packet(packet) => self.on_other(&packet, now, log),
            Input::Timer => {
                self.on_timer(now, log);
                Ok(Effect::Nothing)
            }
        }
    }

    #[inline]
    fn on_puback(&mut self, packet_id: PacketId, now: Time, log: &mut OutboundLog) -> Effect {
        match self
            .in_flight
            .complete_publish(packet_id, self.connection.sent())
        {
            Some(completed) => {
                self.release_log(now, log);
                completed.into()
            }
            None => self.on_unknown_ack(),
        }
    }

    #[inline]
    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<Effect, PeerError> {
        match publish.delivery() {
            Delivery::AtMostOnce => Ok(Effect::Deliver { ack: None }),
            Delivery::AtLeastOnce { packet_id, .. } => {
                match self.connection.acks.push(packet_id, false) {
                    ack @ Some(_) => Ok(Effect::Deliver { ack }),
                    None => Err(self.inbound_overrun()),
                }
            }
            Delivery::ExactlyOnce { packet_id, .. } => self.on_exactly_once(packet_id),
        }
    }

    /// Delivers a QoS 2 message the first time, and answers it each time.
    #[inline(never)] // The loop over a run of messages has too few registers for it.
    fn on_exactly_once(&mut self, packet_id: PacketId) -> Result<Effect, PeerError> {
        let acks = &mut self.connection.acks;
        match self.received.get_mut(packet_id) {
            None => {
                let Some(token) = acks.push(packet_id, true) else {
                    return Err(self.inbound_overrun());
                };
                self.received.insert(packet_id, token);
                return Ok(Effect::Deliver { ack: Some(token) });
            }
            // One answer is enough for what comes twice before it could be given.
            Some(received) if !received.handled && acks.is_mine(received.owed) => {}
            Some(received) => {
                let Some(token) = acks.push(packet_id, true) else {
                    return Err(self.inbound_overrun());
                };
                received.owed = token;
                if received.handled {
                    self.connection.acknowledge(token);
                }
            }
        }
        self.count().repeated_messages += 1;
        Ok(Effect::Nothing)
    }

    #[cold]
    fn inbound_overrun(&mut self) -> PeerError {
        let window = self.connection.acks.len();
        self.fault(PeerError::InboundWindow { window })
    }

    fn on_pubrel(&mut self, packet_id: PacketId) -> Effect {
        if self.options.recorded {
            return self.on_recorded_pubrel(packet_id);
        }
        match self.received.remove(packet_id) {
            // The server does not wait for PUBREC, which must not hold back others for ever.
            Some(received) if !received.handled => {
                self.connection.acknowledge(received.owed);
            }
            Some(_) => {}
            None => self.count().unknown_releases += 1,
        }
        self.connection.push_pubcomp(packet_id);
        Effect::Nothing
    }

    pub(super) fn on_pubrec(
        &mut self,
        packet_id: PacketId,
        now: Time,
        log: &mut OutboundLog,
    ) -> Effect {
        let sent = self.connection.sent();
        if self.options.recorded && self.in_flight.is_to_be_recorded(packet_id) {
            return self.on_recorded_pubrec(packet_id, sent);
        }
        let early = !self.is_stale(packet_id);
        match self.in_flight.recorded(packet_id, sent, early) {
            Recorded::First { start, end } => {
                let keep = self.options.on_session_loss == OnSessionLoss::Resend;
                // After PUBREL the server would take it for a new message.
                if sent < end {
                    if !keep {
                        self.in_flight.leave_out(start, end);
                    }
                    self.connection.leave_out(start, end, log);
                }
                self.log_pubrel(packet_id, keep, now, log);
                self.not_stale(packet_id);
            }
            Recorded::Again { end } if end <= sent => self.connection.push_pubrel(packet_id),
            // It is on its way.
            Recorded::Again { .. } => {}
            Recorded::Unknown => {
                self.on_unknown_ack();
                self.connection.push_pubrel(packet_id);
            }
        }
        Effect::Nothing
    }

    pub(super) fn on_pubcomp(
        &mut self,
        packet_id: PacketId,
        now: Time,
        log: &mut OutboundLog,
    ) -> Effect {
        let sent = self.connection.sent();
        if self.connection.take_released_ahead(packet_id) {
            return self.on_pubcomp_ahead(packet_id, now, log);
        }
        match self.in_flight.complete_release(packet_id, sent) {
            Some(completed) => {
                self.release_log(now, log);
                completed.into()
            }
            None if self.not_stale(packet_id) => Effect::Nothing,
            None => self.on_unknown_ack(),
        }
    }

    /// As above, where PUBREL has left ahead of its place in the log.
    #[cold]
    fn on_pubcomp_ahead(
        &mut self,
        packet_id: PacketId,
        now: Time,
        log: &mut OutboundLog,
    ) -> Effect {
        match self.in_flight.complete_release_ahead(packet_id) {
            Some(completed) => {
                self.release_log(now, log);
                completed.into()
            }
            None => self.on_unknown_ack(),
        }
    }

    /// Handles the packets that are not in every message's way, and all packets of the phases in
    /// which few are expected.
    #[inline(never)]
    fn on_other(
        &mut self,
        packet: &PacketRef<'_>,
        now: Time,
        log: &mut OutboundLog,
    ) -> Result<Effect, PeerError> {
        let found = packet.packet_type();
        match (self.connection.phase, packet) {
            (Phase::Closed, _) => Ok(Effect::Nothing),
            (Phase::Idle, _) => Err(self.fault(PeerError::BeforeConnect { found })),
            (Phase::Connecting { clean_start, .. }, PacketRef::ConnAck(connack)) => {
                self.on_connack(clean_start, connack, now, log)
            }
            (Phase::Connecting { .. }, _) => Err(self.fault(PeerError::FirstPacket { found })),
            // The answer to what left just before DISCONNECT is welcome, the rest is too late.
            (Phase::Leaving { .. }, PacketRef::PubAck(puback)) => {
                Ok(self.on_puback(puback.packet_id, now, log))
            }
            (Phase::Leaving { .. }, PacketRef::PubRec(pubrec)) => {
                Ok(self.on_pubrec(pubrec.packet_id, now, log))
            }
            (Phase::Leaving { .. }, PacketRef::PubComp(pubcomp)) => {
                Ok(self.on_pubcomp(pubcomp.packet_id, now, log))
            }
            // What the server sends now it will send again, or could have lost as well.
            (Phase::Leaving { .. } | Phase::Resting { .. }, _) => Ok(Effect::Nothing),
            (Phase::Up { .. } | Phase::Draining { .. }, packet) => self.on_open(packet, now, log),
        }
    }

    /// Handles a packet while messages may go either way.
    fn on_open(
        &mut self,
        packet: &PacketRef<'_>,
        now: Time,
        log: &mut OutboundLog,
    ) -> Result<Effect, PeerError> {
        match packet {
            PacketRef::Publish(publish) => self.on_publish(publish),
            PacketRef::PubAck(puback) => Ok(self.on_puback(puback.packet_id, now, log)),
            PacketRef::SubAck(suback) => self.on_suback(suback),
            PacketRef::UnsubAck(unsuback) => Ok(self.on_unsuback(unsuback.packet_id)),
            PacketRef::PubRec(pubrec) => Ok(self.on_pubrec(pubrec.packet_id, now, log)),
            PacketRef::PubComp(pubcomp) => Ok(self.on_pubcomp(pubcomp.packet_id, now, log)),
            PacketRef::PubRel(pubrel) => Ok(self.on_pubrel(pubrel.packet_id)),
            // Any received byte has answered the ping.
            PacketRef::PingResp => Ok(Effect::Nothing),
            PacketRef::ConnAck(_) => Err(self.fault(PeerError::SecondConnAck)),
            PacketRef::Connect(_)
            | PacketRef::Subscribe(_)
            | PacketRef::Unsubscribe(_)
            | PacketRef::PingReq
            | PacketRef::Disconnect(_) => Err(self.fault(PeerError::ClientPacket {
                found: packet.packet_type(),
            })),
        }
    }

    fn on_connack(
        &mut self,
        clean_start: bool,
        connack: &ConnAck<'_>,
        now: Time,
        log: &mut OutboundLog,
    ) -> Result<Effect, PeerError> {
        let session_present = connack.session_present();
        let reason = connack.reason();
        if reason != ConnectReason::Accepted {
            self.close(CloseCause::Refused(reason));
        } else if session_present && clean_start {
            return Err(self.fault(PeerError::SessionPresentAfterCleanStart));
        } else {
            // What another server has kept is not this session.
            let is_elsewhere = std::mem::take(&mut self.is_elsewhere);
            let is_kept = session_present;
            let session_present = is_kept && !is_elsewhere;
            self.connection.phase = Phase::Up { session_present };
            self.outputs
                .push_back(Output::Connected { session_present });
            self.resume(session_present, is_kept, now, log);
        }
        Ok(Effect::Nothing)
    }

    fn on_suback(&mut self, suback: &SubAck<'_>) -> Result<Effect, PeerError> {
        let packet_id = suback.packet_id();
        let request = self.in_flight.request(packet_id, self.connection.sent());
        let Some(Exchange::Subscribe { filters }) = request else {
            return Ok(self.on_unknown_ack());
        };
        let (expected, found) = (usize::from(filters), suback.reasons().iter().count());
        if expected != found {
            return Err(self.fault(PeerError::SubAckCodes {
                packet_id,
                expected,
                found,
            }));
        }
        Ok(match self.in_flight.complete_request(packet_id) {
            Some(key) => Effect::SubAcked { key },
            None => self.on_unknown_ack(),
        })
    }

    fn on_unsuback(&mut self, packet_id: PacketId) -> Effect {
        let request = self.in_flight.request(packet_id, self.connection.sent());
        if request != Some(Exchange::Unsubscribe) {
            return self.on_unknown_ack();
        }
        match self.in_flight.complete_request(packet_id) {
            Some(key) => Effect::UnsubAcked { key },
            None => self.on_unknown_ack(),
        }
    }

    #[cold]
    pub(super) fn on_unknown_ack(&mut self) -> Effect {
        self.count().unknown_acks += 1;
        Effect::Nothing
    }

    #[cold]
    fn fault(&mut self, error: PeerError) -> PeerError {
        self.connection.phase = Phase::Closed;
        error
    }

    fn on_timer(&mut self, now: Time, log: &mut OutboundLog) {
        let phase = self.connection.phase;
        match phase {
            Phase::Idle | Phase::Closed => {}
            Phase::Connecting { deadline, .. } if deadline <= now => {
                self.close(CloseCause::ConnAckTimeout);
            }
            // The rest has to stay here for the rate.
            Phase::Draining { deadline }
                if deadline <= now
                    && self.is_throttled
                    && self.connection.is_between_packets(log) =>
            {
                let deadline = now + self.options.disconnect_timeout;
                self.connection.push_disconnect();
                self.connection.phase = Phase::Leaving { deadline };
            }
            Phase::Draining { deadline }
            | Phase::Leaving { deadline }
            | Phase::Resting { deadline }
                if deadline <= now =>
            {
                self.close(CloseCause::DisconnectTimeout);
            }
            Phase::Connecting { .. }
            | Phase::Up { .. }
            | Phase::Draining { .. }
            | Phase::Leaving { .. }
            | Phase::Resting { .. } => self.on_silence(now, log),
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim(now, log);
        }
    }

    /// Gives the link up, or asks for a sign of life, where it is time to.
    fn on_silence(&mut self, now: Time, log: &OutboundLog) {
        match self.connection.keep_alive.give_up() {
            Some((deadline, silence)) if deadline <= now => {
                self.close(match silence {
                    Silence::NoAnswer => CloseCause::PingTimeout,
                    Silence::WriteStall => CloseCause::WriteStall,
                });
            }
            Some(_) | None => {
                let due = self
                    .connection
                    .keep_alive
                    .ping_due(self.connection.control_sent());
                if let Phase::Up { .. } = self.connection.phase
                    && due.is_some_and(|due| due <= now)
                {
                    self.connection.push_pingreq(now, log);
                }
            }
        }
    }

    /// Gives a grown log back in a quiet time. One that is in use is looked at again when it is
    /// empty the next time, so this ends by itself: an idle session has no such deadline.
    fn trim(&mut self, now: Time, log: &mut OutboundLog) {
        let quiet_at = self.connection.keep_alive.last_activity() + TRIM_AFTER;
        self.trim_at = None;
        if log.is_empty() && quiet_at <= now {
            log.trim();
        } else if log.is_empty() {
            self.trim_at = Some(quiet_at);
        }
    }
}
