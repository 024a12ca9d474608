//! What an earlier process left of the session, put back before the first connection.
//!
//! The caller calls these in the order in which the packets are to be sent, before anything is
//! published. They go first then, with DUP, if the server has kept the session; if it has not, they
//! are treated as what was in flight in this process.
//!
//! What the server may hold under other identifiers, from before there was a record, nobody can tell:
//! where it has kept the session, each is cleared before its first use, as in a session that is not
//! known here at all.
//!
//! Clauses: MQTT3-4.1.0-1, 4.4.0-1, 3.3.1-1.

use super::command::{Admitted, Outgoing, TicketKey};
use super::error::{ArgumentError, NoRoom, Rejected};
use super::in_flight::{Exchange, RELEASE_LEN};
use super::inbound::AckToken;
use super::{Session, WINDOW_MAX};
use crate::outbound_log::OutboundLog;
use crate::packet::{Delivery, PacketId, PubRel, Publish, QoS};

impl Session {
    /// Puts a QoS 1 or 2 message back in flight under its identifier: it is sent with DUP, after
    /// everything that was restored before it. More than the window are taken, up to
    /// [`WINDOW_MAX`].
    ///
    /// # Errors
    /// [`ArgumentError::QoS`] for QoS 0 and [`ArgumentError::IdentifierInUse`];
    /// [`Rejected::Started`] and [`Rejected::Ended`] once the first connection was started;
    /// otherwise as [`Session::publish`].
    pub fn restore_publish(
        &mut self,
        message: Outgoing<'_>,
        packet_id: PacketId,
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        let dup = true;
        let (delivery, exchange, spare) = match message.qos {
            QoS::AtMostOnce => return Err(ArgumentError::QoS { found: message.qos }.into()),
            QoS::AtLeastOnce => (
                Delivery::AtLeastOnce { packet_id, dup },
                Exchange::AtLeastOnce,
                0,
            ),
            QoS::ExactlyOnce => (
                Delivery::ExactlyOnce { packet_id, dup },
                Exchange::ExactlyOnce,
                RELEASE_LEN,
            ),
        };
        let version = self.options.version;
        let (topic, payload) = (message.topic, message.payload);
        let packet = Publish::new(version, topic, payload, delivery, message.retain)?;
        let len = packet.encoded_len(version);
        self.check_restore(packet_id, len, spare, log)?;
        let start = log.tail();
        packet.encode(version, self.log_room(len, spare, log)?);
        self.in_flight.restore(packet_id, exchange, start, len, key);
        if message.qos == QoS::ExactlyOnce {
            self.rare.restored.push(packet_id);
        }
        Ok(Admitted {
            end: log.tail(),
            packet_id: Some(packet_id),
        })
    }

    /// As [`Session::restore_publish`] for a QoS 2 message whose PUBREC was recorded: PUBREL is sent.
    ///
    /// # Errors
    /// As [`Session::restore_publish`].
    pub fn restore_release(
        &mut self,
        packet_id: PacketId,
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        let version = self.options.version;
        let pubrel = PubRel::new(packet_id);
        let len = pubrel.encoded_len(version);
        self.check_restore(packet_id, len, 0, log)?;
        let start = log.tail();
        pubrel.encode(version, self.log_room(len, 0, log)?);
        let exchange = Exchange::Release { kept: false };
        self.in_flight.restore(packet_id, exchange, start, len, key);
        self.rare.restored.push(packet_id);
        self.urgent = log.tail();
        Ok(Admitted {
            end: log.tail(),
            packet_id: Some(packet_id),
        })
    }

    /// Keeps the identifier of a QoS 1 or 2 message that was in flight and cannot be sent again yet,
    /// for want of room in the log or of its content: [`Session::publish_reserved`] does that later.
    /// A PUBREC that comes before is ignored, for the server says it again.
    ///
    /// # Errors
    /// As [`Session::restore_publish`], but for what is about the content.
    pub fn restore_reserved(
        &mut self,
        qos: QoS,
        packet_id: PacketId,
        key: TicketKey,
        log: &OutboundLog,
    ) -> Result<(), Rejected> {
        if qos == QoS::AtMostOnce {
            return Err(ArgumentError::QoS { found: qos }.into());
        }
        self.check_restore(packet_id, 0, 0, log)?;
        self.in_flight.restore_reserved(packet_id, key);
        if qos == QoS::ExactlyOnce {
            self.rare.restored.push(packet_id);
        }
        Ok(())
    }

    /// As [`Session::restore_reserved`] for a QoS 2 message of which it is known that it was never sent:
    /// what the server holds under the identifier is something else, and is cleared first.
    ///
    /// # Errors
    /// As [`Session::restore_reserved`].
    pub fn restore_unsent(
        &mut self,
        packet_id: PacketId,
        key: TicketKey,
        log: &OutboundLog,
    ) -> Result<(), Rejected> {
        self.check_restore(packet_id, 0, 0, log)?;
        self.in_flight.restore_unsent(packet_id, key);
        Ok(())
    }

    /// Remembers a QoS 2 message that an earlier process has received and handled: sent again it is
    /// answered and not delivered.
    pub fn restore_received(&mut self, packet_id: PacketId) {
        self.has_past = true;
        self.received.restore(packet_id);
    }

    /// As [`Session::restore_received`] where the disk is not sure of the record yet: it is answered
    /// after [`Session::acknowledge`] with the token that this returns.
    pub fn restore_unsure(&mut self, packet_id: PacketId) -> AckToken {
        self.has_past = true;
        let token = AckToken::of_earlier(packet_id);
        self.received.insert(packet_id, token);
        token
    }

    /// Checks all but room in the log, for a packet of an earlier process, and notes that there was one.
    fn check_restore(
        &mut self,
        packet_id: PacketId,
        len: usize,
        spare: usize,
        log: &OutboundLog,
    ) -> Result<(), Rejected> {
        if !self.in_flight.is_free(packet_id) {
            return Err(ArgumentError::IdentifierInUse { packet_id }.into());
        }
        self.check_admission(len, spare, log)?;
        self.connection.check_idle()?;
        if !self.connection.is_first() {
            return Err(Rejected::Started);
        }
        // Requests need identifiers too.
        if self.in_flight.publishes() >= WINDOW_MAX.into() {
            return Err(NoRoom::Window { window: WINDOW_MAX }.into());
        }
        self.has_past = true;
        Ok(())
    }
}
