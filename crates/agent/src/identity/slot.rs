//! One slot: a folder with a key, its certificate chain, and what is known of both.

use std::io;
use std::path::{Path, PathBuf};

use fiber::fs;
use safe_rt::{CertificateFacts, Identity};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::durable;
use super::error::StoreError;
use super::state::Slot;

/// Largest file of an identity that is read: the PEM texts that are taken are no longer.
const SLOT_FILE_BYTES_MAX: u64 = 1024 * 1024;

pub(super) const KEY: &str = "key.pem";
pub(super) const CHAIN: &str = "chain.pem";
pub(super) const REQUEST: &str = "request.pem";
pub(super) const TOKEN: &str = "token";
pub(super) const ABOUT: &str = "about.json";
/// Is there once the identity was proven, and holds what the cloud said once more.
const PROVEN: &str = "proven";

/// What the cloud said of an identity, beside the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// The client identifier to connect with.
    pub client_id: String,
    /// The cloud's name for the certificate.
    pub certificate_id: String,
    /// Where to connect, if the cloud said so.
    pub endpoint: Option<String>,
}

impl About {
    /// Takes what every cloud says.
    #[must_use]
    pub fn new(client_id: impl Into<String>, certificate_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            certificate_id: certificate_id.into(),
            endpoint: None,
        }
    }

    /// Says where to connect.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Option<String>) -> Self {
        self.endpoint = endpoint;
        self
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "client_id": self.client_id,
            "certificate_id": self.certificate_id,
        });
        if let Some(endpoint) = &self.endpoint {
            value["endpoint"] = endpoint.as_str().into();
        }
        value
    }

    fn encode(&self) -> Vec<u8> {
        self.to_json().to_string().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::of_json(&serde_json::from_slice(bytes).ok()?)
    }

    fn of_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            client_id: text("client_id")?,
            certificate_id: text("certificate_id")?,
            endpoint: text("endpoint"),
        })
    }
}

/// What tells that an identity was proven, wherever the records are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proven {
    /// Which one that was, counted from 1.
    number: u64,
    /// CRC-32 of the certificate chain that was proven.
    chain: u32,
    about: About,
}

impl Proven {
    fn encode(&self) -> Vec<u8> {
        let mut value = self.about.to_json();
        value["number"] = self.number.into();
        value["chain"] = self.chain.into();
        value.to_string().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            number: value.get("number")?.as_u64()?,
            chain: u32::try_from(value.get("chain")?.as_u64()?).ok()?,
            about: About::of_json(&value)?,
        })
    }
}

/// An identity that was read: key and certificate belong together.
#[derive(Clone, Debug)]
pub struct Loaded {
    slot: Slot,
    folder: PathBuf,
    identity: Identity,
    facts: CertificateFacts,
    about: Option<About>,
    chain_check: u32,
    proven: Option<u64>,
}

impl Loaded {
    /// Returns the slot that it is in.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Returns the certificate chain and its key, for TLS.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns what the certificate says of itself.
    #[must_use]
    pub const fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Returns what the cloud said, unless it is lost.
    #[must_use]
    pub const fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }

    /// Returns whether it was proven by a connection before it was taken into use. One that somebody
    /// placed in its slot was not.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.proven.is_some()
    }

    /// Which of the proven ones it is, counted from 1.
    pub(super) const fn proven_number(&self) -> Option<u64> {
        self.proven
    }

    /// Whether both are the same certificate, of the same name, in the same place.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.slot, self.chain_check, &self.about) == (other.slot, other.chain_check, &other.about)
    }

    /// Returns the file with the certificate chain.
    #[must_use]
    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join(CHAIN)
    }

    /// Returns the file with the private key.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.folder.join(KEY)
    }
}

/// Returns the folder of a slot.
pub(super) fn folder(home: &Path, slot: Slot) -> PathBuf {
    home.join(slot.as_str())
}

/// Reads a slot. Yields.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::Contents`] and [`StoreError::Damaged`].
pub(super) fn load(home: &Path, slot: Slot) -> Result<Loaded, StoreError> {
    let folder = folder(home, slot);
    let (chain_path, key_path) = (folder.join(CHAIN), folder.join(KEY));
    let chain = fs::read_at_most(&chain_path, SLOT_FILE_BYTES_MAX);
    let chain = chain.map_err(StoreError::io(&chain_path))?;
    let key = fs::read_at_most(&key_path, SLOT_FILE_BYTES_MAX).map(Zeroizing::new);
    let key = key.map_err(StoreError::io(&key_path))?;
    let (identity, facts) = check_pair(&folder, &chain, &key)?;
    let chain_check = crc32fast::hash(&chain);
    let proven = read_if_there(&folder.join(PROVEN))?;
    let proven = proven.and_then(|bytes| Proven::decode(&bytes));
    let (about, proven) = match proven.filter(|proven| proven.chain == chain_check) {
        Some(proven) => (Some(proven.about), Some(proven.number)),
        None => (read_about(&folder)?, None),
    };
    Ok(Loaded {
        slot,
        folder,
        identity,
        facts,
        about,
        chain_check,
        proven,
    })
}

