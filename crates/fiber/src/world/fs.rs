//! The file door: files and folders, off the thread.
//!
//! For settings that are read whole, and for small stores that must survive a power cut: what
//! [`File::sync`] and, for names, [`sync_dir`] returned from is kept. Calls of one runtime are done
//! one after the other, in the order they were made. What a runtime leaves behind at its end, because
//! nobody waited for it any more, may be done late: between the calls of the next runtime, even.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the door that others must use"
)]

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "sim")]
use crate::core;
use crate::world::offload::{Lane, offload_on};

/// Largest file that [`read`] takes, in bytes: certificates, keys, settings and messages are far
/// smaller, and a device file has no end.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Does `real` on the files' thread, or `simulated` on the disk of a simulated machine.
macro_rules! on_disk {
    (|$disk:ident, $rng:ident| $simulated:expr, $real:expr) => {{
        #[cfg(feature = "sim")]
        if let Some(core) = core::current()
            && let Some(sim) = &core.sim
        {
            return sim.on_disk(&core, move |$disk, $rng| {
                let _ = $rng;
                $simulated
            });
        }
        offload_on(Lane::Files, $real)?
    }};
}

/// Reads a whole file. Yields until it is read.
///
/// # Errors
///
/// What the system answered; [`io::ErrorKind::FileTooLarge`] beyond [`FILE_BYTES_MAX`]; or the wait
/// ended early, see [`crate::cause`].
pub fn read(path: impl Into<PathBuf>) -> io::Result<Vec<u8>> {
    let path = path.into();
    on_disk!(
        |disk, rng| {
            let node = disk.find(&path)?;
            disk.whole(node)
        },
        move || {
            let mut bytes = Vec::new();
            let read = fs::File::open(path)?
                .take(FILE_BYTES_MAX + 1)
                .read_to_end(&mut bytes)?;
            if read as u64 > FILE_BYTES_MAX {
                let what = format!("expected a file of at most {FILE_BYTES_MAX} bytes, found more");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
            }
            Ok(bytes)
        }
    )
}

/// Returns the permission bits of a file, `0o640` for example; those of a link's target. Yields.
///
/// # Errors
///
/// What the system answered, or the wait ended early, see [`crate::cause`].
pub fn permissions(path: impl Into<PathBuf>) -> io::Result<u32> {
    let path = path.into();
    on_disk!(|disk, rng| disk.find(&path).map(|_| FILE_MODE), move || {
        fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o7777)
    })
}

/// What [`File::create`] makes is for its owner alone.
const FILE_MODE: u32 = 0o600;

/// Renames a file, replacing what has the new name. Yields.
///
/// After a power cut the file has one of the two names; the new one for sure once [`sync_dir`] of
/// its folder returned.
///
/// # Errors
///
/// What the system answered, or the wait ended early: then it may be done all the same.
pub fn rename(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> io::Result<()> {
    let (from, to) = (from.into(), to.into());
    on_disk!(|disk, rng| disk.rename(&from, &to), move || fs::rename(
        from, to
    ))
}

/// Removes a file. Yields. Sure to be gone after a power cut once [`sync_dir`] returned.
///
/// # Errors
///
/// What the system answered, or the wait ended early: then it may be done all the same.
pub fn remove(path: impl Into<PathBuf>) -> io::Result<()> {
    let path = path.into();
    on_disk!(|disk, rng| disk.remove(&path), move || fs::remove_file(
        path
    ))
}

/// Makes a folder, for its owner alone. Yields.
///
/// # Errors
///
/// What the system answered, or the wait ended early: then it may be done all the same.
pub fn create_dir(path: impl Into<PathBuf>) -> io::Result<()> {
    let path = path.into();
    on_disk!(|disk, rng| disk.make_folder(&path), move || {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().mode(0o700).create(path)
    })
}

/// The names of what is in a folder, sorted. Yields.
///
/// # Errors
///
/// What the system answered, or the wait ended early, see [`crate::cause`].
pub fn list(path: impl Into<PathBuf>) -> io::Result<Vec<OsString>> {
    let path = path.into();
    on_disk!(|disk, rng| disk.list(&path), move || {
        let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = entries.collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    })
}

/// Makes sure that what was made, renamed and removed in a folder stays so. Yields.
///
/// # Errors
///
/// What the system answered, after which nothing is sure; or the wait ended early.
pub fn sync_dir(path: impl Into<PathBuf>) -> io::Result<()> {
    let path = path.into();
    on_disk!(|disk, rng| disk.sync_folder(&path, rng), move || {
        fs::File::open(path)?.sync_all()
    })
}

/// A file that is read and written in places.
#[derive(Debug)]
pub struct File(Side);

#[derive(Clone, Debug)]
enum Side {
    Real(Arc<fs::File>),
    /// The file's number on the disk of its machine.
    #[cfg(feature = "sim")]
    Sim(u64),
}

/// As [`on_disk`], for a file that is open.
macro_rules! on_file {
    ($self:ident, |$disk:ident, $rng:ident, $node:ident| $simulated:expr, |$file:ident| $real:expr) => {
        match &$self.0 {
            Side::Real(file) => {
                let $file = Arc::clone(file);
                offload_on(Lane::Files, move || $real)?
            }
            #[cfg(feature = "sim")]
            Side::Sim(node) => {
                let $node = *node;
                let core = core::required()?;
                let sim = core.sim.as_ref().ok_or(crate::Stopped::NoRuntime)?;
                sim.on_disk(&core, move |$disk, $rng| {
                    let _ = $rng;
                    $simulated
                })
            }
        }
    };
}

impl File {
    /// Opens a file that is there. Yields.
    ///
    /// # Errors
    ///
    /// What the system answered, or the wait ended early, see [`crate::cause`].
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        on_disk!(
            |disk, rng| disk.find(&path).map(|node| Self(Side::Sim(node))),
            move || {
                let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
                Ok(Self(Side::Real(Arc::new(file))))
            }
        )
    }

    /// Opens a file, which is made, for its owner alone, if it is not there. What is in it stays.
    /// Yields. A new file is sure to be there after a power cut once [`sync_dir`] returned.
    ///
    /// # Errors
    ///
    /// What the system answered, or the wait ended early: then it may be done all the same.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        on_disk!(
            |disk, rng| disk.make(&path).map(|node| Self(Side::Sim(node))),
            move || {
                let file = fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(FILE_MODE)
                    .open(path)?;
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
        on_file!(self, |disk, rng, node| disk.append(node, bytes), |file| {
            let at = file.metadata()?.len();
            file.write_all_at(&bytes, at)?;
            Ok(at)
        })
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
            |disk, rng, node| disk.read_at(node, offset, len),
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
        on_file!(self, |disk, rng, node| disk.sync(node, rng), |file| file
            .sync_data())
    }
}
