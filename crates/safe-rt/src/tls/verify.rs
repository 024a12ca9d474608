//! Notes what is known of a peer's certificates when the check of them fails, so that the error can
//! say whose they are.
//!
//! rustls asks a verifier that all connections of a configuration share, and gives back an error that
//! names no certificate. So the outermost verifier notes the chain for the fiber that it runs on,
//! which is the fiber of the handshake, and the stream takes the note when rustls returns the error.
//! The verdict itself is passed on as it is: the alert that the peer gets depends on it.

use core::cell::Cell;
use core::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as Cause, SignatureScheme,
};

use super::trust::Trust;
use super::x509::{self, Facts};

/// Certificates of a chain that are looked at, and steps that are taken from one to its issuer.
const CHAIN_CERTIFICATES_MAX: usize = 16;

fiber::fiber_local! {
    /// What the last check that failed on this fiber was about, until the stream takes it.
    static NOTED: Cell<Option<Box<Chain>>> = Cell::new(None);
}

/// Takes the note of the check that has just failed on this fiber.
pub(super) fn take_note() -> Option<Box<Chain>> {
    NOTED.with(Cell::take).ok().flatten()
}

/// One certificate as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) not_before: Option<u64>,
    pub(super) not_after: Option<u64>,
    pub(super) is_self_issued: bool,
    /// The serial number, as lists and other programs write it.
    pub(super) serial: String,
}

impl Certificate {
    /// Returns what there is to say of a certificate in DER, if it can be read.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        Facts::of(der).map(|facts| Self::from(&facts))
    }
}

impl From<&Facts<'_>> for Certificate {
    fn from(facts: &Facts<'_>) -> Self {
        Self {
            subject: x509::name(facts.subject),
            issuer: x509::name(facts.issuer),
            not_before: facts.not_before,
            not_after: facts.not_after,
            is_self_issued: facts.is_self_issued(),
            serial: x509::serial(facts.serial),
        }
    }
}

/// What a peer presented, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// How many certificates there were.
    pub(super) sent: usize,
    /// The one that the verdict is about: the last one that is reached from the first by the names of
    /// issuers, or for a verdict about dates the one that has the date.
    pub(super) at: Certificate,
    /// Whether that is the first one, the peer's own.
    pub(super) is_leaf: bool,
    /// Whether one of the trusted authorities has the name of its issuer, though another key.
    pub(super) issuer_is_trusted: bool,
}

impl Chain {
    fn of(
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        verdict: &CertificateError,
        trust: &Trust,
    ) -> Option<Self> {
        let sent = others.len() + 1;
        let revoked = others.iter().find(|other| trust.has_revoked(other));
        let others: Vec<Facts<'_>> = others
            .iter()
            .take(CHAIN_CERTIFICATES_MAX)
            .filter_map(|der| Facts::of(der))
            .collect();
        let first = Facts::of(leaf)?;
        let at = match verdict {
            CertificateError::ExpiredContext { not_after, .. } => [&first]
                .into_iter()
                .chain(&others)
                .find(|facts| facts.not_after == Some(not_after.as_secs())),
            CertificateError::NotValidYetContext { not_before, .. } => [&first]
                .into_iter()
                .chain(&others)
                .find(|facts| facts.not_before == Some(not_before.as_secs())),
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Some(end_of(&first, &others))
            }
            CertificateError::Revoked if !trust.has_revoked(leaf) => revoked
                .and_then(|revoked| Facts::of(revoked))
                .and_then(|revoked| others.iter().find(|other| **other == revoked)),
            _ => None,
        };
        let at = at.unwrap_or(&first);
        Some(Self {
            sent,
            at: at.into(),
            is_leaf: at == &first,
            issuer_is_trusted: trust.has_authority(at.issuer),
        })
    }
}

/// Goes from a certificate to the one that has the name of its issuer, as far as that leads.
fn end_of<'a>(first: &'a Facts<'a>, others: &'a [Facts<'a>]) -> &'a Facts<'a> {
    let mut at = first;
    // A peer can send a ring.
    for _ in 0..CHAIN_CERTIFICATES_MAX {
        let next = others
            .iter()
            .find(|other| other.subject == at.issuer && *other != at);
        match next {
            Some(next) if !at.is_self_issued() => at = next,
            _ => break,
        }
    }
    at
}

/// A verifier that notes what its inner one refuses.
pub(super) struct Noting<V: ?Sized> {
    inner: Arc<V>,
    trust: Trust,
}

impl<V: ?Sized> Noting<V> {
    /// Wraps a verifier that goes by `trust`.
    pub(super) fn new(inner: Arc<V>, trust: Trust) -> Arc<Self> {
        Arc::new(Self { inner, trust })
    }

    fn note<T>(
        &self,
        verdict: Result<T, Cause>,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<T, Cause> {
        if let Err(Cause::InvalidCertificate(error)) = &verdict {
            let chain = Chain::of(leaf, others, error, &self.trust).map(Box::new);
            // Outside a fiber nobody takes it.
            let _ = NOTED.with(|noted| noted.set(chain));
        }
        verdict
    }
}

impl<V: ?Sized> fmt::Debug for Noting<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Noting({:?})", self.trust)
    }
}

impl<V: ServerCertVerifier + ?Sized> ServerCertVerifier for Noting<V> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Cause> {
        let verdict = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        self.note(verdict, end_entity, intermediates)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}

impl<V: ClientCertVerifier + ?Sized> ClientCertVerifier for Noting<V> {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Cause> {
        let verdict = self
            .inner
            .verify_client_cert(end_entity, intermediates, now);
        self.note(verdict, end_entity, intermediates)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }
}
