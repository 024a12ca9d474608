//! The file door: whole files and who may read them, off the thread.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the door that others must use"
)]

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::world::offload::{Lane, offload_on};

/// Largest file that [`read`] takes, in bytes: certificates, keys, settings and messages are far
/// smaller, and a device file has no end.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a whole file. Yields until it is read.
///
/// # Errors
///
/// What the system answered; [`io::ErrorKind::FileTooLarge`] beyond [`FILE_BYTES_MAX`]; or the wait
/// ended early, see [`crate::cause`].
pub fn read(path: impl Into<PathBuf>) -> io::Result<Vec<u8>> {
    let path = path.into();
    offload_on(Lane::Files, move || {
        let mut bytes = Vec::new();
        let read = File::open(path)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        if read as u64 > FILE_BYTES_MAX {
            let what = format!("expected a file of at most {FILE_BYTES_MAX} bytes, found more");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        Ok(bytes)
    })?
}

/// Returns the permission bits of a file, `0o640` for example; those of a link's target. Yields.
///
/// # Errors
///
/// What the system answered, or the wait ended early, see [`crate::cause`].
pub fn permissions(path: impl Into<PathBuf>) -> io::Result<u32> {
    let path = path.into();
    offload_on(Lane::Files, move || {
        fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o7777)
    })?
}
