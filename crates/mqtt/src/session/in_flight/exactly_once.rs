//! The steps of a QoS 2 message from PUBREC to PUBCOMP.
//!
//! A QoS 2 message is kept beside its PUBREL where the loss of the session must not lose it, and is
//! given up at PUBREC otherwise:
//!
//! ```text
//!           PUBLISH             PUBREC                     PUBCOMP
//!   free ─────────► ExactlyOnce ──────► Release            ──────► free
//!                   start, len          start, len, release    kept
//!                                       start = PUBREL, 4      given up
//! ```

use super::{Completed, Exchange, InFlight, RELEASE_LEN};
use crate::outbound_log::LogOffset;
use crate::packet::PacketId;

/// What a PUBREC is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Recorded {
    /// Nothing that was sent and is in flight.
    Unknown,
    /// A message that awaited it, and where it lies.
    First { start: LogOffset, end: LogOffset },
    /// A message whose PUBREL ends here.
    Again { end: LogOffset },
}

impl InFlight {
    /// Finds out what a PUBREC is about: a message all bytes of which lie before `sent`; or, where
    /// `early` says so, one that has come to the server on an earlier connection.
    pub(in crate::session) fn recorded(
        &self,
        packet_id: PacketId,
        sent: LogOffset,
        early: bool,
    ) -> Recorded {
        match self.any_entry(packet_id) {
            Some(entry) => match entry.release_start() {
                Some(start) => Recorded::Again {
                    end: start.plus(RELEASE_LEN),
                },
                None if entry.exchange == Exchange::ExactlyOnce
                    && (entry.end() <= sent || (early && entry.arrived)) =>
                {
                    Recorded::First {
                        start: entry.start,
                        end: entry.end(),
                    }
                }
                None => Recorded::Unknown,
            },
            None => Recorded::Unknown,
        }
    }

    /// Notes that the QoS 2 publish with this identifier has a PUBREL at `at`, the end of the log,
    /// and whether the message itself is kept.
    pub(in crate::session) fn release(&mut self, packet_id: PacketId, at: LogOffset, keep: bool) {
        let slot = self.slot(packet_id);
        let entry = self.slots[slot].as_mut();
        let entry = entry.expect("only a publish in flight is released");
        debug_assert!(entry.packet_id == packet_id);
        debug_assert!(matches!(
            entry.exchange,
            Exchange::ExactlyOnce | Exchange::Recording
        ));
        self.recording -= usize::from(entry.exchange == Exchange::Recording);
        entry.exchange = Exchange::Release { kept: keep };
        self.publish_bytes += RELEASE_LEN;
        self.unreleased -= 1;
        if keep {
            entry.release = at;
        } else {
            self.publish_bytes -= entry.len as usize;
            entry.start = at;
            entry.len = RELEASE_LEN as u32;
        }
        self.push_order(at, packet_id);
        self.drop_dead_front();
    }

    /// Frees the QoS 2 publish with this identifier, whose PUBREL must lie before `sent`.
    pub(in crate::session) fn complete_release(
        &mut self,
        packet_id: PacketId,
        sent: LogOffset,
    ) -> Option<Completed> {
        let entry = *self.any_entry(packet_id)?;
        if entry.release_start()?.plus(RELEASE_LEN) > sent {
            return None;
        }
        let slot = self.slot(packet_id);
        self.slots[slot] = None;
        self.publishes -= 1;
        self.publish_bytes -= entry.bytes();
        self.drop_dead_front();
        Some(Completed {
            key: entry.key,
            maybe_twice: entry.twice,
        })
    }
}
