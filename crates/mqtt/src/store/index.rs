//! What a store remembers, in memory: where each message lies, what is known of it, and how much of
//! each segment is still needed.
//!
//! It is made from the records, whether they are read or written. Those that are read may come twice,
//! and behind later ones: after a failed write or sync everything that was not sure is written again,
//! not all of which may have come to pass, and what is needed of the oldest segment is copied to the
//! end before that segment goes. So it is the position of a record that counts, never its place.

use std::collections::BTreeMap;

use super::key::Key;
use super::keys::KeyState;
use super::messages::{Flight, Message, Messages};
use super::pos::StorePos;
use super::record::{DoneCause, Identity, MessageRecord, Record};
use super::replayed::Replayed;
use crate::packet::PacketId;

/// How many outcomes of messages with a key are remembered.
pub const OUTCOMES_MAX: usize = 1_024;

/// What a message takes beside itself, in bytes: the records about its further life.
pub(super) const STATE_BYTES: u64 = 128;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// What of a segment may be needed still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Message(StorePos),
    Received(PacketId, StorePos),
    /// By the position of the record.
    Outcome(StorePos),
}

impl Item {
    /// Returns what of a record may be needed later.
    pub(super) const fn of(at: StorePos, record: &Record<'_>) -> Option<Self> {
        match record {
            Record::Publish(_) => Some(Self::Message(at)),
            Record::Received(packet_id) => Some(Self::Received(*packet_id, at)),
            Record::Done { key: Some(_), .. } => Some(Self::Outcome(at)),
            Record::Done { key: None, .. }
            | Record::Assigned { .. }
            | Record::Recorded { .. }
            | Record::MaybeSent { .. }
            | Record::Released(_)
            | Record::SessionLost
            | Record::Identity(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    pub(super) key: Key,
    pub(super) message: StorePos,
    pub(super) cause: DoneCause,
    pub(super) segment: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// How many items of it are needed.
    pub(super) items: usize,
    /// The last record when the last of them was needed no more.
    emptied: StorePos,
}

/// What is to be done about the oldest segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Nothing,
    /// Nothing of it is needed.
    Remove(u64),
    /// What is needed of it is to be copied to the end.
    CopyFrom(u64),
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) identity: Option<Identity>,
    /// Where that was recorded.
    identity_at: StorePos,
    pub(super) messages: Messages,
    pub(super) outcomes: BTreeMap<StorePos, Remembered>,
    pub(super) received: BTreeMap<PacketId, (StorePos, Option<u64>)>,
    segments: BTreeMap<u64, Segment>,
    /// Bytes that all that is needed takes, with what it may come to take.
    live_bytes: u64,
    disk_bytes: u64,
    /// The last record.
    last: StorePos,
    /// Identifiers that were recorded up to here mean nothing.
    session_lost: StorePos,
    replayed: Replayed,
}

impl Index {
    /// Takes in a record; `place` is where it was read, `None` if it is yet to be written.
    pub(super) fn apply(&mut self, at: StorePos, record: &Record<'_>, place: Option<Place>) {
        self.last = self.last.max(at);
        match record {
            Record::Publish(message) => self.insert_message(at, message, place),
            Record::Assigned { message, packet_id } if at > self.session_lost => {
                let mut flight = self.messages.flight(*message);
                if flight.assigned.is_none_or(|(_, before)| before < at) {
                    flight.assigned = Some((*packet_id, at));
                    flight.recorded = flight.recorded.filter(|recorded| *recorded > at);
                    self.messages.set_flight(*message, flight);
                }
            }
            Record::Recorded { message } => {
                let mut flight = self.messages.flight(*message);
                if flight.assigned.is_some_and(|(_, assigned)| assigned < at) {
                    flight.recorded = flight.recorded.or(Some(at));
                    self.messages.set_flight(*message, flight);
                }
            }
            Record::Assigned { message, .. } | Record::MaybeSent { message } => {
                self.messages.set_maybe_sent(*message);
            }
            Record::Done {
                message,
                cause,
                key,
            } => {
                self.remove_message(*message);
                if place.is_some() {
                    self.replayed.end(*message);
                }
                if let Some(key) = key {
                    self.remember(at, *key, *message, *cause, place);
                }
            }
            Record::Received(packet_id) => self.insert_received(*packet_id, at, place),
            Record::Released(packet_id) => {
                if place.is_some() {
                    self.replayed.release(*packet_id, at);
                }
                self.release(*packet_id, at);
            }
            Record::SessionLost => self.session_over(at),
            Record::Identity(_) if at < self.identity_at => {}
            Record::Identity(identity) => {
                self.identity_at = at;
                let before = self.identity.replace(identity.clone());
                if before.is_some_and(|before| !before.has_session_of(identity)) {
                    self.identity_changed(at);
                }
            }
        }
    }

