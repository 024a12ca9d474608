//! Where identities go that are not needed any more: kept for a while, then wiped.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fiber::fs;
use safe_rt::ClockFloor;

use super::durable;
use super::error::StoreError;
use super::state::Slot;
use super::{seconds, slot};

/// How long what is in the trash is kept at the least.
pub const TRASH_AGE_MIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most identities in the trash that have come within one second.
pub const TRASH_NAMES_MAX: u32 = 1_000;

const TRASH: &str = "trash";

/// Moves what is in a slot to the trash, if there is something. Yields.
pub(super) fn take(home: &Path, slot: Slot) -> Result<(), StoreError> {
    let from = slot::folder(home, slot);
    match fs::list(&from) {
        Ok(names) if names.is_empty() => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io(from)(error)),
    }
    let trash = home.join(TRASH);
    durable::make_folder(&trash).map_err(StoreError::io(&trash))?;
    let to = free_name(&trash, slot)?;
    fs::rename(&from, &to).map_err(StoreError::io(&from))?;
    for folder in [&trash, home] {
        fs::sync_dir(folder).map_err(StoreError::io(folder))?;
    }
    Ok(())
}

/// A name that says when, and that nothing in the trash has.
fn free_name(trash: &Path, slot: Slot) -> Result<PathBuf, StoreError> {
    // A clock that is behind would make it look old once it is right.
    let now = seconds(ClockFloor::new().judged_at(fiber::wall_time()));
    for number in 0..TRASH_NAMES_MAX {
        let path = trash.join(format!("{now}-{slot}-{number}"));
        if !durable::exists(&path) {
            return Ok(path);
        }
    }
    Err(StoreError::io(trash)(io::ErrorKind::AlreadyExists.into()))
}

/// Wipes what has been in the trash for long enough, or all of it. Yields. Returns how many
/// identities that were.
///
/// A clock that was behind when something came, or is now, makes it stay longer, never shorter than
/// the time that the device was on for: `now` must be a time that is believed.
pub(super) fn wipe(home: &Path, now: Option<SystemTime>) -> Result<usize, StoreError> {
    let trash = home.join(TRASH);
    let names = match fs::list(&trash) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(StoreError::io(trash)(error)),
    };
    let mut wiped = 0;
    for name in names {
        let came = name
            .to_str()
            .and_then(|name| name.split_once('-')?.0.parse().ok());
        let is_old = match (now, came) {
            (None, _) => true,
            (Some(now), Some(came)) => seconds(now).saturating_sub(came) >= TRASH_AGE_MIN.as_secs(),
            (Some(_), None) => false,
        };
        if is_old {
            wipe_folder(&trash.join(name))?;
            wiped += 1;
        }
    }
    fs::sync_dir(&trash).map_err(StoreError::io(&trash))?;
    Ok(wiped)
}

fn wipe_folder(folder: &Path) -> Result<(), StoreError> {
    for name in fs::list(folder).map_err(StoreError::io(folder))? {
        let path = folder.join(name);
        durable::wipe(&path).map_err(StoreError::io(path))?;
    }
    fs::remove_dir(folder).map_err(StoreError::io(folder))
}
