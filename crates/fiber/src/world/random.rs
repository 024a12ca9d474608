//! The randomness door: bytes from the operating system.

use std::io;

use crate::sys;

/// Fills `buffer` with random bytes fit for keys. Does not yield.
///
/// # Errors
///
/// What the system answered when it has no randomness to give.
pub fn fill(buffer: &mut [u8]) -> io::Result<()> {
    sys::random(buffer)
}
