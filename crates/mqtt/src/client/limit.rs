//! How long calls wait: as long as a scope around them says, else the client's operation timeout.

use std::time::Duration;

use fiber::{Instant, Stopped};

use super::shared::Shared;

/// Shorter operation timeouts count from a reading of the clock. For longer ones the loop's last reading
/// does, which is as old as the turn that the fiber has had.
const EXACT_BELOW: Duration = Duration::from_secs(10);

impl Shared {
    /// When a single wait that begins now is to end: after the client's operation timeout, unless a
    /// scope has set a limit. A long one is counted from when the event loop last read the clock.
    #[inline]
    pub(super) fn limit(&self) -> Option<Instant> {
        let timeout = self.options.operation_timeout?;
        match fiber::ambient_deadline() {
            None if timeout < EXACT_BELOW => Some(Instant::now() + timeout),
            None => Some(Instant::recent() + timeout),
            Some(_) => None,
        }
    }

    /// Runs what waits, several times perhaps, under the client's operation timeout, unless a scope has
    /// set a limit.
    pub(super) fn limited<T, E>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        match self.options.operation_timeout {
            Some(timeout) if fiber::ambient_deadline().is_none() => {
                fiber::timeout(timeout, body).unwrap_or_else(|elapsed| elapsed.0)
            }
            Some(_) | None => body(),
        }
    }
}

/// Parks until a wake, or `limit`; returns whether that has come.
#[inline]
pub(super) fn park_within(limit: Option<Instant>) -> Result<bool, Stopped> {
    match limit {
        Some(at) => fiber::park_until(at),
        None => fiber::park().map(|()| false),
    }
}
