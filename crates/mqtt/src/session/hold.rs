//! What had better not leave yet: small messages, while answers are on their way.
//!
//! Each answer lets another message follow, so that without this a server that answers singly would be
//! sent every message in a write of its own. With it the window moves in halves:
//!
//! ```text
//!   due  ████████████░░░░   answers that the server still owes     held while due > unsent
//!   unsent          ▒▒▒▒▒   messages that wait for them            each answer: one less, one more
//! ```

use super::{HOLD_BYTES_MAX, Phase, Session};
use crate::outbound_log::OutboundLog;

impl Session {
    /// Tells whether the unsent bytes had better wait for acknowledgements that are on their way.
    ///
    /// They are publishes and PUBRELs alone, fewer than are sent and not answered, and less than
    /// [`HOLD_BYTES_MAX`]; a QoS 0 message, a request or a control packet ends the hold, but for a PUBREL
    /// that clears the identifier of a message that waits as well. How long they wait at most, and
    /// whether somebody waits for them to be sent, is the caller's business.
    #[must_use]
    pub fn may_hold(&self, log: &OutboundLog) -> bool {
        self.answers_to_hold_for(log) > 0
    }

    /// Returns for how many answers the unsent bytes had better wait, if as many messages follow them: none
    /// where [`Session::may_hold`] says no.
    #[must_use]
    pub fn answers_to_hold_for(&self, log: &OutboundLog) -> usize {
        let sent = self.connection.sent();
        let unsent_bytes = log.tail().since(sent);
        let is_free = unsent_bytes == 0
            || unsent_bytes >= HOLD_BYTES_MAX
            || self.urgent > sent
            || !matches!(self.connection.phase, Phase::Up { .. })
            || !self.connection.control_may_wait();
        if is_free {
            return 0;
        }
        let unsent = self.in_flight.publishes_from(sent);
        let due = self.in_flight.awaited().saturating_sub(unsent);
        due.saturating_sub(unsent).div_ceil(2)
    }

    /// Returns how many publishes and PUBRELs are sent and not answered.
    #[must_use]
    pub fn answers_due(&self) -> usize {
        let unsent = self.in_flight.publishes_from(self.connection.sent());
        self.in_flight.awaited().saturating_sub(unsent)
    }
}
