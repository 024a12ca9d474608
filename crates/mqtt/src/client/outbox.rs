//! Messages that were never sent: they wait for a connection, for a place in the window of
//! unacknowledged messages or for room in the outbound log.
//!
//! ```text
//!   publish ──► [ QoS 0 │ QoS 1 │ QoS 2 ] ──► first, remove ──► session ─► log
//!                    │ bounded together, by count and bytes
//!                    └──► dropped by policy, expired, withdrawn
//! ```
//! Each QoS has a line of its own, since their windows differ; a number that only grows says what was
//! published first. Every operation costs about the logarithm of the number of messages. A value: it does
//! no I/O and reads no clock, and what becomes of a message's ticket is its caller's business.

mod order;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use self::order::Order;
use crate::packet::QoS;
use crate::seldom::Seldom;
use crate::session::{Outgoing, TicketKey};
use crate::time::Time;

/// Messages that may wait to be sent.
pub const QUEUE_MESSAGES_DEFAULT: usize = 4_096;
/// Bytes of them; each counts [`QUEUED_MESSAGE_BYTES`] beside its topic and payload.
pub const QUEUE_BYTES_DEFAULT: usize = 2 * 1024 * 1024;
/// What a message that waits to be sent costs beside its topic and payload, in bytes: its places in
/// the queue and its ticket.
pub const QUEUED_MESSAGE_BYTES: usize = 256;

/// What becomes of a message for which there is no room among those that wait to be sent.
///
/// A message that was sent is out of reach of every policy; so is one that was published with
/// another: no publisher loses messages by the choice of a different one.
///
/// With a [store](super::ClientOptions::store) the room is that of the store, for messages of QoS 1 and
/// 2. Nothing of an earlier process is dropped or replaced there; what is dropped now does not come
/// back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueuePolicy {
    /// The publish waits for room, in order of arrival, as long as it may.
    #[default]
    Wait,
    /// The publish fails at once, with [`PublishError::QueueFull`](super::PublishError::QueueFull).
    Reject,
    /// The oldest messages that were published with this policy are dropped to make room; the new one,
    /// where that would not make enough.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The message takes the place of the last one of its topic name and QoS, if that waits to be sent
    /// and was published with this policy, whether there is room or not: the broker gets the last
    /// value alone. Without such a message it is as `Wait`, and so it is with a store that is full, and
    /// where another publish at its QoS waits for room already.
    KeepLast,
}

/// Names a message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    number: u64,
    slot: u32,
    qos: QoS,
}

impl Place {
    pub(super) const fn qos(self) -> QoS {
        self.qos
    }
}

/// A message that is to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) outgoing: Outgoing<'a>,
    pub(super) key: TicketKey,
    pub(super) policy: QueuePolicy,
    /// From when on it is not to be sent any more.
    pub(super) expires: Option<Time>,
}

/// There is no room, and the policy makes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Messages that were never sent.
#[derive(Debug)]
pub(super) struct Outbox {
    messages_max: usize,
    bytes_max: usize,
    queued: Seldom<Queued>,
    len: usize,
    bytes: usize,
    next: u64,
    droppable_bytes: usize,
}

/// The messages, and the orders that they are looked for in.
#[derive(Debug, Default)]
struct Queued {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    lines: [Line; 3],
    /// By when they expire, and then by number, which is what is noted.
    deadlines: Order,
    /// Those that may be dropped to make room, by number.
    droppable: Order,
}

/// How many slots are kept without a message.
const VACANT_SLOTS_MAX: usize = 64;

/// The messages of one QoS.
#[derive(Debug, Default)]
struct Line {
    /// By number.
    entries: Order,
    /// The last message of each topic, where that may be replaced; by what the topic comes to.
    replaceable: Order,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    qos: QoS,
    topic: Box<str>,
    payload: Box<[u8]>,
    retain: bool,
    key: TicketKey,
    policy: QueuePolicy,
    expires: Option<Time>,
}

impl Entry {
    /// Where it waits, which is in this slot.
    const fn place(&self, slot: u64) -> Place {
        Place {
            number: self.number,
            slot: slot as u32,
            qos: self.qos,
        }
    }

    fn bytes(&self) -> usize {
        QUEUED_MESSAGE_BYTES + self.topic.len() + self.payload.len()
    }
}

