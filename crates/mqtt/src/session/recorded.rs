//! A session whose caller keeps a record: what must be durable before a packet leaves is asked of it.
//!
//! A program that ends and begins again must know what the server was told. So packets that tell it
//! something leave when the caller says that this is recorded:
//!
//! ```text
//!   to be recorded            asked by                 packet     leaves with
//!   identifier and message    Session::reserve         PUBLISH    Session::publish_reserved
//!   PUBREC came               Effect::Recorded         PUBREL     Session::release
//!   PUBREL came               Effect::Released         PUBCOMP    Session::complete
//!   identifier received       Effect::Deliver          PUBREC     Session::acknowledge
//! ```
//! Nothing else waits for a record, and how it is kept is not known here. Each record is asked for
//! once for a message, so the caller owes the answer on whatever connection there is by then.
//!
//! Clauses: MQTT3-4.3.3, 4.4.0-1, 4.6.0-4.

use super::Session;
use super::command::{Admitted, Outgoing, TicketKey};
use super::error::{ArgumentError, NoRoom, Rejected};
use super::handle::Effect;
use super::in_flight::{Exchange, RELEASE_LEN, ToRecord};
use super::inbound::AckToken;
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::{Delivery, PacketId, PubRel, Publish, QoS};
use crate::time::Time;

impl Session {
    /// Takes an identifier, and a place in the window, for a QoS 2 message that is published by
    /// [`Session::publish_reserved`] once both are recorded. Reserved identifiers outlive
    /// connections and sessions.
    ///
    /// A server that has kept a session which is not known here may hold a message under any
    /// identifier. It is asked to forget it, by PUBREL, and the identifier is given once it has
    /// answered: so what is recorded as given is never the identifier of something older. That holds
    /// once a connection was accepted, and is why nothing should be reserved before.
    ///
    /// # Errors
    /// [`Rejected::Ended`], [`NoRoom::Window`] and [`NoRoom::Stale`].
    pub fn reserve(&mut self, key: TicketKey) -> Result<PacketId, Rejected> {
        if !self.connection.is_open() {
            return Err(Rejected::Ended);
        }
        if self.in_flight.publishes() >= self.options.window.into() {
            return Err(NoRoom::Window {
                window: self.options.window,
            }
            .into());
        }
        let packet_id = self.clear_id().ok_or(NoRoom::Stale)?;
        self.in_flight.reserve(packet_id, key);
        Ok(packet_id)
    }

    /// Publishes the QoS 2 message for which the identifier was reserved under this key; otherwise as
    /// [`Session::publish`]. One that was restored, by [`Session::restore_reserved`], is sent with DUP,
    /// and may be of QoS 1.
    ///
    /// # Errors
    /// [`ArgumentError::QoS`] and [`ArgumentError::NotReserved`]; as [`Session::publish`], without
    /// [`NoRoom::Window`]. The identifier stays reserved.
    pub fn publish_reserved(
        &mut self,
        message: Outgoing<'_>,
        packet_id: PacketId,
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        let dup = self.in_flight.is_restored(packet_id);
        let (delivery, exchange, spare) = match message.qos {
            QoS::ExactlyOnce => (
                Delivery::ExactlyOnce { packet_id, dup },
                Exchange::ExactlyOnce,
                RELEASE_LEN,
            ),
            QoS::AtLeastOnce if dup => (
                Delivery::AtLeastOnce { packet_id, dup },
                Exchange::AtLeastOnce,
                0,
            ),
            found => return Err(ArgumentError::QoS { found }.into()),
        };
        let version = self.options.version;
        let (topic, payload) = (message.topic, message.payload);
        let packet = Publish::new(version, topic, payload, delivery, message.retain)?;
        if !self.in_flight.is_reserved(packet_id, key) {
            return Err(ArgumentError::NotReserved { packet_id }.into());
        }
        let len = packet.encoded_len(version);
        self.check_admission(len, spare, log)?;
        let start = log.tail();
        packet.encode(version, self.log_room(len, spare, log)?);
        self.in_flight
            .publish_reserved(packet_id, exchange, start, len, key);
        if exchange == Exchange::ExactlyOnce {
            self.before_exactly_once(packet_id);
        }
        Ok(Admitted {
            end: log.tail(),
            packet_id: Some(packet_id),
        })
    }

