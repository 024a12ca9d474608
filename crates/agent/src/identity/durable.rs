//! Files that are whole or not there, whenever the power goes.

use std::io;
use std::path::Path;

use fiber::fs::{self, EntryKind, File};
use zeroize::Zeroizing;

/// What a file that is being written is called meanwhile, after its name.
pub(super) const UNFINISHED: &str = ".new";

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
    if let Err(error) = write_new(&unfinished, bytes) {
        // It may be a part of a key, and takes room.
        drop(wipe(&unfinished));
        return Err(error);
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

/// Writes a file that was not there: what has the name, of whomever and for whomever, goes first.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = File::create_new(path)?;
    file.write_at(0, bytes)?;
    file.sync_all()
}

/// Makes a folder, for its owner alone, that is there after a power cut too. Yields.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let is_new = match fs::create_dir(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    let above = match path.parent() {
        None => return Ok(()),
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
    };
    match fs::sync_dir(above) {
        // It was there before, and what it is in may be of others, or take no changes.
        Err(_) if !is_new => Ok(()),
        synced => synced,
    }
}

/// Takes the rights of others to a file or folder of ours away. Yields. One that is another user's is
/// told of: it is used for all that, as a device without its identity would be worse off.
pub(super) fn keep_private(path: &Path) {
    let Ok(found) = fs::entry(path) else {
        return;
    };
    let (Some(owner), false) = (found.owner, found.kind == EntryKind::Link) else {
        return;
    };
    let own = rustix::process::geteuid().as_raw();
    if owner != own {
        log::warn!(
            "{} belongs to user {owner}, and this is user {own}",
            path.display()
        );
    } else if found.mode & 0o077 != 0 {
        log::warn!(
            "{} could be used by others (mode {:o}); now it cannot",
            path.display(),
            found.mode
        );
        if let Err(error) = fs::set_permissions(path, found.mode & 0o700) {
            log::warn!("{}: {error}", path.display());
        }
    }
}

/// Whether there is something with this name. Yields.
pub(super) fn exists(path: &Path) -> bool {
    fs::permissions(path).is_ok()
}

/// Overwrites what is in a file, and removes it. Yields. One that cannot be written is removed alone, and
/// so is a link: what it points to is not ours.
///
/// Flash may keep a copy for all that; a reader of the file system finds none.
pub(super) fn wipe(path: &Path) -> io::Result<()> {
    if fs::entry(path)?.kind != EntryKind::File {
        return fs::remove(path);
    }
    let overwritten = overwrite(path);
    fs::remove(path)?;
    overwritten.or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(error),
    })
}

fn overwrite(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let len = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    file.write_at(0, vec![0; len])?;
    file.sync()
}
