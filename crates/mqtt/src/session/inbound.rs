//! Received messages that await their acknowledgement, in order of arrival.
//!
//! Handlers finish in any order, PUBACKs and PUBRECs leave in the order in which the messages came
//! (MQTT3-4.6.0-2, MQTT3-4.6.0-3): the oldest unfinished message holds back all later ones.

use crate::packet::PacketId;

/// Stands for one received message that is to be acknowledged.
///
/// For QoS 1 it is good for the connection on which the message came: later it does nothing, because
/// the broker sends the message again, and it is delivered again. For QoS 2 it is good as long as
/// the session: a message that is sent again is not delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckToken {
    connection: u32,
    /// Counts the messages of the connection; may wrap around.
    number: u32,
    packet_id: PacketId,
    exactly_once: bool,
}

impl AckToken {
    /// Tells whether `later` came with the same packet identifier at QoS 1 on a later connection: it
    /// is the same message again, if the content is the same.
    #[inline]
    #[must_use]
    pub fn is_repeated_by(self, later: Self) -> bool {
        self.packet_id == later.packet_id
            && self.connection != later.connection
            && !self.exactly_once
            && !later.exactly_once
    }

    /// Tells whether both are for one message, at QoS 2 also on different connections.
    #[must_use]
    pub fn is_same_message(self, other: Self) -> bool {
        let again = self.exactly_once && other.exactly_once && self.packet_id == other.packet_id;
        self == other || again
    }

    /// Makes a token that no connection gave.
    pub(super) const fn of_none(packet_id: PacketId) -> Self {
        Self {
            connection: 0,
            number: 0,
            packet_id,
            exactly_once: false,
        }
    }

    /// Makes a token for a QoS 2 message that came to an earlier process; no connection has its number,
    /// but for one after four thousand million others.
    pub(super) const fn of_earlier(packet_id: PacketId) -> Self {
        Self {
            connection: u32::MAX,
            exactly_once: true,
            ..Self::of_none(packet_id)
        }
    }

    /// Connection and number.
    #[cfg(test)]
    pub(super) const fn parts(self) -> (u32, u32) {
        (self.connection, self.number)
    }

    #[inline]
    pub(crate) const fn packet_id(self) -> PacketId {
        self.packet_id
    }

    #[inline]
    pub(crate) const fn is_exactly_once(self) -> bool {
        self.exactly_once
    }
}

/// An acknowledgement whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    PubAck(PacketId),
    PubRec(PacketId),
}

/// The acknowledgements that one connection owes: a ring in which a message's number leads to its
/// slot.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct AckRing {
    /// A power of two, or none before the first message; doubled when all are taken.
    slots: Vec<Slot>,
    connection: u32,
    /// The number of the oldest message.
    front: u32,
    /// How many messages are held.
    len: usize,
    /// The bound on `len`.
    window: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    packet_id: PacketId,
    exactly_once: bool,
    finished: bool,
}

/// The first number of slots.
const SLOTS_MIN: usize = 16;

impl AckRing {
    /// Makes a ring for the connection with this number that holds at most `window` messages.
    pub(super) const fn new(connection: u32, window: usize) -> Self {
        Self {
            slots: Vec::new(),
            connection,
            front: 0,
            len: 0,
            window,
        }
    }

    /// Takes in a message of QoS 2 (`exactly_once`) or 1; `None` if there is no room for it.
    #[inline]
    pub(super) fn push(&mut self, packet_id: PacketId, exactly_once: bool) -> Option<AckToken> {
        if self.len == self.window {
            return None;
        }
        if self.len == self.slots.len() {
            self.grow();
        }
        let number = self.front.wrapping_add(self.len as u32);
        let at = self.index(number);
        self.slots[at] = Slot {
            packet_id,
            exactly_once,
            finished: false,
        };
        self.len += 1;
        Some(AckToken {
            connection: self.connection,
            number,
            packet_id,
            exactly_once,
        })
    }

    /// Tells whether a token was given by this ring.
    #[inline]
    pub(super) const fn is_mine(&self, token: AckToken) -> bool {
        token.connection == self.connection
    }

    /// Marks a message as finished; `false` if it is not held (any more).
    #[inline]
    pub(super) fn finish(&mut self, token: AckToken) -> bool {
        let place = token.number.wrapping_sub(self.front) as usize;
        if !self.is_mine(token) || place >= self.len {
            return false;
        }
        let at = self.index(token.number);
        self.slots[at].finished = true;
        true
    }

    /// Returns the acknowledgement of the oldest message if that is finished: it may leave.
    #[inline]
    pub(super) fn ready(&self) -> Option<Ready> {
        if self.len == 0 {
            return None;
        }
        let slot = &self.slots[self.index(self.front)];
        match (slot.finished, slot.exactly_once) {
            (false, _) => None,
            (true, false) => Some(Ready::PubAck(slot.packet_id)),
            (true, true) => Some(Ready::PubRec(slot.packet_id)),
        }
    }

    /// Returns how many of the oldest messages are finished, `bound` at most: their acknowledgements may
    /// leave.
    pub(super) fn ready_count(&self, bound: usize) -> usize {
        let places = 0..self.len.min(bound);
        let slots = places.map(|place| self.index(self.front.wrapping_add(place as u32)));
        slots.take_while(|at| self.slots[*at].finished).count()
    }