    /// Sends PUBREL instead of the QoS 2 message for which the identifier was reserved under this
    /// key, because the message is lost: what the server may have of it is to come to an end. Returns
    /// where the packet ends; `None` if it is not reserved.
    pub fn release_reserved(
        &mut self,
        packet_id: PacketId,
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Option<LogOffset> {
        if !self.in_flight.is_reserved(packet_id, key) {
            return None;
        }
        let version = self.options.version;
        let pubrel = PubRel::new(packet_id);
        let (start, len) = (log.tail(), pubrel.encoded_len(version));
        pubrel.encode(version, log.reserve_beyond(len));
        let exchange = Exchange::Release { kept: false };
        self.in_flight
            .publish_reserved(packet_id, exchange, start, len, key);
        self.urgent = log.tail();
        Some(log.tail())
    }

    /// Gives a reserved identifier back, under which nothing was sent; nothing happens if it is not
    /// reserved.
    pub fn unreserve(&mut self, packet_id: PacketId) {
        self.in_flight.unreserve(packet_id);
    }

    /// Tells whether [`Session::acknowledge`] with this token would note that a QoS 2 message was
    /// handled: that is to be recorded first.
    #[must_use]
    pub fn awaits_record(&self, token: AckToken) -> bool {
        token.is_exactly_once() && self.received.awaits(token)
    }

    /// Lets PUBREL leave, because the PUBREC of the message is recorded. PUBRELs leave in the order
    /// of these calls (MQTT3-4.6.0-4), which may come in any phase. Returns `false` if no message
    /// with this identifier and key awaits it any more.
    pub fn release(
        &mut self,
        packet_id: PacketId,
        key: TicketKey,
        now: Time,
        log: &mut OutboundLog,
    ) -> bool {
        let Some((start, end)) = self.in_flight.recording(packet_id, key) else {
            return false;
        };
        if !self.connection.is_up() || self.connection.sent() < end {
            self.in_flight.leave_out(start, end);
            self.connection.leave_out(start, end, log);
        }
        self.log_pubrel(packet_id, false, now, log);
        true
    }

    /// Forgets a received identifier, because its release is recorded, and lets PUBCOMP leave if the
    /// server has asked for it on this connection. One that the server has not released is not
    /// forgotten: it is the identifier of a later message.
    pub fn complete(&mut self, packet_id: PacketId) {
        let received = self.received.get_mut(packet_id);
        if received.is_some_and(|received| received.released) {
            self.received.remove(packet_id);
        }
        if self.connection.rare.releases.remove(&packet_id).is_some() {
            self.connection.push_pubcomp(packet_id);
        }
    }

    /// Puts PUBREL for a message into the log, beside the message or instead of it.
    pub(super) fn log_pubrel(
        &mut self,
        packet_id: PacketId,
        keep: bool,
        now: Time,
        log: &mut OutboundLog,
    ) {
        let version = self.options.version;
        let pubrel = PubRel::new(packet_id);
        let start = log.tail();
        pubrel.encode(version, log.reserve_beyond(pubrel.encoded_len(version)));
        self.in_flight.release(packet_id, start, keep);
        self.release_log(now, log);
    }

    /// Asks for the record of a PUBREC for an identifier that is reserved or whose message has no
    /// PUBREL yet.
    pub(super) fn on_recorded_pubrec(&mut self, packet_id: PacketId, sent: LogOffset) -> Effect {
        // A server may say it again before the message was sent again. Under an identifier that it
        // may hold from before, it may mean another message.
        let early = !self.is_stale(packet_id);
        match self.in_flight.begin_record(packet_id, sent, early) {
            ToRecord::First(key) => {
                self.not_stale(packet_id);
                Effect::Recorded { key, packet_id }
            }
            ToRecord::Again => Effect::Nothing,
            // PUBREL would release the message that is yet to be sent.
            ToRecord::Nothing => self.on_unknown_ack(),
        }
    }

    /// Asks for the record of a PUBREL, once for a message.
    pub(super) fn on_recorded_pubrel(&mut self, packet_id: PacketId) -> Effect {
        let is_new = self
            .connection
            .rare
            .releases
            .insert(packet_id, ())
            .is_none();
        let Some(received) = self.received.get_mut(packet_id) else {
            if !is_new {
                return Effect::Nothing;
            }
            self.count().unknown_releases += 1;
            let known = false;
            return Effect::Released { packet_id, known };
        };
        let is_first = !std::mem::replace(&mut received.released, true);
        // The server does not wait for PUBREC, which must not hold back others for ever.
        if !std::mem::replace(&mut received.handled, true) {
            let owed = received.owed;
            self.connection.acknowledge(owed);
        }
        if is_first {
            let known = true;
            Effect::Released { packet_id, known }
        } else {
            Effect::Nothing
        }
    }
}
