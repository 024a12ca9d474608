//! Revocation lists (RFC 5280 section 5), and what is asked of them.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::TrustError;
use crate::tls::pem::{self, PEM_BYTES_MAX, PemError};

/// Most revocation lists that one [`Trust`](crate::Trust) holds.
pub const CRLS_MAX: usize = 64;

/// Which certificates must be covered by the revocation lists that were given.
///
/// A list covers the certificates of its issuer. Whatever is chosen, a certificate that a list
/// covers and names is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// All: the peer's and every one between it and the trusted authority. A chain that a list is
    /// missing for is refused, so that a wrong file is not the same as no file.
    #[default]
    WholeChain,
    /// The peer's own. Those between it and the authority are not looked up.
    PeerOnly,
    /// None: what no list covers is taken as not revoked.
    WhereCovered,
}

/// The lists of a configuration. Without any, nothing is asked.
#[derive(Clone, Debug, Default)]
pub(in crate::tls) struct Crls {
    lists: Vec<Arc<CertRevocationList<'static>>>,
    pub(super) revocation: Revocation,
    /// A list that should have been replaced by now is used on.
    pub(in crate::tls) allow_expired: bool,
}

impl Crls {
    pub(in crate::tls) const fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.lists.len()
    }

    /// Reads every list of a PEM text, or the one that a DER file is.
    pub(super) fn read(&mut self, text: &[u8]) -> Result<(), TrustError> {
        // A SEQUENCE, which no PEM begins with.
        if text.first() == Some(&0x30) {
            if text.len() > PEM_BYTES_MAX {
                return Err(TrustError::CrlPem(PemError::TooLong(text.len())));
            }
            return self.add(text);
        }
        for list in pem::crls(text).map_err(TrustError::CrlPem)? {
            self.add(&list)?;
        }
        Ok(())
    }

    fn add(&mut self, der: &[u8]) -> Result<(), TrustError> {
        let list = OwnedCertRevocationList::from_der(der)
            .map_err(|error| TrustError::BadCrl(error.to_string()))?;
        self.push(Arc::new(list.into()))
    }

    /// Takes the lists of another, none of which is for the same as one here.
    pub(super) fn extend(&mut self, other: Self) -> Result<(), TrustError> {
        let same = |list: &Arc<_>| self.lists.iter().any(|known| Arc::ptr_eq(known, list));
        let added: Vec<_> = other.lists.into_iter().filter(|list| !same(list)).collect();
        added.into_iter().try_for_each(|list| self.push(list))
    }

    fn push(&mut self, list: Arc<CertRevocationList<'static>>) -> Result<(), TrustError> {
        let scope = |list: &CertRevocationList<'_>| {
            let point = list.issuing_distribution_point().map(<[u8]>::to_vec);
            (list.issuer().to_vec(), point)
        };
        // Only the first would be asked, and which one is newer is not told.
        if self.lists.iter().any(|known| scope(known) == scope(&list)) {
            return Err(TrustError::CrlTwice);
        }
        if self.lists.len() == CRLS_MAX {
            return Err(TrustError::TooManyCrls);
        }
        self.lists.push(list);
        Ok(())
    }

    /// Returns the lists as what webpki borrows them as.
    pub(in crate::tls) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().map(Arc::as_ref).collect()
    }

    /// Returns what to ask of `lists`, if there are any.
    pub(in crate::tls) fn options<'a>(
        &self,
        lists: &'a [&'a CertRevocationList<'a>],
        expiration: ExpirationPolicy,
    ) -> Option<RevocationOptions<'a>> {
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        let (depth, unknown) = match self.revocation {
            Revocation::WholeChain => (RevocationCheckDepth::Chain, UnknownStatusPolicy::Deny),
            Revocation::PeerOnly => (RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny),
            Revocation::WhereCovered => (RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow),
        };
        let builder = builder.with_depth(depth).with_status_policy(unknown);
        Some(builder.with_expiration_policy(expiration).build())
    }

    /// Returns whether a list of the certificate's issuer names it.
    pub(in crate::tls) fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
            return false;
        };
        self.lists
            .iter()
            .filter(|list| list.issuer() == certificate.issuer())
            .any(|list| matches!(list.find_serial(certificate.serial()), Ok(Some(_))))
    }
}
