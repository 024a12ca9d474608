//! The identity of the device: a private key, the certificate chain for it, and how far the making of
//! the next one has come.
//!
//! ```text
//!   STATE/state.0, state.1      records of 4 KiB, written in turns: see `State`
//!   STATE/identity/a, b         key.pem, chain.pem, about.json; one is in use, and says it is proven
//!   STATE/identity/claim.pem    what the device introduces itself with; kept for ever
//!   STATE/identity/trash        identities that were replaced or given up
//! ```
//!
//! Nothing here deletes an identity because something failed. One that is replaced is moved to the
//! trash, and so is one that an authenticated order, or a person at the device, gives up; what is in
//! the trash is wiped after [`TRASH_AGE_MIN`], and only while a proven identity is in use, or
//! when a person says so.
//!
//! Each step of making an identity is one record, written before its effect is relied on; a record
//! says nothing that is not in the slot by then. So wherever the power goes, the next start finds
//! the identity that was in use, and a candidate that goes on where it was. A step is checked and made
//! in one operation, which other fibers wait for.
//!
//! Only what was proven is in use: its slot says so itself. Where both records are lost the slots are
//! read, and the one that was proven last is used; one that was not goes on being made. A slot that
//! cannot be read, for now or for ever, gives way to the one before, and stays.

mod claim;
pub(crate) mod durable;
mod error;
mod finding;
mod journal;
mod keeping;
mod making;
mod operation;
mod record;
mod slot;
mod state;
mod survey;
#[cfg(test)]
#[cfg(feature = "provision")]
mod tests;
mod trash;
mod unsure;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use fiber::fs::File;
use fiber::{Instant, Mutex};

pub use claim::{CLAIM_BYTES_MAX, Claim};
pub use error::StoreError;
#[cfg(feature = "provision")]
pub(crate) use keeping::random_device_id;
pub use making::{CERTIFICATE_ID_BYTES_MAX, Candidate, Held, REFUSALS_MIN, REFUSED_FOR_MIN};
pub use record::{RECORD_PAYLOAD_MAX, RecordError};
pub use slot::{About, Loaded};
pub use state::{BLOCKED_MAX, Slot, State, Step, Unsure};
pub use survey::{Contents, Survey};
pub use trash::{TRASH_AGE_MIN, TRASH_UNPROVEN_MAX};

use finding::Opened;
use journal::Journal;
use making::Pending;
use operation::lock;

/// Free space that must be there before an identity is begun, in bytes: both records, a slot, and
/// as much again.
pub const ROOM_BYTES_MIN: u64 = 256 * 1024;

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";
/// What a process locks that has the store, below the state folder.
pub(crate) const STORE_LOCK: &str = "identity/lock";

/// How the records were when the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// At least one record was whole, or there was nothing at all.
    Known,
    /// The records are lost, and there was something in the slots: what is in use, or in the making,
    /// was found there.
    Recovered,
    /// The identity in use cannot be read; the one before is used as long as that is so.
    Fallback,
    /// The records are lost, and there is something in the slots that is no identity.
    Lost,
}

/// The identities of one state folder. A clone is the same store.
#[derive(Clone)]
pub struct Store(Rc<Shared>);

struct Shared {
    folder: PathBuf,
    home: PathBuf,
    /// Whoever has this is the only one who changes anything.
    journal: Mutex<Journal>,
    state: RefCell<State>,
    active: RefCell<Option<Loaded>>,
    found: Cell<Found>,
    /// None where the folder could not be locked: nothing is written before it is.
    lock: RefCell<Option<File>>,
    /// A certificate that could not be kept yet.
    pending: RefCell<Option<Pending>>,
    /// When the certificate of the candidate was refused last.
    refused_at: Cell<Option<Instant>>,
}

impl Store {
    /// Opens the state folder, which is made if it is not there, for this program alone. Yields.
    ///
    /// A folder that can be read and not written, or not be locked, is opened all the same: the
    /// identity in it is used, and what has to be written fails until it can be locked.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`]; [`StoreError::Io`] where the disk does not say what is there, which is
    /// not the same as nothing: who asks again later may find an identity.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        let home = folder.join(IDENTITY);
        let lock = match lock(&folder, &home) {
            Ok(lock) => Some(lock),
            Err(error @ StoreError::InUse { .. }) => return Err(error),
            Err(error) => {
                log::warn!("{error}: nothing that changes is kept");
                None
            }
        };
        let (journal, state) = Journal::open(&folder)?;
        let opened = Opened::read(&home, state)?;
        let is_locked = lock.is_some();
        let store = Self(Rc::new(Shared {
            folder,
            home,
            journal: Mutex::new(journal),
            state: RefCell::new(opened.state),
            active: RefCell::new(opened.active),
            found: Cell::new(opened.found),
            lock: RefCell::new(lock),
            pending: RefCell::default(),
            refused_at: Cell::new(None),
        }));
        if is_locked {
            store.operation()?.settle();
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

    /// Whether changes can be kept: the folder is locked for this program. Does not yield.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.lock.borrow().is_some()
    }

    /// Returns the identity in use, if there is one. Does not yield.
    #[must_use]
    pub fn active(&self) -> Option<Loaded> {
        self.0.active.borrow().clone()
    }
}

/// Reads what is known and the identity in use, for a program beside the agent: nothing is locked,
/// made or written. Yields.
///
/// # Errors
///
/// [`StoreError::Io`] where the disk does not say what is there.
pub fn look(folder: &Path) -> Result<(State, Option<Loaded>), StoreError> {
    let opened = Opened::beside(folder)?;
    Ok((opened.state, opened.active))
}

/// Reads the claim that is kept in a state folder, if there is one that is whole. Yields. Nothing is
/// locked.
#[cfg(feature = "provision")]
pub(crate) fn look_at_claim(folder: &Path) -> Option<Claim> {
    claim::kept(&folder.join(IDENTITY))
}

/// How the records are, for whoever got nothing by [`look`]. Yields.
///
/// # Errors
///
/// As [`look`].
pub(crate) fn found_in(folder: &Path) -> Result<Found, StoreError> {
    let (_, state) = Journal::open(folder)?;
    Ok(Opened::read(&folder.join(IDENTITY), state)?.found)
}

/// Seconds of Unix time.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
