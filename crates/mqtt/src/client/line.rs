//! Stored messages of a client that wait for their turn.
//!
//! The store has what they consist of; here is what decides about their turn, and whether they may
//! still be dropped, expire or be withdrawn: only what never had an identifier may. A value: it does
//! no I/O and reads no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::deadlines::Deadlines;
use super::outbox::QueuePolicy;
use crate::packed_map::PackedMap;
use crate::packet::QoS;
use crate::store::StorePos;
use crate::time::Time;

/// A message that waits for its turn; its content is in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    /// The broker may have it, from a session that is over.
    pub(super) maybe_sent: bool,
    /// The broker may have it from a process that ended before it could record that.
    pub(super) maybe_twice: bool,
    /// From when on it is not to be sent any more, unless it was.
    pub(super) expires: Option<Time>,
    /// It may be dropped to make room for others.
    pub(super) is_droppable: bool,
    /// Bytes of its topic and payload.
    pub(super) bytes: usize,
}

impl Queued {
    /// A message that is sent whatever it takes.
    pub(super) const fn lasting(maybe_sent: bool) -> Self {
        Self {
            maybe_sent,
            maybe_twice: false,
            expires: None,
            is_droppable: false,
            bytes: 0,
        }
    }
}

/// What is kept of a message that waits, but for when it expires: bytes, and flags.
#[derive(Clone, Copy, Debug)]
struct Packed(u32);

const MAYBE_SENT: u32 = 1 << 29;
const MAYBE_TWICE: u32 = 1 << 30;
const IS_DROPPABLE: u32 = 1 << 31;
/// Half a gibibyte: a longer message counts as that.
const BYTES: u32 = MAYBE_SENT - 1;

impl Packed {
    fn of(queued: &Queued) -> Self {
        let bytes = u32::try_from(queued.bytes).unwrap_or(BYTES).min(BYTES);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        Self(
            bytes
                | flag(queued.maybe_sent, MAYBE_SENT)
                | flag(queued.maybe_twice, MAYBE_TWICE)
                | flag(queued.is_droppable, IS_DROPPABLE),
        )
    }

    const fn bytes(self) -> usize {
        (self.0 & BYTES) as usize
    }

    const fn queued(self, expires: Option<Time>) -> Queued {
        Queued {
            maybe_sent: self.0 & MAYBE_SENT != 0,
            maybe_twice: self.0 & MAYBE_TWICE != 0,
            expires,
            is_droppable: self.0 & IS_DROPPABLE != 0,
            bytes: self.bytes(),
        }
    }
}

/// Messages without an identifier, those of QoS 1 and those of QoS 2, in order of publishing.
#[derive(Debug, Default)]
pub(super) struct Line {
    queues: [PackedMap<StorePos, Packed>; 2],
    /// Of those that expire.
    expires: PackedMap<StorePos, Time>,
    deadlines: Deadlines,
    droppable: BTreeSet<StorePos>,
    /// Bytes of the topics and payloads of those.
    droppable_bytes: usize,
    /// The last message of each topic and QoS, where that may be replaced, and the other way round.
    last: [BTreeMap<Box<str>, StorePos>; 2],
    topics: BTreeMap<StorePos, Box<str>>,
}

const fn place(qos: QoS) -> usize {
    match qos {
        QoS::AtMostOnce | QoS::AtLeastOnce => 0,
        QoS::ExactlyOnce => 1,
    }
}

impl Line {
    /// Puts a message among those of its QoS, in order of publishing.
    pub(super) fn insert(&mut self, qos: QoS, pos: StorePos, queued: Queued) {
        self.remove(qos, pos);
        let packed = Packed::of(&queued);
        if let Some(expires) = queued.expires {
            self.expires.insert(pos, expires);
            self.deadlines.insert((expires, pos));
        }
        if queued.is_droppable {
            self.droppable.insert(pos);
            self.droppable_bytes += packed.bytes();
        }
        self.queues[place(qos)].insert(pos, packed);
    }

