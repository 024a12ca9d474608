//! What the server has not acknowledged when a connection ends: which packet it may not have liked.

use super::in_flight::First;
use super::{Session, TicketKey};
use crate::outbound_log::OutboundLog;
use crate::packet::{self, MAX_PACKET_LEN, PacketRef};

/// Packets that were sent on this connection, in whole or in part, and that are not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unanswered<'a> {
    /// The one that was sent first.
    pub first: UnansweredPacket<'a>,
    /// How many there are.
    pub packets: usize,
}

/// A packet that is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnansweredPacket<'a> {
    /// A SUBSCRIBE or UNSUBSCRIBE, with its ticket.
    Request(TicketKey),
    /// A PUBLISH to this topic.
    Publish(&'a str),
}

impl Session {
    /// Returns what was sent and is not acknowledged, before [`Session::connection_lost`]; none if
    /// there is no such packet. A server acknowledges in the order of sending, most do, so that one
    /// that closes the connection for a packet has acknowledged those before it. Looks at all that is
    /// in flight: for the end of a connection, not for every packet.
    #[must_use]
    pub fn unanswered<'a>(&self, log: &'a OutboundLog) -> Option<Unanswered<'a>> {
        let (first, packets) = self.in_flight.unanswered(self.connection.sent())?;
        let first = match first {
            First::Request(key) => UnansweredPacket::Request(key),
            First::Publish(start, end) => {
                let bytes = log.slice(start, end);
                let decoded = packet::decode(bytes, self.options.version, MAX_PACKET_LEN);
                let Ok(Some((PacketRef::Publish(publish), _))) = decoded else {
                    return None;
                };
                UnansweredPacket::Publish(publish.topic())
            }
        };
        Some(Unanswered { first, packets })
    }
}
