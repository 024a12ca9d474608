//! The identity of the device: a private key, the certificate chain for it, and how far the making of
//! the next one has come.
//!
//! ```text
//!   STATE/state.0, state.1      records of 4 KiB, written in turns: see `State`
//!   STATE/identity/a, b         key.pem, chain.pem, about.json; one is in use
//!   STATE/identity/claim        what the device introduces itself with; kept for ever
//!   STATE/identity/trash        identities that were replaced or given up
//! ```
//!
//! Nothing here deletes an identity because something failed. One that is replaced is moved to the
//! trash, and so is one that an authenticated order, or a person at the device, gives up; what is in
//! the trash is wiped after [`TRASH_AGE_MIN`], and only while a proven identity is in use or
//! when a person says so.
//!
//! Each step of making an identity is one record, written before its effect is relied on; a record
//! says nothing that is not in the slot by then. So wherever the power goes, the next start finds
//! the identity that was in use, and a candidate that goes on where it was. Where both records are
//! lost the slots are read: a pair of key and certificate that fits together is an identity.

pub(crate) mod durable;
mod error;
mod journal;
mod keeping;
mod making;
mod record;
mod slot;
mod state;
#[cfg(test)]
#[cfg(feature = "provision")]
mod tests;
mod trash;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use fiber::Mutex;
use fiber::fs::{self, File};

pub use error::StoreError;
pub use keeping::{CLAIM_BYTES_MAX, Claim};
pub use making::Held;
pub use record::{RECORD_PAYLOAD_MAX, RecordError};
pub use slot::{About, Loaded};
pub use state::{Slot, State, Step};
pub use trash::{TRASH_AGE_MIN, TRASH_NAMES_MAX};

use journal::Journal;

/// Free space that must be there before an identity is begun, in bytes: both records, a slot, and
/// as much again.
pub const ROOM_BYTES_MIN: u64 = 256 * 1024;

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";

/// How the records were when the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// At least one record was whole, or there was nothing at all.
    Known,
    /// The records are lost, and there was something in the slots: what is in use was found there.
    Recovered,
}

/// The identities of one state folder. A clone is the same store.
#[derive(Clone)]
pub struct Store(Rc<Shared>);

struct Shared {
    home: PathBuf,
    journal: Mutex<Journal>,
    state: RefCell<State>,
    active: RefCell<Option<Loaded>>,
    found: Cell<Found>,
    /// None where the folder cannot be written.
    _lock: Option<File>,
}

impl Store {
    /// Opens the state folder, which is made if it is not there, for this program alone. Yields.
    ///
    /// A folder that can be read and not written is opened all the same: the identity in it is used,
    /// and what has to be written fails.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`]; [`StoreError::Io`] where the disk does not say what is there, which is
    /// not the same as nothing: who asks again later may find an identity.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        let home = folder.join(IDENTITY);
        let made = make_folders(&folder, &home);
        let locked = made.and_then(|()| {
            let file = File::create(home.join(LOCK))?;
            let is_ours = file.try_lock()?;
            Ok((file, is_ours))
        });
        let lock = match locked {
            Ok((file, true)) => Some(file),
            Ok((_, false)) => return Err(StoreError::InUse { path: folder }),
            Err(error) => {
                log::warn!("{}: {error}: what changes may be lost", folder.display());
                None
            }
        };
        let (journal, state) = Journal::open(&folder)?;
        let opened = Opened::read(&home, state)?;
        let store = Self(Rc::new(Shared {
            home,
            journal: Mutex::new(journal),
            state: RefCell::new(opened.state),
            active: RefCell::new(opened.active),
            found: Cell::new(opened.found),
            _lock: lock,
        }));
        if opened.found == Found::Recovered {
            // Not sure is as good as unknown: the next start does the same.
            let state = store.state();
            if let Err(error) = store.update(|kept| *kept = state) {
                log::warn!("the state that was found again is not kept: {error}");
            }
        }
        Ok(store)
    }

    /// Returns what is known. Does not yield.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.state.borrow().clone()
    }

    /// Returns how the records were found. Does not yield.
    #[must_use]
    pub fn found(&self) -> Found {
        self.0.found.get()
    }

    /// Returns the identity in use, if there is one. Does not yield.
    #[must_use]
    pub fn active(&self) -> Option<Loaded> {
        self.0.active.borrow().clone()
    }

    /// Changes the state: writes the record, and then goes by it.
    fn update(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let mut journal = self.0.journal.lock().map_err(StoreError::Locked)?;
        let mut state = self.state();
        change(&mut state);
        if state == *self.0.state.borrow() && self.0.found.get() == Found::Known {
            return Ok(());
        }
        state.boot_id = boot_id().or(state.boot_id);
        journal.write(&state)?;
        self.0.state.replace(state);
        Ok(())
    }
}

