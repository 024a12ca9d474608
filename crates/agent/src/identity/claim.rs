//! What the device introduces itself with before it has an identity.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::StoreError;
use super::{Store, durable, slot};

/// Longest certificate chain, and longest key, of a claim that is kept.
pub const CLAIM_BYTES_MAX: usize = 256 * 1024;

/// Both in one file, which is one claim or the other, whenever the power goes: a line with both
/// lengths, the chain, the key.
pub(super) const CLAIM: &str = "claim.pem";
const HEAD: &str = "claim";

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

impl Claim {
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let head = format!("{HEAD} {} {}\n", self.chain.len(), self.key.len());
        let len = head.len() + self.chain.len() + self.key.len();
        // With room for all: no part is left behind elsewhere.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&self.key);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let mut words = str::from_utf8(&bytes[..end]).ok()?.split(' ');
        if words.next()? != HEAD {
            return None;
        }
        let (chain, key): (usize, usize) =
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (chain, rest) = bytes[end + 1..].split_at_checked(chain)?;
        (rest.len() == key).then(|| Self {
            chain: chain.to_vec(),
            key: Zeroizing::new(rest.to_vec()),
        })
    }
}

impl Store {
    /// Keeps the claim, so that the device can introduce itself again when the place that it came from
    /// is gone. Yields. Writes only what differs from what is kept; that stays until the other is
    /// sure.
    ///
    /// # Errors
    ///
    /// [`StoreError::Contents`] for one that is not usable, which is not kept, [`StoreError::Io`].
    pub fn keep_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        let operation = self.operation()?;
        let home = operation.home();
        let path = home.join(CLAIM);
        slot::check_pair(&path, &claim.chain, &claim.key)?;
        if claim.chain.len().max(claim.key.len()) > CLAIM_BYTES_MAX {
            let source = std::io::ErrorKind::FileTooLarge.into();
            return Err(StoreError::Io { path, source });
        }
        let bytes = claim.encode();
        let kept = slot::read_if_there(&path).map(|kept| kept.map(Zeroizing::new));
        if kept.is_ok_and(|kept| kept.is_some_and(|kept| *kept == *bytes)) {
            return Ok(());
        }
        durable::put(home, CLAIM, &bytes).map_err(StoreError::io(path))
    }

    /// Returns the claim that is kept, if there is one that is whole. Yields.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        kept(&self.0.home)
    }
}

/// The claim that is kept, if there is one that is whole. Yields.
pub(super) fn kept(home: &Path) -> Option<Claim> {
    let path = home.join(CLAIM);
    let bytes = Zeroizing::new(fiber::fs::read(&path).ok()?);
    let claim = Claim::decode(&bytes)?;
    slot::check_pair(&path, &claim.chain, &claim.key).ok()?;
    Some(claim)
}
