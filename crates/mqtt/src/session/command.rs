//! What the program asks of a session: connect, publish, subscribe, acknowledge, leave.
//!
//! Every command is checked in the same order: arguments, then the phase, then room. A command that
//! is refused has changed nothing.

use std::time::Duration;

use super::connection::Connection;
use super::error::{ArgumentError, NoRoom, Rejected};
use super::in_flight::{Exchange, RELEASE_LEN};
use super::inbound::AckToken;
use super::keep_alive::KeepAlive;
use super::phase::{CloseCause, Phase};
use super::rate::{Pace, PublishByteRate, PublishRate};
use super::{FILTERS_MAX, REQUESTS_MAX, Session};
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::{Connect, Delivery, PacketId, Publish, QoS, Subscribe, Unsubscribe};
use crate::time::Time;
use crate::topic::check_topic_filter;

/// The caller's name for what it published or asked for; it comes back with the acknowledgement.
/// The session does not look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketKey(pub u32);

/// A message to be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The content; it may be empty.
    pub payload: &'a [u8],
    /// The promise of delivery.
    pub qos: QoS,
    /// Whether the server keeps the message for later subscribers (MQTT3-3.3.1.3).
    pub retain: bool,
}

/// A packet that is in the outbound log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Where it ends: it is sent once [`Session::sent`] has come so far.
    pub end: LogOffset,
    /// Its identifier, which a QoS 0 message does not have (MQTT3-2.3.1-5).
    pub packet_id: Option<PacketId>,
}

impl Session {
    /// Starts the connection with CONNECT. Once the bytes have left, the server's CONNACK gives
    /// [`Output::Connected`](super::Output::Connected) or [`CloseCause::Refused`].
    ///
    /// # Errors
    /// [`Rejected::Started`] and [`Rejected::Ended`] for a second CONNECT (MQTT3-3.1.0-2): the next
    /// connection begins with [`Session::attach`].
    pub fn connect(&mut self, connect: &Connect<'_>, now: Time) -> Result<(), Rejected> {
        self.connection.check_idle()?;
        let fields = connect.fields();
        self.connection.keep_alive =
            KeepAlive::new(fields.keep_alive_secs, self.options.ping_after, now);
        self.connection.phase = Phase::Connecting {
            clean_start: fields.clean_start,
            deadline: now + self.options.connack_timeout,
        };
        self.connection.push_connect(connect);
        Ok(())
    }

    /// Publishes a message. It is copied into the log, and leaves after everything before it once
    /// the connection is up. For QoS 1 and 2, `key` comes back in
    /// [`Effect::Completed`](super::Effect::Completed).
    ///
    /// # Errors
    /// [`Rejected::Argument`] for a topic name that is none or a packet that is too long;
    /// [`Rejected::Ended`]; [`NoRoom::Window`] for QoS 1 and 2, and [`NoRoom::Log`].
    // Inlined always: as a call of its own it takes half as many instructions more.
    #[inline(always)]
    pub fn publish(
        &mut self,
        message: Outgoing<'_>,
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        match message.qos {
            QoS::AtMostOnce => self.publish_at_most_once(message, log),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.publish_acknowledged(message, key, log),
        }
    }

    #[inline(always)]
    fn publish_at_most_once(
        &mut self,
        message: Outgoing<'_>,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        let version = self.options.version;
        let (topic, payload) = (message.topic, message.payload);
        let delivery = Delivery::AtMostOnce;
        let packet = Publish::new(version, topic, payload, delivery, message.retain)?;
        let len = packet.encoded_len(version);
        self.check_admission(len, 0, log)?;
        packet.encode(version, self.log_room(len, 0, log)?);
        self.urgent = log.tail();
        Ok(Admitted {
            end: log.tail(),
            packet_id: None,
        })
    }

