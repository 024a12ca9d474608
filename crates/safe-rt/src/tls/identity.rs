//! What a side of TLS shows of itself: a certificate chain and the key that belongs to it.

use core::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::config::{TlsConfigError, provider, read};
use super::pem;

/// A certificate chain and the private key that belongs to its first certificate.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Takes the chain, leaf first, from one PEM text and the key from another; both may be the
    /// same text.
    ///
    /// # Errors
    /// What is wrong with either text, or [`TlsConfigError::KeyMismatch`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        let chain = pem::certificates(chain).map_err(TlsConfigError::ChainPem)?;
        let key = pem::private_key(key).map_err(TlsConfigError::KeyPem)?;
        Self::new(chain, key)
    }

    /// Reads both PEM files; waits, without stopping other fibers.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and [`TlsConfigError::File`].
    pub fn from_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsConfigError> {
        Self::from_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsConfigError> {
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| TlsConfigError::UnsupportedKey)?;
        let identity = CertifiedKey::new(chain, key);
        match identity.keys_match() {
            // A key that cannot tell its public half is not known to be wrong.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Self(Arc::new(identity)))
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsConfigError::KeyMismatch),
            Err(_) => Err(TlsConfigError::BadCertificate),
        }
    }

    /// Returns the identity as what rustls asks for it, whatever the peer asks of us: a peer that
    /// cannot use it says so with an alert, which explains more than an empty answer.
    pub(super) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(Arc::clone(&self.0).into())
    }
}

impl fmt::Debug for Identity {
    /// Shows the length of the chain and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.0.cert.len())
    }
}
