//! Notices that the machine slept, or that the program was stopped, by a look that comes too late.
//!
//! The clock goes on in a machine that sleeps, so a look that was due meanwhile is made right after the
//! sleep. The broker may have given the connection up by then, and a router forgotten it, without a word:
//! it is asked at once, with little time to answer.

use std::time::Duration;

use fiber::{Instant, Stopped};

use crate::agent::Agent;
use crate::notify::spelled;

/// Time between two looks.
const LOOK_PACE: Duration = Duration::from_secs(5);
/// A look that comes later than this was slept through. What a busy machine delays is less.
pub(crate) const ASLEEP_MIN: Duration = Duration::from_secs(5);
/// How long the broker may take to answer after that, before a new connection is made.
pub(crate) const AWAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks until it is stopped: the body of a fiber. Yields.
///
/// # Errors
///
/// [`Stopped`], always.
pub(crate) fn serve(agent: &Agent) -> Result<(), Stopped> {
    loop {
        let due = Instant::now() + LOOK_PACE;
        fiber::sleep_until(due)?;
        let late = Instant::now() - due;
        if late >= ASLEEP_MIN {
            let slept = spelled(late);
            log::info!("nothing ran for {slept}: is the broker still there?");
            agent.mqtt().probe(AWAKE_TIMEOUT);
        }
    }
}
