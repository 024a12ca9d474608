//! A naive server: it keeps its books in maps and lists, one message at a time.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::packet::peek_len;

/// What the server knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    /// It passes a QoS 2 message on at PUBREL, instead of at PUBLISH.
    pub(super) late: bool,
    pub(super) has_session: bool,
    pub(super) accepted: bool,
    pub(super) received: Vec<u8>,
    /// QoS 2 identifiers, with the message that is still to be passed on.
    pub(super) held: BTreeMap<u16, Option<u32>>,
    /// Messages that were passed on, in order.
    pub(super) passed_on: Vec<u32>,
    pub(super) next_id: u16,
    /// Its own messages in flight: identifier, number, QoS, whether it waits for PUBCOMP.
    pub(super) flight: VecDeque<(u16, u32, u8, bool)>,
    /// Its own messages that were lost with the session.
    pub(super) lost: Vec<u32>,
}

impl Server {
    /// Handles one packet of the client; the answers go into `down`.
    pub(super) fn serve(&mut self, packet: &[u8], down: &mut VecDeque<Vec<u8>>) {
        let packet = decode_whole(packet);
        if let PacketRef::Connect(_) = packet {
            assert!(!self.accepted, "a second CONNECT");
            self.accepted = true;
            down.push_back(vec![0x20, 2, self.has_session.into(), 0]);
            if !self.has_session {
                self.held.clear();
                let lost = self.flight.drain(..).map(|(_, number, ..)| number);
                self.lost.extend(lost);
            }
            for (id, number, qos, released) in self.flight.clone() {
                down.push_back(if released {
                    short(0x62, id)
                } else {
                    publish_bytes(id, number, qos, true)
                });
            }
            return;
        }
        assert!(self.accepted, "a packet before CONNECT");
        match packet {
            PacketRef::Publish(publish) => {
                let number = number(publish.payload());
                let id = publish.packet_id().map_or(0, PacketId::get);
                match publish.qos() {
                    QoS::AtMostOnce => self.passed_on.push(number),
                    QoS::AtLeastOnce => {
                        self.passed_on.push(number);
                        down.push_back(short(0x40, id));
                    }
                    QoS::ExactlyOnce => {
                        if !self.held.contains_key(&id) {
                            self.held.insert(id, self.late.then_some(number));
                            if !self.late {
                                self.passed_on.push(number);
                            }
                        }
                        down.push_back(short(0x50, id));
                    }
                }
            }
            PacketRef::PubRel(pubrel) => {
                let id = pubrel.packet_id.get();
                self.passed_on.extend(self.held.remove(&id).flatten());
                down.push_back(short(0x70, id));
            }
            PacketRef::PubAck(puback) => self.settle(puback.packet_id.get()),
            PacketRef::PubComp(pubcomp) => self.settle(pubcomp.packet_id.get()),
            PacketRef::PubRec(pubrec) => {
                let id = pubrec.packet_id.get();
                let entry = self.flight.iter_mut().find(|entry| entry.0 == id);
                let entry = entry.expect("the server sent it");
                entry.3 = true;
                down.push_back(short(0x62, id));
            }
            PacketRef::Subscribe(subscribe) => {
                let [high, low] = subscribe.packet_id().get().to_be_bytes();
                down.push_back(vec![0x90, 3, high, low, 2]);
            }
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, id: u16) {
        self.flight.retain(|entry| entry.0 != id);
    }
}

/// Takes the first packet off, if it is there whole.
pub(super) fn take_packet(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = peek_len(bytes, MAX_PACKET_LEN).unwrap()?;
    (len <= bytes.len()).then(|| bytes.drain(..len).collect())
}

pub(super) fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

fn short(first: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![first, 2, high, low]
}

pub(super) fn publish_bytes(id: u16, number: u32, qos: u8, dup: bool) -> Vec<u8> {
    let mut packet = vec![0x30 | qos << 1 | u8::from(dup) << 3, 0, 0, 1, b's'];
    if qos > 0 {
        packet.extend(id.to_be_bytes());
    }
    packet.extend(number.to_be_bytes());
    packet[1] = packet.len() as u8 - 2;
    packet
}