/// What was found in a state folder.
struct Opened {
    state: State,
    active: Option<Loaded>,
    found: Found,
}

impl Opened {
    /// Finds the identity in use. Yields.
    fn read(home: &Path, state: Option<State>) -> Result<Self, StoreError> {
        match state {
            Some(state) => Self::of_state(home, state),
            None => Self::of_slots(home),
        }
    }

    /// By what the record says, as long as that can be read.
    fn of_state(home: &Path, mut state: State) -> Result<Self, StoreError> {
        let mut active = None;
        if let Some(slot) = state.active {
            match slot::load(home, slot) {
                Ok(loaded) => active = Some(loaded),
                Err(error) if !is_absence(&error) => return Err(error),
                Err(error) => {
                    log::error!("the identity in use cannot be read: {error}");
                    // The one before, which was proven once; nothing that is in the making.
                    if state.candidate.is_none()
                        && let Ok(loaded) = slot::load(home, slot.other())
                    {
                        log::warn!("the identity before it is used instead");
                        state.active = Some(slot.other());
                        active = Some(loaded);
                    }
                }
            }
        }
        Ok(Self {
            state,
            active,
            found: Found::Known,
        })
    }

    /// By what the slots hold: a pair that fits together, whole ones first, the newest of these.
    fn of_slots(home: &Path) -> Result<Self, StoreError> {
        let mut found = Vec::new();
        for slot in [Slot::A, Slot::B] {
            match slot::load(home, slot) {
                Ok(loaded) => found.push(loaded),
                Err(error) if !is_absence(&error) => return Err(error),
                Err(_) => {}
            }
        }
        found.sort_by_key(|loaded| (loaded.about().is_some(), loaded.facts().not_before()));
        let active = found.pop();
        let slot = active.as_ref().map(Loaded::slot);
        if let Some(slot) = slot {
            log::warn!("the state is lost; slot {slot} holds an identity, which is used");
        }
        Ok(Self {
            state: State {
                active: slot,
                ..State::default()
            },
            found: match slot {
                Some(_) => Found::Recovered,
                None => Found::Known,
            },
            active,
        })
    }
}

/// Reads what is known and the identity in use, for a program beside the agent: nothing is locked,
/// made or written. Yields.
///
/// # Errors
///
/// [`StoreError::Io`] where the disk does not say what is there.
pub fn look(folder: &Path) -> Result<(State, Option<Loaded>), StoreError> {
    let (_, state) = Journal::open(folder)?;
    let opened = Opened::read(&folder.join(IDENTITY), state)?;
    Ok((opened.state, opened.active))
}

/// Makes the state folder and those above it, and each of them sure.
fn make_folders(folder: &Path, home: &Path) -> io::Result<()> {
    let above: Vec<&Path> = folder.ancestors().collect();
    for path in above.into_iter().rev() {
        if !path.as_os_str().is_empty() && !durable::exists(path) {
            durable::make_folder(path)?;
        }
    }
    durable::make_folder(folder)?;
    durable::make_folder(home)
}

/// Whether the system says that there is nothing, and not that it cannot tell.
fn is_absence(error: &StoreError) -> bool {
    match error {
        StoreError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => true,
    }
}

/// Which boot this is; nothing where the system does not say.
fn boot_id() -> Option<String> {
    let bytes = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let id = String::from_utf8(bytes).ok()?;
    Some(id.trim().to_owned()).filter(|id| id.len() == 36)
}

/// Seconds of Unix time.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
