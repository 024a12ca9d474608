//! What distinguishes two connections, for the search of small worlds.

use super::Connection;
use crate::packet::PacketId;
use crate::session::Phase;
use crate::session::tests::Canon;

impl Connection {
    /// Says all that matters later, for a comparison of sessions whose times are equal and whose
    /// packets are sent whole.
    pub(in crate::session) fn describe(&self, canon: &mut Canon) {
        self.acks.describe(canon);
        canon.number(match self.phase {
            Phase::Idle => 0,
            Phase::Connecting { .. } => 1,
            Phase::Up { session_present } => 2 + u64::from(session_present),
            Phase::Draining { .. } => 4,
            Phase::Leaving { .. } => 5,
            Phase::Closed => 6,
            Phase::Resting { .. } => 7,
        });
        canon.number(self.is_first().into());
        canon.bytes(self.control.unsent());
        canon.place(self.sent);
        let rare = self.rare.get().cloned().unwrap_or_default();
        for (start, end) in &rare.left_out {
            canon.place(*start);
            canon.place(*end);
        }
        canon.end();
        let lists = [&rare.releases, &rare.clearing].map(|ids| ids.keys().copied().collect());
        for ids in lists.iter().chain([&self.pubcomps]) {
            ids.iter()
                .for_each(|id: &PacketId| canon.number(id.get().into()));
            canon.end();
        }
    }
}
