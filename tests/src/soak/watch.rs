//! What the server is to blame for: QoS 2 messages that it sends again after their PUBREL.
//!
//! A sender that has sent PUBREL may not send that PUBLISH again (MQTT3-4.3.3-1). Mosquitto 2.0.11 does
//! so after a restart, and no receiver can tell it from a new message: the message comes twice. What the
//! server sends is watched on its way, so that no other double is laid to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mqtt::packet::{self, Delivery, MAX_PACKET_LEN, PacketRef, Version};

/// What the server has sent on all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Rc<RefCell<Sent>>);

#[derive(Debug, Default)]
struct Sent {
    /// The number of the message that was released last under an identifier.
    released: BTreeMap<u16, Option<u64>>,
    /// The number that was sent last under an identifier that is not released.
    sent: BTreeMap<u16, Option<u64>>,
    /// Numbers that were sent again after they were released.
    again: BTreeSet<u64>,
}

impl Watch {
    /// Returns what sees the bytes of one connection.
    pub(super) fn connection(&self) -> impl FnMut(&[u8]) + use<> {
        let sent = Rc::clone(&self.0);
        let mut left = Vec::new();
        move |bytes| {
            left.extend_from_slice(bytes);
            let mut taken = 0;
            while let Ok(Some((packet, len))) =
                packet::decode(&left[taken..], Version::V311, MAX_PACKET_LEN)
            {
                sent.borrow_mut().note(&packet);
                taken += len;
            }
            left.drain(..taken);
        }
    }

    /// Tells whether the server has sent a number again that it had released, and forgets it.
    pub(super) fn blames(&self, number: u64) -> bool {
        self.0.borrow_mut().again.remove(&number)
    }
}

impl Sent {
    fn note(&mut self, packet: &PacketRef<'_>) {
        match packet {
            PacketRef::Publish(publish) => {
                let Delivery::ExactlyOnce { packet_id, dup } = publish.delivery() else {
                    return;
                };
                let text = std::str::from_utf8(publish.payload()).ok();
                let number = text.and_then(|text| text.parse().ok());
                let released = self.released.remove(&packet_id.get());
                if dup && released == Some(number) {
                    self.again.extend(number);
                }
                self.sent.insert(packet_id.get(), number);
            }
            PacketRef::PubRel(pubrel) => {
                let id = pubrel.packet_id.get();
                if let Some(number) = self.sent.remove(&id) {
                    self.released.insert(id, number);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt::packet::{PacketId, PubRel, Publish};

    use super::*;

    fn bytes(packet: PacketRef<'_>) -> Vec<u8> {
        let mut bytes = vec![0; packet.encoded_len(Version::V311)];
        packet.encode(Version::V311, &mut bytes);
        bytes
    }

    fn publish(id: u16, dup: bool, payload: &[u8]) -> Vec<u8> {
        let packet_id = PacketId::new(id).unwrap();
        let delivery = Delivery::ExactlyOnce { packet_id, dup };
        bytes(PacketRef::Publish(
            Publish::new(Version::V311, "a", payload, delivery, false).unwrap(),
        ))
    }

    fn pubrel(id: u16) -> Vec<u8> {
        bytes(PacketRef::PubRel(PubRel::new(PacketId::new(id).unwrap())))
    }

    #[test]
    fn only_what_is_sent_again_after_its_release_is_laid_to_the_server() {
        let watch = Watch::default();
        let mut first = watch.connection();
        for packet in [
            publish(1, false, b"10"),
            publish(2, false, b"20"),
            pubrel(1),
            publish(3, false, b"30"),
            pubrel(3),
        ] {
            // However the bytes are cut.
            for byte in packet {
                first(&[byte]);
            }
        }
        let mut second = watch.connection();
        for packet in [
            publish(1, true, b"10"),
            publish(2, true, b"20"),
            publish(3, false, b"31"),
            pubrel(3),
            publish(3, true, b"32"),
        ] {
            second(&packet);
        }
        let blamed = [10, 20, 30, 31, 32].map(|number| watch.blames(number));
        assert_eq!(blamed, [true, false, false, false, false]);
        assert!(!watch.blames(10), "once");
    }
}
