//! What a connection was like that has ended, for the line that tells of its end.
//!
//! Which packet a broker did not like it rarely says; how long the connection lasted, and whether it
//! ended right after something was sent, tells a right that is missing from a link that was lost.

use std::fmt;
use std::time::Duration;

use fiber::Instant;

/// How long it lasted, and what was last done on it.
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
        match self.sent {
            Some(sent) => write!(f, ", last sent {} before its end", Length(sent))?,
            None => f.write_str(", nothing was sent on it")?,
        }
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
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn what_was_done_on_an_earlier_connection_does_not_count() {
        let lasted = Lasted::new(at(1_000), at(1_041), Some(at(1_039)), Some(at(900)));
        assert_eq!(
            lasted.to_string(),
            "it lasted 41 ms, last sent 2 ms before its end, nothing was acknowledged on it"
        );
        let lasted = Lasted::new(at(1_000), at(3_700_000), None, Some(at(3_688_000)));
        assert_eq!(
            lasted.to_string(),
            "it lasted 61 min, nothing was sent on it, last acknowledged 12 s before"
        );
    }
}
