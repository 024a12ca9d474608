//! Keeps what others bring about, as often as they like, from filling the log.

use core::cell::Cell;
use core::time::Duration;

use fiber::Instant;

/// The least time between two lines of the log about the same thing.
pub(crate) const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Lets one line into the log per [`LOG_PAUSE`] and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    opens: Cell<Option<Instant>>,
    kept_back: Cell<u64>,
}

impl LogGate {
    /// Returns whether a line may be written now, and then how many were kept back since the last.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        if self.opens.get().is_some_and(|opens| now < opens) {
            self.kept_back.set(self.kept_back.get().saturating_add(1));
            return None;
        }
        self.opens.set(Some(now + LOG_PAUSE));
        Some(self.kept_back.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_per_pause_and_tells_how_many_did_not() {
        let gate = LogGate::default();
        let begin = Instant::from_nanos(5);
        let pause = u64::try_from(LOG_PAUSE.as_nanos()).unwrap();
        let table = [
            (0, Some(0)),
            (0, None),
            (1, None),
            (pause - 1, None),
            (pause, Some(3)),
            (2 * pause - 1, None),
            (9 * pause, Some(1)),
            (10 * pause, Some(0)),
        ];
        for (nanos, expected) in table {
            let now = begin + Duration::from_nanos(nanos);
            assert_eq!(gate.pass(now), expected, "after {nanos} ns");
        }
    }
}
