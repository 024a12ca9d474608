//! The randomness door: bytes from the operating system.

use std::io;

#[cfg(feature = "sim")]
use crate::core;
use crate::sys;

/// Fills `buffer` with random bytes fit for keys. Does not yield.
///
/// In the simulator they are drawn from the seed: fit for nothing but tests.
///
/// # Errors
///
/// What the system answered when it has no randomness to give.
pub fn fill(buffer: &mut [u8]) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if let Some(sim) = core::current().and_then(|core| core.sim.clone()) {
        sim.fill(buffer);
        return Ok(());
    }
    sys::random(buffer)
}
