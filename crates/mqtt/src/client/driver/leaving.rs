//! How the driver leaves: for a program that has let go of its client, or with the runtime.

use std::io;
use std::time::Duration;

use fiber::Stopped;

use super::{Driver, Written};
use crate::client::error::EndCause;
use crate::client::shared::{State, now};

/// Time for what waits to be sent, when the last handle is dropped.
const LEAVE_QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

impl Driver<'_> {
    /// Sends DISCONNECT once the program has let go of the client, or wants to leave. What waits to be
    /// sent goes first, if it can in time.
    pub(super) fn leave_if_asked(&mut self) {
        if self.left || !self.shared.is_leaving() {
            return;
        }
        let now = now();
        let leave_at = *self.leave_at.get_or_insert(now + LEAVE_QUEUE_TIMEOUT);
        let mut state = self.shared.state();
        state.admit_queued();
        let waits = state.is_up() && !state.outbox.is_empty();
        if waits && !state.leaving && now < leave_at {
            return;
        }
        self.left = true;
        let State { session, log, .. } = &mut *state;
        session.disconnect(now, log);
    }

    /// Leaves in order, without waiting, when the runtime is shutting down.
    pub(super) fn stopped(&mut self, waited: Result<(), Stopped>) -> Result<(), EndCause> {
        let Err(stopped) = waited else { return Ok(()) };
        {
            let mut state = self.shared.state();
            state.admit_queued();
            let State { session, log, .. } = &mut *state;
            session.disconnect(now(), log);
        }
        while self.write()? == Written::Enough {}
        Err(EndCause::Transport(io::Error::from(stopped)))
    }
}
