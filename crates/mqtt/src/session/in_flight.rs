//! The in-flight table: every packet that awaits its acknowledgement, and the packet identifiers.
//!
//! PUBLISH, SUBSCRIBE and UNSUBSCRIBE share one space of identifiers (MQTT3-2.3.1-2), so one table
//! allocates them. It is a flat array, a power of two of at least twice as many slots as entries:
//!
//! ```text
//!   identifiers 1, 2, 3 .. 65 535, 1, 2 ..   slot = identifier & (slots - 1)
//!   an identifier whose slot is taken is skipped
//! ```
//! So an identifier is never given while it is in use, and is given again as late as possible: an
//! acknowledgement that comes twice finds nothing, or another identifier, and is ignored.
//!
//! Beside the table there is the list of publishes and PUBRELs in the order in which they lie in
//! the outbound log. It is the order of resending, and its front tells how much of the log must be
//! kept. An entry whose packet was acknowledged is dead; the front is never dead.
//!
//! The steps of QoS 2 are in `exactly_once`, and in `recorded` for a session that asks its caller for
//! a record before each. What the end of a connection or of a session means is in `resume`.

mod ahead;
mod exactly_once;
#[cfg(any(test, feature = "planted"))]
mod planted;
mod recorded;
mod resume;
mod unanswered;

pub(super) use ahead::Ahead;
pub(super) use exactly_once::Recorded;
pub(super) use recorded::ToRecord;
pub(super) use unanswered::First;

use std::collections::VecDeque;

use super::TicketKey;
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::{PacketId, PubRel, Version};

/// The first number of slots; doubled while more than half of them are taken.
const SLOTS_MIN: usize = 16;
/// With so many slots each identifier has its own.
const SLOTS_MAX: usize = 1 << 16;

/// The length in bytes of a PUBREL without a reason, in every version.
pub(super) const RELEASE_LEN: usize = PubRel::new(PacketId::MIN).encoded_len(Version::V311);
/// Where a packet begins that is not there.
const NOWHERE: LogOffset = LogOffset(u64::MAX);

/// What awaits which acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// A PUBLISH with QoS 1 awaits PUBACK.
    AtLeastOnce,
    /// A PUBLISH with QoS 2 awaits PUBREC.
    ExactlyOnce,
    /// Nothing was published under the identifier yet; it lies nowhere in the log.
    Reserved,
    /// Its PUBREC came and is being recorded: no PUBREL leaves before that is done.
    Recording,
    /// A PUBREL awaits PUBCOMP, and lies beside its message or instead of it.
    Release { kept: bool },
    /// A SUBSCRIBE awaits SUBACK with this many codes.
    Subscribe { filters: u16 },
    /// An UNSUBSCRIBE awaits UNSUBACK.
    Unsubscribe,
}

impl Exchange {
    const fn is_request(self) -> bool {
        matches!(self, Self::Subscribe { .. } | Self::Unsubscribe)
    }
}

/// A publish that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) key: TicketKey,
    /// The server may have taken it for two messages.
    pub(super) maybe_twice: bool,
}

/// One packet in flight; a slot of 32 bytes never lies across two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Entry {
    /// Where the packet begins in the outbound log.
    start: LogOffset,
    /// Where its PUBREL begins if the message is kept beside it; otherwise where the packet began
    /// when it was entered, which tells the order of publishing.
    release: LogOffset,
    len: u32,
    key: TicketKey,
    packet_id: PacketId,
    exchange: Exchange,
    /// The whole PUBLISH has left on an earlier connection of this session.
    arrived: bool,
    /// Its content has left under another identifier, or may have been taken for a new message.
    twice: bool,
}

const _: () = assert!(size_of::<Option<Entry>>() == 32);

impl Entry {
    const fn end(&self) -> LogOffset {
        self.start.plus(self.len as usize)
    }

    /// Returns where its PUBREL begins, if it has come so far.
    fn release_start(&self) -> Option<LogOffset> {
        match self.exchange {
            Exchange::Release { kept: true } => Some(self.release),
            Exchange::Release { kept: false } => Some(self.start),
            _ => None,
        }
    }

