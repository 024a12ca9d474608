//! What is kept beside the identities: the device id and times; and how an identity is given up.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use fiber::fs;
use safe_rt::ClockFloor;

use super::error::StoreError;
use super::slot;
use super::state::{Slot, State};
use super::{Found, Store, durable, seconds, trash};

/// Holds the device id once more, for a device that lost both records.
const DEVICE_ID: &str = "device-id";
/// What stood there and was none.
const BAD_DEVICE_ID: &str = "device-id.bad";
/// Is there while an identity is given up, for a device that lost both records.
pub(super) const GIVEN_UP: &str = "given-up";
/// Symbols of a device id: 5 bits each, none of which is taken for another.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Random symbols of a device id: 80 bits.
const ID_LEN: usize = 16;
const ID_PREFIX: &str = "agent-";

impl Store {
    /// Returns the device id that is kept here, and makes one, and keeps it, if there is none:
    /// `agent-` and 16 random letters and digits. Yields; one that is returned is there after a power
    /// cut too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], also where the disk does not say whether there is one,
    /// [`StoreError::Randomness`]; then no id was given out.
    pub fn device_id(&self) -> Result<String, StoreError> {
        let kept = self.0.state.borrow().device_id.clone();
        if let Some(id) = kept {
            return Ok(id);
        }
        let mut operation = self.operation()?;
        // Another fiber may have made one meanwhile.
        if let Some(id) = operation.state().device_id {
            return Ok(id);
        }
        let home = operation.home();
        let path = home.join(DEVICE_ID);
        let id = match kept_device_id(home) {
            Ok(Some(id)) => id,
            found => {
                if let Err(error) = found {
                    if !error.is_damage() {
                        return Err(error);
                    }
                    log::warn!("{error}; it stays as {BAD_DEVICE_ID}");
                    fs::rename(&path, home.join(BAD_DEVICE_ID)).map_err(StoreError::io(&path))?;
                }
                let id = random_device_id()?;
                durable::put(home, DEVICE_ID, id.as_bytes()).map_err(StoreError::io(path))?;
                id
            }
        };
        let kept = id.clone();
        operation.update(move |state| state.device_id = Some(kept))?;
        Ok(id)
    }

