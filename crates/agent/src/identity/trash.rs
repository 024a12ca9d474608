//! Where identities go that are not needed any more: kept for a while, then wiped.
//!
//! What comes is named `new-NUMBER-SLOT`, and `SECONDS-NUMBER-SLOT` from the first wiping by a time
//! that is believed on: no clock is asked when something comes, because that of a device without a
//! network may be wrong, and would make it look old.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fiber::fs::{self, EntryKind};

use super::error::StoreError;
use super::state::Slot;
use super::{durable, seconds, slot};

/// How long what is in the trash is kept at the least.
pub const TRASH_AGE_MIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most identities in the trash that never were proven; the oldest is wiped then.
pub const TRASH_UNPROVEN_MAX: usize = 8;

/// Folders in each other that are wiped; what we make has none in it.
const FOLDERS_DEEP_MAX: usize = 8;

pub(super) const TRASH: &str = "trash";
const NEW: &str = "new";

/// What is in the trash.
struct Entry {
    name: OsString,
    number: u64,
    /// When it was seen first by a time that was believed.
    seen: Option<u64>,
    slot: String,
}

impl Entry {
    fn of(name: OsString) -> Option<Self> {
        let text = name.to_str()?.to_owned();
        let (seen, rest) = text.split_once('-')?;
        let (number, slot) = rest.split_once('-')?;
        Some(Self {
            name,
            number: number.parse().ok()?,
            seen: match seen {
                NEW => None,
                seen => Some(seen.parse().ok()?),
            },
            slot: slot.to_owned(),
        })
    }
}

/// What is in the trash, in the order in which it came.
fn entries(trash: &Path) -> Result<Vec<Entry>, StoreError> {
    let names = names(trash)?;
    let mut entries: Vec<Entry> = names.into_iter().filter_map(Entry::of).collect();
    entries.sort_by_key(|entry| entry.number);
    Ok(entries)
}

fn names(folder: &Path) -> Result<Vec<OsString>, StoreError> {
    match fs::list(folder) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io(folder)(error)),
    }
}

/// How many identities are in the trash. Yields.
pub(super) fn count(home: &Path) -> Result<usize, StoreError> {
    names(&home.join(TRASH)).map(|names| names.len())
}

/// Moves what is in a slot to the trash, if there is something. Yields.
pub(super) fn take(home: &Path, slot: Slot) -> Result<(), StoreError> {
    let from = slot::folder(home, slot);
    if names(&from)?.is_empty() {
        return Ok(());
    }
    let trash = home.join(TRASH);
    durable::make_folder(&trash).map_err(StoreError::io(&trash))?;
    let last = entries(&trash)?.last().map_or(0, |last| last.number);
    let to = trash.join(format!("{NEW}-{}-{slot}", last.saturating_add(1)));
    fs::rename(&from, &to).map_err(StoreError::io(&from))?;
    for folder in [&trash, home] {
        fs::sync_dir(folder).map_err(StoreError::io(folder))?;
    }
    if let Err(error) = drop_unproven(&trash) {
        log::debug!("an identity that was never proven stays in the trash: {error}");
    }
    Ok(())
}

/// Wipes the oldest of those that never were in use, where there are too many.
fn drop_unproven(trash: &Path) -> Result<(), StoreError> {
    let mut unproven = Vec::new();
    for entry in entries(trash)? {
        let folder = trash.join(entry.name);
        // One that does not say is not among them.
        if let Ok(None) = slot::proven_in(&folder) {
            unproven.push(folder);
        }
    }
    let surplus = unproven.len().saturating_sub(TRASH_UNPROVEN_MAX);
    let wiped = unproven[..surplus].iter().map(|folder| wipe_folder(folder));
    wiped.fold(Ok(()), Result::and)
}

/// Wipes what has been in the trash for long enough at `now`, but for the newest that was proven if
/// that is to stay. Yields. Returns how many identities that were.
pub(super) fn wipe_old(
    home: &Path,
    now: SystemTime,
    keeps_proven: bool,
) -> Result<usize, StoreError> {
    let (trash, now) = (home.join(TRASH), seconds(now));
    let entries = entries(&trash)?;
    let mut newest = None;
    if keeps_proven {
        for entry in &entries {
            let number = slot::proven_in(&trash.join(&entry.name))?;
            newest = newest.max(number.map(|number| (number, entry.number)));
        }
    }
    let newest = newest.map(|(_, number)| number);
    let (mut wiped, mut result) = (0, Ok(()));
    for entry in entries {
        let path = trash.join(&entry.name);
        let done = match entry.seen.filter(|seen| *seen <= now) {
            // A clock that was ahead when it was seen would keep it for ever.
            None => {
                let name = format!("{now}-{}-{}", entry.number, entry.slot);
                fs::rename(&path, trash.join(name)).map_err(StoreError::io(path))
            }
            Some(seen) => {
                let is_old = now.saturating_sub(seen) >= TRASH_AGE_MIN.as_secs();
                if !is_old || newest == Some(entry.number) {
                    continue;
                }
                let done = wipe_folder(&path);
                wiped += usize::from(done.is_ok());
                done
            }
        };
        result = result.and(done);
    }
    finish(&trash, result, wiped)
}

/// Wipes all of it. Yields. Returns how many identities that were.
pub(super) fn wipe_all(home: &Path) -> Result<usize, StoreError> {
    let trash = home.join(TRASH);
    let (mut wiped, mut result) = (0, Ok(()));
    for name in names(&trash)? {
        let done = wipe_folder(&trash.join(name));
        wiped += usize::from(done.is_ok());
        result = result.and(done);
    }
    finish(&trash, result, wiped)
}

fn finish(trash: &Path, result: Result<(), StoreError>, wiped: usize) -> Result<usize, StoreError> {
    let synced = match fs::sync_dir(trash) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(StoreError::io(trash)),
    };
    result.and(synced).map(|()| wiped)
}

/// Wipes all that can be wiped, and returns the first error.
fn wipe_folder(folder: &Path) -> Result<(), StoreError> {
    wipe_below(folder, FOLDERS_DEEP_MAX)
}

fn wipe_below(folder: &Path, depth: usize) -> Result<(), StoreError> {
    let kind = fs::entry(folder).map(|entry| entry.kind);
    if kind.map_err(StoreError::io(folder))? != EntryKind::Folder || depth == 0 {
        // What a link points to is not ours.
        return durable::wipe(folder).map_err(StoreError::io(folder));
    }
    let mut result = Ok(());
    for name in fs::list(folder).map_err(StoreError::io(folder))? {
        // Also behind one that could not be wiped.
        let wiped = wipe_below(&folder.join(name), depth - 1);
        result = result.and(wiped);
    }
    result?;
    fs::remove_dir(folder).map_err(StoreError::io(folder))
}
