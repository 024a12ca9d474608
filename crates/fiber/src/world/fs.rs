//! The file door: whole files, read off the thread.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the door that others must use"
)]

use std::io;
use std::path::PathBuf;

use crate::world::offload::{Lane, offload_on};

/// Reads a whole file. Yields until it is read.
///
/// # Errors
///
/// What the system answered; or the wait ended early, see [`crate::cause`].
pub fn read(path: impl Into<PathBuf>) -> io::Result<Vec<u8>> {
    let path = path.into();
    offload_on(Lane::Files, move || std::fs::read(path))?
}
