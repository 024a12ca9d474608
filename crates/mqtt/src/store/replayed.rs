//! What only a replay has to remember: what has ended, so that a record which was written again behind
//! its end does not bring it back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::pos::StorePos;
use crate::packet::PacketId;

/// How many ended messages are remembered. Written again is at most what the disk was not sure of,
/// which has room for fewer ends.
const ENDED_MAX: usize = 32 * 1024;

#[derive(Debug, Default)]
pub(super) struct Replayed {
    ended: BTreeSet<StorePos>,
    /// The same in the order in which they ended.
    order: VecDeque<StorePos>,
    released: BTreeMap<PacketId, StorePos>,
}

impl Replayed {
    /// Notes the end of a message.
    pub(super) fn end(&mut self, message: StorePos) {
        if !self.ended.insert(message) {
            return;
        }
        self.order.push_back(message);
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    pub(super) fn has_ended(&self, message: StorePos) -> bool {
        self.ended.contains(&message)
    }

    /// Notes the release of a received identifier.
    pub(super) fn release(&mut self, packet_id: PacketId, at: StorePos) {
        let released = self.released.entry(packet_id).or_default();
        *released = at.max(*released);
    }

    /// Tells whether an identifier that was received at a position was released since.
    pub(super) fn is_released(&self, packet_id: PacketId, received: StorePos) -> bool {
        let released = self.released.get(&packet_id);
        released.is_some_and(|released| *released > received)
    }
}