    fn insert_message(&mut self, at: StorePos, record: &MessageRecord<'_>, place: Option<Place>) {
        if let Some(place) = place
            && self.messages.contains_key(&at)
        {
            self.place(Item::Message(at), place);
            return;
        }
        if self.replayed.has_ended(at) {
            return;
        }
        let frame_len = match place {
            Some(place) => place.len,
            None => record.frame_len() as u32,
        };
        self.count(place.map(|place| place.segment), 1);
        self.live_bytes += u64::from(frame_len) + STATE_BYTES;
        let message = Message {
            place,
            frame_len,
            qos: record.qos,
            retain: record.retain,
            expires: record.expires,
            key: record.key,
            flight: Flight::default(),
            maybe_sent: false,
            is_foreign: false,
            attempted: place.is_some(),
        };
        self.messages.insert(at, &message);
    }

    /// Leaves each identifier to the message that got it last. The other one is done, or its session is
    /// over, and the record that said so was damaged.
    fn part_holders(&mut self) {
        // Of two records that say to be at one position, that of the later message counts.
        let mut last = BTreeMap::new();
        for (pos, flight) in self.messages.flights() {
            if let Some((packet_id, at)) = flight.assigned {
                let known = last.entry(packet_id).or_insert((at, pos));
                *known = (at, pos).max(*known);
            }
        }
        let is_over = |(pos, flight): &(StorePos, Flight)| {
            let assigned = flight.assigned;
            assigned.is_some_and(|(packet_id, at)| last.get(&packet_id) > Some(&(at, *pos)))
        };
        let over: Vec<_> = self.messages.flights().filter(is_over).collect();
        for (pos, _) in over {
            self.messages.set_flight(pos, Flight::default());
            self.messages.set_maybe_sent(pos);
        }
    }

    /// As [`Index::session_over`], because from here on the session is another one.
    pub(super) fn identity_changed(&mut self, at: StorePos) {
        let flights: Vec<_> = self.messages.flights().collect();
        for (pos, flight) in flights {
            if flight.is_assigned_until(at) {
                self.messages.set_foreign(pos);
            }
        }
        self.session_over(at);
    }

    /// Forgets all that depends on identifiers and was recorded up to here.
    fn session_over(&mut self, at: StorePos) {
        self.session_lost = self.session_lost.max(at);
        for packet_id in self.received.keys().copied().collect::<Vec<_>>() {
            self.release(packet_id, at);
        }
        let flights: Vec<_> = self.messages.flights().collect();
        for (pos, mut flight) in flights {
            if flight.is_assigned_until(at) {
                flight.assigned = None;
                self.messages.set_maybe_sent(pos);
            }
            flight.recorded = flight.recorded.filter(|recorded| *recorded > at);
            self.messages.set_flight(pos, flight);
        }
    }

    fn insert_received(&mut self, packet_id: PacketId, at: StorePos, place: Option<Place>) {
        if at <= self.session_lost || self.replayed.is_released(packet_id, at) {
            return;
        }
        match (self.received.get(&packet_id), place) {
            (Some((known, _)), Some(place)) if *known == at => {
                self.place(Item::Received(packet_id, at), place);
            }
            (Some((known, _)), _) if *known >= at => {}
            (_, place) => {
                self.release(packet_id, at);
                let segment = place.map(|place| place.segment);
                self.received.insert(packet_id, (at, segment));
                self.count(segment, 1);
            }
        }
    }

    /// Forgets an identifier that was received up to here.
    fn release(&mut self, packet_id: PacketId, at: StorePos) {
        if let Some((received, segment)) = self.received.get(&packet_id).copied()
            && received <= at
        {
            self.received.remove(&packet_id);
            self.count(segment, -1);
        }
    }

    fn remember(
        &mut self,
        at: StorePos,
        key: Key,
        message: StorePos,
        cause: DoneCause,
        place: Option<Place>,
    ) {
        if self.outcomes.contains_key(&at) {
            if let Some(place) = place {
                self.place(Item::Outcome(at), place);
            }
            return;
        }
        let segment = place.map(|place| place.segment);
        let remembered = Remembered {
            key,
            message,
            cause,
            segment,
        };
        self.outcomes.insert(at, remembered);
        self.count(segment, 1);
        self.live_bytes += STATE_BYTES;
        self.messages.keys.remember(key, message, cause);
        if self.outcomes.len() > OUTCOMES_MAX
            && let Some((_, oldest)) = self.outcomes.pop_first()
        {
            self.count(oldest.segment, -1);
            self.live_bytes -= STATE_BYTES;
            let Remembered { message, cause, .. } = oldest;
            self.messages.keys.forget(&oldest.key, message, cause);
        }
    }