    #[inline(always)]
    fn publish_acknowledged(
        &mut self,
        message: Outgoing<'_>,
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        let version = self.options.version;
        let has_window = self.in_flight.publishes() < self.options.window.into();
        let packet_id = if has_window {
            self.in_flight.free_id()
        } else {
            PacketId::MIN
        };
        let dup = false;
        let is_exactly_once = message.qos == QoS::ExactlyOnce;
        let (delivery, exchange, spare) = if is_exactly_once {
            let delivery = Delivery::ExactlyOnce { packet_id, dup };
            (delivery, Exchange::ExactlyOnce, RELEASE_LEN)
        } else {
            let delivery = Delivery::AtLeastOnce { packet_id, dup };
            (delivery, Exchange::AtLeastOnce, 0)
        };
        let (topic, payload) = (message.topic, message.payload);
        let packet = Publish::new(version, topic, payload, delivery, message.retain)?;
        let len = packet.encoded_len(version);
        self.check_admission(len, spare, log)?;
        if !has_window {
            return Err(NoRoom::Window {
                window: self.options.window,
            }
            .into());
        }
        let start = log.tail();
        packet.encode(version, self.log_room(len, spare, log)?);
        self.in_flight.insert(packet_id, exchange, start, len, key);
        if is_exactly_once {
            self.before_exactly_once(packet_id);
        }
        Ok(Admitted {
            end: log.tail(),
            packet_id: Some(packet_id),
        })
    }

    /// Checks all that [`Session::publish`] checks, but for room.
    ///
    /// # Errors
    /// As [`Session::publish`], without [`Rejected::NoRoom`].
    #[cold]
    pub fn check_publish(&self, message: Outgoing<'_>, log: &OutboundLog) -> Result<(), Rejected> {
        let version = self.options.version;
        let (packet_id, dup) = (PacketId::MIN, false);
        let (delivery, spare) = match message.qos {
            QoS::AtMostOnce => (Delivery::AtMostOnce, 0),
            QoS::AtLeastOnce => (Delivery::AtLeastOnce { packet_id, dup }, 0),
            QoS::ExactlyOnce => (Delivery::ExactlyOnce { packet_id, dup }, RELEASE_LEN),
        };
        let (topic, payload) = (message.topic, message.payload);
        let packet = Publish::new(version, topic, payload, delivery, message.retain)?;
        self.check_admission(packet.encoded_len(version), spare, log)
    }

    /// Subscribes to one or more filters, each with the highest QoS that its messages may have.
    /// `key` comes back in [`Effect::SubAcked`](super::Effect::SubAcked).
    ///
    /// # Errors
    /// [`Rejected::Argument`] for no filter, more than [`FILTERS_MAX`] filters, or one that is none;
    /// [`Rejected::Ended`]; [`NoRoom::Requests`] and [`NoRoom::Log`].
    pub fn subscribe(
        &mut self,
        filters: &[(&str, QoS)],
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        check_filters(filters.len(), filters.iter().map(|(filter, _)| *filter))?;
        let version = self.options.version;
        let packet_id = self.request_id(REQUESTS_MAX);
        let packet = Subscribe::new(version, packet_id, filters)?;
        let exchange = Exchange::Subscribe {
            filters: filters.len() as u16,
        };
        let encode = |out: &mut [u8]| packet.encode(version, out);
        self.request(
            packet_id,
            exchange,
            packet.encoded_len(version),
            encode,
            key,
            log,
        )
    }

    /// Ends the subscriptions to one or more filters. `key` comes back in
    /// [`Effect::UnsubAcked`](super::Effect::UnsubAcked).
    ///
    /// # Errors
    /// As [`Session::subscribe`].
    pub fn unsubscribe(
        &mut self,
        filters: &[&str],
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        check_filters(filters.len(), filters.iter().copied())?;
        let version = self.options.version;
        let packet_id = self.request_id(REQUESTS_MAX);
        let packet = Unsubscribe::new(version, packet_id, filters)?;
        let encode = |out: &mut [u8]| packet.encode(version, out);
        let len = packet.encoded_len(version);
        self.request(packet_id, Exchange::Unsubscribe, len, encode, key, log)
    }

