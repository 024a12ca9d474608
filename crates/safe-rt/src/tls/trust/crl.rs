//! Revocation lists (RFC 5280 section 5), and what is asked of them.

mod list;

use core::cmp::Reverse;
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use webpki::{
    CertRevocationList, ExpirationPolicy, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use self::list::List;
use super::TrustError;
use crate::tls::pem::{self, PEM_BYTES_MAX, PemError};

/// Most revocation lists that one [`Trust`](crate::Trust) holds.
pub const CRLS_MAX: usize = 64;

pub(in crate::tls) use self::list::Signatory;

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
    /// The peer's own. Those between it and the authority need not be covered.
    PeerOnly,
    /// None: what no list covers is taken as not revoked.
    WhereCovered,
}

/// The lists of a configuration. Without any, nothing is asked.
#[derive(Clone, Debug, Default)]
pub(in crate::tls) struct Crls {
    lists: Vec<Arc<List>>,
    /// Some are for the same certificates, so that they have to be chosen from.
    has_rivals: bool,
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
        self.push(Arc::new(List::new(der)?))
    }

    /// Takes the lists of another.
    pub(super) fn extend(&mut self, other: Self) -> Result<(), TrustError> {
        other.lists.into_iter().try_for_each(|list| self.push(list))
    }

    fn push(&mut self, list: Arc<List>) -> Result<(), TrustError> {
        if self.lists.iter().any(|known| known.is_same(&list)) {
            return Ok(());
        }
        if self.lists.len() == CRLS_MAX {
            return Err(TrustError::TooManyCrls);
        }
        self.has_rivals |= self.lists.iter().any(|known| known.rivals(&list));
        self.lists.push(list);
        Ok(())
    }

    /// Returns whether [`chosen`](Self::chosen) depends on the chain.
    pub(in crate::tls) const fn has_rivals(&self) -> bool {
        self.has_rivals
    }

    /// Returns the lists as what webpki borrows them as. It asks the first that is for a
    /// certificate, and no other.
    pub(in crate::tls) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().map(|list| &list.parsed).collect()
    }

    /// As [`lists`](Self::lists), for a chain of these authorities: of several for the same
    /// certificates those come first that one of the authorities signed, and of these the newest, or
    /// of two of the same second the one that was given last.
    pub(in crate::tls) fn chosen(
        &self,
        signatories: &[Signatory<'_>],
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Vec<&CertRevocationList<'static>> {
        let rank = |(place, list): (usize, &Arc<List>)| {
            let mut others = self.lists.iter().filter(|other| !Arc::ptr_eq(other, list));
            let has_rivals = others.any(|other| other.rivals(list));
            let is_signed = !has_rivals || list.is_of(signatories, algorithms);
            (is_signed, list.issued(), place)
        };
        let mut ranked: Vec<_> = self.lists.iter().enumerate().map(rank).collect();
        ranked.sort_unstable_by_key(|&rank| Reverse(rank));
        let in_order = ranked.into_iter();
        in_order
            .map(|(.., place)| &self.lists[place].parsed)
            .collect()
    }

    /// Returns what a chain is asked, one after the other: webpki either looks at the peer's
    /// certificate alone or demands the same of all.
    pub(in crate::tls) const fn questions(&self) -> &'static [Revocation] {
        match self.revocation {
            Revocation::WholeChain => &[Revocation::WholeChain],
            Revocation::PeerOnly => &[Revocation::WhereCovered, Revocation::PeerOnly],
            Revocation::WhereCovered => &[Revocation::WhereCovered],
        }
    }

    /// Returns what to ask of `lists`, if there are any, for one of the questions.
    pub(in crate::tls) fn options<'a>(
        question: Revocation,
        lists: &'a [&'a CertRevocationList<'a>],
        expiration: ExpirationPolicy,
    ) -> Option<RevocationOptions<'a>> {
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        let (depth, unknown) = match question {
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
            .map(|list| &list.parsed)
            .filter(|list| list.issuer() == certificate.issuer())
            .any(|list| matches!(list.find_serial(certificate.serial()), Ok(Some(_))))
    }
}
