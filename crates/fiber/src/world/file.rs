//! Files of the file door, see `fs.rs`.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the door that others must use"
)]

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "sim")]
use crate::core;
#[cfg(feature = "sim")]
use crate::sim::{Pace, SimFile};
use crate::sys;
use crate::world::fs::{FILE_BYTES_MAX, FILE_MODE, on_disk, open_regular};
use crate::world::offload::{Lane, offload_on};

/// A file that is read and written in places.
#[derive(Debug)]
pub struct File(Side);

#[derive(Clone, Debug)]
enum Side {
    Real(Arc<fs::File>),
    #[cfg(feature = "sim")]
    Sim(Arc<SimFile>),
}

/// As [`on_disk`], for a file that is open.
macro_rules! on_file {
    ($self:ident, |$disk:ident, $rng:ident, $node:ident| $simulated:expr, |$file:ident| $real:expr) => {
        on_file!($self, Usual | $disk, $rng, $node | $simulated, |$file| {
            $real
        })
    };
    ($self:ident, $pace:ident |$disk:ident, $rng:ident, $node:ident| $simulated:expr, |$file:ident| $real:expr) => {
        match &$self.0 {
            Side::Real(file) => {
                let $file = Arc::clone(file);
                offload_on(Lane::Files, move || $real)?
            }
            #[cfg(feature = "sim")]
            Side::Sim(file) => {
                let core = core::required()?;
                let sim = core.sim.as_ref().ok_or(crate::Stopped::NoRuntime)?;
                let how = (Some(file.host), Pace::$pace);
                sim.on_disk(&core, how, Arc::clone(file), move |$disk, $rng, file| {
                    let ($node, _) = (&**file, $rng);
                    $simulated
                })
            }
        }
    };
}

impl File {
    /// Opens a regular file that is there. Yields.
    ///
    /// # Errors
    ///
    /// What the system answered; [`io::ErrorKind::InvalidInput`] for a pipe or a device; or the wait
    /// ended early, see [`crate::cause`].
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        on_disk!(
            |disk, rng| {
                let node = disk.find(&path)?;
                disk.check_writable()?;
                Ok(Self(Side::Sim(Arc::new(disk.open(node)?))))
            },
            move || {
                let mut options = fs::OpenOptions::new();
                let file = open_regular(options.read(true).write(true), &path)?;
                Ok(Self(Side::Real(Arc::new(file))))
            }
        )
    }

    /// Opens a file, which is made, for its owner alone, if it is not there. What is in it stays.
    /// Yields. A new file is sure to be there after a power cut once [`crate::fs::sync_dir`] of its
    /// folder returned.
    ///
    /// # Errors
    ///
    /// What the system answered, or the wait ended early: then it may be done all the same.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        on_disk!(
            |disk, rng| {
                let node = disk.make(&path)?;
                disk.check_writable()?;
                Ok(Self(Side::Sim(Arc::new(disk.open(node)?))))
            },
            move || {
                let mut options = fs::OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false);
                let file = open_regular(options.mode(FILE_MODE), &path)?;
                Ok(Self(Side::Real(Arc::new(file))))
            }
        )
    }

    /// Makes a file, for its owner alone, that is not there. Yields. It is sure to be there after a
    /// power cut once [`crate::fs::sync_dir`] of its folder returned.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] where the name stands for anything, a link to nowhere included;
    /// what else the system answered, or the wait ended early: then it may be done all the same.
    pub fn create_new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        on_disk!(
            |disk, rng| {
                if disk.is_folder(&path).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let node = disk.make(&path)?;
                disk.check_writable()?;
                Ok(Self(Side::Sim(Arc::new(disk.open(node)?))))
            },
            move || {
                let mut options = fs::OpenOptions::new();
                options.read(true).write(true).create_new(true);
                let file = open_regular(options.mode(FILE_MODE), &path)?;
                Ok(Self(Side::Real(Arc::new(file))))
            }
        )
    }

    /// Writes at the end, and returns where that was. Yields. One program at a time may do so.
    ///
    /// # Errors
    ///
    /// What the system answered, [`io::ErrorKind::StorageFull`] for example, or the wait ended
    /// early. Any part of it may have been written then.
    pub fn append(&self, bytes: impl Into<Vec<u8>>) -> io::Result<u64> {
        let bytes = bytes.into();
        on_file!(
            self,
            |disk, rng, node| disk.append(node, bytes, rng),
            |file| {
                let at = file.metadata()?.len();
                file.write_all_at(&bytes, at)?;
                Ok(at)
            }
        )
    }

    /// Writes at `offset`, over what is there; what is between the end of the file and `offset`
    /// reads as zeros. Yields.
    ///
    /// # Errors
    ///
    /// As [`File::append`].
    pub fn write_at(&self, offset: u64, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        let bytes = bytes.into();
        on_file!(
            self,
            |disk, rng, node| disk.write_at(node, offset, bytes, rng),
            |file| file.write_all_at(&bytes, offset)
        )
    }

    /// Reads up to `len` bytes from `offset` on; fewer only at the end of the file. Yields.
    ///
    /// # Errors
    ///
    /// What the system answered; [`io::ErrorKind::FileTooLarge`] for a `len` beyond
    /// [`FILE_BYTES_MAX`]; or the wait ended early, see [`crate::cause`].
    pub fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if len as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        on_file!(
            self,
            |disk, rng, node| disk.read_at(node, offset, len, rng),
            |file| {
                let left = file.metadata()?.len().saturating_sub(offset);
                let mut bytes = vec![0; len.min(usize::try_from(left).unwrap_or(len))];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes)
            }
        )
    }

    /// The file's length in bytes. Yields.
    ///
    /// # Errors
    ///
    /// What the system answered, or the wait ended early, see [`crate::cause`].
    pub fn size(&self) -> io::Result<u64> {
        on_file!(self, |disk, rng, node| disk.len(node), |file| file
            .metadata()
            .map(|metadata| metadata.len()))
    }

    /// Cuts the file to a length, or fills it up with zeros. Yields.
    ///
    /// # Errors
    ///
    /// What the system answered, or the wait ended early: then it may be done all the same.
    pub fn set_size(&self, len: u64) -> io::Result<()> {
        on_file!(self, |disk, rng, node| disk.set_len(node, len), |file| file
            .set_len(len))
    }

    /// Makes sure that what was written before stays, whatever happens. Yields.
    ///
    /// # Errors
    ///
    /// What the system answered. After that nothing is sure of what was written since the last
    /// sync, also after a later one that returns well: write it again, to another file. Or the
    /// wait ended early.
    pub fn sync(&self) -> io::Result<()> {
        on_file!(
            self,
            Sync | disk,
            rng,
            node | disk.sync(node, rng),
            |file| file.sync_data()
        )
    }

    /// As [`File::sync`], with what the system keeps beside: times and permissions. Yields.
    ///
    /// # Errors
    ///
    /// As [`File::sync`].
    pub fn sync_all(&self) -> io::Result<()> {
        on_file!(
            self,
            Sync | disk,
            rng,
            node | disk.sync(node, rng),
            |file| file.sync_all()
        )
    }

    /// Locks the file against others who lock it, in this program and in others of the machine.
    /// False if one of them has it locked. Yields, but never until it is free.
    ///
    /// The lock ends with this value, and with the program. It is advice: who does not ask may
    /// write.
    ///
    /// # Errors
    ///
    /// What the system answered, or the wait ended early: then it may be locked all the same.
    pub fn try_lock(&self) -> io::Result<bool> {
        on_file!(self, |disk, rng, node| disk.lock(node), |file| {
            sys::try_lock(&file)
        })
    }
}
