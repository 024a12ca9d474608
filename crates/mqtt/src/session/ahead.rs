//! Requests that go ahead of the outbound log.
//!
//! What a client has subscribed to is asked for again when the server has lost the session, and
//! before anything that waits in the log may leave: an answer to a message must find its
//! subscription. Such a request belongs to its connection, like an acknowledgement: it lies in the
//! control buffer and dies with that, and its end is an [`Output::RequestLost`](super::Output).
//!
//! Where a rate holds messages back, requests and PUBRELs behind them go ahead as well.

use super::command::TicketKey;
use super::error::{NoRoom, Rejected};
use super::in_flight::{Ahead, Exchange};
use super::{REQUESTS_AHEAD_MAX, Session};
use crate::outbound_log::OutboundLog;
use crate::packet::{
    self, MAX_PACKET_LEN, PacketId, PacketRef, QoS, Subscribe, Unsubscribe, Version,
};

/// Bytes that may wait in the control buffer when such a request is added, with it. Longer ones go
/// through the log.
pub const AHEAD_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// Subscribes ahead of everything that waits in the log, on this connection alone; otherwise as
    /// [`Session::subscribe`].
    ///
    /// # Errors
    /// As [`Session::subscribe`], with [`REQUESTS_AHEAD_MAX`] as the bound; [`Rejected::NotUp`]; [`NoRoom::Control`] until the control packets
    /// before it have left, and for ever where the request is longer than [`AHEAD_BYTES_MAX`].
    pub fn subscribe_ahead(
        &mut self,
        filters: &[(&str, QoS)],
        key: TicketKey,
    ) -> Result<PacketId, Rejected> {
        super::command::check_filters(filters.len(), filters.iter().map(|(filter, _)| *filter))?;
        let version = self.options.version;
        let packet_id = self.request_id(REQUESTS_AHEAD_MAX);
        let packet = Subscribe::new(version, packet_id, filters)?;
        let exchange = Exchange::Subscribe {
            filters: filters.len() as u16,
        };
        let len = packet.encoded_len(version);
        let encode = |out: &mut [u8]| packet.encode(version, out);
        self.request_ahead(packet_id, exchange, len, encode, key)
    }

    /// Ends subscriptions ahead of everything that waits in the log, on this connection alone;
    /// otherwise as [`Session::unsubscribe`].
    ///
    /// # Errors
    /// As [`Session::subscribe_ahead`].
    pub fn unsubscribe_ahead(
        &mut self,
        filters: &[&str],
        key: TicketKey,
    ) -> Result<PacketId, Rejected> {
        super::command::check_filters(filters.len(), filters.iter().copied())?;
        let version = self.options.version;
        let packet_id = self.request_id(REQUESTS_AHEAD_MAX);
        let packet = Unsubscribe::new(version, packet_id, filters)?;
        let len = packet.encoded_len(version);
        let encode = |out: &mut [u8]| packet.encode(version, out);
        self.request_ahead(packet_id, Exchange::Unsubscribe, len, encode, key)
    }

    /// Sends what is no message ahead of those that the rate holds back: requests, which belong to
    /// this connection then, and PUBRELs, which stay in the log for the next one.
    #[cold]
    pub(super) fn send_ahead(&mut self, log: &OutboundLog) {
        while let Some((start, end)) = self.connection.next_ahead(log) {
            let Some(packet_id) = identifier(log.slice(start, end), self.options.version) else {
                return;
            };
            let goes = self.in_flight.may_go_ahead(packet_id, start);
            if goes.is_none() || !self.connection.send_ahead(start, end, log) {
                return;
            }
            if goes == Some(Ahead::Request) {
                let nowhere = self.connection.boundary();
                self.in_flight.request_ahead(packet_id, nowhere);
                self.in_flight.leave_out(start, end);
            } else {
                self.connection.rare.released_ahead.insert(packet_id, ());
            }
        }
    }

    fn request_ahead(
        &mut self,
        packet_id: PacketId,
        exchange: Exchange,
        len: usize,
        encode: impl FnOnce(&mut [u8]) -> usize,
        key: TicketKey,
    ) -> Result<PacketId, Rejected> {
        self.connection.check_up()?;
        self.check_request_room(REQUESTS_AHEAD_MAX)?;
        let Some(out) = self.connection.reserve_ahead(len) else {
            return Err(NoRoom::Control {
                bound: AHEAD_BYTES_MAX,
            }
            .into());
        };
        encode(out);
        // It lies nowhere in the log. Whatever ends the connection finds it before what was sent.
        let nowhere = self.connection.boundary();
        self.in_flight.insert(packet_id, exchange, nowhere, 0, key);
        Ok(packet_id)
    }
}

/// The identifier of a packet of ours that may go ahead of others.
fn identifier(packet: &[u8], version: Version) -> Option<PacketId> {
    let (packet, _) = packet::decode(packet, version, MAX_PACKET_LEN).ok()??;
    match packet {
        PacketRef::Subscribe(subscribe) => Some(subscribe.packet_id()),
        PacketRef::Unsubscribe(unsubscribe) => Some(unsubscribe.packet_id()),
        PacketRef::PubRel(pubrel) => Some(pubrel.packet_id),
        _ => None,
    }
}
