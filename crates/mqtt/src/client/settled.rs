//! QoS 1 messages that were handled when the connection they came with was over.
//!
//! Their acknowledgement could not leave, so a broker that keeps the session sends them again. They
//! are then acknowledged, and not handled a second time: otherwise handlers that are slower than
//! connections are short would handle the same messages for ever. Nothing here waits.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::packet::PacketId;
use crate::sorted::SortedMap;

/// The messages, by packet identifier: no more than there are of those.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// With what their content comes to.
    messages: SortedMap<PacketId, u64>,
}

/// What is compared in place of a content that is not kept.
fn digest(topic: &str, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    payload.hash(&mut hasher);
    hasher.finish()
}

impl Settled {
    /// Whether there are none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.messages.len() == 0
    }

    /// Remembers a message.
    pub(super) fn note(&mut self, packet_id: PacketId, topic: &str, payload: &[u8]) {
        self.messages.insert(packet_id, digest(topic, payload));
    }

    /// Whether the message that came again is one of them.
    pub(super) fn has(&self, packet_id: PacketId, topic: &str, payload: &[u8]) -> bool {
        self.messages.get(&packet_id) == Some(&digest(topic, payload))
    }

    /// Forgets what is remembered under an identifier, because a message came with it.
    pub(super) fn forget(&mut self, packet_id: PacketId) {
        self.messages.remove(&packet_id);
    }

    /// Forgets all, because the broker has lost the session: nothing comes again.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    #[test]
    fn a_message_is_known_again_by_identifier_topic_and_payload() {
        let mut settled = Settled::default();
        assert!(settled.is_empty());
        settled.note(id(1), "a", b"1");
        assert!(settled.has(id(1), "a", b"1"));
        assert!(!settled.has(id(2), "a", b"1"));
        assert!(!settled.has(id(1), "b", b"1"));
        assert!(!settled.has(id(1), "a", b"2"));
        assert!(!settled.has(id(1), "a1", b""));
    }

    #[test]
    fn the_later_one_of_an_identifier_counts_and_either_may_be_forgotten() {
        let mut settled = Settled::default();
        settled.note(id(1), "a", b"1");
        settled.note(id(1), "a", b"2");
        settled.note(id(2), "a", b"3");
        assert!(!settled.has(id(1), "a", b"1"));
        assert!(settled.has(id(1), "a", b"2"));
        settled.forget(id(1));
        assert!(!settled.has(id(1), "a", b"2"));
        settled.clear();
        assert!(!settled.has(id(2), "a", b"3"));
    }
}
