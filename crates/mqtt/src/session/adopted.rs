//! Identifiers of a session that the server has kept and this client does not know.
//!
//! The server may hold a QoS 2 message under any identifier, from a client that has lost its memory
//! since. A new message under the same identifier would be taken for that one and be lost without a
//! word. Therefore PUBREL goes before the first QoS 2 use of each identifier, on the same
//! connection: the server forgets what it holds, and answers PUBCOMP in any case (MQTT3-4.3.3-2).
//! Once an answer has come, the identifier is as good as new.

use crate::packet::PacketId;

/// One bit for each identifier.
const WORDS: usize = (1 << 16) / 64;

/// The identifiers under which the server may still hold something.
#[derive(Debug)]
pub(super) struct AdoptedIds(Box<[u64]>);

impl AdoptedIds {
    /// Makes the set of all identifiers.
    pub(super) fn all() -> Self {
        Self(vec![u64::MAX; WORDS].into())
    }

    pub(super) fn contains(&self, packet_id: PacketId) -> bool {
        let (word, bit) = place(packet_id);
        self.0[word] & bit != 0
    }

    /// Takes an identifier out; `false` if it was not in.
    pub(super) fn remove(&mut self, packet_id: PacketId) -> bool {
        let was_in = self.contains(packet_id);
        let (word, bit) = place(packet_id);
        self.0[word] &= !bit;
        was_in
    }
}

fn place(packet_id: PacketId) -> (usize, u64) {
    let number = usize::from(packet_id.get());
    (number / 64, 1 << (number % 64))
}
