//! What a side of TLS shows of itself: a certificate chain and the key that belongs to it.

use core::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use zeroize::Zeroizing;

use super::config::{TlsConfigError, read};
use super::facts::CertificateFacts;
use super::pem;
use super::signer::{DistantKey, Signer};

/// A certificate chain and the private key that belongs to its first certificate.
///
/// # What is wiped
/// The texts and bytes of a private key that this crate holds while it reads one, the password of
/// an encrypted one included, are overwritten when they are no longer needed. The key itself stays
/// in memory, in the form that ring signs with, for as long as the identity or a connection with it
/// lives; ring does not overwrite it. The base64 decoder has a buffer of its own, which is freed as
/// it is, and so has the one that turns a SEC1 key into PKCS#8. The crate `pkcs5` does not overwrite
/// the key that it makes of a password, nor the memory that scrypt takes for it; and what a thread has
/// read or decrypted for a fiber whose wait ended early is freed as it is. A key that must not be found
/// in memory belongs behind a [`Signer`].
///
/// # Changing it while running
/// Files that are replaced one after the other do not match for a moment: that is
/// [`TlsConfigError::KeyMismatch`], and whoever keeps the identity he has until a new one is read
/// misses nothing.
///
/// ```
/// use std::path::Path;
/// use safe_rt::{ClientTls, Identity, TlsConfigError};
///
/// /// Waits for the files; on an error `tls` goes on with the identity that it has.
/// fn renew(tls: &ClientTls, chain: &Path, key: &Path) -> Result<(), TlsConfigError> {
///     let identity = Identity::from_files(chain, key)?;
///     identity.try_signer()?;
///     tls.set_identity(identity)
/// }
/// ```
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    distant: Option<DistantKey>,
}

impl Identity {
    /// Takes the chain, leaf first, from one PEM text and the key from another; both may be the
    /// same text. The key is PKCS#8, PKCS#1 or SEC1, and not encrypted.
    ///
    /// # Errors
    /// What is wrong with either text, or [`TlsConfigError::KeyMismatch`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        let chain = chain_of(chain)?;
        let key = pem::private_key(key).map_err(TlsConfigError::KeyPem)?;
        Self::new(chain, &key)
    }

    /// Reads both PEM files; waits, without stopping other fibers.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and [`TlsConfigError::File`].
    pub fn from_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsConfigError> {
        let chain = read(chain.as_ref())?;
        let key = Zeroizing::new(read(key.as_ref())?);
        Self::from_pem(&chain, &key)
    }

    /// Takes the chain, leaf first, from a PEM text; its key is `signer`'s.
    ///
    /// Does not wait: the signer is asked for its schemes and for no signature. Whether its key is
    /// the certificate's shows in the first handshake, or when [`try_signer`](Self::try_signer)
    /// asks.
    ///
    /// # Errors
    /// What is wrong with the text; [`TlsConfigError::SignerScheme`] for a scheme that the key of
    /// the certificate cannot have, [`TlsConfigError::NoSignerScheme`] for none.
    pub fn with_signer(
        chain: &[u8],
        signer: impl Signer + 'static,
    ) -> Result<Self, TlsConfigError> {
        let chain = chain_of(chain)?;
        let public_key = chain
            .first()
            .and_then(public_key)
            .ok_or(TlsConfigError::BadCertificate)?;
        let key = DistantKey::new(Arc::new(signer), public_key)?;
        Ok(Self {
            distant: Some(key.clone()),
            certified: Arc::new(CertifiedKey::new(chain, Arc::new(key))),
        })
    }

    /// Has the signer sign a text without meaning, and checks the signature against the
    /// certificate; waits as the signer does. For a key in memory there is nothing to do.
    ///
    /// # Errors
    /// [`TlsConfigError::Signer`].
    pub fn try_signer(&self) -> Result<(), TlsConfigError> {
        self.distant
            .as_ref()
            .map_or(Ok(()), DistantKey::try_out)
            .map_err(TlsConfigError::Signer)
    }

    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, TlsConfigError> {
        // The provider's own loader would take the key and free it as it is.
        let key = rustls::crypto::ring::sign::any_supported_type(key)
            .map_err(|_| TlsConfigError::UnsupportedKey)?;
        check_match(&chain, &*key)?;
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            distant: None,
        })
    }

    /// Returns what the first certificate of the chain says of itself; `None` where it cannot be
    /// read.
    #[must_use]
    pub fn facts(&self) -> Option<CertificateFacts> {
        CertificateFacts::of_der(self.certificate()?)
    }

    /// Returns the first certificate of the chain, in DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.certified.cert.first().map(AsRef::as_ref)
    }

    /// Returns the identity as what rustls asks for it, whatever the peer asks of us: a peer that
    /// cannot use it says so with an alert, which explains more than an empty answer.
    pub(super) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(Arc::clone(&self.certified).into())
    }
}

impl fmt::Debug for Identity {
    /// Shows the length of the chain and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.certified.cert.len())
    }
}

pub(super) fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    pem::certificates(pem).map_err(TlsConfigError::ChainPem)
}

/// Checks that `key` is the one of the first certificate, and says of which other one it is.
fn check_match(
    chain: &[CertificateDer<'static>],
    key: &dyn SigningKey,
) -> Result<(), TlsConfigError> {
    let first = chain
        .first()
        .and_then(public_key)
        .ok_or(TlsConfigError::BadCertificate)?;
    // A key that cannot tell its public half is not known to be wrong.
    let Some(of_key) = key.public_key() else {
        return Ok(());
    };
    if first == of_key {
        return Ok(());
    }
    let is_its_own = |certificate| public_key(certificate).is_some_and(|found| found == of_key);
    Err(match chain.iter().position(is_its_own) {
        Some(at) => TlsConfigError::LeafNotFirst { at: at + 1 },
        None => TlsConfigError::KeyMismatch,
    })
}

fn public_key(certificate: &CertificateDer<'static>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    ParsedCertificate::try_from(certificate)
        .ok()
        .map(|parsed| parsed.subject_public_key_info())
}