    /// Tells whether it is a message that is kept beside its PUBREL.
    fn is_kept(&self) -> bool {
        matches!(self.exchange, Exchange::Release { kept: true })
    }

    /// Tells whether this packet in the log belongs to it.
    #[inline]
    fn owns(&self, start: LogOffset, packet_id: PacketId) -> bool {
        self.packet_id == packet_id
            && (self.start == start || (self.release == start && self.is_kept()))
    }

    /// Returns how many bytes of the log it needs.
    fn bytes(&self) -> usize {
        let release = if self.is_kept() { RELEASE_LEN } else { 0 };
        self.len as usize + release
    }
}

/// The packets in flight.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct InFlight {
    slots: Vec<Option<Entry>>,
    /// Where the search for a free identifier begins.
    next: PacketId,
    order: VecDeque<(LogOffset, PacketId)>,
    /// With those for which an identifier is reserved.
    publishes: usize,
    requests: usize,
    /// How many of the publishes will need a PUBREL and have none.
    unreleased: usize,
    /// How many of the publishes have an identifier alone.
    reserved: usize,
    /// How many of the publishes await the record of their PUBREC.
    recording: usize,
    /// Bytes of all publishes and PUBRELs in flight.
    publish_bytes: usize,
    /// Begin and end of packets in the unsent part of the log that must not be sent any more.
    dead: Vec<(LogOffset, LogOffset)>,
    /// Identifiers are given again too early.
    #[cfg(any(test, feature = "planted"))]
    gives_early: bool,
}

