//! What a connection was like that has ended, for the line that tells of its end.
//!
//! Which packet a broker did not like it rarely says; how long the connection lasted, and whether it
//! ended right after something was sent, tells a right that is missing from a link that was lost.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use fiber::Instant;
use mqtt::{EndCause, Event, Unanswered};

use crate::explain;

/// The end of a connection, in one line.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    cause: &'a EndCause,
    unanswered: Option<&'a Unanswered>,
    address: Option<SocketAddr>,
    /// How long before its end bytes were last sent on it.
    sent: Option<Duration>,
    lasted: Option<Lasted>,
}

impl<'a> Ended<'a> {
    /// Takes the event of the end of a connection, if it is one, when that connection was accepted if
    /// it is known, and the time of its end.
    pub(crate) fn of(event: &'a Event, accepted: Option<Instant>, now: Instant) -> Option<Self> {
        let Event::Disconnected {
            cause,
            last_sent,
            last_acked,
            unanswered,
            address,
            ..
        } = event
        else {
            return None;
        };
        let lasted = accepted.map(|accepted| Lasted::new(accepted, now, *last_sent, *last_acked));
        // It is told of being accepted a little later than that was so, and bytes may have left before.
        let is_sent = unanswered.is_some();
        let sent = last_sent.filter(|_| is_sent).map(|at| now - at);
        Some(Self {
            cause,
            unanswered: unanswered.as_deref(),
            address: *address,
            sent: sent.or_else(|| lasted.and_then(|lasted| lasted.sent)),
            lasted,
        })
    }
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        if let Some(sent) = self.sent {
            write!(f, ", {} after bytes were last sent", Length(sent))?;
        }
        if let Some(unanswered) = self.unanswered {
            write!(f, ", {unanswered} never acknowledged")?;
        }
        if let Some(code) = explain::code_of_end(self.cause) {
            write!(f, " [{code}]")?;
        }
        if let Some(address) = self.address {
            write!(f, "; to {address}")?;
        }
        let Some(lasted) = self.lasted else {
            return Ok(());
        };
        write!(f, "; {lasted}")?;
        match (self.sent, self.unanswered) {
            (None, None) => f.write_str(", nothing was sent on it"),
            _ => Ok(()),
        }
    }
}

/// How long it lasted, and when something was last done on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lasted {
    age: Duration,
    /// How long before its end bytes were last sent and something was last acknowledged, if at all
    /// since it was accepted.
    sent: Option<Duration>,
    acknowledged: Option<Duration>,
}

impl Lasted {
    /// Takes when it was accepted, when it ended, and when something was last done on it or before.
    pub(crate) fn new(
        accepted: Instant,
        ended: Instant,
        sent: Option<Instant>,
        acknowledged: Option<Instant>,
    ) -> Self {
        let before = |at: Option<Instant>| at.filter(|at| *at > accepted).map(|at| ended - at);
        Self {
            age: ended - accepted,
            sent: before(sent),
            acknowledged: before(acknowledged),
        }
    }
}

impl fmt::Display for Lasted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it lasted {}", Length(self.age))?;
        match self.acknowledged {
            Some(acknowledged) => write!(f, ", last acknowledged {} before", Length(acknowledged)),
            None => f.write_str(", nothing was acknowledged on it"),
        }
    }
}

/// A length of time in the unit that suits it.
struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..10 => write!(f, "{} ms", self.0.as_millis()),
            secs @ 10..600 => write!(f, "{secs} s"),
            secs @ 600..36_000 => write!(f, "{} min", secs / 60),
            secs => write!(f, "{} h", secs / 3_600),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mqtt::SentPacket;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn the_line_has_what_was_not_acknowledged_the_code_and_the_address() {
        let filters = vec!["a/#".to_owned(), "b".to_owned()];
        let packet = SentPacket::Subscribe { filters };
        let event = Event::Disconnected {
            cause: Arc::new(EndCause::ClosedByPeer),
            last_sent: Some(at(1_000)),
            last_acked: None,
            unanswered: Some(Box::new(Unanswered::new(packet, 3))),
            address: Some(([127, 0, 0, 1], 1883).into()),
            retry_in: None,
        };
        let line = Ended::of(&event, Some(at(900)), at(1_041)).unwrap();
        let cause = EndCause::ClosedByPeer;
        assert_eq!(
            line.to_string(),
            format!(
                "{cause}, 41 ms after bytes were last sent, SUBSCRIBE \"a/#\" and 1 more (1 of 3) \
                 never acknowledged [T090]; to 127.0.0.1:1883; it lasted 141 ms, nothing was \
                 acknowledged on it"
            )
        );
    }

    #[test]
    fn what_was_done_on_an_earlier_connection_does_not_count() {
        let lasted = Lasted::new(at(1_000), at(1_041), Some(at(1_039)), Some(at(900)));
        assert_eq!(
            lasted.to_string(),
            "it lasted 41 ms, nothing was acknowledged on it"
        );
        let lasted = Lasted::new(at(1_000), at(3_700_000), None, Some(at(3_688_000)));
        assert_eq!(
            lasted.to_string(),
            "it lasted 61 min, last acknowledged 12 s before"
        );
    }
}
