//! How messages wait for answers that are on their way, so that many leave in one write; and how the
//! driver rests meanwhile.
//!
//! A server that answers singly would wake this fiber for each answer, and be held up by that itself: to
//! wake a thread that sleeps takes longer than to write. So while messages are held the socket is not
//! watched, for about as long as the answers take that end the hold, as far as that is known from the last
//! ones:
//!
//! ```text
//!   read, some answers ─► messages follow them, and are held ─► rest ─► read, the answers that came ─► write
//!                              ▲                                           │ too few
//!                              └───────────────────────────────────────────┘
//! ```
//! Nothing waits longer for a rest than it may be held.

use std::time::Duration;

use fiber::Source as _;

use super::Driver;
use crate::client::shared::{State, now};
use crate::time::Time;

/// How long messages wait at most for acknowledgements, so that many leave in one write.
const HOLD_TIMEOUT: Duration = Duration::from_millis(1);
/// A rest is for so many answers at least: for fewer it costs more than their wakes.
const REST_ANSWERS_MIN: usize = 4;
/// A shorter rest is none: setting the timer takes a good part of it.
const REST_MIN: Duration = Duration::from_micros(20);

/// What waits for answers, and how fast these come.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// What is unsent waits, at most until then.
    until: Option<Time>,
    /// The socket is not looked at before.
    rest_until: Option<Time>,
    /// Answers have come since the last rest.
    has_answers: bool,
    /// When the socket was last read.
    read_at: Time,
    /// From one answer to the next, while messages were held.
    interval: Option<Duration>,
}

impl Hold {
    /// Until when what is unsent waits, if it does.
    #[inline]
    pub(super) const fn until(&self) -> Option<Time> {
        self.until
    }

    /// Whether the socket is left alone.
    #[inline]
    pub(super) fn rests(&mut self) -> bool {
        self.rest_until = self.rest_until.filter(|at| now() < *at);
        self.rest_until.is_some()
    }

    /// Until when the socket is left alone, if it is.
    #[inline]
    pub(super) const fn rest_until(&self) -> Option<Time> {
        self.rest_until
    }

    /// Nothing waits any more.
    #[inline]
    pub(super) const fn end(&mut self) {
        self.until = None;
        self.rest_until = None;
    }

    /// The socket is looked at again.
    #[inline]
    pub(super) const fn end_rest(&mut self) {
        self.rest_until = None;
    }

    /// How long a rest for so many answers is to be, from now on.
    fn rest_for(&self, answers: usize, until: Time, now: Time) -> Option<Time> {
        if !self.has_answers || answers < REST_ANSWERS_MIN {
            return None;
        }
        let answers = u32::try_from(answers).unwrap_or(u32::MAX);
        let at = self.read_at + self.interval?.saturating_mul(answers);
        let at = at.min(until);
        (at - now >= REST_MIN).then_some(at)
    }

    /// Notes that the socket was read, and how many answers came while messages were held.
    #[inline]
    pub(super) fn note_read(&mut self, answers: usize, now: Time) {
        if answers > 0 {
            self.note_answers(answers, now);
        }
        self.rest_until = None;
        self.read_at = now;
    }

    fn note_answers(&mut self, answers: usize, now: Time) {
        let Some(until) = self.until else {
            return;
        };
        self.has_answers = true;
        let since = self.read_at.0.max(until.0 - nanos(HOLD_TIMEOUT));
        let each = Duration::from_nanos(now.0.saturating_sub(since) / answers as u64);
        let before = self.interval.unwrap_or(each);
        self.interval = Some((before + each) / 2);
    }
}

#[allow(clippy::cast_possible_truncation)]
const fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

impl Driver<'_> {
    /// Whether what is unsent had better wait for acknowledgements that are on their way.
    pub(super) fn holds(&mut self, state: &State, now: Time) -> bool {
        let may_hold = self.shared.options.coalesce
            && state.asks.is_empty()
            && !state.is_sent_awaited()
            && !state.closing
            && !self.left;
        let answers = if may_hold {
            state.session.answers_to_hold_for(&state.log)
        } else {
            0
        };
        if answers == 0 {
            self.hold.end();
            return false;
        }
        let until = *self.hold.until.get_or_insert(now + HOLD_TIMEOUT);
        if until <= now {
            self.hold.end();
            return false;
        }
        self.rest(answers, until, now);
        true
    }

    /// Leaves the socket alone until so many answers may have come, if that is worth it.
    fn rest(&mut self, answers: usize, until: Time, now: Time) {
        let readable = self.socket.readable();
        if self.behind || self.overrun.is_some() || self.unflushed || readable.is_ready() {
            return;
        }
        if let Some(at) = self.hold.rest_for(answers, until, now) {
            readable.unwatch();
            self.hold.rest_until = Some(at);
            self.hold.has_answers = false;
        }
    }
}
