//! Identifiers of a session that the server has kept and this client does not know.
//!
//! The server may hold a QoS 2 message under any identifier, from a client that has lost its memory
//! since. A new message under the same identifier would be taken for that one and be lost without a
//! word. Therefore PUBREL goes before the first QoS 2 use of each identifier, on the same
//! connection: the server forgets what it holds, and answers PUBCOMP in any case (MQTT3-4.3.3-2).
//! Once an answer has come, the identifier is as good as new.
//!
//! A session that keeps a record waits for the answer, so some are asked for ahead. They lie on the
//! other side of the circle from those that are given to QoS 1, which would use them up:
//!
//! ```text
//!   1 .. [ QoS 1 ] ─► next ............. [ cleared ][ asked for ] ─► next stale .. 65 535, 1 ..
//! ```

use std::collections::VecDeque;

use super::Session;
use super::in_flight::successor;
use super::phase::Phase;
use crate::packet::PacketId;

/// How many identifiers are cleared ahead of what a server may hold under them.
const CLEARED_AHEAD_MAX: usize = 16;

/// One bit for each identifier.
const WORDS: usize = (1 << 16) / 64;

/// The identifiers under which the server may still hold something.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct AdoptedIds {
    bits: Box<[u64]>,
    /// How many there are.
    left: usize,
    /// Where the search for the next to be cleared goes on.
    next: PacketId,
    /// Those that were cleared for messages to come.
    cleared: VecDeque<PacketId>,
}

impl AdoptedIds {
    /// Makes the set of all identifiers, which are cleared from `next` on.
    pub(super) fn all(next: PacketId) -> Self {
        Self {
            bits: vec![u64::MAX; WORDS].into(),
            left: usize::from(u16::MAX),
            next,
            cleared: VecDeque::new(),
        }
    }

    /// Goes on with the clearing from this identifier.
    pub(super) const fn clear_from(&mut self, next: PacketId) {
        self.next = next;
    }

    pub(super) fn contains(&self, packet_id: PacketId) -> bool {
        let (word, bit) = place(packet_id);
        self.bits[word] & bit != 0
    }

    /// Takes an identifier out; `false` if it was not in.
    pub(super) fn remove(&mut self, packet_id: PacketId) -> bool {
        let was_in = self.contains(packet_id);
        let (word, bit) = place(packet_id);
        self.bits[word] &= !bit;
        self.left -= usize::from(was_in);
        was_in
    }

    /// Says all that matters later, for a comparison: what is in of the identifiers that small worlds use,
    /// and how far the clearing is.
    #[cfg(test)]
    pub(super) fn describe(&self, canon: &mut super::tests::Canon) {
        for packet_id in super::tests::ids() {
            canon.number(self.contains(packet_id).into());
        }
        canon.number(self.left as u64);
        canon.number(self.next.get().into());
        for packet_id in &self.cleared {
            canon.number(packet_id.get().into());
        }
        canon.end();
    }

    /// Returns the next one that may be cleared, of those that are `free`.
    fn next_stale(&mut self, free: impl Fn(PacketId) -> bool) -> Option<PacketId> {
        for _ in 0..u16::MAX {
            let packet_id = self.next;
            self.next = successor(packet_id);
            if self.contains(packet_id) && free(packet_id) {
                return Some(packet_id);
            }
        }
        None
    }
}

impl Session {
    pub(super) fn is_stale(&self, packet_id: PacketId) -> bool {
        let adopted = self.adopted.as_ref();
        adopted.is_some_and(|adopted| adopted.contains(packet_id))
    }

    /// Returns an identifier under which the server holds nothing; `None` until it has answered.
    pub(super) fn clear_id(&mut self) -> Option<PacketId> {
        let Some(adopted) = &mut self.adopted else {
            return Some(self.in_flight.free_id());
        };
        let in_flight = &mut self.in_flight;
        // Some may have been given to QoS 1 meanwhile.
        adopted
            .cleared
            .retain(|packet_id| in_flight.is_free(*packet_id));
        let mut fitting = adopted.cleared.iter();
        let taken = match fitting.position(|packet_id| in_flight.has_slot(*packet_id)) {
            Some(at) => adopted.cleared.remove(at),
            None => {
                let first = adopted.cleared.pop_front();
                first.inspect(|packet_id| in_flight.make_slot(*packet_id))
            }
        };
        if taken.is_none() && adopted.left == 0 {
            self.adopted = None;
            return Some(self.in_flight.free_id());
        }
        self.clear_ahead();
        taken
    }

    /// Sends PUBREL for identifiers that come next, once on a connection.
    #[cold]
    fn clear_ahead(&mut self) {
        let Some(adopted) = &mut self.adopted else {
            return;
        };
        if !matches!(self.connection.phase, Phase::Up { .. }) {
            return;
        }
        let connection = &mut self.connection;
        while adopted.cleared.len() + connection.rare.clearing.len() < CLEARED_AHEAD_MAX
            && connection.rare.clearing.len() < adopted.left
        {
            let (in_flight, clearing) = (&self.in_flight, &connection.rare.clearing);
            let is_free = |id| in_flight.is_free(id) && clearing.get(&id).is_none();
            let Some(packet_id) = adopted.next_stale(is_free) else {
                return;
            };
            if !connection.push_pubrel_ahead(packet_id) {
                return;
            }
            connection.rare.clearing.insert(packet_id, ());
        }
    }

    /// Notes that the server holds no other message under this identifier; `false` if that was
    /// known.
    pub(super) fn not_stale(&mut self, packet_id: PacketId) -> bool {
        let clearing = self
            .connection
            .rare
            .get_mut()
            .map(|rare| &mut rare.clearing);
        let is_for_later = clearing.is_some_and(|ids| ids.remove(&packet_id).is_some());
        let Some(adopted) = &mut self.adopted else {
            return false;
        };
        let was_stale = adopted.remove(packet_id);
        if was_stale && is_for_later {
            adopted.cleared.push_back(packet_id);
        }
        was_stale
    }
}

fn place(packet_id: PacketId) -> (usize, u64) {
    let number = usize::from(packet_id.get());
    (number / 64, 1 << (number % 64))
}