impl InFlight {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            next: PacketId::MIN,
            order: VecDeque::new(),
            publishes: 0,
            requests: 0,
            unreleased: 0,
            reserved: 0,
            recording: 0,
            publish_bytes: 0,
            dead: Vec::new(),
            #[cfg(any(test, feature = "planted"))]
            gives_early: false,
        }
    }

    /// Returns an identifier that is not in use. It is not taken before [`InFlight::insert`].
    ///
    /// There must be fewer packets in flight than identifiers.
    #[inline]
    pub(super) fn free_id(&mut self) -> PacketId {
        debug_assert!(self.len() < usize::from(u16::MAX));
        #[cfg(any(test, feature = "planted"))]
        if let Some(packet_id) = self.give_early() {
            return packet_id;
        }
        if self.len() * 2 >= self.slots.len() && self.slots.len() < SLOTS_MAX {
            self.grow();
        }
        // Ends, because at least one slot that an identifier leads to is free.
        while self.slots[self.slot(self.next)].is_some() {
            self.next = successor(self.next);
        }
        self.next
    }

    /// Enters the packet of `len` bytes at `start`, with an identifier from [`InFlight::free_id`].
    #[inline]
    pub(super) fn insert(
        &mut self,
        packet_id: PacketId,
        exchange: Exchange,
        start: LogOffset,
        len: usize,
        key: TicketKey,
    ) {
        let len = u32::try_from(len).expect("no packet is longer than 256 MiB");
        self.next = successor(packet_id);
        self.enter(Entry {
            start,
            release: start,
            len,
            key,
            packet_id,
            exchange,
            arrived: false,
            twice: false,
        });
    }

    /// Puts an entry, of a packet in the log, into the slot of its identifier, which is free.
    #[inline]
    fn enter(&mut self, entry: Entry) {
        let slot = self.slot(entry.packet_id);
        debug_assert!(self.slots[slot].is_none());
        self.slots[slot] = Some(entry);
        match entry.exchange {
            Exchange::AtLeastOnce
            | Exchange::ExactlyOnce
            | Exchange::Reserved
            | Exchange::Recording
            | Exchange::Release { .. } => {
                self.publishes += 1;
                self.publish_bytes += entry.len as usize;
                self.unreleased += usize::from(entry.exchange == Exchange::ExactlyOnce);
                self.push_order(entry.start, entry.packet_id);
            }
            Exchange::Subscribe { .. } | Exchange::Unsubscribe => self.requests += 1,
        }
    }

    /// Frees the QoS 1 publish with this identifier, all bytes of which must lie before `sent`.
    #[inline]
    pub(super) fn complete_publish(
        &mut self,
        packet_id: PacketId,
        sent: LogOffset,
    ) -> Option<Completed> {
        let slot = self.slot(packet_id);
        let entry = self.entry(packet_id, sent)?;
        if entry.exchange != Exchange::AtLeastOnce {
            return None;
        }
        let (key, len) = (entry.key, entry.len as usize);
        let maybe_twice = entry.arrived | entry.twice;
        self.slots[slot] = None;
        self.publishes -= 1;
        self.publish_bytes -= len;
        self.drop_dead_front();
        Some(Completed { key, maybe_twice })
    }

    /// Returns what the request with this identifier awaits, if all its bytes lie before `sent`.
    pub(super) fn request(&self, packet_id: PacketId, sent: LogOffset) -> Option<Exchange> {
        let exchange = self.entry(packet_id, sent)?.exchange;
        exchange.is_request().then_some(exchange)
    }

    /// Frees the SUBSCRIBE or UNSUBSCRIBE with this identifier and returns its key.
    pub(super) fn complete_request(&mut self, packet_id: PacketId) -> Option<TicketKey> {
        let slot = self.slot(packet_id);
        let request =
            |entry: &mut Entry| entry.packet_id == packet_id && entry.exchange.is_request();
        let entry = self.slots.get_mut(slot)?.take_if(request)?;
        self.requests -= 1;
        Some(entry.key)
    }

    /// Moves the publishes and PUBRELs in flight that begin before `cut`, the end of a packet, together so that
    /// they end there, and releases the log up to the first of them.
    pub(super) fn compact(&mut self, log: &mut OutboundLog, cut: LogOffset) {
        self.drop_dead();
        self.dead.retain(|(start, _)| *start >= cut);
        let Self { slots, order, .. } = self;
        let mask = slots.len().wrapping_sub(1);
        let moved = order.partition_point(|(start, _)| *start < cut);
        let mut end = cut;
        for (start, packet_id) in order.range_mut(..moved).rev() {
            let slot = slots[usize::from(packet_id.get()) & mask].as_mut();
            let entry = slot.expect("only live packets are left in the order");
            if entry.is_kept() && entry.release == *start {
                end = log.shift_up(*start, RELEASE_LEN, end);
                entry.release = end;
            } else {
                end = log.shift_up(*start, entry.len as usize, end);
                entry.start = end;
            }
            *start = end;
        }
        log.release(end);
    }

    /// Returns where the oldest publish or PUBREL in flight begins.
    #[inline]
    pub(super) fn oldest(&self) -> Option<LogOffset> {
        self.order.front().map(|(start, _)| *start)
    }

    /// Returns how many publishes and PUBRELs in flight begin at `from` or later; some that were
    /// acknowledged may be counted.
    pub(super) fn publishes_from(&self, from: LogOffset) -> usize {
        self.order.len() - self.order.partition_point(|(start, _)| *start < from)
    }

    /// Returns how many publishes are in flight, with the identifiers that are reserved.
    #[inline]
    pub(super) const fn publishes(&self) -> usize {
        self.publishes
    }

    /// Returns how many SUBSCRIBEs and UNSUBSCRIBEs are in flight.
    #[inline]
    pub(super) const fn requests(&self) -> usize {
        self.requests
    }

    /// Returns how many publishes await PUBREC, so that their PUBREL will need room.
    #[inline]
    pub(super) const fn unreleased(&self) -> usize {
        self.unreleased
    }

    /// Returns the length in bytes of all publishes and PUBRELs in flight.
    #[inline]
    pub(super) const fn publish_bytes(&self) -> usize {
        self.publish_bytes
    }

    /// Returns all messages that are in flight or kept: identifier, begin and length.
    #[cfg(test)]
    pub(super) fn live(&self) -> impl Iterator<Item = (PacketId, LogOffset, usize)> {
        let publishes = self.slots.iter().flatten().filter(|entry| {
            let has_message = entry.exchange != Exchange::Reserved && !entry.exchange.is_request();
            has_message && entry.release_start() != Some(entry.start)
        });
        publishes.map(|entry| (entry.packet_id, entry.start, entry.len as usize))
    }

    /// Says all that matters later to a connection that has sent so much, for a comparison of
    /// sessions.
    #[cfg(test)]
    pub(super) fn describe(
        &self,
        canon: &mut super::tests::Canon,
        log: &OutboundLog,
        sent: LogOffset,
    ) {
        canon.number(self.next.get().into());
        for entry in self.slots.iter().flatten() {
            let exchange = match entry.exchange {
                Exchange::AtLeastOnce => 0,
                Exchange::ExactlyOnce => 1,
                Exchange::Reserved => 2,
                Exchange::Recording => 3,
                Exchange::Release { kept } => 4 + u64::from(kept),
                Exchange::Subscribe { .. } => 6,
                Exchange::Unsubscribe => 7,
            };
            canon.number(entry.packet_id.get().into());
            canon.number(entry.key.0.into());
            canon.number(exchange * 4 + 2 * u64::from(entry.arrived) + u64::from(entry.twice));
            if entry.exchange != Exchange::Reserved {
                canon.place(entry.start);
                canon.place(entry.end());
                canon.number(log.slice(entry.start, entry.end())[0].into());
                // Where a PUBREL lies, or what tells the order of publishing.
                if entry.is_kept() {
                    canon.place(entry.release);
                } else {
                    canon.age(entry.release);
                }
            }
        }
        canon.end();
        for (start, end) in self.dead.iter().filter(|(start, _)| *start >= sent) {
            canon.place(*start);
            canon.place(*end);
        }
        canon.end();
    }

    #[inline]
    const fn len(&self) -> usize {
        self.publishes + self.requests
    }

    #[inline]
    const fn slot(&self, packet_id: PacketId) -> usize {
        packet_id.get() as usize & self.slots.len().wrapping_sub(1)
    }

    #[inline]
    fn entry(&self, packet_id: PacketId, sent: LogOffset) -> Option<&Entry> {
        let entry = self.any_entry(packet_id)?;
        // Nobody can acknowledge what was not sent: this is about an earlier use of the identifier.
        (entry.end() <= sent).then_some(entry)
    }

    #[inline]
    fn any_entry(&self, packet_id: PacketId) -> Option<&Entry> {
        let entry = self.slots.get(self.slot(packet_id))?.as_ref()?;
        (entry.packet_id == packet_id).then_some(entry)
    }

    #[inline]
    fn push_order(&mut self, start: LogOffset, packet_id: PacketId) {
        if self.order.len() == self.order.capacity() {
            self.make_order_room();
        }
        self.order.push_back((start, packet_id));
    }

    #[inline]
    fn drop_dead_front(&mut self) {
        while let Some(&(start, packet_id)) = self.order.front() {
            if is_live(&self.slots, start, packet_id) {
                break;
            }
            self.order.pop_front();
        }
    }

    /// Removes dead entries from the order. One packet that is never acknowledged would otherwise
    /// keep all later entries.
    fn drop_dead(&mut self) {
        let slots = &self.slots;
        self.order
            .retain(|&(start, packet_id)| is_live(slots, start, packet_id));
    }

    /// Makes room in the order, so that it need not be done again soon: by dropping dead entries, or
    /// by growing where most are alive.
    #[cold]
    fn make_order_room(&mut self) {
        self.drop_dead();
        if self.order.len() >= self.order.capacity() / 2 {
            self.order.reserve(self.order.len().max(SLOTS_MIN));
        }
    }

    /// Doubles the table. Identifiers that differ in their lower bits keep doing so.
    #[cold]
    fn grow(&mut self) {
        let len = (self.slots.len() * 2).max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![None; len]);
        for entry in old.into_iter().flatten() {
            let slot = self.slot(entry.packet_id);
            self.slots[slot] = Some(entry);
        }
    }
}

/// Tells whether an entry of the order is a publish or PUBREL still in flight.
#[inline]
fn is_live(slots: &[Option<Entry>], start: LogOffset, packet_id: PacketId) -> bool {
    let entry = &slots[usize::from(packet_id.get()) & (slots.len() - 1)];
    entry
        .as_ref()
        .is_some_and(|entry| entry.owns(start, packet_id))
}

/// Returns the identifier after this one, in a circle.
#[inline]
pub(super) fn successor(packet_id: PacketId) -> PacketId {
    PacketId::new(packet_id.get().wrapping_add(1)).unwrap_or(PacketId::MIN)
}

#[cfg(test)]
mod tests;