    fn remove_message(&mut self, message: StorePos) {
        let Some(removed) = self.messages.remove(message) else {
            return;
        };
        self.count(removed.place.map(|place| place.segment), -1);
        self.live_bytes -= u64::from(removed.frame_len) + STATE_BYTES;
    }

    /// Notes where an item now lies, if it is needed still.
    pub(super) fn place(&mut self, item: Item, place: Place) {
        let to = Some(place.segment);
        let before = match item {
            Item::Message(at) => match self.messages.put(at, Some(place)) {
                Some((before, len)) => {
                    // Only in a log that was made up is it another.
                    self.live_bytes = self.live_bytes - u64::from(len) + u64::from(place.len);
                    before.map(|place| place.segment)
                }
                None => return,
            },
            Item::Received(packet_id, at) => match self.received.get_mut(&packet_id) {
                Some((current, segment)) if *current == at => std::mem::replace(segment, to),
                Some(_) | None => return,
            },
            Item::Outcome(at) => match self.outcomes.get_mut(&at) {
                Some(remembered) => std::mem::replace(&mut remembered.segment, to),
                None => return,
            },
        };
        self.count(to, 1);
        self.count(before, -1);
    }

    /// Tells whether a message is stored, and in no file.
    pub(super) fn is_unwritten(&self, message: StorePos) -> bool {
        self.messages.contains_key(&message) && self.messages.place(message).is_none()
    }

    /// Tells whether an item is needed and this is where it lies.
    pub(super) fn is_needed(&self, item: Item, place: Place) -> bool {
        match item {
            Item::Message(at) => self.messages.place(at) == Some(place),
            Item::Received(packet_id, at) => {
                self.received.get(&packet_id) == Some(&(at, Some(place.segment)))
            }
            Item::Outcome(at) => self
                .outcomes
                .get(&at)
                .is_some_and(|remembered| remembered.segment == Some(place.segment)),
        }
    }

    pub(super) fn count(&mut self, segment: Option<u64>, change: isize) {
        let Some(segment) = segment.and_then(|segment| self.segments.get_mut(&segment)) else {
            return;
        };
        segment.items = segment.items.saturating_add_signed(change);
        if segment.items == 0 {
            segment.emptied = self.last;
        }
    }

    /// Notes how long a segment is.
    pub(super) fn set_len(&mut self, number: u64, bytes: u64) {
        let segment = self.segments.entry(number).or_default();
        self.disk_bytes = self.disk_bytes - segment.bytes + bytes;
        segment.bytes = bytes;
    }

    /// Notes that a segment is gone.
    pub(super) fn remove_segment(&mut self, number: u64) {
        if let Some(segment) = self.segments.remove(&number) {
            self.disk_bytes -= segment.bytes;
        }
    }

    /// Returns what is to be done about the oldest segment, if it is not the one that is written.
    ///
    /// Only the oldest ever goes: so a record that ends something outlives what it ends. Its needed
    /// rest is copied when all segments take more than three times what is needed. Each byte that is
    /// copied then frees two at least, as the oldest segments come round: what is written is at
    /// most half as much again as what was asked for.
    pub(super) fn plan(&self, active: Option<u64>, durable: StorePos, policy: Policy) -> Plan {
        let Some((&number, segment)) = self.segments.first_key_value() else {
            return Plan::Nothing;
        };
        let needed = 3 * self.live_bytes + 2 * policy.segment_bytes;
        if active == Some(number) {
            Plan::Nothing
        } else if segment.items == 0 {
            // The last one says how far the positions had come.
            if segment.emptied <= durable && self.segments.len() > 1 {
                Plan::Remove(number)
            } else {
                Plan::Nothing
            }
        } else if self.disk_bytes > needed || self.segments.len() > policy.segments_max {
            Plan::CopyFrom(number)
        } else {
            Plan::Nothing
        }
    }

    pub(super) fn key(&self, key: &Key) -> Option<KeyState> {
        self.messages.keys.get(key)
    }

    pub(super) fn received(&self) -> impl Iterator<Item = PacketId> {
        self.received.keys().copied()
    }

    /// Returns key, message and cause, the oldest first.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (Key, StorePos, DoneCause)> {
        let outcomes = self.outcomes.values();
        outcomes.map(|outcome| (outcome.key, outcome.message, outcome.cause))
    }

    pub(super) fn segment(&self, number: u64) -> Option<Segment> {
        self.segments.get(&number).copied()
    }

    pub(super) const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(super) const fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    pub(super) const fn last(&self) -> StorePos {
        self.last
    }

    /// Ends the replay, and passes positions over that a record which was lost may have had.
    pub(super) fn replayed(&mut self, skipped: u64) {
        self.replayed = Replayed::default();
        self.part_holders();
        if self.last > StorePos::default() {
            self.last.0 += skipped;
        }
    }
}

/// When segments are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) segment_bytes: u64,
    pub(super) segments_max: usize,
}
