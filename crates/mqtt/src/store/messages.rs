//! The messages of an index, packed: what each of them has in 24 bytes, and what few have beside.
//!
//! ```text
//!   position │ segment │ offset │ length, flags      each message
//!   position │ identifier, PUBREC                    those in flight
//!   position │ time                                  those that expire
//!   position │ key,  digest │ position               those with a key
//! ```

use super::index::Place;
use super::key::Key;
use super::keys::Keys;
use super::open::SEGMENT_READ_BYTES_MAX;
use super::pos::StorePos;
use super::record::{FRAME_HEAD, RECORD_BYTES_MAX};
use crate::packed_map::PackedMap;
use crate::packet::{PacketId, QoS};

/// The part of a word that is the length of a frame; the others are flags.
const LEN_BITS: u32 = (1 << 24) - 1;
const EXACTLY_ONCE: u32 = 1 << 24;
const AT_MOST_ONCE: u32 = 1 << 25;
const RETAIN: u32 = 1 << 26;
const MAYBE_SENT: u32 = 1 << 27;
const IS_FOREIGN: u32 = 1 << 28;
const ATTEMPTED: u32 = 1 << 29;
const PLACED: u32 = 1 << 30;

const _: () = assert!(RECORD_BYTES_MAX + FRAME_HEAD <= LEN_BITS as usize);
const _: () = assert!(SEGMENT_READ_BYTES_MAX <= u32::MAX as u64);

/// What is known of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// `None` as long as it was not written.
    pub(super) place: Option<Place>,
    pub(super) frame_len: u32,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expires: u64,
    pub(super) key: Option<Key>,
    pub(super) flight: Flight,
    /// It had an identifier in a session that is over.
    pub(super) maybe_sent: bool,
    /// That was the session of another client identifier or endpoint.
    pub(super) is_foreign: bool,
    /// It may be in a file: somebody tried to write it.
    pub(super) attempted: bool,
}

/// What is recorded of a message in the session as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flight {
    /// Its identifier, and where that was recorded.
    pub(super) assigned: Option<(PacketId, StorePos)>,
    /// Where its PUBREC was recorded.
    pub(super) recorded: Option<StorePos>,
}

impl Flight {
    /// Whether the identifier was recorded at this position or before.
    pub(super) fn is_assigned_until(&self, at: StorePos) -> bool {
        self.assigned.is_some_and(|(_, assigned)| assigned <= at)
    }
}

#[derive(Clone, Copy, Debug)]
struct Packed {
    segment: u64,
    offset: u32,
    /// With the flags.
    len: u32,
}

