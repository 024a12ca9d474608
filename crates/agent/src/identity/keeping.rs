//! What is kept beside the identities: the device id, the claim, times; and how an identity is given up.

use std::fmt;
use std::time::SystemTime;

use fiber::fs;
use zeroize::Zeroizing;

use super::error::StoreError;
use super::slot;
use super::state::{Slot, State};
use super::{Found, Store, durable, seconds, trash};

/// Longest file of a claim that is kept.
pub const CLAIM_BYTES_MAX: usize = 256 * 1024;

const CLAIM: &str = "claim";
/// Holds the device id once more, for a device that lost both records.
const DEVICE_ID: &str = "device-id";
/// Symbols of a device id: 5 bits each, none of which is taken for another.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Random symbols of a device id: 80 bits.
const ID_LEN: usize = 16;
const ID_PREFIX: &str = "agent-";

/// What a device introduces itself with that has no identity yet: a certificate that many devices
/// share, and its key.
pub struct Claim {
    /// The chain, PEM, leaf first.
    pub chain: Vec<u8>,
    /// The key, PEM.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim(..)")
    }
}

impl Store {
    /// Returns the device id that is kept here, and makes one, and keeps it, if there is none:
    /// `agent-` and 16 random letters and digits. Yields; one that is returned is there after a power
    /// cut too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], [`StoreError::Randomness`]; then no id was given out.
    pub fn device_id(&self) -> Result<String, StoreError> {
        let kept = self.0.state.borrow().device_id.clone();
        if let Some(id) = kept {
            return Ok(id);
        }
        let path = self.0.home.join(DEVICE_ID);
        let kept = fs::read(&path).ok();
        let kept = kept.and_then(|bytes| String::from_utf8(bytes).ok());
        let id = match kept.filter(|id| is_device_id(id)) {
            Some(id) => id,
            None => {
                let id = random_device_id()?;
                durable::put(&self.0.home, DEVICE_ID, id.as_bytes())
                    .map_err(StoreError::io(path))?;
                id
            }
        };
        let kept = id.clone();
        self.update(move |state| state.device_id = Some(kept))?;
        Ok(id)
    }

    /// Keeps the claim, so that the device can introduce itself again when the place that it came from
    /// is gone. Yields. Writes only what differs from what is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Contents`] for one that is not usable, which is not kept, [`StoreError::Io`].
    pub fn keep_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        let folder = self.0.home.join(CLAIM);
        slot::check_pair(&folder, &claim.chain, &claim.key)?;
        durable::make_folder(&folder).map_err(StoreError::io(&folder))?;
        for (name, bytes) in [(slot::KEY, &*claim.key), (slot::CHAIN, &claim.chain)] {
            let path = folder.join(name);
            let kept = fs::read(&path).map(Zeroizing::new);
            if kept.is_ok_and(|kept| *kept == *bytes) {
                continue;
            }
            if bytes.len() > CLAIM_BYTES_MAX {
                let source = std::io::ErrorKind::FileTooLarge.into();
                return Err(StoreError::Io { path, source });
            }
            durable::put(&folder, name, bytes).map_err(StoreError::io(path))?;
        }
        Ok(())
    }

    /// Returns the claim that is kept, if there is one that is whole. Yields.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        let folder = self.0.home.join(CLAIM);
        let chain = fs::read(folder.join(slot::CHAIN)).ok()?;
        let key = Zeroizing::new(fs::read(folder.join(slot::KEY)).ok()?);
        slot::check_pair(&folder, &chain, &key).ok()?;
        Some(Claim { chain, key })
    }

    /// Notes that the cloud refused, and when it wants to be asked again. Yields.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn refused(&self, reason: &str, until: Option<SystemTime>) -> Result<(), StoreError> {
        self.update(|state| {
            state.attempts = state.attempts.saturating_add(1);
            state.fail(reason);
            state.blocked_until = until.map(seconds);
        })
    }

    /// Notes a time that has passed for certain, such as one at which a server whose certificate was
    /// checked has answered. Yields. Written at most once a day.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn passed(&self, time: SystemTime) -> Result<(), StoreError> {
        const DAY: u64 = 86_400;
        let (time, noted) = (seconds(time), self.0.state.borrow().last_good);
        if noted.is_some_and(|noted| time < noted.saturating_add(DAY)) {
            return Ok(());
        }
        self.update(|state| state.last_good = Some(time))
    }

    /// Gives the identity up, and the one in the making: both go to the trash. The device id and the
    /// claim stay. Yields.
    ///
    /// For an authenticated order and for a person at the device, and for nothing else: no failure is
    /// a reason.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]. Whatever it is, a device that says that it has no identity has none.
    pub fn give_up(&self) -> Result<(), StoreError> {
        self.update(|state| {
            *state = State {
                device_id: state.device_id.take(),
                last_good: state.last_good,
                ..State::default()
            };
        })?;
        self.0.found.set(Found::Known);
        self.0.active.replace(None);
        for slot in [Slot::A, Slot::B] {
            trash::take(&self.0.home, slot)?;
        }
        Ok(())
    }

    /// Wipes what has been in the trash for [`TRASH_AGE_MIN`](super::TRASH_AGE_MIN) at `now`, which must be a time that is
    /// believed; all of it for no time. Yields. Returns how many identities that were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn wipe_trash(&self, now: Option<SystemTime>) -> Result<usize, StoreError> {
        trash::wipe(&self.0.home, now)
    }
}

fn random_device_id() -> Result<String, StoreError> {
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
