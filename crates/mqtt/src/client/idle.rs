//! Leaving a connection on which nothing happens, and coming back when there is something to do.
//!
//! The driver looks from time to time whether anything went since it looked last: the outbound log
//! grows by every message and request, and the count of received messages by every message. So
//! nobody notes an activity, and a client without this pays nothing.

use std::time::Duration;

use fiber::Instant;

use super::Client;
use super::shared::{State, now};
use crate::outbound_log::LogOffset;
use crate::seldom::Seldom;
use crate::session::Phase;
use crate::time::Time;

/// Since when nothing happens.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// How long that may last.
    timeout: Option<Duration>,
    since: Time,
    /// The end of the log, and how many messages had come, when that was looked at.
    seen: (LogOffset, u64),
    /// Something was under way then.
    was_busy: bool,
    /// The program wants the connection left, whatever happens on it.
    leave: Option<Leave>,
}

/// That the connection is to be left for now.
#[derive(Clone, Copy, Debug)]
struct Leave {
    /// When to try next: everything must be sent first.
    again: Time,
    /// When it is left even so.
    by: Time,
}

/// How soon the next attempt to leave is made, while something is on its way out.
const LEAVE_PAUSE: Duration = Duration::from_millis(10);
/// How long what is on its way out may hold back that the connection is left for now.
pub const REST_TIMEOUT: Duration = Duration::from_secs(2);

impl Idle {
    /// That of a client that leaves after this time, if it does.
    pub(super) fn new(timeout: Option<Duration>) -> Seldom<Self> {
        let mut idle = Seldom::<Self>::new();
        if timeout.is_some() {
            idle.timeout = timeout;
        }
        idle
    }

    fn touch(&mut self, now: Time) {
        self.since = now;
        if let Some(leave) = &mut self.leave {
            leave.again = now + LEAVE_PAUSE;
        }
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Time> {
        let idle = self.timeout.map(|timeout| self.since + timeout);
        Time::earlier(idle, self.leave.map(|leave| leave.again))
    }

    /// Whether the connection may be left at all for having nothing to do.
    #[inline]
    const fn is_watched(&self) -> bool {
        self.timeout.is_some() || self.leave.is_some()
    }

    /// Whether the connection was to be left by now.
    pub(super) fn is_overdue(&self, now: Time) -> bool {
        self.leave.is_some_and(|leave| leave.by <= now)
    }
}

impl State {
    /// Whether nothing has happened for so long that the connection is to be left.
    pub(super) fn is_idle(&mut self, now: Time) -> bool {
        let is_busy = self.is_busy();
        let Some(idle) = self.idle.get_mut() else {
            return false;
        };
        if idle.leave.is_some_and(|leave| leave.again <= now) {
            return true;
        }
        let Some(timeout) = idle.timeout else {
            return false;
        };
        let seen = (self.log.tail(), self.received);
        let was_busy = std::mem::replace(&mut idle.was_busy, is_busy);
        if seen != idle.seen || is_busy || was_busy {
            idle.seen = seen;
            idle.since = now;
        }
        idle.since + timeout <= now
    }

    /// Whether somebody looks whether the connection may be left.
    #[inline]
    pub(super) fn may_get_idle(&self) -> bool {
        self.idle.get().is_some_and(Idle::is_watched)
    }

    /// Notes a sign that the connection is wanted.
    pub(super) fn touch(&mut self, now: Time) {
        if let Some(idle) = self.idle.get_mut() {
            idle.touch(now);
        }
    }

    /// Notes that the connection is over.
    pub(super) fn left(&mut self) {
        if let Some(idle) = self.idle.get_mut() {
            idle.leave = None;
        }
    }

    /// Whether something is under way in either direction.
    fn is_busy(&self) -> bool {
        self.unacknowledged() > 0
            || !self.outbox.is_empty()
            || self.session.requests() > 0
            || !self.asks.is_empty()
            || self.session.inbound_held() > 0
            || self.session.inbound_remembered() > 0
            || self.has_open_answers()
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
        {
            let mut state = self.shared.state();
            if state.idle.get().is_none() {
                // Nobody has noted when something happened.
                state.idle.touch(now());
            }
            state.idle.timeout = timeout;
        }
        self.shared.wake.set();
    }

    /// Leaves the connection, by DISCONNECT, and makes none before `until`, which counts as for
    /// [`Client::pause_until`]; [`Client::retry_now`] makes the next one then. What is published
    /// meanwhile waits, what the broker had not acknowledged is sent again with the next connection,
    /// and subscriptions stay. Does not yield. A client of [`Client::over`] takes no notice.
    ///
    /// What is on its way out goes first, for [`REST_TIMEOUT`] at most: after that the connection is
    /// dropped, and the broker publishes the will.
    pub fn rest_until(&self, until: Instant) {
        if !self.shared.connects {
            return;
        }
        {
            let mut state = self.shared.state();
            if let Phase::Connecting { .. } | Phase::Up { .. } = state.session.phase() {
                let now = now();
                state.idle.leave = Some(Leave {
                    again: now,
                    by: now + REST_TIMEOUT,
                });
            }
            state.standby.wanted = false;
        }
        self.pause_until(until);
    }
}