    /// Notes a new message of a topic, and whether a later one may take its place. Returns the one
    /// whose place it takes itself.
    pub(super) fn note_last(
        &mut self,
        qos: QoS,
        pos: StorePos,
        topic: &str,
        policy: QueuePolicy,
    ) -> Option<StorePos> {
        let last = &mut self.last[place(qos)];
        if policy == QueuePolicy::KeepLast {
            let before = last.insert(topic.into(), pos);
            self.topics.insert(pos, topic.into());
            return before;
        }
        if !last.is_empty()
            && let Some(before) = last.remove(topic)
        {
            self.topics.remove(&before);
        }
        None
    }

    /// Takes a message out, because it gets its turn or will not.
    pub(super) fn remove(&mut self, qos: QoS, pos: StorePos) -> Option<Queued> {
        let packed = self.queues[place(qos)].remove(&pos)?;
        let queued = packed.queued(self.forget_deadline(pos));
        if queued.is_droppable {
            self.droppable.remove(&pos);
            self.droppable_bytes -= queued.bytes;
        }
        if let Some(topic) = self.topics.remove(&pos) {
            let last = &mut self.last[place(qos)];
            if last.get(&topic) == Some(&pos) {
                last.remove(&topic);
            }
        }
        Some(queued)
    }

    fn forget_deadline(&mut self, pos: StorePos) -> Option<Time> {
        let expires = self.expires.remove(&pos)?;
        let others = self.expires.iter().map(|(pos, expires)| (expires, pos));
        self.deadlines.remove((expires, pos), others);
        Some(expires)
    }