impl Outbox {
    /// A queue of so many messages (at least one) and bytes; a single message may be larger.
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            messages_max: messages_max.max(1),
            bytes_max,
            queued: Seldom::new(),
            len: 0,
            bytes: 0,
            next: 0,
            droppable_bytes: 0,
        }
    }

    /// Takes a message in, last of its QoS or in the place of an earlier one; `dropped` is told the
    /// keys of those that go for it, which by then are out. `crowded` says that others come first: it
    /// may then take only what a message that goes leaves.
    pub(super) fn offer(
        &mut self,
        message: Message<'_>,
        crowded: bool,
        dropped: impl FnMut(TicketKey),
    ) -> Result<Place, Full> {
        match message.policy {
            QueuePolicy::KeepLast => {
                if let Some(place) = self.replaceable(message.outgoing) {
                    return self.replace(place, message, crowded, dropped);
                }
            }
            QueuePolicy::DropOldest => self.drop_for(message.outgoing, crowded, dropped)?,
            QueuePolicy::Wait | QueuePolicy::Reject | QueuePolicy::DropNewest => {}
        }
        let needs_room = message.policy != QueuePolicy::DropOldest;
        if needs_room && (crowded || !self.fits(bytes_of(message.outgoing))) {
            return Err(Full);
        }
        self.next += 1;
        Ok(self.insert(self.next - 1, message))
    }

    /// Whether a message of so many bytes fits.
    fn fits(&self, bytes: usize) -> bool {
        self.len == 0 || (self.len < self.messages_max && self.bytes + bytes <= self.bytes_max)
    }

    /// The last message of a topic and QoS, if it may be replaced.
    fn replaceable(&self, outgoing: Outgoing<'_>) -> Option<Place> {
        let line = self.line(outgoing.qos)?;
        if line.replaceable.is_empty() {
            return None;
        }
        let hash = hash_of(outgoing.topic);
        let mut from = (hash, 0);
        loop {
            let (_, slot) = line.replaceable.at_least(from).filter(|at| at.0 == hash)?;
            let entry = self.entry(slot)?;
            if *entry.topic == *outgoing.topic {
                return Some(entry.place(slot));
            }
            // Another topic that comes to the same.
            from = (hash, slot + 1);
        }
    }

    fn replace(
        &mut self,
        place: Place,
        message: Message<'_>,
        crowded: bool,
        mut dropped: impl FnMut(TicketKey),
    ) -> Result<Place, Full> {
        let Some(old) = self.entry(place.slot.into()) else {
            return Err(Full);
        };
        let (old, new) = (old.bytes(), bytes_of(message.outgoing));
        let fits = !crowded && self.bytes - old + new <= self.bytes_max;
        if new > old && self.len > 1 && !fits {
            return Err(Full);
        }
        if let Some(key) = self.remove(place) {
            dropped(key);
        }
        Ok(self.insert(place.number, message))
    }

    /// Drops the oldest that may be dropped until there is room; none if that would not make enough.
    fn drop_for(
        &mut self,
        outgoing: Outgoing<'_>,
        crowded: bool,
        mut dropped: impl FnMut(TicketKey),
    ) -> Result<(), Full> {
        let bytes = bytes_of(outgoing);
        let (len, before) = (self.len, self.bytes);
        // What others come first for does not count.
        let has_room = |outbox: &Self| {
            if crowded {
                outbox.len < len && before - outbox.bytes >= bytes
            } else {
                outbox.fits(bytes)
            }
        };
        let left = before - self.droppable_bytes;
        let droppable = |outbox: &Self| match outbox.queued.get() {
            Some(queued) => (queued.droppable.len(), queued.droppable.first()),
            None => (0, None),
        };
        let (droppable_len, _) = droppable(self);
        let enough = if crowded {
            self.droppable_bytes >= bytes
        } else {
            droppable_len == len
                || (left + bytes <= self.bytes_max && len - droppable_len < self.messages_max)
        };
        if !enough {
            return Err(Full);
        }
        while !has_room(self) {
            let (_, oldest) = droppable(self);
            let Some(oldest) = oldest.and_then(|(_, slot)| Some(self.entry(slot)?.place(slot)))
            else {
                return Err(Full);
            };
            if let Some(key) = self.remove(oldest) {
                dropped(key);
            }
        }
        Ok(())
    }

    fn line(&self, qos: QoS) -> Option<&Line> {
        Some(&self.queued.get()?.lines[qos as usize])
    }

    fn entry(&self, slot: u64) -> Option<&Entry> {
        self.queued.get()?.slots.get(slot as usize)?.as_ref()
    }

    /// Where the message with this number waits.
    fn numbered(&self, number: u64) -> Option<Place> {
        let lines = &self.queued.get()?.lines;
        lines.iter().find_map(|line| {
            let (_, slot) = line.entries.at_least((number, 0))?;
            let entry = self.entry(slot)?;
            (entry.number == number).then(|| entry.place(slot))
        })
    }

    fn insert(&mut self, number: u64, message: Message<'_>) -> Place {
        let Message {
            outgoing,
            key,
            policy,
            expires,
        } = message;
        // What comes after the last must not be overtaken by its successor.
        let overtaken = self.replaceable(outgoing);
        let queued = &mut *self.queued;
        let slot = queued.free.pop().unwrap_or_else(|| {
            queued.slots.push(None);
            u32::try_from(queued.slots.len() - 1).expect("memory ends before 2^32 messages")
        });
        let at = u64::from(slot);
        let entry = Entry {
            number,
            qos: outgoing.qos,
            topic: outgoing.topic.into(),
            payload: outgoing.payload.into(),
            retain: outgoing.retain,
            key,
            policy,
            expires,
        };
        self.len += 1;
        self.bytes += entry.bytes();
        if let Some(expires) = expires {
            queued.deadlines.insert((expires.0, number));
        }
        if policy == QueuePolicy::DropOldest {
            queued.droppable.insert((number, at));
            self.droppable_bytes += entry.bytes();
        }
        let line = &mut queued.lines[outgoing.qos as usize];
        if let Some(overtaken) = overtaken {
            let hash = hash_of(outgoing.topic);
            line.replaceable.remove((hash, overtaken.slot.into()));
        }
        if policy == QueuePolicy::KeepLast {
            line.replaceable.insert((hash_of(outgoing.topic), at));
        }
        line.entries.insert((number, at));
        let place = entry.place(at);
        queued.slots[slot as usize] = Some(entry);
        place
    }

    /// Takes a message out, because it is sent or will not be; returns its key.
    pub(super) fn remove(&mut self, place: Place) -> Option<TicketKey> {
        let queued = self.queued.get_mut()?;
        let slot = queued.slots.get_mut(place.slot as usize)?;
        let entry = slot.take_if(|entry| entry.number == place.number)?;
        queued.free.push(place.slot);
        let at = u64::from(place.slot);
        let line = &mut queued.lines[entry.qos as usize];
        line.entries.remove((entry.number, at));
        if entry.policy == QueuePolicy::KeepLast {
            let hash = hash_of(&entry.topic);
            line.replaceable.remove((hash, at));
        }
        self.len -= 1;
        self.bytes -= entry.bytes();
        if let Some(expires) = entry.expires {
            queued.deadlines.remove((expires.0, entry.number));
        }
        if entry.policy == QueuePolicy::DropOldest {
            queued.droppable.remove((entry.number, at));
            self.droppable_bytes -= entry.bytes();
        }
        if self.len == 0 && queued.slots.len() > VACANT_SLOTS_MAX {
            (queued.slots, queued.free) = (Vec::new(), Vec::new());
        }
        Some(entry.key)
    }

    /// The message that was published first of those at a QoS that `admits`.
    pub(super) fn first(
        &self,
        admits: impl Fn(QoS) -> bool,
    ) -> Option<(Place, TicketKey, Outgoing<'_>)> {
        let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let firsts = all
            .into_iter()
            .filter(|qos| admits(*qos))
            .filter_map(|qos| {
                let (_, slot) = self.line(qos)?.entries.first()?;
                let entry = self.entry(slot)?;
                Some((entry.place(slot), entry))
            });
        let (place, entry) = firsts.min_by_key(|(place, _)| place.number)?;
        let outgoing = Outgoing {
            topic: &entry.topic,
            payload: &entry.payload,
            qos: place.qos,
            retain: entry.retain,
        };
        Some((place, entry.key, outgoing))
    }

    /// Takes out one message that is too old by now; returns its key.
    pub(super) fn expire(&mut self, now: Time) -> Option<TicketKey> {
        let (expires, number) = self.queued.get()?.deadlines.first()?;
        let is_due = expires <= now.0;
        let place = is_due.then(|| self.numbered(number)).flatten()?;
        self.remove(place)
    }

    /// When the next message is too old.
    #[inline]
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let (expires, _) = self.queued.get()?.deadlines.first()?;
        Some(Time(expires))
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no message of this QoS waits.
    pub(super) fn is_clear(&self, qos: QoS) -> bool {
        self.line(qos).is_none_or(|line| line.entries.is_empty())
    }

    /// How many more messages there is room for, if they are not large.
    pub(super) const fn room(&self) -> usize {
        if self.len == 0 || self.bytes < self.bytes_max {
            self.messages_max.saturating_sub(self.len)
        } else {
            0
        }
    }

    /// How many messages of QoS 1 and 2 wait.
    pub(super) fn acknowledged_len(&self) -> usize {
        let others = self.line(QoS::AtMostOnce);
        self.len - others.map_or(0, |line| line.entries.len())
    }

    /// Bytes of the topics and payloads that wait.
    pub(super) const fn content_bytes(&self) -> usize {
        self.bytes - self.len * QUEUED_MESSAGE_BYTES
    }

    /// Lets everything go.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.messages_max, self.bytes_max);
    }
}

/// What a topic comes to.
fn hash_of(topic: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    hasher.finish()
}

const fn bytes_of(outgoing: Outgoing<'_>) -> usize {
    QUEUED_MESSAGE_BYTES + outgoing.topic.len() + outgoing.payload.len()
}
