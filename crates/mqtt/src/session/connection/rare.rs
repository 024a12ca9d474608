//! What few connections come to: parts of the log that are not sent, and PUBRELs out of their order.

use std::collections::VecDeque;

use super::Connection;
use crate::outbound_log::{LogOffset, OutboundLog};
use crate::packet::PacketId;
use crate::sorted::{SortedMap, insert_behind};

/// What few connections come to.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(in crate::session) struct Rare {
    /// Begin and end of what is not sent of the log; `sent` is before the first begin.
    pub(super) left_out: VecDeque<(LogOffset, LogOffset)>,
    /// Identifiers whose PUBREL went ahead of messages that are held back, and lies in the log as well.
    pub(in crate::session) released_ahead: SortedMap<PacketId, ()>,
    /// Identifiers for which PUBREL came and PUBCOMP is held back until its caller has recorded that:
    /// at most all there are.
    pub(in crate::session) releases: SortedMap<PacketId, ()>,
    /// Identifiers for which PUBREL was sent ahead of any message.
    pub(in crate::session) clearing: SortedMap<PacketId, ()>,
}

impl Connection {
    /// Sends the packet that begins and ends there no more, unless it is half sent.
    pub(in crate::session) fn leave_out(
        &mut self,
        start: LogOffset,
        end: LogOffset,
        log: &OutboundLog,
    ) {
        if self.is_up() && self.sent <= start {
            let is_before = |(other, _): &(LogOffset, _)| *other < start;
            insert_behind(&mut self.rare.left_out, (start, end), is_before);
            self.jump(log);
        }
    }

    /// Tells whether PUBREL for this identifier has left ahead of its place in the log; no longer after
    /// that.
    #[inline]
    pub(in crate::session) fn take_released_ahead(&mut self, packet_id: PacketId) -> bool {
        let ids = self.rare.get_mut().map(|rare| &mut rare.released_ahead);
        ids.is_some_and(|ids| ids.remove(&packet_id).is_some())
    }

    /// The begin of the next part of the log that is not sent, if there is one.
    #[inline]
    pub(super) fn next_left_out(&self) -> Option<LogOffset> {
        let (start, _) = self.rare.get()?.left_out.front()?;
        Some(*start)
    }

    /// The end of what is not sent from there on, if that is so.
    pub(super) fn end_of_left_out(&self, at: LogOffset) -> Option<LogOffset> {
        let left_out = &self.rare.get()?.left_out;
        let index = left_out.binary_search_by_key(&at, |(start, _)| *start);
        Some(left_out[index.ok()?].1)
    }

    /// Goes on behind what is not sent.
    #[cold]
    pub(super) fn jump(&mut self, log: &OutboundLog) {
        while let Some(rare) = self.rare.get_mut()
            && let Some(&(start, end)) = rare.left_out.front()
            && start == self.sent
        {
            rare.left_out.pop_front();
            self.sent = end;
            if self.boundary == start {
                self.boundary = end;
            }
        }
        if self.sent == log.tail() {
            self.boundary = self.sent;
        }
    }
}
