//! What goes ahead of its place in the log, because messages before it are held back.

use super::{Completed, InFlight, RELEASE_LEN};
use crate::outbound_log::LogOffset;
use crate::packet::PacketId;

/// What goes ahead of messages that are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Ahead {
    /// A SUBSCRIBE or UNSUBSCRIBE.
    Request,
    /// A PUBREL.
    Release,
}

impl InFlight {
    /// Returns what the packet at `start` is that has this identifier, if it may go ahead of others.
    pub(in crate::session) fn may_go_ahead(
        &self,
        packet_id: PacketId,
        start: LogOffset,
    ) -> Option<Ahead> {
        let entry = self.any_entry(packet_id)?;
        if entry.exchange.is_request() && entry.start == start {
            return Some(Ahead::Request);
        }
        (entry.release_start() == Some(start)).then_some(Ahead::Release)
    }

    /// Notes that a request was sent ahead of its place in the log, so that it lies nowhere.
    pub(in crate::session) fn request_ahead(&mut self, packet_id: PacketId, nowhere: LogOffset) {
        let slot = self.slot(packet_id);
        if let Some(entry) = &mut self.slots[slot] {
            (entry.start, entry.release, entry.len) = (nowhere, nowhere, 0);
        }
    }

    /// Frees the QoS 2 publish with this identifier, whose PUBREL was sent ahead of its place in the
    /// log, where it is not to be sent any more.
    pub(in crate::session) fn complete_release_ahead(
        &mut self,
        packet_id: PacketId,
    ) -> Option<Completed> {
        let start = self.any_entry(packet_id)?.release_start()?;
        let end = start.plus(RELEASE_LEN);
        self.leave_out(start, end);
        self.complete_release(packet_id, end)
    }
}