    /// Notes that the cloud refused, and when it wants to be asked again. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn refused(&self, reason: &str, until: Option<SystemTime>) -> Result<(), StoreError> {
        self.operation()?.update(|state| {
            state.attempts = state.attempts.saturating_add(1);
            state.fail(reason);
            state.blocked_until = until.map(seconds);
        })
    }

    /// Notes a time that has passed for certain, such as one at which a server whose certificate was
    /// checked has answered. Yields. Written at most once a day.
    ///
    /// A time at which the identity in use has expired is not noted, nor one that [`ClockFloor`] takes
    /// for a mistake: a clock that is ahead for once would have every certificate expired for good.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn passed(&self, time: SystemTime) -> Result<(), StoreError> {
        const DAY: u64 = 86_400;
        let noted = self.0.state.borrow().last_good;
        if noted.is_some_and(|noted| seconds(time) < noted.saturating_add(DAY)) {
            return Ok(());
        }
        let ends = self.active().and_then(|active| active.facts().not_after());
        if !ClockFloor::new().raise(time) || ends.is_some_and(|ends| time > ends) {
            log::debug!("a time that may be wrong is not noted");
            return Ok(());
        }
        self.operation()?
            .update(|state| state.last_good = Some(seconds(time)))
    }

    /// Notes what the time is by a source that is believed more than what was noted before, such as a
    /// person at the device: an earlier one takes the place of a later one, too. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn corrected(&self, time: SystemTime) -> Result<(), StoreError> {
        self.operation()?
            .update(|state| state.last_good = Some(seconds(time)))
    }

    /// Gives the identity up, and the one in the making: both go to the trash. The device id and the
    /// claim stay, and none is made again before [`Store::take_up`]. Yields.
    ///
    /// For an authenticated order and for a person at the device, and for nothing else: no failure is
    /// a reason.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]. Whatever it is, a device that says that it has no identity has none; what
    /// is still in a slot then leaves it at the next start.
    pub fn give_up(&self) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        let state = operation.state();
        operation.write(State {
            device_id: state.device_id,
            last_good: state.last_good,
            promotions: state.promotions,
            given_up: true,
            ..State::default()
        })?;
        self.0.found.set(Found::Known);
        self.0.active.replace(None);
        self.0.pending.replace(None);
        finish_giving_up(operation.home())
    }

    /// Takes it back that the identity was given up: another one may be made. Yields. For a person at
    /// the device, or an authenticated order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]; then it is as before.
    pub fn take_up(&self) -> Result<(), StoreError> {
        let mut operation = self.operation()?;
        if !operation.state().given_up {
            return Ok(());
        }
        let (home, path) = (operation.home(), operation.home().join(GIVEN_UP));
        // The record says it until this is sure: an identity that is made later is not given up.
        match fs::remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(path)(error));
            }
            Ok(()) | Err(_) => fs::sync_dir(home).map_err(StoreError::io(home))?,
        }
        operation.update(|state| state.given_up = false)
    }

    /// Wipes what has been in the trash for [`TRASH_AGE_MIN`](super::TRASH_AGE_MIN) at `now`, which
    /// must be a time that is believed; an age counts from the first such call. Yields. Returns how
    /// many identities that were.
    ///
    /// Nothing is wiped unless the identity in use was proven, and the newest in the trash that was
    /// proven stays; where the identity was given up there is no such reason to keep any.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], the first one: what comes after it is wiped all the same.
    pub fn wipe_old_trash(&self, now: SystemTime) -> Result<usize, StoreError> {
        let operation = self.operation()?;
        let is_given_up = operation.state().given_up;
        let is_proven = self.active().is_some_and(|active| active.is_proven());
        if !is_given_up && !is_proven {
            return Ok(0);
        }
        trash::wipe_old(operation.home(), now, !is_given_up)
    }

    /// Wipes all that is in the trash, at once: a person says so. Yields. Returns how many identities
    /// that were.
    ///
    /// # Errors
    ///
    /// As [`Store::wipe_old_trash`].
    pub fn wipe_all_trash(&self) -> Result<usize, StoreError> {
        let operation = self.operation()?;
        trash::wipe_all(operation.home())
    }
}

/// What comes after the record that says so. Done again, it does the rest.
pub(super) fn finish_giving_up(home: &Path) -> Result<(), StoreError> {
    let path = home.join(GIVEN_UP);
    let noted = match slot::read_if_there(&path) {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) => durable::put(home, GIVEN_UP, b"").map_err(StoreError::io(path)),
    };
    let taken = [Slot::A, Slot::B].map(|slot| trash::take(home, slot));
    taken.into_iter().fold(noted, Result::and)
}

/// The device id that is kept beside the records, if there is one. Yields.
pub(super) fn kept_device_id(home: &Path) -> Result<Option<String>, StoreError> {
    let path = home.join(DEVICE_ID);
    let Some(bytes) = slot::read_if_there(&path)? else {
        return Ok(None);
    };
    let id = String::from_utf8(bytes).unwrap_or_default();
    let id = id.trim();
    if is_device_id(id) {
        return Ok(Some(id.to_owned()));
    }
    let what = "it is no device id";
    Err(StoreError::Damaged { path, what })
}

pub(crate) fn random_device_id() -> Result<String, StoreError> {
    let mut random = [0; ID_LEN];
    fiber::random::fill(&mut random).map_err(StoreError::Randomness)?;
    let symbols = random.map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]));
    Ok(ID_PREFIX.chars().chain(symbols).collect())
}

fn is_device_id(text: &str) -> bool {
    text.strip_prefix(ID_PREFIX).is_some_and(|symbols| {
        symbols.len() == ID_LEN && symbols.bytes().all(|byte| ID_ALPHABET.contains(&byte))
    })
}
