//! One slot: a folder with a key, its certificate chain, and what is known of both.

use std::path::{Path, PathBuf};

use fiber::fs;
use safe_rt::{CertificateFacts, Identity};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::durable;
use super::error::StoreError;
use super::state::Slot;

pub(super) const KEY: &str = "key.pem";
pub(super) const CHAIN: &str = "chain.pem";
pub(super) const REQUEST: &str = "request.pem";
pub(super) const TOKEN: &str = "token";
const ABOUT: &str = "about.json";

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

    fn encode(&self) -> Vec<u8> {
        let mut value = json!({
            "client_id": self.client_id,
            "certificate_id": self.certificate_id,
        });
        if let Some(endpoint) = &self.endpoint {
            value["endpoint"] = endpoint.as_str().into();
        }
        value.to_string().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            client_id: text("client_id")?,
            certificate_id: text("certificate_id")?,
            endpoint: text("endpoint"),
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
/// [`StoreError::Io`] and [`StoreError::Contents`].
pub(super) fn load(home: &Path, slot: Slot) -> Result<Loaded, StoreError> {
    let folder = folder(home, slot);
    let (identity, facts) = read_pair(&folder)?;
    let about = fs::read(folder.join(ABOUT)).ok();
    Ok(Loaded {
        slot,
        identity,
        facts,
        about: about.and_then(|bytes| About::decode(&bytes)),
        folder,
    })
}

/// Reads the key and the chain of a folder. Yields.
pub(super) fn read_pair(folder: &Path) -> Result<(Identity, CertificateFacts), StoreError> {
    let (chain_path, key_path) = (folder.join(CHAIN), folder.join(KEY));
    let chain = fs::read(&chain_path).map_err(StoreError::io(&chain_path))?;
    let key = fs::read(&key_path).map(Zeroizing::new);
    let key = key.map_err(StoreError::io(&key_path))?;
    check_pair(folder, &chain, &key)
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

#[cfg(test)]
mod tests {
    use super::*;

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
