//! Another connection in the place of one that was lost, as `mosquitto_sub` makes it: for as long as
//! it takes, later and later while there is none to be had.

use std::time::Duration;

use fiber::Instant;
use mqtt::EndCause;
use safe_rt::{Backoff, BackoffOptions, Class};

use crate::connect::Link;
use crate::failure::Failure;
use crate::out;

/// Longest span that the delay before the next attempt is drawn from. Somebody may be watching.
pub const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(10);

/// The delays between the attempts of one program.
#[derive(Debug)]
pub(super) struct Again {
    backoff: Backoff,
    /// When the present connection was accepted.
    accepted: Instant,
}

impl Again {
    /// From when the first connection was accepted.
    pub(super) fn new() -> Self {
        let options = BackoffOptions::new()
            .cap(RECONNECT_DELAY_MAX)
            .long_base(RECONNECT_DELAY_MAX)
            .long_cap(RECONNECT_DELAY_MAX);
        Self {
            backoff: Backoff::new(options),
            accepted: Instant::now(),
        }
    }

    /// Tells that the connection is lost and makes another one. The client's subscriptions are made
    /// again by the client. Yields until the broker has accepted it; the ambient scope limits that.
    ///
    /// # Errors
    ///
    /// [`Failure::Connect`] where the broker refuses the connection, which ends `mosquitto_sub` too;
    /// [`Failure::Randomness`], [`Failure::Stopped`].
    pub(super) fn connect(&mut self, link: &Link, cause: &EndCause) -> Result<(), Failure> {
        out::warning(format_args!("connection lost: {cause}; connecting again"));
        self.backoff.connection_ended(self.accepted.elapsed(), true);
        let mut began = self.accepted;
        loop {
            let since = began.elapsed();
            let delay = self.backoff.next_delay(Class::Short, since, random()?);
            fiber::sleep(delay)?;
            began = Instant::now();
            match link.connect_again() {
                Ok(()) => {
                    self.accepted = Instant::now();
                    return Ok(());
                }
                Err(refused @ Failure::Connect(mqtt::Error::Refused(_))) => return Err(refused),
                Err(failure) => {
                    // The attempt may have been ended from outside.
                    fiber::yield_now()?;
                    log::debug!("no connection: {failure}");
                }
            }
        }
    }
}

/// A number all of whose values are equally likely.
fn random() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    fiber::random::fill(&mut bytes).map_err(Failure::Randomness)?;
    Ok(u64::from_le_bytes(bytes))
}
