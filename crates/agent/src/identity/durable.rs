//! Files that are whole or not there, whenever the power goes.

use std::io;
use std::path::Path;

use fiber::fs::{self, File};
use zeroize::Zeroizing;

/// What a file that is being written is called meanwhile, after its name.
const UNFINISHED: &str = ".new";

/// Writes `folder/name`, for its owner alone: to another file, which then takes its name. Yields.
///
/// When it returns, the file is there with these bytes after a power cut too, and was read back.
///
/// # Errors
///
/// What the system answered; then `name` is what it was, or what it was to be.
pub(crate) fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = folder.join(format!("{name}{UNFINISHED}"));
    let path = folder.join(name);
    {
        let file = File::create(&unfinished)?;
        file.set_size(0)?;
        file.write_at(0, bytes)?;
        file.sync_all()?;
    }
    fs::rename(&unfinished, &path)?;
    fs::sync_dir(folder)?;
    let found = Zeroizing::new(fs::read(&path)?);
    if *found == bytes {
        Ok(())
    } else {
        let what = format!("{} reads otherwise than it was written", path.display());
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// Makes a folder, for its owner alone, that is there after a power cut too. Yields.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match path.parent() {
        Some(parent) => fs::sync_dir(parent),
        None => Ok(()),
    }
}

/// Whether there is something with this name. Yields.
pub(super) fn exists(path: &Path) -> bool {
    fs::permissions(path).is_ok()
}

/// Overwrites what is in a file, and removes it. Yields.
///
/// Flash may keep a copy for all that; a reader of the file system finds none.
pub(super) fn wipe(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let len = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    file.write_at(0, vec![0; len])?;
    file.sync()?;
    fs::remove(path)
}
