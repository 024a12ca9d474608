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
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys;
pub use crate::world::file::File;
use crate::world::offload::{Lane, offload_on};

/// Largest file that [`read`] takes, in bytes: certificates, keys, settings and messages are far
/// smaller, and a device file has no end.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Does `real` on the files' thread, or `simulated` on the disk of a simulated machine.
macro_rules! on_disk {
    (|$disk:ident, $rng:ident| $simulated:expr, $real:expr) => {
        $crate::world::fs::on_disk!(Usual | $disk, $rng | $simulated, $real)
    };
    ($pace:ident |$disk:ident, $rng:ident| $simulated:expr, $real:expr) => {{
        #[cfg(feature = "sim")]
        if let Some(core) = $crate::core::current()
            && let Some(sim) = &core.sim
        {
            let how = (None, $crate::sim::Pace::$pace);
            return sim.on_disk(&core, how, (), move |$disk, $rng, ()| {
                let _ = $rng;
                $simulated
            });
        }
        offload_on(Lane::Files, $real)?
    }};
}
pub(super) use on_disk;

/// Opens a file for what `options` say, if it is a regular one. Never waits for another program, as
/// opening a pipe does that nobody writes to: everything else that has to do with files would wait too.
pub(super) fn open_regular(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    let file = options
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    let found = match kind {
        _ if kind.is_file() => return Ok(file),
        _ if kind.is_dir() => return Err(io::Error::from_raw_os_error(libc::EISDIR)),
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let what = format!("expected a regular file, found {found}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Reads a whole file. Yields until it is read.
///
/// Room for all of a file is made before it is read, so that no part of it is left behind elsewhere in
/// memory: who reads a secret can overwrite it. A file that grows meanwhile is the exception, and what
/// is read for a fiber whose wait ended early.
///
/// # Errors
///
/// What the system answered; [`io::ErrorKind::InvalidInput`] for a pipe or a device, which is not
/// waited for; [`io::ErrorKind::FileTooLarge`] beyond [`FILE_BYTES_MAX`]; or the wait ended early, see
/// [`crate::cause`].
pub fn read(path: impl Into<PathBuf>) -> io::Result<Vec<u8>> {
    read_at_most(path, FILE_BYTES_MAX)
}

/// As [`read`], of a file with at most `bytes_max` bytes and no more than [`FILE_BYTES_MAX`]: no room
/// is made for more.
///
/// # Errors
///
/// As [`read`]; [`io::ErrorKind::FileTooLarge`] beyond the smaller of the two.
pub fn read_at_most(path: impl Into<PathBuf>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let most = bytes_max.min(FILE_BYTES_MAX);
    let bytes = read_past(path.into(), most)?;
    if bytes.len() as u64 > most {
        let what = format!("expected a file of at most {most} bytes, found more");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Reads a file, or of one with more than `most` bytes more than that.
fn read_past(path: PathBuf, most: u64) -> io::Result<Vec<u8>> {
    on_disk!(
        |disk, rng| {
            let node = disk.find(&path)?;
            disk.whole(node, rng)
        },
        move || {
            let file = open_regular(fs::OpenOptions::new().read(true), &path)?;
            // One more, to see the end without more room.
            let room = file.metadata()?.len().min(most) + 1;
            let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
            file.take(most + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
    )
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, to whatever.
    Link,
    /// A device, a pipe or a socket.
    Other,
}

/// What a name stands for, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The permission bits, `0o640` for example.
    pub mode: u32,
    /// The number of the user whose it is; none on a simulated disk, which has one.
    pub owner: Option<u32>,
}

/// Returns what a name stands for; a link is not followed. Yields.
///
/// # Errors
///
/// What the system answered, or the wait ended early, see [`crate::cause`].
pub fn entry(path: impl Into<PathBuf>) -> io::Result<Entry> {
    let path = path.into();
    on_disk!(
        |disk, rng| disk.is_folder(&path).map(|is_folder| {
            let (kind, mode) = match is_folder {
                true => (EntryKind::Folder, FOLDER_MODE),
                false => (EntryKind::File, FILE_MODE),
            };
            let owner = None;
            Entry { kind, mode, owner }
        }),
        move || fs::symlink_metadata(path).map(|found| {
            let kind = found.file_type();
            Entry {
                kind: match kind {
                    _ if kind.is_symlink() => EntryKind::Link,
                    _ if kind.is_dir() => EntryKind::Folder,
                    _ if kind.is_file() => EntryKind::File,
                    _ => EntryKind::Other,
                },
                mode: found.permissions().mode() & 0o7777,
                owner: Some(found.uid()),
            }
        })
    )
}

/// Returns the permission bits of a file, `0o640` for example; those of a link's target. Yields.
///
/// # Errors
///
/// What the system answered, or the wait ended early, see [`crate::cause`].
pub fn permissions(path: impl Into<PathBuf>) -> io::Result<u32> {
    let path = path.into();
    on_disk!(
        |disk, rng| disk.is_folder(&path).map(|is_folder| if is_folder {
            FOLDER_MODE
        } else {
            FILE_MODE
        }),
        move || { fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o7777) }
    )
}

/// Sets the permission bits of a file, `0o600` for example; those of a link's target. Yields. A
/// simulated disk has one owner and keeps none.
///
/// # Errors
///
/// What the system answered, or the wait ended early: then it may be done all the same.
pub fn set_permissions(path: impl Into<PathBuf>, mode: u32) -> io::Result<()> {
    let path = path.into();
    on_disk!(
        |disk, rng| {
            let _ = mode;
            disk.is_folder(&path).map(drop)
        },
        move || fs::set_permissions(path, fs::Permissions::from_mode(mode))
    )
}

/// What [`File::create`] makes is for its owner alone.
pub(super) const FILE_MODE: u32 = 0o600;
/// What [`create_dir`] makes is for its owner alone.
const FOLDER_MODE: u32 = 0o700;

/// Renames a file or a folder, replacing the file or the empty folder that has the new name. Yields.
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
        fs::DirBuilder::new().mode(FOLDER_MODE).create(path)
    })
}

/// Makes a folder and those above it, as far as they are not there, each for its owner alone.
/// Yields. Each is sure to be there after a power cut once [`sync_dir`] of the one above returned.
///
/// # Errors
///
/// As [`create_dir`], but not that it is there already.
pub fn create_dir_all(path: impl Into<PathBuf>) -> io::Result<()> {
    let path = path.into();
    on_disk!(|disk, rng| disk.make_folders(&path), move || {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(FOLDER_MODE).create(path)
    })
}

/// Removes an empty folder. Yields. Sure to be gone after a power cut once [`sync_dir`] of the one
/// above returned.
///
/// # Errors
///
/// What the system answered, [`io::ErrorKind::DirectoryNotEmpty`] for example, or the wait ended
/// early: then it may be done all the same.
pub fn remove_dir(path: impl Into<PathBuf>) -> io::Result<()> {
    let path = path.into();
    on_disk!(|disk, rng| disk.remove_folder(&path), move || {
        fs::remove_dir(path)
    })
}

/// How many bytes more the file system of a path takes from this program. Yields.
///
/// It is a hint: others write too, and file systems keep books of their own. `u64::MAX` on a
/// simulated disk without a limit.
///
/// # Errors
///
/// What the system answered, or the wait ended early, see [`crate::cause`].
pub fn free_space(path: impl Into<PathBuf>) -> io::Result<u64> {
    let path = path.into();
    on_disk!(
        |disk, rng| disk.is_folder(&path).map(|_| disk.room()),
        move || sys::free_space(&path)
    )
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
    on_disk!(Sync | disk, rng | disk.sync_folder(&path, rng), move || {
        let mut options = fs::OpenOptions::new();
        // A pipe is not waited for.
        let folder = options.read(true).custom_flags(libc::O_NONBLOCK);
        folder.open(path)?.sync_all()
    })
}