    /// Sends PINGREQ, unless one is under way.
    ///
    /// # Errors
    /// [`Rejected::NotUp`] and [`Rejected::Ended`].
    pub fn ping(&mut self, now: Time, log: &OutboundLog) -> Result<(), Rejected> {
        self.connection.check_up()?;
        let Connection { keep_alive, .. } = &self.connection;
        if !keep_alive.is_pinging(self.connection.control_sent()) {
            self.connection.push_pingreq(now, log);
        }
        Ok(())
    }

    /// As [`Session::ping`], with a limit of its own for the answer, whatever else is sent meanwhile. For
    /// a PINGREQ that is under way the limit counts as well.
    ///
    /// # Errors
    ///
    /// As [`Session::ping`].
    pub fn probe(&mut self, now: Time, log: &OutboundLog, limit: Duration) -> Result<(), Rejected> {
        self.ping(now, log)?;
        self.connection.keep_alive.answer_by(now + limit);
        Ok(())
    }

    /// Returns how long an answer to PINGREQ may take on this connection, unless the transport still
    /// takes bytes.
    #[must_use]
    pub const fn ping_timeout(&self) -> Duration {
        self.connection.keep_alive.timeout()
    }

    /// Leaves: everything in the log is still sent, then DISCONNECT, then nothing (MQTT3-3.14.4-2),
    /// and the outcome is an [`Output::Closed`](super::Output::Closed). Before CONNACK, what is in
    /// the log stays there. A second call does nothing.
    pub fn disconnect(&mut self, now: Time, log: &OutboundLog) {
        let deadline = now + self.options.disconnect_timeout;
        match self.connection.phase {
            Phase::Idle => self.close(CloseCause::Disconnected),
            Phase::Connecting { .. } => {
                self.connection.push_disconnect();
                self.connection.phase = Phase::Leaving { deadline };
            }
            Phase::Up { .. } => {
                self.connection.phase = Phase::Draining { deadline };
                self.leave(log);
            }
            // DISCONNECT is on its way.
            Phase::Resting { .. } => {}
            Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Closed => {}
        }
    }

    /// Leaves for as long as there is nothing to do: DISCONNECT goes, and the outcome is
    /// [`CloseCause::Rested`]. What is published from now on waits for the next connection. Returns
    /// `false`, and has done nothing, unless the connection is up and everything was sent.
    pub fn rest(&mut self, now: Time, log: &OutboundLog) -> bool {
        let all_sent = self.connection.sent() == log.tail()
            && self.connection.control_is_empty()
            && !self.connection.owes_acks();
        if !all_sent || !matches!(self.connection.phase, Phase::Up { .. }) {
            return false;
        }
        let deadline = now + self.options.disconnect_timeout;
        self.connection.push_disconnect();
        self.connection.phase = Phase::Resting { deadline };
        true
    }

    /// Sets how many messages may leave from now on; `None` for any number. What was held back is
    /// looked at by the next [`Session::pace`].
    pub fn set_publish_rate(&mut self, rate: Option<PublishRate>, log: &OutboundLog) {
        let earlier = self.pace.take().map(|pace| *pace);
        self.pace = Pace::with_messages(earlier, rate).map(Box::new);
        self.is_throttled = false;
        self.connection.set_paced(self.pace.is_some(), log);
    }

    /// The same of bytes.
    pub fn set_publish_byte_rate(&mut self, rate: Option<PublishByteRate>, log: &OutboundLog) {
        let earlier = self.pace.take().map(|pace| *pace);
        self.pace = Pace::with_bytes(earlier, rate).map(Box::new);
        self.is_throttled = false;
        self.connection.set_paced(self.pace.is_some(), log);
    }

    /// Notes that a received message was handled: its PUBACK or PUBREC may leave when those of all
    /// messages before it have (MQTT3-4.6.0-2, MQTT3-4.6.0-3). Returns `false` if the token stands
    /// for nothing any more: it was used before; or its connection is over, at QoS 1, or the session
    /// that it came with, at QoS 2.
    #[inline]
    pub fn acknowledge(&mut self, token: AckToken) -> bool {
        let known = self.finish(token);
        if known {
            self.connection.flush_acks();
        }
        known
    }

