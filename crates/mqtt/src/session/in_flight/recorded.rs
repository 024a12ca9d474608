//! What differs where the caller records each step before a packet tells of it: identifiers without
//! a message, messages whose PUBREC is not recorded yet, and what an earlier process left.
//!
//! ```text
//!          reserve           PUBLISH             PUBREC            recorded        PUBCOMP
//!   free ─────────► Reserved ───────► ExactlyOnce ──────► Recording ────────► Release ──────► free
//! ```
//! A message is never kept beside its PUBREL here: the caller has it.

use super::{Entry, Exchange, InFlight, NOWHERE};
use crate::outbound_log::LogOffset;
use crate::packet::PacketId;
use crate::session::{Fate, OnSessionLoss, TicketKey};
use crate::sorted::sorted;

/// What a PUBREC is about, for an identifier that is reserved or whose message awaits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum ToRecord {
    /// The message under this key: from now on it awaits the record.
    First(TicketKey),
    /// A message whose PUBREC is being recorded.
    Again,
    /// Nothing that can have come to the server.
    Nothing,
}

impl InFlight {
    /// Takes an identifier that is free, and has a slot, for a message that comes later.
    pub(in crate::session) fn reserve(&mut self, packet_id: PacketId, key: TicketKey) {
        if self.next == packet_id {
            self.next = super::successor(packet_id);
        }
        self.publishes += 1;
        self.reserved += 1;
        let slot = self.slot(packet_id);
        debug_assert!(self.slots[slot].is_none());
        self.slots[slot] = Some(Entry {
            start: NOWHERE,
            release: NOWHERE,
            len: 0,
            key,
            packet_id,
            exchange: Exchange::Reserved,
            arrived: false,
            twice: false,
        });
    }

    /// Tells whether the identifier is reserved under this key.
    pub(in crate::session) fn is_reserved(&self, packet_id: PacketId, key: TicketKey) -> bool {
        self.any_entry(packet_id)
            .is_some_and(|entry| entry.exchange == Exchange::Reserved && entry.key == key)
    }

    /// Takes an identifier, which is free, for a message of an earlier process that never left.
    pub(in crate::session) fn restore_unsent(&mut self, packet_id: PacketId, key: TicketKey) {
        self.make_slot(packet_id);
        self.reserve(packet_id, key);
    }

    /// Takes the identifier of a message of an earlier process, which is free.
    pub(in crate::session) fn restore_reserved(&mut self, packet_id: PacketId, key: TicketKey) {
        self.restore_unsent(packet_id, key);
        let slot = self.slot(packet_id);
        if let Some(entry) = &mut self.slots[slot] {
            entry.arrived = true;
        }
    }

    /// Tells whether the identifier is reserved for a message that may have come to the server.
    pub(in crate::session) fn is_restored(&self, packet_id: PacketId) -> bool {
        self.any_entry(packet_id)
            .is_some_and(|entry| entry.exchange == Exchange::Reserved && entry.arrived)
    }

    /// Frees an identifier; `false` if it is not reserved.
    pub(in crate::session) fn unreserve(&mut self, packet_id: PacketId) -> bool {
        let slot = self.slot(packet_id);
        let is_it = |entry: &mut Entry| {
            entry.packet_id == packet_id && entry.exchange == Exchange::Reserved
        };
        let taken = self
            .slots
            .get_mut(slot)
            .and_then(|slot| slot.take_if(is_it));
        if taken.is_some() {
            self.publishes -= 1;
            self.reserved -= 1;
        }
        taken.is_some()
    }

    /// Enters the packet of `len` bytes at `start` under its identifier, which is reserved.
    pub(in crate::session) fn publish_reserved(
        &mut self,
        packet_id: PacketId,
        exchange: Exchange,
        start: LogOffset,
        len: usize,
        key: TicketKey,
    ) {
        let (next, arrived) = (self.next, self.is_restored(packet_id));
        if self.unreserve(packet_id) {
            self.insert(packet_id, exchange, start, len, key);
            let slot = self.slot(packet_id);
            if let Some(entry) = &mut self.slots[slot] {
                entry.arrived = arrived;
            }
        }
        // Identifiers go on behind those that were given later.
        self.next = next;
    }

    /// Tells whether the identifier belongs to no packet.
    pub(in crate::session) fn is_free(&self, packet_id: PacketId) -> bool {
        self.any_entry(packet_id).is_none()
    }

    /// Tells whether the slot of an identifier can be had.
    pub(in crate::session) fn has_slot(&self, packet_id: PacketId) -> bool {
        let slot = self.slots.get(self.slot(packet_id));
        slot.is_some_and(Option::is_none)
    }

