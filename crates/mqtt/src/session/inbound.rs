//! Received messages that await their acknowledgement, in order of arrival.
//!
//! Handlers finish in any order, PUBACKs leave in the order in which the messages came
//! (MQTT3-4.6.0-2): the oldest unfinished message holds back all later ones.

use std::collections::VecDeque;

use crate::packet::PacketId;

/// Stands for one received message that is to be acknowledged.
///
/// It is good for the connection on which the message came: later it does nothing, because the
/// broker sends the message again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckToken {
    connection: u32,
    /// Counts the messages of the connection; may wrap around.
    number: u32,
}

/// The acknowledgements that one connection owes.
#[derive(Debug)]
pub(super) struct AckRing {
    entries: VecDeque<Entry>,
    /// The token of the front entry.
    front: AckToken,
    /// The bound on `entries`.
    window: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    packet_id: PacketId,
    finished: bool,
}

impl AckRing {
    /// Makes a ring for the connection with this number that holds at most `window` messages.
    pub(super) const fn new(connection: u32, window: usize) -> Self {
        let front = AckToken {
            connection,
            number: 0,
        };
        Self {
            entries: VecDeque::new(),
            front,
            window,
        }
    }

    /// Takes in a message; `None` if there is no room for it.
    #[inline]
    pub(super) fn push(&mut self, packet_id: PacketId) -> Option<AckToken> {
        if self.entries.len() == self.window {
            return None;
        }
        let number = self.front.number.wrapping_add(self.entries.len() as u32);
        self.entries.push_back(Entry {
            packet_id,
            finished: false,
        });
        Some(AckToken {
            number,
            ..self.front
        })
    }

    /// Marks a message as finished; `false` if the token is of another connection, or was used and
    /// acknowledged before.
    #[inline]
    pub(super) fn finish(&mut self, token: AckToken) -> bool {
        let at = token.number.wrapping_sub(self.front.number) as usize;
        match self.entries.get_mut(at) {
            Some(entry) if token.connection == self.front.connection => {
                entry.finished = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Returns the oldest message if it is finished: its acknowledgement may leave.
    #[inline]
    pub(super) fn ready(&self) -> Option<PacketId> {
        self.entries
            .front()
            .filter(|entry| entry.finished)
            .map(|entry| entry.packet_id)
    }

    /// Removes the oldest message, because its acknowledgement was encoded.
    #[inline]
    pub(super) fn pop(&mut self) {
        if self.entries.pop_front().is_some() {
            self.front.number = self.front.number.wrapping_add(1);
        }
    }

    /// Returns how many more messages there is room for.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.window - self.entries.len()
    }

    /// Returns how many messages are held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    fn drain(ring: &mut AckRing) -> Vec<u16> {
        let mut left = Vec::new();
        while let Some(packet_id) = ring.ready() {
            ring.pop();
            left.push(packet_id.get());
        }
        left
    }

    #[test]
    fn acknowledgements_leave_in_order_of_arrival() {
        let mut ring = AckRing::new(1, 8);
        let tokens: Vec<_> = [9, 3, 7, 3].map(|n| ring.push(id(n)).unwrap()).into();
        assert_eq!(drain(&mut ring), [0; 0]);
        assert!(ring.finish(tokens[2]));
        assert!(ring.finish(tokens[1]));
        assert_eq!(drain(&mut ring), [0; 0]);
        assert!(ring.finish(tokens[0]));
        assert_eq!(drain(&mut ring), [9, 3, 7]);
        assert_eq!(ring.len(), 1);
        assert!(ring.finish(tokens[3]));
        assert_eq!(drain(&mut ring), [3]);
    }

    #[test]
    fn a_token_works_once_and_on_its_own_connection_alone() {
        let mut ring = AckRing::new(1, 8);
        let token = ring.push(id(1)).unwrap();
        assert!(ring.finish(token));
        assert!(ring.finish(token), "the same message, still held");
        assert_eq!(drain(&mut ring), [1]);
        assert!(!ring.finish(token));

        let old = ring.push(id(2)).unwrap();
        let mut ring = AckRing::new(2, 8);
        ring.push(id(2)).unwrap();
        ring.push(id(3)).unwrap();
        assert!(!ring.finish(old));
        assert_eq!(drain(&mut ring), [0; 0]);
    }

    #[test]
    fn the_window_bounds_what_is_held() {
        let mut ring = AckRing::new(1, 2);
        let first = ring.push(id(1)).unwrap();
        ring.push(id(2)).unwrap();
        assert_eq!((ring.push(id(3)), ring.room(), ring.len()), (None, 0, 2));
        ring.finish(first);
        assert_eq!(drain(&mut ring), [1]);
        assert_eq!(ring.room(), 1);
        assert!(ring.push(id(3)).is_some());
    }

    #[test]
    fn numbers_may_wrap_around() {
        let mut ring = AckRing::new(1, 8);
        ring.front.number = u32::MAX;
        let tokens = [1, 2, 3].map(|n| ring.push(id(n)).unwrap());
        for token in tokens.into_iter().rev() {
            assert!(ring.finish(token));
        }
        assert_eq!(drain(&mut ring), [1, 2, 3]);
        assert_eq!(ring.front.number, 2);
    }
}
