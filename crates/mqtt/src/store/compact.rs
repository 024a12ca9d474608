//! Letting go of records that wait to be written and say nothing any more.
//!
//! The disk may take nothing for long. Messages find no room then; records about them are always taken,
//! and what of them is kept is what a replay would come to: of a message its last identifier and its
//! PUBREC, of a received identifier whether it is released, of the session whether it was lost, and the
//! end of each message that may be in a file. So there are never more than twice as many as there is
//! to know, or [`COMPACT_RECORDS_MIN`].

use std::collections::{BTreeSet, VecDeque};

use super::batch::{Pending, Waiting};
use super::index::Index;
use super::pos::StorePos;
use super::record::{self, Record};
use super::state::State;
use crate::packet::PacketId;

/// How many records wait at least before they are looked through for those that say nothing any more.
pub(super) const COMPACT_RECORDS_MIN: usize = 8 * 1024;

/// What later records say.
#[derive(Default)]
struct Later {
    /// The last word on each received identifier was there.
    packet_ids: BTreeSet<PacketId>,
    /// The session was lost.
    session_lost: bool,
    /// Messages of which it is said that the broker may have them.
    maybe_sent: BTreeSet<StorePos>,
}

impl Later {
    /// Returns a record, or what is left of it to be said; the last ones come first.
    fn needed(&mut self, mut waiting: Waiting, index: &Index) -> Option<Waiting> {
        if waiting.frame.is_empty() {
            return None;
        }
        let (at, record) = Record::decode(record::body(&waiting.frame))?;
        let of = |message: &StorePos| index.messages.get(message);
        let is_needed = match record {
            Record::Publish(_) => of(&at).is_some(),
            Record::Assigned { message, packet_id } => {
                let known = of(&message)?;
                let is_last = known.flight.assigned == Some((packet_id, at));
                if !is_last && known.maybe_sent && self.maybe_sent.insert(message) {
                    // What the loss of its session made of it.
                    waiting.replace(&Record::MaybeSent { message });
                    return Some(waiting);
                }
                is_last
            }
            Record::MaybeSent { message } => {
                of(&message).is_some() && self.maybe_sent.insert(message)
            }
            Record::Recorded { message } => of(&message)?.flight.recorded == Some(at),
            Record::Done { .. } => waiting.is_in_file || index.outcomes.contains_key(&at),
            Record::Received(packet_id) | Record::Released(packet_id) => {
                !self.session_lost && self.packet_ids.insert(packet_id)
            }
            Record::SessionLost => !std::mem::replace(&mut self.session_lost, true),
            Record::Identity(_) => true,
        };
        is_needed.then_some(waiting)
    }
}

impl Pending {
    /// Lets go of what says nothing any more.
    pub(super) fn compact(&mut self, index: &Index) {
        let (mut later, mut kept) = (Later::default(), VecDeque::new());
        let mut bytes = 0;
        for waiting in std::mem::take(&mut self.queue).into_iter().rev() {
            if let Some(waiting) = later.needed(waiting, index) {
                bytes += waiting.frame.len();
                kept.push_front(waiting);
            }
        }
        (self.queue, self.bytes) = (kept, bytes);
    }
}

impl State {
    /// Lets go of what waits and says nothing any more, when so much waits that it may be worth it.
    pub(super) fn compact_pending(&mut self) {
        if self.pending.len() >= self.compact_pending_at {
            self.pending.compact(&self.index);
            self.compact_pending_at = COMPACT_RECORDS_MIN.max(2 * self.pending.len());
        }
    }

    /// The same for what is about messages for which the disk has no room.
    pub(super) fn compact_parked(&mut self) {
        if self.parked.len() >= self.compact_parked_at {
            self.parked = self.parked.as_known(&self.index);
            let parked: BTreeSet<_> = self.parked.subjects().map(|(at, _)| at).collect();
            let (index, passed) = (&self.index, &mut self.passed_over);
            // What ended an identifier has nobody who waits for it.
            passed.retain(|at, it| {
                it.done.is_some() || parked.contains(at) || !index.is_unwritten(it.message)
            });
            self.compact_parked_at = COMPACT_RECORDS_MIN.max(2 * self.parked.len());
        }
    }
}
