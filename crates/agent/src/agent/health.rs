//! What is wrong with an agent, as it is at this moment.

use std::collections::BTreeSet;
use std::time::Duration;

use fiber::Instant;
use safe_rt::ClockVerdict;

use super::Agent;
use super::fibers::SERVICE_ENDED_WINDOW;
use crate::supervise::{HealthCode, Link, Supervisor};

/// How long it is told that messages were dropped, after the last one.
const DROPPED_WINDOW: Duration = Duration::from_secs(600);
/// How long after twice the keep-alive the fiber of a connection counts as stuck.
const TURN_GRACE: Duration = Duration::from_secs(60);

impl Agent {
    /// How the connection stands and what is wrong. Does not yield.
    #[must_use]
    pub fn supervisor(&self) -> Supervisor {
        self.look();
        self.0.watch.supervisor.borrow().clone()
    }

    /// Says what is stuck, if anything is.
    pub(crate) fn stuck(&self) -> Option<String> {
        let now = Instant::now();
        let supervisor = self.0.watch.supervisor.borrow();
        let client = self.mqtt();
        let is_up = matches!(supervisor.link(), Link::Up { .. });
        supervisor.stuck(now).or_else(|| {
            let quiet = now - client.last_turn();
            is_silent(client.keep_alive(), quiet)
                .filter(|_| is_up)
                .map(|late| {
                    format!("the fiber of the connection does nothing, {late} s longer than it may")
                })
        })
    }

    /// Notes something that is wrong.
    pub(crate) fn raise(&self, code: HealthCode, text: impl Into<String>) {
        let mut supervisor = self.0.watch.supervisor.borrow_mut();
        supervisor.raise(code, text, Instant::now());
    }

    /// Notes that something is not wrong any more.
    pub(crate) fn clear(&self, code: HealthCode) {
        self.0.watch.supervisor.borrow_mut().clear(code);
    }

    /// The topic filters that the broker refused, to be asked for again.
    pub(crate) fn take_refused_filters(&self) -> BTreeSet<String> {
        self.0.watch.supervisor.borrow_mut().take_refused()
    }

    /// Looks at what no event tells the end of.
    fn look(&self) {
        let (now, wall) = (Instant::now(), fiber::wall_time());
        let (inner, client) = (&self.0, self.mqtt());
        inner.watch.supervisor.borrow_mut().settle(now);
        let set = |code, text: Option<String>| match text {
            Some(text) => self.raise(code, text),
            None => self.clear(code),
        };
        let blocked = self.throttle().spared().blocked_until;
        let blocked = blocked.map(|until| until.duration_since(wall).unwrap_or_default());
        let text = |left: Duration| {
            let left = crate::notify::spelled(left);
            format!("the cloud asked to be left alone, for another {left}")
        };
        set(HealthCode::Blocked, blocked.map(text));
        let behind = match inner.floor.check(wall) {
            ClockVerdict::Plausible => None,
            _ => Some("the clock shows a time that is past for certain".to_owned()),
        };
        set(HealthCode::ClockImplausible, behind);
        if !client.is_throttled() {
            self.clear(HealthCode::Throttled);
        }
        if !client.is_stalled() {
            self.clear(HealthCode::HandlerStalled);
        }
        let stats = client.stats();
        let total = stats.dropped_oldest + stats.dropped_newest + self.readings_lost();
        let (known, mut since) = inner.dropped.get();
        if total > known {
            since = Some(now);
        }
        inner.dropped.set((total, since));
        let is_recent = since.is_some_and(|at| now - at < DROPPED_WINDOW);
        let dropped = is_recent
            .then(|| format!("{total} messages were dropped since the start, some lately"));
        set(HealthCode::QueueDropped, dropped);
        let mut ended = inner.ended.borrow_mut();
        ended.retain(|_, at| now - *at < SERVICE_ENDED_WINDOW);
        if ended.is_empty() {
            self.clear(HealthCode::ServiceEnded);
        }
    }
}

/// How much longer the fiber of a connection is silent than it may, in seconds.
fn is_silent(keep_alive: Duration, quiet: Duration) -> Option<u64> {
    if keep_alive.is_zero() {
        return None;
    }
    let late = quiet.checked_sub(2 * keep_alive + TURN_GRACE)?;
    Some(late.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_whose_fiber_hangs_is_stuck_and_one_without_keep_alive_never_is() {
        let minute = Duration::from_secs(60);
        assert_eq!(is_silent(minute, 3 * minute - Duration::from_secs(1)), None);
        assert_eq!(is_silent(minute, 4 * minute), Some(60));
        assert_eq!(is_silent(Duration::ZERO, 1_000 * minute), None);
    }
}
