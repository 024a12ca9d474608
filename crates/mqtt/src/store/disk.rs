//! The disk below a store: the calls of `fiber::fs` that it uses, one for one, so that tests can put
//! a faulty one in their place.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;

use fiber::fs;

/// Files and folders. Each call may yield. A call that fails may be done all the same.
pub(super) trait Disk: fmt::Debug {
    /// Makes a folder and those above it, as far as they are not there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Returns the names in a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Opens a file that is there.
    fn open(&self, path: &Path) -> io::Result<Rc<dyn DiskFile>>;
    /// Opens a file, which is made if it is not there.
    fn create(&self, path: &Path) -> io::Result<Rc<dyn DiskFile>>;
    /// Renames a file over another.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes sure of names.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// How many more bytes there is room for, as a hint.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// Draws a number. Does not yield.
    fn random(&self) -> u32;
}

/// A file that is open.
pub(super) trait DiskFile: fmt::Debug {
    /// Returns the length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to `len` bytes, fewer only at the end.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Writes all bytes.
    fn write_at(&self, offset: u64, bytes: Vec<u8>) -> io::Result<()>;
    /// Cuts the file.
    fn set_size(&self, len: u64) -> io::Result<()>;
    /// Makes sure of what was written.
    fn sync(&self) -> io::Result<()>;
    /// Locks the file while this value lives; false if another has.
    fn try_lock(&self) -> io::Result<bool>;
}

/// The machine's disk, or the simulator's.
#[derive(Debug)]
pub(super) struct Real;

impl Disk for Real {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::list(path)
    }

    fn open(&self, path: &Path) -> io::Result<Rc<dyn DiskFile>> {
        Ok(Rc::new(fs::File::open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Rc<dyn DiskFile>> {
        Ok(Rc::new(fs::File::create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::sync_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        fs::free_space(path)
    }

    fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        // Without randomness the salt is weak, and still right.
        let _ = fiber::random::fill(&mut bytes);
        u32::from_ne_bytes(bytes)
    }
}

impl DiskFile for fs::File {
    fn size(&self) -> io::Result<u64> {
        self.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.read_at(offset, len)
    }

    fn write_at(&self, offset: u64, bytes: Vec<u8>) -> io::Result<()> {
        self.write_at(offset, bytes)
    }

    fn set_size(&self, len: u64) -> io::Result<()> {
        self.set_size(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.try_lock()
    }
}
