//! Leaving a connection on which nothing happens, and coming back when there is something to do.
//!
//! The driver looks from time to time whether anything went since it looked last: the outbound log
//! grows by every message and request, and the count of received messages by every message. So
//! nobody notes an activity, and a client without this pays nothing.

use std::time::Duration;

use super::Client;
use super::shared::State;
use crate::outbound_log::LogOffset;
use crate::session::Phase;
use crate::time::Time;

/// Since when nothing happens.
#[derive(Debug)]
pub(super) struct Idle {
    /// How long that may last.
    timeout: Option<Duration>,
    since: Time,
    /// The end of the log, and how many messages had come, when that was looked at.
    seen: (LogOffset, u64),
    /// Something was under way then.
    was_busy: bool,
}

impl Idle {
    pub(super) const fn new(timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            since: Time::ZERO,
            seen: (LogOffset(0), 0),
            was_busy: false,
        }
    }

    /// Notes a sign that the connection is wanted.
    pub(super) const fn touch(&mut self, now: Time) {
        self.since = now;
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Time> {
        Some(self.since + self.timeout?)
    }
}

impl State {
    /// Whether nothing has happened for so long that the connection is to be left.
    pub(super) fn is_idle(&mut self, now: Time) -> bool {
        if self.idle.timeout.is_none() {
            return false;
        }
        let seen = (self.log.tail(), self.stats.received);
        let is_busy = self.is_busy();
        let was_busy = std::mem::replace(&mut self.idle.was_busy, is_busy);
        if seen != self.idle.seen || is_busy || was_busy {
            self.idle.seen = seen;
            self.idle.since = now;
        }
        self.idle.deadline().is_some_and(|at| at <= now)
    }

    /// Whether something is under way in either direction.
    fn is_busy(&self) -> bool {
        self.unacknowledged() > 0
            || !self.outbox.is_empty()
            || self.session.requests() > 0
            || !self.asks.is_empty()
            || self.session.inbound_held() > 0
            || self.session.inbound_remembered() > 0
            || self.answers.open_count() > 0
            || self.closing
    }

    /// Whether there is something that only a connection can bring about.
    pub(super) fn wants_connection(&self) -> bool {
        self.unacknowledged() > 0
            || !self.outbox.is_empty()
            || self.session.requests() > 0
            || !self.asks.is_empty()
            || self.session.sent() < self.log.tail()
            || self.standby.wanted
    }

    /// Whether the client has left for having nothing to do.
    pub(super) fn is_resting(&self) -> bool {
        self.standby.resting || matches!(self.session.phase(), Phase::Resting { .. })
    }
}

impl Client {
    /// Sets how long nothing may happen before the client leaves, or that it stays; see
    /// [`super::ClientOptions::idle_timeout`]. Counts at once. Does not yield.
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.shared.state().idle.timeout = timeout;
        self.shared.wake.set();
    }
}
