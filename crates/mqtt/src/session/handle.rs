//! What comes in: packets of the server, and time.

use super::Session;
use super::TRIM_AFTER;
use super::command::TicketKey;
use super::error::PeerError;
use super::in_flight::Exchange;
use super::inbound::AckToken;
use super::keep_alive::Silence;
use super::phase::{CloseCause, Phase};
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
    /// The message published under `key` was acknowledged, and its place in the window is free.
    Completed {
        /// The key given to [`Session::publish`].
        key: TicketKey,
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
            Some(key) => {
                self.release(now, log);
                Effect::Completed { key }
            }
            None => self.on_unknown_ack(),
        }
    }

    #[inline]
    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<Effect, PeerError> {
        match publish.delivery() {
            Delivery::AtMostOnce => Ok(Effect::Deliver { ack: None }),
            Delivery::AtLeastOnce { packet_id, .. } => match self.connection.acks.push(packet_id) {
                ack @ Some(_) => Ok(Effect::Deliver { ack }),
                None => {
                    let window = self.connection.acks.len();
                    Err(self.fault(PeerError::InboundWindow { window }))
                }
            },
            Delivery::ExactlyOnce { packet_id, .. } => {
                Err(self.fault(PeerError::QoS2NotExpected { packet_id }))
            }
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
                self.on_connack(clean_start, connack)
            }
            (Phase::Connecting { .. }, _) => Err(self.fault(PeerError::FirstPacket { found })),
            // The answer to what left just before DISCONNECT is welcome, the rest is too late.
            (Phase::Leaving { .. }, PacketRef::PubAck(puback)) => {
                Ok(self.on_puback(puback.packet_id, now, log))
            }
            (Phase::Leaving { .. }, _) => Ok(Effect::Nothing),
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
            // There are no QoS 2 exchanges that these could belong to.
            PacketRef::PubRec(_) | PacketRef::PubComp(_) => Ok(self.on_unknown_ack()),
            PacketRef::PubRel(pubrel) => {
                self.counters.unknown_releases += 1;
                self.connection.push_pubcomp(pubrel.packet_id);
                Ok(Effect::Nothing)
            }
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
    ) -> Result<Effect, PeerError> {
        let session_present = connack.session_present();
        let reason = connack.reason();
        if reason != ConnectReason::Accepted {
            self.close(CloseCause::Refused(reason));
        } else if session_present && clean_start {
            return Err(self.fault(PeerError::SessionPresentAfterCleanStart));
        } else {
            self.connection.phase = Phase::Up { session_present };
            self.outputs
                .push_back(Output::Connected { session_present });
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
    fn on_unknown_ack(&mut self) -> Effect {
        self.counters.unknown_acks += 1;
        Effect::Nothing
    }

    #[cold]
    fn fault(&mut self, error: PeerError) -> PeerError {
        self.connection.phase = Phase::Closed;
        error
    }

    fn on_timer(&mut self, now: Time, log: &mut OutboundLog) {
        match self.connection.phase {
            Phase::Idle | Phase::Closed => {}
            Phase::Connecting { deadline, .. } if deadline <= now => {
                self.close(CloseCause::ConnAckTimeout);
            }
            Phase::Draining { deadline } | Phase::Leaving { deadline } if deadline <= now => {
                self.close(CloseCause::DisconnectTimeout);
            }
            Phase::Connecting { .. }
            | Phase::Up { .. }
            | Phase::Draining { .. }
            | Phase::Leaving { .. } => self.on_silence(now, log),
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
