//! A packet on its way to a client, and the line of answers that wait for that.

use std::collections::VecDeque;

use super::message::BrokerMessage;
use crate::packet::{
    ConnAck, ConnectReason, Delivery, PacketId, PacketRef, PubAck, PubComp, PubRec, PubRel,
    Publish, QoS, SubAck, SubscribeReason, UnsubAck, Version,
};

/// What a server sends, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    Accepted {
        session_present: bool,
    },
    Refused(ConnectReason),
    PubAck(PacketId),
    PubRec(PacketId),
    PubRel(PacketId),
    PubComp(PacketId),
    /// One reason at least.
    SubAck(PacketId, Vec<SubscribeReason>),
    UnsubAck(PacketId),
    PingResp,
    /// There is a packet identifier exactly when the QoS is not 0.
    Publish {
        message: BrokerMessage,
        packet_id: Option<PacketId>,
        dup: bool,
    },
}

impl Outgoing {
    /// Whether the packet acknowledges one of the client's.
    pub(super) const fn is_ack(&self) -> bool {
        match self {
            Self::PubAck(_)
            | Self::PubRec(_)
            | Self::PubComp(_)
            | Self::SubAck(..)
            | Self::UnsubAck(_) => true,
            Self::Accepted { .. }
            | Self::Refused(_)
            | Self::PubRel(_)
            | Self::PingResp
            | Self::Publish { .. } => false,
        }
    }

    /// Appends the packet to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let packet = match self {
            Self::Accepted { session_present } => {
                PacketRef::ConnAck(ConnAck::accepted(*session_present))
            }
            Self::Refused(reason) => PacketRef::ConnAck(ConnAck::refused(*reason)),
            Self::PubAck(id) => PacketRef::PubAck(PubAck::new(*id)),
            Self::PubRec(id) => PacketRef::PubRec(PubRec::new(*id)),
            Self::PubRel(id) => PacketRef::PubRel(PubRel::new(*id)),
            Self::PubComp(id) => PacketRef::PubComp(PubComp::new(*id)),
            Self::SubAck(id, reasons) => PacketRef::SubAck(
                SubAck::new(Version::V311, *id, reasons)
                    .expect("a SUBSCRIBE has a filter, and its SUBACK is shorter"),
            ),
            Self::UnsubAck(id) => PacketRef::UnsubAck(UnsubAck::new(*id)),
            Self::PingResp => PacketRef::PingResp,
            Self::Publish {
                message,
                packet_id,
                dup,
            } => PacketRef::Publish(publish(message, *packet_id, *dup)),
        };
        let start = out.len();
        out.resize(start + packet.encoded_len(Version::V311), 0);
        packet.encode(Version::V311, &mut out[start..]);
    }
}

/// Answers that wait to be encoded, in order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Outgoing>,
    count: usize,
}

impl Answers {
    pub(super) fn push(&mut self, answer: Outgoing) {
        self.count += Self::weight(&answer);
        self.waiting.push_back(answer);
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let answer = self.waiting.pop_front()?;
        self.count -= Self::weight(&answer);
        Some(answer)
    }

    /// Returns how many wait; of a SUBACK each return code counts, since it may have very many.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    const fn weight(answer: &Outgoing) -> usize {
        match answer {
            Outgoing::SubAck(_, reasons) => reasons.len(),
            _ => 1,
        }
    }
}

fn publish(message: &BrokerMessage, packet_id: Option<PacketId>, dup: bool) -> Publish<'_> {
    let delivery = match (packet_id, message.qos()) {
        (Some(packet_id), QoS::ExactlyOnce) => Delivery::ExactlyOnce { packet_id, dup },
        (Some(packet_id), QoS::AtLeastOnce) => Delivery::AtLeastOnce { packet_id, dup },
        (Some(_) | None, _) => Delivery::AtMostOnce,
    };
    Publish::new(
        Version::V311,
        message.topic(),
        message.payload(),
        delivery,
        message.retain(),
    )
    .expect("topics are checked where they come in, and sizes are far below the limit")
}
