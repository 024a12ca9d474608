//! Whom to believe: the authorities of a configuration.

use core::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;

use super::config::{TlsConfigError, read};
use super::pem;

/// The authorities whose certificates are believed.
#[derive(Clone)]
pub struct Trust(Arc<RootCertStore>);

impl Trust {
    /// Takes every certificate of a PEM text as an authority.
    ///
    /// Certificates that cannot be an authority are passed over and counted in the log, because
    /// bundles hold odd ones.
    ///
    /// # Errors
    /// [`TlsConfigError::TrustPem`], or [`TlsConfigError::NoUsableAuthority`] if all were odd.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsConfigError> {
        let certificates = pem::certificates(pem).map_err(TlsConfigError::TrustPem)?;
        let mut roots = RootCertStore::empty();
        let (taken, passed_over) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(TlsConfigError::NoUsableAuthority(passed_over));
        }
        if passed_over > 0 {
            log::warn!("{passed_over} certificate(s) to be trusted cannot be read and are ignored");
        }
        Ok(Self(Arc::new(roots)))
    }

    /// Reads the PEM file at `path`; waits, without stopping other fibers.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and [`TlsConfigError::File`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        Self::from_pem(&read(path.as_ref())?)
    }

    /// Whether an authority has this name, encoded and without tag and length.
    pub(super) fn has_authority(&self, name: &[u8]) -> bool {
        self.0
            .roots
            .iter()
            .any(|root| root.subject.as_ref() == name)
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.0.len())
    }
}