    /// Takes out a message that was never sent; `None` where it was, or is not here.
    pub(super) fn withdraw(&mut self, pos: StorePos) -> Option<Queued> {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce]
            .into_iter()
            .find(|qos| self.get(*qos, pos).is_some_and(|queued| !queued.maybe_sent))?;
        self.remove(qos, pos)
    }

    /// Takes out the oldest of those that may be dropped.
    pub(super) fn drop_oldest(&mut self) -> Option<StorePos> {
        let oldest = *self.droppable.first()?;
        self.withdraw(oldest).map(|_| oldest)
    }

    /// Those that may be dropped, the oldest first.
    pub(super) fn droppable(&self) -> impl Iterator<Item = StorePos> + '_ {
        self.droppable.iter().copied()
    }

    /// How many of those, the oldest first, have so many bytes together, and at least one; `None` where
    /// all have not.
    pub(super) fn droppable_for(&self, bytes: usize) -> Option<usize> {
        if self.droppable.is_empty() || self.droppable_bytes < bytes {
            return None;
        }
        let mut freed = 0;
        let is_short = |pos: &StorePos| {
            let is_short = freed < bytes;
            let packed = self.queues.iter().find_map(|queue| queue.get(pos));
            freed += packed.map_or(0, Packed::bytes);
            is_short
        };
        Some(self.droppable().take_while(is_short).count().max(1))
    }

    /// Takes out one that is too old by now.
    pub(super) fn expire(&mut self, now: Time) -> Option<StorePos> {
        let (expires, pos) = self.deadlines.first()?;
        if expires > now {
            return None;
        }
        let withdrawn = self.withdraw(pos);
        if withdrawn.is_none() {
            self.forget_deadline(pos);
        }
        withdrawn.map(|_| pos)
    }

    /// When the next message is too old.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(expires, _)| expires)
    }

    pub(super) fn get(&self, qos: QoS, pos: StorePos) -> Option<Queued> {
        let packed = self.queues[place(qos)].get(&pos)?;
        Some(packed.queued(self.expires.get(&pos)))
    }

    /// The message of this QoS whose turn is next.
    pub(super) fn first(&self, qos: QoS) -> Option<StorePos> {
        self.queues[place(qos)].first().map(|(pos, _)| pos)
    }

    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(PackedMap::len).sum()
    }

    /// Bytes of the topics and payloads of those that the broker cannot have.
    pub(super) fn unsent_bytes(&self) -> usize {
        let queued = self.queues.iter().flat_map(PackedMap::iter);
        let queued = queued.map(|(_, packed)| packed.queued(None));
        let unsent = queued.filter(|queued| !queued.maybe_sent);
        unsent.map(|queued| queued.bytes).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(PackedMap::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QOS: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

    fn queued(expires: Option<u64>, is_droppable: bool) -> Queued {
        Queued {
            expires: expires.map(Time),
            is_droppable,
            ..Queued::lasting(false)
        }
    }

    #[test]
    fn what_may_have_been_sent_is_neither_dropped_nor_withdrawn() {
        let mut line = Line::default();
        line.insert(QOS[0], StorePos(1), Queued::lasting(true));
        line.insert(QOS[1], StorePos(2), queued(None, true));
        line.insert(QOS[0], StorePos(3), queued(None, true));
        assert!(line.withdraw(StorePos(1)).is_none());
        let dropped = [(); 3].map(|()| line.drop_oldest());
        assert_eq!(dropped, [Some(StorePos(2)), Some(StorePos(3)), None]);
        assert_eq!((line.first(QOS[0]), line.len()), (Some(StorePos(1)), 1));
    }

    #[test]
    fn so_many_are_dropped_as_have_the_bytes_together_and_none_if_all_have_not() {
        let mut line = Line::default();
        let enough = |line: &Line| [0, 1, 10, 11, 30, 31].map(|bytes| line.droppable_for(bytes));
        assert_eq!(enough(&line), [None; 6]);
        for (pos, bytes) in [(1, 10), (2, 0), (3, 20), (4, 40)] {
            let is_droppable = pos != 4;
            let queued = Queued {
                bytes,
                ..queued(None, is_droppable)
            };
            line.insert(QOS[pos as usize % 2], StorePos(pos), queued);
        }
        let counts = [Some(1), Some(1), Some(1), Some(3), Some(3), None];
        assert_eq!(enough(&line), counts);
        line.remove(QOS[1], StorePos(1));
        assert_eq!(line.droppable_for(20), Some(2));
        assert_eq!(line.droppable_for(21), None);
    }

    #[test]
    fn messages_expire_in_order_of_their_deadlines_and_only_while_they_wait() {
        let mut line = Line::default();
        for (pos, expires) in [(1, 30), (2, 10), (3, 20)] {
            line.insert(QOS[0], StorePos(pos), queued(Some(expires), false));
        }
        line.remove(QOS[0], StorePos(3));
        assert_eq!(line.next_deadline(), Some(Time(10)));
        let expired = [9, 10, 29, 30].map(|now| line.expire(Time(now)));
        assert_eq!(expired, [None, Some(StorePos(2)), None, Some(StorePos(1))]);
        assert!(line.is_empty() && line.next_deadline().is_none());
    }

    #[test]
    fn a_message_takes_the_place_of_the_last_of_its_topic_and_qos_alone() {
        let keep = QueuePolicy::KeepLast;
        let mut line = Line::default();
        let mut note = |qos: QoS, pos: u64, topic: &str, policy| {
            line.insert(qos, StorePos(pos), queued(None, false));
            line.note_last(qos, StorePos(pos), topic, policy)
        };
        assert_eq!(note(QOS[0], 1, "a", keep), None);
        assert_eq!(note(QOS[1], 2, "a", keep), None);
        assert_eq!(note(QOS[0], 3, "b", keep), None);
        assert_eq!(note(QOS[0], 4, "a", keep), Some(StorePos(1)));
        assert_eq!(note(QOS[0], 5, "a", QueuePolicy::Wait), None);
        assert_eq!(note(QOS[0], 6, "a", keep), None);
        // What got its turn is out of reach.
        line.remove(QOS[0], StorePos(6));
        line.insert(QOS[0], StorePos(7), queued(None, false));
        assert_eq!(line.note_last(QOS[0], StorePos(7), "a", keep), None);
    }
}