fn read_about(folder: &Path) -> Result<Option<About>, StoreError> {
    let path = folder.join(ABOUT);
    let Some(bytes) = read_if_there(&path)? else {
        return Ok(None);
    };
    let damaged = StoreError::Damaged {
        path,
        what: "what the cloud said cannot be read",
    };
    About::decode(&bytes).map(Some).ok_or(damaged)
}

/// Reads a file; nothing of one that is not there, which is not the same as one that cannot be read.
/// Yields.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read_at_most(path, SLOT_FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

/// Checks that a chain is one, and that the key is its.
pub(super) fn check_pair(
    folder: &Path,
    chain: &[u8],
    key: &[u8],
) -> Result<(Identity, CertificateFacts), StoreError> {
    let wrong = |source| StoreError::Contents {
        path: folder.to_owned(),
        source,
    };
    let identity = Identity::from_pem(chain, key).map_err(wrong)?;
    let facts = CertificateFacts::of_pem(chain).map_err(wrong)?;
    Ok((identity, facts))
}

/// Writes a file of a slot. Yields.
pub(super) fn put(home: &Path, slot: Slot, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = folder(home, slot);
    durable::put(&folder, name, bytes).map_err(StoreError::io(folder.join(name)))
}

/// Writes what the cloud said. Yields.
pub(super) fn put_about(home: &Path, slot: Slot, about: &About) -> Result<(), StoreError> {
    put(home, slot, ABOUT, &about.encode())
}

/// Writes that an identity was proven, as the `number`th. Yields.
pub(super) fn put_proven(home: &Path, loaded: &Loaded, number: u64) -> Result<Loaded, StoreError> {
    let proven = Proven {
        number,
        chain: loaded.chain_check,
        about: loaded.about.clone().unwrap_or_default(),
    };
    put(home, loaded.slot, PROVEN, &proven.encode())?;
    Ok(Loaded {
        proven: Some(number),
        ..loaded.clone()
    })
}

/// Which of the proven identities a folder holds, if any, counted from 1. Yields.
pub(super) fn proven_in(folder: &Path) -> Result<Option<u64>, StoreError> {
    let bytes = read_if_there(&folder.join(PROVEN))?;
    Ok(bytes.and_then(|bytes| Some(Proven::decode(&bytes)?.number)))
}

/// Whether a pair was placed by somebody: nothing tells of its making. Yields.
pub(super) fn is_placed(home: &Path, slot: Slot) -> Result<bool, StoreError> {
    let folder = folder(home, slot);
    for name in [REQUEST, TOKEN, ABOUT] {
        if read_if_there(&folder.join(name))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Wipes what an identity in use has no use for any more: the token, which is a secret, the request,
/// and what was not finished. Yields. What cannot be wiped stays.
pub(super) fn tidy_up(home: &Path, slot: Slot) {
    let folder = folder(home, slot);
    for name in fs::list(&folder).unwrap_or_default() {
        let is_of_use = !name.to_str().is_some_and(|name| {
            name == TOKEN || name == REQUEST || name.ends_with(durable::UNFINISHED)
        });
        if is_of_use {
            continue;
        }
        let path = folder.join(name);
        if let Err(error) = durable::wipe(&path) {
            log::debug!("{}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_proven_is_read_again() {
        let proven = Proven {
            number: 3,
            chain: u32::MAX,
            about: About::new("meter-17", "c0ffee"),
        };
        assert_eq!(Proven::decode(&proven.encode()), Some(proven));
        assert_eq!(Proven::decode(b"{\"number\":3}"), None);
    }

    #[test]
    fn what_the_cloud_said_is_read_again() {
        for endpoint in [None, Some("mqtts://broker.test".to_owned())] {
            let about = About::new("meter-17", "c0ffee").endpoint(endpoint);
            assert_eq!(About::decode(&about.encode()), Some(about));
        }
        assert_eq!(About::decode(b"{\"client_id\":\"meter-17\"}"), None);
        assert_eq!(About::decode(b""), None);
    }
}