    /// As [`Session::acknowledge`], for one of several: no packet is made before
    /// [`Session::flush_acks`], which is due after the last of them.
    #[inline(always)]
    pub fn finish(&mut self, token: AckToken) -> bool {
        if token.is_exactly_once() {
            let owed = self.received.handled(token);
            owed.is_some_and(|owed| {
                // Without a place in the ring, the server asks for it on this connection or a next.
                self.connection.acks.finish(owed);
                true
            })
        } else {
            self.connection.acks.finish(token)
        }
    }

    /// Lets the acknowledgements go whose turn it is, after [`Session::finish`].
    #[inline]
    pub fn flush_acks(&mut self) {
        self.connection.flush_acks();
    }

    /// Enters a SUBSCRIBE or UNSUBSCRIBE, whose arguments are good.
    fn request(
        &mut self,
        packet_id: PacketId,
        exchange: Exchange,
        len: usize,
        encode: impl FnOnce(&mut [u8]) -> usize,
        key: TicketKey,
        log: &mut OutboundLog,
    ) -> Result<Admitted, Rejected> {
        self.check_admission(len, 0, log)?;
        self.check_request_room(REQUESTS_MAX)?;
        let start = log.tail();
        encode(self.log_room(len, 0, log)?);
        self.in_flight.insert(packet_id, exchange, start, len, key);
        self.urgent = log.tail();
        Ok(Admitted {
            end: log.tail(),
            packet_id: Some(packet_id),
        })
    }

    /// Checks that one more request may be unanswered, of `bound`.
    pub(super) const fn check_request_room(&self, bound: usize) -> Result<(), NoRoom> {
        if self.in_flight.requests() >= bound {
            return Err(NoRoom::Requests { bound });
        }
        Ok(())
    }

    /// Returns the identifier of the next request, or any where no request can be entered.
    pub(super) fn request_id(&mut self, bound: usize) -> PacketId {
        if self.in_flight.requests() < bound {
            self.in_flight.free_id()
        } else {
            PacketId::MIN
        }
    }

    /// Checks what is common to all packets for the log: that it could hold them with the `spare`
    /// bytes that they will need later, and the phase.
    #[inline]
    pub(super) fn check_admission(
        &self,
        len: usize,
        spare: usize,
        log: &OutboundLog,
    ) -> Result<(), Rejected> {
        let bound = log.bound().saturating_sub(spare);
        let bound = bound.min(self.options.packet_bytes_max);
        if len > bound {
            return Err(ArgumentError::TooLarge { found: len, bound }.into());
        }
        if self.connection.is_open() {
            Ok(())
        } else {
            Err(Rejected::Ended)
        }
    }

    /// Appends a packet to the log, so that there is room for its PUBREL, of `spare` bytes, and for
    /// those of all messages before it.
    #[inline(always)]
    pub(super) fn log_room<'l>(
        &mut self,
        len: usize,
        spare: usize,
        log: &'l mut OutboundLog,
    ) -> Result<&'l mut [u8], NoRoom> {
        let spare = spare + self.in_flight.unreleased() * RELEASE_LEN;
        if !log.fits(len + spare) {
            self.compact(log);
        }
        log.reserve_sparing(len, spare).map_err(NoRoom::Log)
    }

    /// Frees the log of packets that are sent and acknowledged, also behind one that is not, if
    /// that frees an eighth of it.
    #[cold]
    fn compact(&mut self, log: &mut OutboundLog) {
        let cut = self.connection.unsent_packet(log);
        let dead = cut
            .since(log.head())
            .saturating_sub(self.in_flight.publish_bytes());
        if dead > 0 && dead >= log.capacity() / 8 {
            self.in_flight.compact(log, cut);
        }
    }
}

pub(super) fn check_filters<'a>(
    len: usize,
    filters: impl Iterator<Item = &'a str>,
) -> Result<(), ArgumentError> {
    if len > FILTERS_MAX {
        return Err(ArgumentError::TooManyFilters { found: len });
    }
    for (index, filter) in filters.enumerate() {
        check_topic_filter(filter).map_err(|error| ArgumentError::Filter { index, error })?;
    }
    Ok(())
}