impl Packed {
    fn of(message: &Message) -> Self {
        let flags = [
            (EXACTLY_ONCE, message.qos == QoS::ExactlyOnce),
            (AT_MOST_ONCE, message.qos == QoS::AtMostOnce),
            (RETAIN, message.retain),
            (MAYBE_SENT, message.maybe_sent),
            (IS_FOREIGN, message.is_foreign),
            (ATTEMPTED, message.attempted),
        ];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set);
        let mut packed = Self {
            segment: 0,
            offset: 0,
            len: flags.fold(0, |all, (flag, _)| all | flag) | message.frame_len.min(LEN_BITS),
        };
        if message.place.is_some() {
            packed.put(message.place);
        }
        packed
    }

    const fn has(&self, flag: u32) -> bool {
        self.len & flag != 0
    }

    const fn frame_len(&self) -> u32 {
        self.len & LEN_BITS
    }

    fn place(&self) -> Option<Place> {
        self.has(PLACED).then(|| Place {
            segment: self.segment,
            offset: self.offset.into(),
            len: self.frame_len(),
        })
    }

    fn put(&mut self, place: Option<Place>) {
        match place {
            Some(place) => {
                self.segment = place.segment;
                self.offset = u32::try_from(place.offset).unwrap_or(u32::MAX);
                self.len = (self.len & !LEN_BITS) | PLACED | place.len.min(LEN_BITS);
            }
            None => self.len &= !PLACED,
        }
    }

    const fn qos(&self) -> QoS {
        if self.has(EXACTLY_ONCE) {
            QoS::ExactlyOnce
        } else if self.has(AT_MOST_ONCE) {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Messages {
    table: PackedMap<StorePos, Packed>,
    flights: PackedMap<StorePos, Flight>,
    expires: PackedMap<StorePos, u64>,
    pub(super) keys: Keys,
}

impl Messages {
    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn contains_key(&self, at: &StorePos) -> bool {
        self.table.contains_key(at)
    }

    pub(super) fn get(&self, at: &StorePos) -> Option<Message> {
        let packed = self.table.get(at)?;
        Some(self.unpack(*at, packed))
    }

    fn unpack(&self, at: StorePos, packed: Packed) -> Message {
        Message {
            place: packed.place(),
            frame_len: packed.frame_len(),
            qos: packed.qos(),
            retain: packed.has(RETAIN),
            expires: self.expires.get(&at).unwrap_or_default(),
            key: self.keys.of(at),
            flight: self.flight(at),
            maybe_sent: packed.has(MAYBE_SENT),
            is_foreign: packed.has(IS_FOREIGN),
            attempted: packed.has(ATTEMPTED),
        }
    }

    /// Returns where a message lies.
    pub(super) fn place(&self, at: StorePos) -> Option<Place> {
        self.table.get(&at)?.place()
    }

    /// Takes in a message that is not there.
    pub(super) fn insert(&mut self, at: StorePos, message: &Message) {
        self.table.insert(at, Packed::of(message));
        if message.expires != 0 {
            self.expires.insert(at, message.expires);
        }
        if let Some(key) = message.key {
            self.keys.store(at, key);
        }
        self.set_flight(at, message.flight);
    }

    pub(super) fn remove(&mut self, at: StorePos) -> Option<Message> {
        let packed = self.table.remove(&at)?;
        let message = self.unpack(at, packed);
        self.expires.remove(&at);
        self.flights.remove(&at);
        self.keys.drop_stored(at);
        Some(message)
    }

    /// Notes where a message lies; returns what was known before of where and how long.
    pub(super) fn put(
        &mut self,
        at: StorePos,
        place: Option<Place>,
    ) -> Option<(Option<Place>, u32)> {
        let packed = self.table.get_mut(&at)?;
        let before = (packed.place(), packed.frame_len());
        packed.put(place);
        Some(before)
    }

    pub(super) fn set_maybe_sent(&mut self, at: StorePos) {
        self.set(at, MAYBE_SENT);
    }

    pub(super) fn set_foreign(&mut self, at: StorePos) {
        self.set(at, IS_FOREIGN);
    }

    pub(super) fn set_attempted(&mut self, at: StorePos) {
        self.set(at, ATTEMPTED);
    }

    fn set(&mut self, at: StorePos, flag: u32) {
        if let Some(packed) = self.table.get_mut(&at) {
            packed.len |= flag;
        }
    }

    pub(super) fn flight(&self, at: StorePos) -> Flight {
        self.flights.get(&at).unwrap_or_default()
    }

    /// Notes what is recorded of a message that is there.
    pub(super) fn set_flight(&mut self, at: StorePos, flight: Flight) {
        if flight == Flight::default() {
            self.flights.remove(&at);
        } else if self.contains_key(&at) {
            self.flights.insert(at, flight);
        }
    }

    /// Returns what is recorded of messages in flight.
    pub(super) fn flights(&self) -> impl Iterator<Item = (StorePos, Flight)> + '_ {
        self.flights.iter()
    }

    /// Returns how many up to a position are not in flight.
    pub(super) fn queued_until(&self, last: StorePos) -> usize {
        let upto = |at: &StorePos| *at <= last;
        let all = self.table.iter().map(|(at, _)| at).take_while(upto);
        let in_flight = self.flights.iter().map(|(at, _)| at).take_while(upto);
        all.count() - in_flight.count()
    }

    /// Returns the messages from a position on.
    pub(super) fn range(&self, from: StorePos) -> impl Iterator<Item = (StorePos, Message)> + '_ {
        let packed = self.table.range(from);
        packed.map(|(at, packed)| (at, self.unpack(at, packed)))
    }

    /// Returns where those lie that are written, from a position on.
    pub(super) fn places(&self, from: StorePos) -> impl Iterator<Item = (StorePos, Place)> + '_ {
        let packed = self.table.range(from);
        packed.filter_map(|(at, packed)| Some((at, packed.place()?)))
    }
}
