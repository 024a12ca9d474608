//! Keep-alive: notices within a bounded time that the peer is gone.
//!
//! Two clocks run, one since the transport last took a byte, one since a byte was last received.
//! When either reaches `ping_after`, PINGREQ goes into the control buffer; any received byte
//! answers it. The time allowed for the answer runs from when PINGREQ is the oldest unsent byte,
//! starts again whenever the transport takes bytes, and ends at four times its length at last.
//! Apart from that, a transport that takes nothing while bytes wait is given up after the same time.
//! Who has a reason to doubt the link may allow less, for one PINGREQ.
//!
//! ```text
//!             PINGREQ encoded          oldest unsent byte           no byte in time
//!     Idle ───────────────────► Queued ─────────────────► Awaiting ────────────────► link is dead
//!      ▲                           │ byte received             │ byte received
//!      └──────── sent ─────── Answered ◄───────────────────────┘
//! ```
//! Clauses: MQTT3-3.1.2-23; section 3.1.2.10 on a PINGRESP that does not come.

use std::time::Duration;

use crate::outbound_log::LogOffset;
use crate::time::Time;

/// The least time allowed for an answer to PINGREQ.
const PING_TIMEOUT_MIN: Duration = Duration::from_secs(5);
/// The most time allowed for an answer to PINGREQ; also what a stalled transport is given where
/// there are no pings.
const PING_TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// How many times as long as allowed an answer is waited for while the transport takes bytes.
const PROLONGED: u32 = 4;
/// The least silence before PINGREQ.
const PING_AFTER_MIN: Duration = Duration::from_secs(1);

/// The clocks of one connection.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct KeepAlive {
    /// `None`: no pings.
    ping_after: Option<Duration>,
    timeout: Duration,
    last_sent: Time,
    last_received: Time,
    /// Since when the transport takes nothing though bytes wait.
    blocked_since: Option<Time>,
    ping: Ping,
    /// By when the PINGREQ that is under way must be answered, if somebody said so.
    answer_by: Option<Time>,
}

/// Where PINGREQ stands; `end` is its end in the control buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    Idle,
    Queued { end: LogOffset },
    Awaiting { end: LogOffset, since: Time },
    Answered { end: LogOffset },
}

/// Which of the two limits ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    NoAnswer,
    WriteStall,
}

impl KeepAlive {
    /// Starts the clocks. Without `ping_after` PINGREQ follows the keep-alive, and a keep-alive of
    /// 0 means none.
    pub(super) fn new(keep_alive_secs: u16, ping_after: Option<Duration>, now: Time) -> Self {
        let keep_alive = Duration::from_secs(keep_alive_secs.into());
        let keep_alive = (!keep_alive.is_zero()).then_some(keep_alive);
        let ping_after = ping_after.or(keep_alive);
        let period = keep_alive.or(ping_after);
        let timeout = period.map_or(PING_TIMEOUT_MAX, |period| {
            (period / 2).clamp(PING_TIMEOUT_MIN, PING_TIMEOUT_MAX)
        });
        Self {
            ping_after: ping_after.map(|after| after.max(PING_AFTER_MIN)),
            timeout,
            last_sent: now,
            last_received: now,
            blocked_since: None,
            ping: Ping::Idle,
            answer_by: None,
        }
    }

    /// Notes that the transport took bytes.
    #[inline]
    pub(super) fn sent(&mut self, now: Time) {
        self.last_sent = now;
        self.blocked_since = None;
    }

    /// Notes that the transport takes nothing though bytes wait.
    pub(super) fn blocked(&mut self, now: Time) {
        self.blocked_since.get_or_insert(now);
    }

    /// Notes received bytes.
    #[inline]
    pub(super) fn received(&mut self, now: Time) {
        self.last_received = now;
        if let Ping::Queued { end } | Ping::Awaiting { end, .. } = self.ping {
            self.ping = Ping::Answered { end };
        }
    }

    /// Notes that a PINGREQ that ends at `end` is in the control buffer.
    pub(super) fn queued(&mut self, end: LogOffset) {
        self.ping = Ping::Queued { end };
        self.answer_by = None;
    }

    /// Gives the PINGREQ that is under way until then to be answered, whatever the transport takes.
    pub(super) const fn answer_by(&mut self, limit: Time) {
        self.answer_by = Some(limit);
    }

    /// Tells whether a PINGREQ is under way, so that another would be of no use.
    #[inline]
    pub(super) fn is_pinging(&self, control_sent: LogOffset) -> bool {
        match self.ping {
            Ping::Idle => false,
            Ping::Queued { .. } | Ping::Awaiting { .. } => true,
            Ping::Answered { end } => control_sent < end,
        }
    }

    /// Tells whether a PINGREQ in the control buffer waits to become the oldest unsent byte.
    #[inline]
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.ping, Ping::Queued { .. })
    }

    /// Notes that the control buffer was sent up to `control_sent`, and nothing else comes before
    /// its next byte.
    pub(super) fn control_is_next(&mut self, control_sent: LogOffset, now: Time) {
        if let Ping::Queued { end } = self.ping
            && control_sent.plus(PINGREQ_LEN) >= end
        {
            self.ping = Ping::Awaiting { end, since: now };
        }
    }

    /// Returns when PINGREQ is due, if none is under way.
    #[inline]
    pub(super) fn ping_due(&self, control_sent: LogOffset) -> Option<Time> {
        let quiet_since = self.last_sent.min(self.last_received);
        let after = self.ping_after?;
        (!self.is_pinging(control_sent)).then(|| quiet_since + after)
    }

    /// Returns when the link must be given up, and why, unless something happens before.
    #[inline]
    pub(super) fn give_up(&self) -> Option<(Time, Silence)> {
        match (self.ping, self.blocked_since) {
            (Ping::Idle | Ping::Answered { .. }, None) => None,
            (_, _) => self.limits(),
        }
    }

    /// As [`KeepAlive::give_up`], where something is waited for.
    #[cold]
    fn limits(&self) -> Option<(Time, Silence)> {
        let stall = self
            .blocked_since
            .map(|since| (since + self.timeout, Silence::WriteStall));
        let answer = match self.ping {
            Ping::Awaiting { since, .. } => {
                let prolonged = since.max(self.last_sent) + self.timeout;
                let limit = since + self.timeout * PROLONGED;
                Some((prolonged.min(limit), Silence::NoAnswer))
            }
            Ping::Idle | Ping::Queued { .. } | Ping::Answered { .. } => None,
        };
        let asked = match self.ping {
            Ping::Queued { .. } | Ping::Awaiting { .. } => self.answer_by,
            Ping::Idle | Ping::Answered { .. } => None,
        };
        let asked = asked.map(|limit| (limit, Silence::NoAnswer));
        [answer, asked, stall]
            .into_iter()
            .flatten()
            .min_by_key(|(deadline, _)| *deadline)
    }

    /// Returns how long an answer to PINGREQ may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns when bytes last went in either direction.
    pub(super) fn last_activity(&self) -> Time {
        self.last_sent.max(self.last_received)
    }
}

/// The length of PINGREQ in bytes, in every version.
const PINGREQ_LEN: usize = 2;

#[cfg(test)]
mod tests;
