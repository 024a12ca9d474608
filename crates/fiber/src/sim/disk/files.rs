//! The files of a disk: what is read and written, what is sure of it, and who has it open.

use std::io;

use super::cut::{Write, put};
use super::{Disk, Node};
use crate::core;
use crate::sim::rng::Rng;
use crate::sim::sockets::system;

/// The largest file of a simulated disk.
const SIM_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A file that a program has open; it is closed with the value.
#[derive(Debug)]
pub(crate) struct SimFile {
    pub(crate) host: u32,
    crashes: u32,
    node: u64,
    handle: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let sim = core::current().and_then(|core| core.sim.clone());
        if let Some(sim) = sim {
            sim.disks.with(self.host, |disk| {
                if let Ok(node) = disk.opened(self) {
                    node.handles.remove(&self.handle);
                    if node.locked_by == Some(self.handle) {
                        node.locked_by = None;
                    }
                }
            });
        }
    }
}

impl Disk {
    /// Opens a file.
    pub(crate) fn open(&mut self, node: u64) -> io::Result<SimFile> {
        let handle = self.number();
        self.node(node)?.handles.insert(handle);
        Ok(SimFile {
            host: self.host,
            crashes: self.crashes,
            node,
            handle,
        })
    }

    /// The file that a program has open: of a machine that crashed since it has not.
    fn opened(&mut self, file: &SimFile) -> io::Result<&mut Node> {
        if file.crashes != self.crashes {
            return Err(system(libc::EBADF));
        }
        self.node(file.node)
    }

    fn check_read(&self, rng: &Rng) -> io::Result<()> {
        if rng.chance(self.failing_reads) {
            return Err(system(libc::EIO));
        }
        Ok(())
    }

    pub(crate) fn whole(&mut self, node: u64, rng: &Rng) -> io::Result<Vec<u8>> {
        self.check_read(rng)?;
        Ok(self.node(node)?.data.clone())
    }

    pub(crate) fn len(&mut self, file: &SimFile) -> io::Result<u64> {
        Ok(self.opened(file)?.data.len() as u64)
    }

    pub(crate) fn read_at(
        &mut self,
        file: &SimFile,
        offset: u64,
        len: usize,
        rng: &Rng,
    ) -> io::Result<Vec<u8>> {
        self.check_read(rng)?;
        let data = &self.opened(file)?.data;
        let begin = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(data.len());
        let end = begin.saturating_add(len).min(data.len());
        Ok(data[begin..end].to_vec())
    }

    pub(crate) fn append(&mut self, file: &SimFile, bytes: Vec<u8>, rng: &Rng) -> io::Result<u64> {
        let offset = self.len(file)?;
        self.write_at(file, offset, bytes, rng)?;
        Ok(offset)
    }

    /// Writes as much as the disk takes; all of it, or it is an error.
    pub(crate) fn write_at(
        &mut self,
        file: &SimFile,
        offset: u64,
        mut bytes: Vec<u8>,
        rng: &Rng,
    ) -> io::Result<()> {
        self.check_writable()?;
        let len = self.len(file)?;
        let end = offset.saturating_add(bytes.len() as u64);
        if end > SIM_FILE_BYTES_MAX {
            return Err(system(libc::EFBIG));
        }
        let mut failed = None;
        let end_max = len.max(offset).saturating_add(self.room());
        let missing = usize::try_from(end.saturating_sub(end_max)).unwrap_or(usize::MAX);
        if missing > 0 {
            bytes.truncate(bytes.len().saturating_sub(missing));
            failed = Some(libc::ENOSPC);
        }
        if rng.chance(self.failing_writes) {
            bytes.truncate(rng.index(bytes.len() + 1));
            failed = Some(libc::EIO);
        }
        let node = self.opened(file)?;
        if !bytes.is_empty() {
            let offset = usize::try_from(offset).map_err(|_| system(libc::EFBIG))?;
            put(&mut node.data, offset, &bytes);
            node.writes.push(Write::At(offset, bytes));
        }
        failed.map_or(Ok(()), |code| Err(system(code)))
    }

    pub(crate) fn set_len(&mut self, file: &SimFile, len: u64) -> io::Result<()> {
        self.check_writable()?;
        if len > SIM_FILE_BYTES_MAX {
            return Err(system(libc::EFBIG));
        }
        if len.saturating_sub(self.len(file)?) > self.room() {
            return Err(system(libc::ENOSPC));
        }
        let len = usize::try_from(len).map_err(|_| system(libc::EFBIG))?;
        let node = self.opened(file)?;
        node.data.resize(len, 0);
        node.writes.push(Write::Len(len));
        Ok(())
    }

    pub(crate) fn sync(&mut self, file: &SimFile, rng: &Rng) -> io::Result<()> {
        let fails = rng.chance(self.failing_syncs);
        let node = self.opened(file)?;
        for write in node.writes.drain(..) {
            // After a failure the system takes the rest for written, as Linux does: it is seen
            // until the power goes, and the next sync keeps none of it.
            if !fails || rng.below(2) == 0 {
                write.apply(&mut node.durable);
            }
        }
        if fails {
            return Err(system(libc::EIO));
        }
        Ok(())
    }

    /// Locks a file for one who has it open, unless another has.
    pub(crate) fn lock(&mut self, file: &SimFile) -> io::Result<bool> {
        let node = self.opened(file)?;
        let holder = *node.locked_by.get_or_insert(file.handle);
        Ok(holder == file.handle)
    }
}
