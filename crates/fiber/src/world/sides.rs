//! What doors with two sides have in common: which side it is, and vectored calls in the simulator.

use std::io::{self, IoSlice, IoSliceMut};

use crate::core;

/// Whether what is made now belongs to a simulated world.
pub(super) fn in_simulator() -> bool {
    core::current().is_some_and(|core| core.sim.is_some())
}

/// A vectored read by one that is not.
pub(super) fn read_parts(
    buffers: &mut [IoSliceMut<'_>],
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut bytes = vec![0; buffers.iter().map(|buffer| buffer.len()).sum()];
    let n = read(&mut bytes)?;
    let mut rest = &bytes[..n];
    for buffer in buffers {
        let part = rest.len().min(buffer.len());
        buffer[..part].copy_from_slice(&rest[..part]);
        rest = &rest[part..];
    }
    Ok(n)
}

/// A vectored write by one that is not.
pub(super) fn write_parts(
    buffers: &[IoSlice<'_>],
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let bytes: Vec<u8> = buffers.iter().flat_map(|b| b.iter().copied()).collect();
    write(&bytes)
}
