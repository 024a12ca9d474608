//! What a store knows of a session: what a client that starts with it goes on with.

use std::collections::BTreeSet;

use super::index::Index;
use super::key::Key;
use super::messages::{Flight, Message};
use super::pos::StorePos;
use super::record::{DoneCause, MessageRecord, Record};
use crate::packet::{PacketId, QoS};
use crate::session::Outgoing;

/// A message that is to be delivered. Its content is [read](super::Store::read) when it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Its name in the store.
    pub pos: StorePos,
    /// Its quality of service.
    pub qos: QoS,
    /// Whether the broker is to retain it.
    pub retain: bool,
    /// From when on it is not to be sent any more, unless it was, in milliseconds of Unix time; 0 for
    /// never.
    pub expires: u64,
    /// The program's name for it.
    pub key: Option<Key>,
    /// What topic and payload take, in bytes, with a few tens beside.
    pub bytes: usize,
    /// Its identifier, if it was given one in the session as it is now.
    pub packet_id: Option<PacketId>,
    /// It had an identifier in a session that is over: the broker may have it.
    pub maybe_sent: bool,
    /// That was the session of another client identifier or endpoint, and nobody has decided yet what
    /// becomes of it.
    pub is_foreign: bool,
}

impl Stored {
    fn of(pos: StorePos, message: &Message) -> Self {
        Self {
            pos,
            qos: message.qos,
            retain: message.retain,
            expires: message.expires,
            key: message.key,
            bytes: message.frame_len as usize,
            packet_id: message.flight.assigned.map(|(packet_id, _)| packet_id),
            maybe_sent: message.maybe_sent,
            is_foreign: message.is_foreign,
        }
    }

    /// The next messages without an identifier, from a position on, at most so many.
    pub(super) fn next_of(index: &Index, from: StorePos, count: usize) -> Vec<Self> {
        let messages = index.messages.range(from);
        let queued = messages.filter(|(_, message)| message.flight == Flight::default());
        let queued = queued.map(|(pos, message)| Self::of(pos, &message));
        queued.take(count).collect()
    }
}

/// The state of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Messages without an identifier, in the order in which they were published.
    pub queued: Vec<Stored>,
    /// Messages with an identifier and without PUBREC, in the order in which they were published.
    pub in_flight: Vec<Stored>,
    /// Messages with PUBREC, which await PUBCOMP, in the order of the PUBRECs.
    pub released: Vec<Stored>,
    /// Identifiers of received QoS 2 messages that the broker has not released.
    pub received: Vec<PacketId>,
    /// What became of the last messages with a key, the oldest first.
    pub outcomes: Vec<(Key, StorePos, DoneCause)>,
}

impl Recovered {
    pub(super) fn of(index: &Index) -> Self {
        Self::until(index, StorePos(u64::MAX))
    }

    /// All but the messages that come behind the last one that has an identifier.
    pub(super) fn in_part(index: &Index) -> Self {
        let last = index.messages.flights().map(|(pos, _)| pos).last();
        Self::until(index, last.unwrap_or_default())
    }

    fn until(index: &Index, last: StorePos) -> Self {
        let messages = index.messages.range(StorePos::default());
        let messages = messages.take_while(|(pos, _)| *pos <= last);
        let mut recovered = Self {
            // And no room for twice as many.
            queued: Vec::with_capacity(index.messages.queued_until(last)),
            received: index.received().collect(),
            outcomes: index.outcomes().collect(),
            ..Self::default()
        };
        let mut released = Vec::new();
        for (pos, message) in messages {
            let stored = Stored::of(pos, &message);
            match (stored.packet_id, message.flight.recorded) {
                (_, Some(recorded)) => released.push((recorded, stored)),
                (Some(_), None) => recovered.in_flight.push(stored),
                (None, None) => recovered.queued.push(stored),
            }
        }
        released.sort_unstable_by_key(|(recorded, _)| *recorded);
        recovered.released = released.into_iter().map(|(_, stored)| stored).collect();
        recovered
    }

    /// Returns the position from which on there are more messages, where these are not all.
    #[must_use]
    pub fn end(&self) -> StorePos {
        let parts = [&self.queued, &self.in_flight, &self.released];
        let last = parts.into_iter().flatten().map(|stored| stored.pos).max();
        last.map_or_else(StorePos::default, StorePos::next)
    }

    /// Puts messages in flight, under free identifiers, that come before one of their QoS that is:
    /// behind it they would be late. The disk has lost the record of theirs. At QoS 1, where nobody waits
    /// until it is sure of it, they may have been sent; at QoS 2 neither they nor those behind them were.
    /// Those of another client or endpoint are none of them at QoS 2: they may yet be given up.
    /// Returns them, with these identifiers, which are to be recorded.
    pub(crate) fn find_overtaken(&mut self) -> Vec<(StorePos, PacketId)> {
        let mut overtaken = Vec::new();
        let last = |qos| {
            let of_qos = self.in_flight.iter().rfind(|stored| stored.qos == qos);
            of_qos.map(|stored| stored.pos)
        };
        let (once, exactly_once) = (last(QoS::AtLeastOnce), last(QoS::ExactlyOnce));
        let is_overtaken = |stored: &Stored| match stored.qos {
            QoS::ExactlyOnce => {
                !stored.is_foreign && exactly_once.is_some_and(|last| stored.pos < last)
            }
            _ => once.is_some_and(|last| stored.pos < last),
        };
        if !self.queued.iter().any(is_overtaken) {
            return overtaken;
        }
        let known = self.in_flight.iter().chain(&self.released);
        let used: BTreeSet<_> = known.filter_map(|stored| stored.packet_id).collect();
        let mut free = (1..=u16::MAX)
            .filter_map(PacketId::new)
            .filter(|packet_id| !used.contains(packet_id));
        for mut stored in std::mem::take(&mut self.queued) {
            let packet_id = is_overtaken(&stored).then(|| free.next()).flatten();
            stored.packet_id = packet_id;
            if let Some(packet_id) = packet_id {
                overtaken.push((stored.pos, packet_id));
                self.in_flight.push(stored);
            } else {
                self.queued.push(stored);
            }
        }
        self.in_flight.sort_unstable_by_key(|stored| stored.pos);
        overtaken
    }
}

/// A message with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// The program's name for it.
    pub key: Option<Key>,
    /// Its quality of service.
    pub qos: QoS,
    /// Whether the broker is to retain it.
    pub retain: bool,
    /// When it was published, in milliseconds of Unix time; 0 if nobody knows.
    pub published: u64,
    /// From when on it is not to be sent any more, unless it was, in milliseconds of Unix time; 0 for
    /// never.
    pub expires: u64,
    /// The topic name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
}

impl From<MessageRecord<'_>> for StoredMessage {
    fn from(message: MessageRecord<'_>) -> Self {
        let MessageRecord {
            key,
            qos,
            retain,
            published,
            expires,
            topic,
            payload,
        } = message;
        Self {
            key,
            qos,
            retain,
            published,
            expires,
            topic: topic.to_owned(),
            payload: payload.to_vec(),
        }
    }
}

impl StoredMessage {
    /// The message as it is published.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
        }
    }

    /// Reads the body of a record; `None` if it is not that of this message.
    pub(super) fn decode(message: StorePos, body: &[u8]) -> Option<Self> {
        match Record::decode(body)? {
            (at, Record::Publish(record)) if at == message => Some(record.into()),
            (_, _) => None,
        }
    }
}