    /// Makes the table so large that a free identifier has its slot.
    pub(in crate::session) fn make_slot(&mut self, packet_id: PacketId) {
        // Ends, because the largest table has a slot for each identifier.
        while self.len() * 2 >= self.slots.len() || !self.has_slot(packet_id) {
            if self.slots.len() == super::SLOTS_MAX {
                break;
            }
            self.grow();
        }
    }

    /// Returns the identifier that will be given last, as far as can be said now.
    pub(in crate::session) fn opposite_id(&self) -> PacketId {
        let opposite = self.next.get().wrapping_add(1 << 15);
        PacketId::new(opposite).unwrap_or(PacketId::MIN)
    }

    /// Enters a packet of an earlier process under its identifier, which is free. There must be
    /// fewer packets in flight than identifiers.
    pub(in crate::session) fn restore(
        &mut self,
        packet_id: PacketId,
        exchange: Exchange,
        start: LogOffset,
        len: usize,
        key: TicketKey,
    ) {
        self.make_slot(packet_id);
        self.insert(packet_id, exchange, start, len, key);
        let slot = self.slot(packet_id);
        if let Some(entry) = &mut self.slots[slot] {
            entry.arrived = true;
        }
    }

    /// Tells whether a PUBREC with this identifier is one for [`InFlight::begin_record`].
    pub(in crate::session) fn is_to_be_recorded(&self, packet_id: PacketId) -> bool {
        self.any_entry(packet_id).is_some_and(|entry| {
            matches!(
                entry.exchange,
                Exchange::Reserved | Exchange::ExactlyOnce | Exchange::Recording
            )
        })
    }

    /// Notes that PUBREC came, for a message all bytes of which lie before `sent`; or, where `early`
    /// says so, for one that has come to the server on an earlier connection.
    pub(in crate::session) fn begin_record(
        &mut self,
        packet_id: PacketId,
        sent: LogOffset,
        early: bool,
    ) -> ToRecord {
        let slot = self.slot(packet_id);
        let entry = self.slots.get_mut(slot).and_then(Option::as_mut);
        match entry.filter(|entry| entry.packet_id == packet_id) {
            Some(entry) if entry.exchange == Exchange::Recording => ToRecord::Again,
            Some(entry)
                if entry.exchange == Exchange::ExactlyOnce
                    && (entry.end() <= sent || (early && entry.arrived)) =>
            {
                entry.exchange = Exchange::Recording;
                self.recording += 1;
                ToRecord::First(entry.key)
            }
            _ => ToRecord::Nothing,
        }
    }

    /// Returns where the message lies whose PUBREC is being recorded, if there is such a one under
    /// this identifier and key.
    pub(in crate::session) fn recording(
        &self,
        packet_id: PacketId,
        key: TicketKey,
    ) -> Option<(LogOffset, LogOffset)> {
        let entry = self.any_entry(packet_id)?;
        (entry.exchange == Exchange::Recording && entry.key == key)
            .then(|| (entry.start, entry.end()))
    }

    /// Notes that this part of the log is not sent by a later connection.
    pub(in crate::session) fn leave_out(&mut self, start: LogOffset, end: LogOffset) {
        self.dead.push((start, end));
    }

    /// Takes out everything but requests and reserved identifiers, because the server has lost the
    /// session, and tells what becomes of each message, in the order of publishing.
    pub(in crate::session) fn hand_back(
        &mut self,
        policy: OnSessionLoss,
        mut tell: impl FnMut(TicketKey, Fate),
    ) {
        self.drop_dead();
        let mut ended = Vec::with_capacity(self.order.len());
        for (start, packet_id) in std::mem::take(&mut self.order) {
            let slot = self.slot(packet_id);
            let Some(entry) = self.slots[slot].take() else {
                continue;
            };
            self.dead.push((start, entry.end()));
            let maybe_sent = entry.arrived
                || matches!(
                    entry.exchange,
                    Exchange::Recording | Exchange::Release { .. }
                );
            let is_given_up = maybe_sent
                && entry.exchange != Exchange::AtLeastOnce
                && policy == OnSessionLoss::Finish;
            // Where a PUBREL lies says when PUBREC came, and not when the message was published.
            ended.push((entry.release, entry.key, maybe_sent, is_given_up));
        }
        self.publishes = self.reserved;
        self.publish_bytes = 0;
        self.unreleased = 0;
        self.recording = 0;
        for (_, key, maybe_sent, is_given_up) in sorted(ended) {
            let fate = if is_given_up {
                Fate::GivenUp
            } else {
                Fate::HandedBack { maybe_sent }
            };
            tell(key, fate);
        }
    }

    /// Returns how many publishes are in flight, without identifiers that are reserved.
    #[inline]
    pub(in crate::session) const fn published(&self) -> usize {
        self.publishes - self.reserved
    }

    /// Returns how many publishes the server will still answer, as things stand.
    #[inline]
    pub(in crate::session) const fn awaited(&self) -> usize {
        self.publishes - self.reserved - self.recording
    }
}