    /// Returns the oldest message if it is not finished: it holds back all later ones.
    #[inline]
    pub(super) fn oldest_unfinished(&self) -> Option<AckToken> {
        if self.len == 0 {
            return None;
        }
        let slot = &self.slots[self.index(self.front)];
        (!slot.finished).then_some(AckToken {
            connection: self.connection,
            number: self.front,
            packet_id: slot.packet_id,
            exactly_once: slot.exactly_once,
        })
    }

    /// Removes the oldest message, because its acknowledgement was encoded.
    #[inline]
    pub(super) fn pop(&mut self) {
        debug_assert!(self.len > 0);
        self.len -= 1;
        self.front = self.front.wrapping_add(1);
    }

    /// Returns how many more messages there is room for.
    #[inline]
    pub(super) const fn room(&self) -> usize {
        self.window - self.len
    }

    /// Returns how many messages are held.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Says what is owed, for a comparison of sessions.
    #[cfg(test)]
    pub(super) fn describe(&self, canon: &mut super::tests::Canon) {
        canon.ring(self.connection, self.front, self.len);
        for place in 0..self.len {
            let slot = &self.slots[self.index(self.front.wrapping_add(place as u32))];
            canon.number(slot.packet_id.get().into());
            canon.number(2 * u64::from(slot.exactly_once) + u64::from(slot.finished));
        }
        canon.end();
    }

    #[inline]
    const fn index(&self, number: u32) -> usize {
        number as usize & self.slots.len().wrapping_sub(1)
    }

    #[cold]
    fn grow(&mut self) {
        let unused = Slot {
            packet_id: PacketId::MIN,
            exactly_once: false,
            finished: false,
        };
        let larger = vec![unused; (self.slots.len() * 2).max(SLOTS_MIN)];
        let old = std::mem::replace(&mut self.slots, larger);
        for place in 0..self.len {
            let number = self.front.wrapping_add(place as u32);
            let at = self.index(number);
            self.slots[at] = old[number as usize & (old.len() - 1)];
        }
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
            left.push(match packet_id {
                Ready::PubAck(packet_id) | Ready::PubRec(packet_id) => packet_id.get(),
            });
        }
        left
    }

    #[test]
    fn acknowledgements_leave_in_order_of_arrival() {
        let mut ring = AckRing::new(1, 8);
        let tokens: Vec<_> = [9, 3, 7, 3]
            .map(|n| ring.push(id(n), false).unwrap())
            .into();
        assert_eq!(drain(&mut ring), [0; 0]);
        assert!(ring.finish(tokens[2]));
        assert!(ring.finish(tokens[1]));
        assert_eq!(drain(&mut ring), [0; 0]);
        assert_eq!(ring.oldest_unfinished(), Some(tokens[0]));
        assert!(ring.finish(tokens[0]));
        assert_eq!(ring.oldest_unfinished(), None);
        assert_eq!(drain(&mut ring), [9, 3, 7]);
        assert_eq!(ring.oldest_unfinished(), Some(tokens[3]));
        assert_eq!(ring.len(), 1);
        assert!(ring.finish(tokens[3]));
        assert_eq!(drain(&mut ring), [3]);
    }

    #[test]
    fn a_token_works_once_and_on_its_own_connection_alone() {
        let mut ring = AckRing::new(1, 8);
        let token = ring.push(id(1), false).unwrap();
        assert!(ring.finish(token));
        assert!(ring.finish(token), "the same message, still held");
        assert_eq!(drain(&mut ring), [1]);
        assert!(!ring.finish(token));

        let old = ring.push(id(2), false).unwrap();
        let mut ring = AckRing::new(2, 8);
        ring.push(id(2), false).unwrap();
        ring.push(id(3), false).unwrap();
        assert!(!ring.finish(old));
        assert_eq!(drain(&mut ring), [0; 0]);
    }

    #[test]
    fn the_window_bounds_what_is_held() {
        let mut ring = AckRing::new(1, 2);
        let first = ring.push(id(1), false).unwrap();
        ring.push(id(2), false).unwrap();
        assert_eq!(
            (ring.push(id(3), false), ring.room(), ring.len()),
            (None, 0, 2)
        );
        ring.finish(first);
        assert_eq!(drain(&mut ring), [1]);
        assert_eq!(ring.room(), 1);
        assert!(ring.push(id(3), false).is_some());
    }

    #[test]
    fn numbers_may_wrap_around() {
        let mut ring = AckRing::new(1, 8);
        ring.front = u32::MAX;
        let tokens = [1, 2, 3].map(|n| ring.push(id(n), false).unwrap());
        for token in tokens.into_iter().rev() {
            assert!(ring.finish(token));
        }
        assert_eq!(drain(&mut ring), [1, 2, 3]);
        assert_eq!(ring.front, 2);
    }

    #[test]
    fn the_ring_grows_with_what_is_held() {
        for first in [0, 5, u32::MAX - 20] {
            let mut ring = AckRing::new(1, 1_000);
            ring.front = first;
            assert_eq!(ring.slots.len(), 0);
            // The front moves on before the ring grows, so that it is taken apart in the middle.
            let mut tokens = std::collections::VecDeque::new();
            let mut left = Vec::new();
            for number in 1..=1_000 {
                tokens.push_back(ring.push(id(number), false).unwrap());
                if number % 5 == 0 {
                    assert!(ring.finish(tokens.pop_front().unwrap()));
                    left.extend(drain(&mut ring));
                }
            }
            assert_eq!((ring.len(), ring.slots.len()), (800, 1_024));
            while let Some(token) = tokens.pop_back() {
                assert!(ring.finish(token));
            }
            left.extend(drain(&mut ring));
            assert_eq!(left, Vec::from_iter(1..=1_000));
        }
    }
}
