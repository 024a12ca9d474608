//! Faults that are planted.

use super::{Exchange, InFlight};
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::PacketId;

impl InFlight {
    /// Makes a table that gives identifiers too early, or one that does not.
    pub(in crate::session) const fn giving_early(gives_early: bool) -> Self {
        let mut table = Self::new();
        table.gives_early = gives_early;
        table
    }

    /// Takes DUP from all messages that are sent again.
    pub(in crate::session) fn forget_dup(&self, log: &mut OutboundLog) {
        for entry in self.slots.iter().flatten() {
            if let Exchange::AtLeastOnce | Exchange::ExactlyOnce = entry.exchange {
                *log.first_byte_mut(entry.start) &= !super::resume::DUP;
            }
        }
    }

    /// Leaves out the PUBRELs that were sent.
    pub(in crate::session) fn forget_pubrels(&mut self, cut: LogOffset) {
        let starts = self.slots.iter().flatten();
        let starts = starts.filter_map(super::Entry::release_start);
        let sent = starts.filter(|start| *start < cut);
        let ranges = sent.map(|start| (start, start.plus(super::RELEASE_LEN)));
        self.dead.extend(ranges.collect::<Vec<_>>());
    }

    /// Takes an identifier from a message that awaits PUBCOMP.
    pub(super) fn give_early(&mut self) -> Option<PacketId> {
        let is_released = |slot: &&mut Option<super::Entry>| {
            slot.is_some_and(|entry| entry.release_start().is_some())
        };
        let slot = self.slots.iter_mut().filter(|_| self.gives_early);
        let entry = { slot }.find(is_released)?.take()?;
        self.publishes -= 1;
        self.publish_bytes -= entry.bytes();
        self.drop_dead_front();
        Some(entry.packet_id)
    }
}
