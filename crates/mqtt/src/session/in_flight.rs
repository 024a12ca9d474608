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
//! Beside the table there is the list of publishes in the order in which they lie in the outbound
//! log. It is the order of resending, and its front tells how much of the log must be kept. An
//! entry whose packet was acknowledged is dead; the front is never dead.

use std::collections::VecDeque;

use super::TicketKey;
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::PacketId;

/// The first number of slots; doubled while more than half of them are taken.
const SLOTS_MIN: usize = 16;
/// With so many slots each identifier has its own.
const SLOTS_MAX: usize = 1 << 16;

/// What awaits which acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// A PUBLISH with QoS 1 awaits PUBACK.
    Publish,
    /// A SUBSCRIBE awaits SUBACK with this many codes.
    Subscribe { filters: u16 },
    /// An UNSUBSCRIBE awaits UNSUBACK.
    Unsubscribe,
}

/// One packet in flight; a slot of 32 bytes never lies across two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Entry {
    /// Where the packet begins in the outbound log.
    start: LogOffset,
    len: u32,
    key: TicketKey,
    packet_id: PacketId,
    exchange: Exchange,
}

const _: () = assert!(size_of::<Option<Entry>>() == 32);

impl Entry {
    const fn end(&self) -> LogOffset {
        self.start.plus(self.len as usize)
    }
}

/// The packets in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    slots: Vec<Option<Entry>>,
    /// Where the search for a free identifier begins.
    next: PacketId,
    order: VecDeque<(LogOffset, PacketId)>,
    publishes: usize,
    requests: usize,
    /// Bytes of all publishes in flight.
    publish_bytes: usize,
}

impl InFlight {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            next: PacketId::MIN,
            order: VecDeque::new(),
            publishes: 0,
            requests: 0,
            publish_bytes: 0,
        }
    }

    /// Returns an identifier that is not in use. It is not taken before [`InFlight::insert`].
    ///
    /// There must be fewer packets in flight than identifiers.
    #[inline]
    pub(super) fn free_id(&mut self) -> PacketId {
        debug_assert!(self.len() < usize::from(u16::MAX));
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
        let slot = self.slot(packet_id);
        debug_assert!(self.slots[slot].is_none());
        self.slots[slot] = Some(Entry {
            start,
            len,
            key,
            packet_id,
            exchange,
        });
        self.next = successor(packet_id);
        match exchange {
            Exchange::Publish => {
                self.publishes += 1;
                self.publish_bytes += len as usize;
                if self.order.len() == self.order.capacity() {
                    self.make_order_room();
                }
                self.order.push_back((start, packet_id));
            }
            Exchange::Subscribe { .. } | Exchange::Unsubscribe => self.requests += 1,
        }
    }

    /// Frees the publish with this identifier, all bytes of which must lie before `sent`, and
    /// returns its key.
    #[inline]
    pub(super) fn complete_publish(
        &mut self,
        packet_id: PacketId,
        sent: LogOffset,
    ) -> Option<TicketKey> {
        let slot = self.slot(packet_id);
        let entry = self.entry(packet_id, sent)?;
        if entry.exchange != Exchange::Publish {
            return None;
        }
        let (key, len) = (entry.key, entry.len as usize);
        self.slots[slot] = None;
        self.publishes -= 1;
        self.publish_bytes -= len;
        while let Some(&(start, packet_id)) = self.order.front() {
            if is_live(&self.slots, start, packet_id) {
                break;
            }
            self.order.pop_front();
        }
        Some(key)
    }

    /// Returns what the request with this identifier awaits, if all its bytes lie before `sent`.
    pub(super) fn request(&self, packet_id: PacketId, sent: LogOffset) -> Option<Exchange> {
        let exchange = self.entry(packet_id, sent)?.exchange;
        (exchange != Exchange::Publish).then_some(exchange)
    }

    /// Frees the SUBSCRIBE or UNSUBSCRIBE with this identifier and returns its key.
    pub(super) fn complete_request(&mut self, packet_id: PacketId) -> Option<TicketKey> {
        let slot = self.slot(packet_id);
        let request =
            |entry: &mut Entry| entry.packet_id == packet_id && entry.exchange != Exchange::Publish;
        let entry = self.slots.get_mut(slot)?.take_if(request)?;
        self.requests -= 1;
        Some(entry.key)
    }

    /// Moves the publishes in flight that begin before `cut`, the end of a packet, together so that
    /// they end there, and releases the log up to the first of them.
    pub(super) fn compact(&mut self, log: &mut OutboundLog, cut: LogOffset) {
        self.drop_dead();
        let Self { slots, order, .. } = self;
        let mask = slots.len().wrapping_sub(1);
        let moved = order.partition_point(|(start, _)| *start < cut);
        let mut end = cut;
        for (start, packet_id) in order.range_mut(..moved).rev() {
            let slot = slots[usize::from(packet_id.get()) & mask].as_mut();
            let entry = slot.expect("only live packets are left in the order");
            end = log.shift_up(*start, entry.len as usize, end);
            entry.start = end;
            *start = end;
        }
        log.release(end);
    }

    /// Returns where the oldest publish in flight begins.
    #[inline]
    pub(super) fn oldest(&self) -> Option<LogOffset> {
        self.order.front().map(|(start, _)| *start)
    }

    /// Returns how many publishes in flight begin at `from` or later; some that were acknowledged
    /// may be counted.
    pub(super) fn publishes_from(&self, from: LogOffset) -> usize {
        self.order.len() - self.order.partition_point(|(start, _)| *start < from)
    }

    /// Returns how many publishes are in flight.
    #[inline]
    pub(super) const fn publishes(&self) -> usize {
        self.publishes
    }

    /// Returns how many SUBSCRIBEs and UNSUBSCRIBEs are in flight.
    #[inline]
    pub(super) const fn requests(&self) -> usize {
        self.requests
    }

    /// Returns the length in bytes of all publishes in flight.
    #[inline]
    pub(super) const fn publish_bytes(&self) -> usize {
        self.publish_bytes
    }

    /// Returns all publishes in flight: identifier, begin and length.
    #[cfg(test)]
    pub(super) fn live(&self) -> impl Iterator<Item = (PacketId, LogOffset, usize)> {
        let publishes = self
            .slots
            .iter()
            .flatten()
            .filter(|entry| entry.exchange == Exchange::Publish);
        publishes.map(|entry| (entry.packet_id, entry.start, entry.len as usize))
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
        let entry = self.slots.get(self.slot(packet_id))?.as_ref()?;
        // Nobody can acknowledge what was not sent: this is about an earlier use of the identifier.
        (entry.packet_id == packet_id && entry.end() <= sent).then_some(entry)
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

/// Tells whether an entry of the order is a publish still in flight.
#[inline]
fn is_live(slots: &[Option<Entry>], start: LogOffset, packet_id: PacketId) -> bool {
    let entry = &slots[usize::from(packet_id.get()) & (slots.len() - 1)];
    entry
        .as_ref()
        .is_some_and(|entry| entry.packet_id == packet_id && entry.start == start)
}

/// Returns the identifier after this one, in a circle.
#[inline]
fn successor(packet_id: PacketId) -> PacketId {
    PacketId::new(packet_id.get().wrapping_add(1)).unwrap_or(PacketId::MIN)
}

#[cfg(test)]
mod tests;
