//! When a session has to be told the time.

use super::connection::Connection;
use super::{Phase, Session};
use crate::time::Time;

impl Session {
    /// Returns when to call [`Session::handle`] with
    /// [`Input::Timer`](super::Input::Timer); `None` where there is
    /// nothing to wait for. Every call into the session may change it.
    #[inline]
    pub fn next_deadline(&self) -> Option<Time> {
        let Connection {
            phase, keep_alive, ..
        } = &self.connection;
        let of_phase = match *phase {
            Phase::Connecting { deadline, .. }
            | Phase::Draining { deadline }
            | Phase::Leaving { deadline }
            | Phase::Resting { deadline } => Some(deadline),
            Phase::Up { .. } => keep_alive.ping_due(self.connection.control_sent()),
            Phase::Idle | Phase::Closed => None,
        };
        let give_up = match phase {
            Phase::Idle | Phase::Closed => None,
            Phase::Connecting { .. }
            | Phase::Up { .. }
            | Phase::Draining { .. }
            | Phase::Leaving { .. }
            | Phase::Resting { .. } => keep_alive.give_up().map(|(deadline, _)| deadline),
        };
        let deadline = Time::earlier(of_phase, give_up);
        let deadline = Time::earlier(deadline, self.trim_at);
        if self.is_throttled
            && let Some(pace) = self.pace.as_ref().filter(|_| self.connection.is_up())
        {
            return Time::earlier(deadline, Some(pace.next_at()));
        }
        deadline
    }
}
