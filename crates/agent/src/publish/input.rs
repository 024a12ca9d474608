//! All of an input as one message.

use std::io::{self, Read};

use crate::failure::Failure;

/// Most bytes of the standard input that are taken as one message: what a packet has room for.
pub const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024 - 1;

/// Reads an input to its end, on a thread beside. Yields until then; a read that is under way goes on
/// when the wait is stopped.
///
/// # Errors
///
/// [`Failure::Input`], [`Failure::EmptyInput`], for an empty message removes what the broker keeps and
/// whoever made the input may have failed, [`Failure::InputTooLong`] and [`Failure::Stopped`].
pub(super) fn read_all(input: impl Read + Send + 'static) -> Result<Vec<u8>, Failure> {
    let read = fiber::offload(move || {
        let mut bytes = Vec::new();
        let read = input.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map(|_| bytes)
    });
    let bytes: Result<Vec<u8>, io::Error> = match read {
        Ok(read) => read,
        Err(fiber::OffloadError::Stopped(stopped)) => return Err(Failure::Stopped(stopped)),
        Err(error) => Err(error.into()),
    };
    let bytes = bytes.map_err(Failure::Input)?;
    match u64::try_from(bytes.len()) {
        Ok(0) => Err(Failure::EmptyInput),
        Ok(1..=INPUT_BYTES_MAX) => Ok(bytes),
        _ => Err(Failure::InputTooLong),
    }
}
