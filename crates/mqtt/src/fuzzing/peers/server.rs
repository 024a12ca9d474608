//! What a server says: anything, or what is right.

use crate::fuzzing::input::Input;
use crate::packet::{PacketId, PacketRef, QoS};

/// A packet of a server, or one that only a client may send, about an identifier that is likely to
/// be in use.
pub(in crate::fuzzing) fn made_packet(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.below(16);
    let [high, low] = id(input).get().to_be_bytes();
    match kind {
        0 | 1 => vec![0x20, 2, input.byte() & 1, [0, 0, 0, 3][input.below(4)]],
        2 | 3 => vec![0x40, 2, high, low],
        4 | 5 => vec![0x50, 2, high, low],
        6 => vec![0x62, 2, high, low],
        7 | 8 => vec![0x70, 2, high, low],
        9 => {
            let codes = 1 + input.below(3);
            let mut packet = vec![0x90, 2 + codes as u8, high, low];
            packet.resize(4 + codes, [0, 2, 0x80][input.below(3)]);
            packet
        }
        10 => vec![0xb0, 2, high, low],
        11 => vec![0x30, 3, 0, 1, b's'],
        12 => vec![0x32 | input.byte() & 8, 5, 0, 1, b's', high, low],
        13 | 14 => vec![0x34 | input.byte() & 8, 5, 0, 1, b's', high, low],
        _ => vec![[0xd0, 0xd0, 0xc0, 0xe0][input.below(4)], 0],
    }
}

/// What an honest server says to a packet.
pub(in crate::fuzzing) fn answer(packet: &PacketRef<'_>) -> Option<Vec<u8>> {
    let short = |first: u8, packet_id: PacketId| {
        let [high, low] = packet_id.get().to_be_bytes();
        Some(vec![first, 2, high, low])
    };
    match packet {
        PacketRef::Publish(publish) => match publish.qos() {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => short(0x40, publish.packet_id()?),
            QoS::ExactlyOnce => short(0x50, publish.packet_id()?),
        },
        PacketRef::PubRel(pubrel) => short(0x70, pubrel.packet_id),
        PacketRef::Subscribe(subscribe) => {
            let codes = subscribe.filters().iter().count();
            let mut answer = short(0x90, subscribe.packet_id())?;
            answer[1] += codes as u8;
            answer.resize(4 + codes, 0);
            Some(answer)
        }
        PacketRef::Unsubscribe(unsubscribe) => short(0xb0, unsubscribe.packet_id()),
        PacketRef::Connect(_) => Some(vec![0x20, 2, 0, 0]),
        PacketRef::PingReq => Some(vec![0xd0, 0]),
        _ => None,
    }
}

pub(super) fn id(input: &mut Input<'_>) -> PacketId {
    let number = match input.byte() {
        0xff => input.u16().max(1),
        small => u16::from(small) % 12 + 1,
    };
    PacketId::new(number).unwrap_or(PacketId::MIN)
}
