//! The check of a peer's certificate: rustls's own, and what is asked in addition.
//!
//! rustls builds the chain to a trusted authority and checks dates, purposes and the name. Where
//! pins or revocation lists were given, the chain is built once more, by webpki itself, so that they
//! are asked of the very chain that leads to an authority: a pinned certificate that a peer merely
//! sends along counts for nothing. Without authorities the pin alone decides. The signature of the
//! handshake, which proves that the peer has the key, is verified in every case.

use core::cell::Cell;
use core::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, RootCertStore, SignatureScheme,
};
use webpki::{ExpirationPolicy, KeyUsage, VerifiedPath};

use super::config::{self, TlsConfigError};
use super::danger::Danger;
use super::trust::{Crls, Pin, Revocation, Signatory};
use super::x509::{Der, SEQUENCE};

/// A valid chain in which no key is pinned.
#[derive(Debug)]
pub(super) struct PinMismatch {
    /// The keys of the chain, the peer's own first.
    pub(super) found: Vec<Pin>,
}

impl PinMismatch {
    /// Finds it in what rustls failed with.
    pub(super) fn of(cause: Option<&Error>) -> Option<&Self> {
        match cause? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(found))) => {
                found.downcast_ref()
            }
            _ => None,
        }
    }
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no key of it is pinned, found ")?;
        for (index, pin) in self.found.iter().enumerate() {
            let before = if index == 0 { "" } else { ", issued by " };
            write!(f, "{before}{pin}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PinMismatch {}

/// [`Demands::ask_all`], which only who gives pins or lists names.
pub(super) type AskChain = fn(
    &Demands,
    &CertificateDer<'_>,
    &[CertificateDer<'_>],
    UnixTime,
    KeyUsage,
) -> Result<(), Error>;

/// What is asked of a chain in addition to what rustls checks.
#[derive(Debug)]
pub(super) struct Demands {
    roots: Arc<RootCertStore>,
    pins: Vec<Pin>,
    crls: Crls,
    /// Present where there are pins or lists.
    ask: Option<AskChain>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Demands {
    fn new(roots: Arc<RootCertStore>, pins: Vec<Pin>, crls: Crls, ask: Option<AskChain>) -> Self {
        Self {
            roots,
            pins,
            crls,
            ask,
            algorithms: config::provider().signature_verification_algorithms,
        }
    }

    /// Checks the pin of a peer where there are no authorities.
    fn check_pin(&self, end_entity: &CertificateDer<'_>) -> Result<(), Error> {
        let found = Pin::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        if self.pins.contains(&found) {
            return Ok(());
        }
        Err(mismatch(vec![found]))
    }

    /// Checks that there is a chain to an authority with a pinned key in it and without a revoked
    /// certificate. rustls has found one already, which may be another.
    fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        if self.pins.is_empty() && self.crls.is_empty() {
            return Ok(());
        }
        // What is demanded and cannot be asked is not given.
        let ask = self
            .ask
            .ok_or(CertificateError::ApplicationVerificationFailure)?;
        ask(self, end_entity, intermediates, now, usage)
    }

    /// Asks the chain for pins and lists, whatever each of them may be.
    pub(super) fn ask_all(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let mut questions = self.crls.questions().iter();
        questions.try_for_each(|&question| {
            self.ask_chain(end_entity, intermediates, now, usage, question)
        })
    }

    fn ask_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        question: Revocation,
    ) -> Result<(), Error> {
        let build = |expiration| {
            let how = (question, expiration);
            self.build_chain(end_entity, intermediates, now, usage, how)
        };
        match build(ExpirationPolicy::Enforce) {
            Err(Error::InvalidCertificate(
                ref expired @ CertificateError::ExpiredRevocationListContext { .. },
            )) if self.crls.allow_expired => {
                log::warn!("a revocation list is used beyond its time, as was allowed: {expired}");
                build(ExpirationPolicy::Ignore)
            }
            outcome => outcome,
        }
    }

    fn build_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        (question, expiration): (Revocation, ExpirationPolicy),
    ) -> Result<(), Error> {
        let leaf = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| CertificateError::BadEncoding)?;
        // Which of several lists of an issuer counts is known when the chain is.
        let choose = self.crls.has_rivals();
        let lists = match choose {
            true => Vec::new(),
            false => self.crls.lists(),
        };
        // What is wrong with a chain that is good but for pins and lists; more than one can be tried.
        let wrong = Cell::new(None);
        let demanded = |path: &VerifiedPath<'_>| {
            let keys = keys(path);
            let is_pinned = self.pins.is_empty() || keys.iter().any(|key| self.pins.contains(key));
            let outcome = match is_pinned {
                false => Err(mismatch(keys)),
                true if choose => self
                    .ask_lists(&leaf, path, now, usage, (question, expiration))
                    .map_err(refused),
                true => Ok(()),
            };
            outcome.map_err(|error| {
                wrong.set(Some(error));
                webpki::Error::UnknownIssuer
            })
        };
        let outcome = leaf.verify_for_usage(
            self.algorithms.all,
            &self.roots.roots,
            intermediates,
            now,
            usage,
            Crls::options(question, &lists, expiration),
            Some(&demanded),
        );
        match (outcome, wrong.take()) {
            (Ok(_), _) => Ok(()),
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => Err(refused(error)),
        }
    }

    /// Checks a chain that was found once more, and alone, with the lists that count for it.
    fn ask_lists(
        &self,
        leaf: &webpki::EndEntityCert<'_>,
        path: &VerifiedPath<'_>,
        now: UnixTime,
        usage: KeyUsage,
        (question, expiration): (Revocation, ExpirationPolicy),
    ) -> Result<(), webpki::Error> {
        let issuers = || path.intermediate_certificates();
        let keys: Vec<_> = issuers()
            .map(|issuer| issuer.subject_public_key_info())
            .collect();
        let mut signatories = Vec::new();
        for (issuer, key) in issuers().zip(&keys) {
            let (name, key) = (issuer.subject(), Der(key).expect(SEQUENCE));
            signatories.extend(key.map(|key| Signatory { name, key }));
        }
        signatories.push(Signatory {
            name: &path.anchor().subject,
            key: &path.anchor().subject_public_key_info,
        });
        let lists = self.crls.chosen(&signatories, &self.algorithms);
        let intermediates: Vec<_> = issuers().map(|issuer| issuer.der()).collect();
        leaf.verify_for_usage(
            self.algorithms.all,
            core::slice::from_ref(path.anchor()),
            &intermediates,
            now,
            usage,
            Crls::options(question, &lists, expiration),
            None,
        )?;
        Ok(())
    }
}

/// Returns the pins of a chain, the peer's own key first.
fn keys(path: &VerifiedPath<'_>) -> Vec<Pin> {
    let of_key = |key: &[u8]| Pin::of_key(key);
    let leaf = path.end_entity().subject_public_key_info();
    let mut keys = vec![of_key(&leaf)];
    for issuer in path.intermediate_certificates() {
        keys.push(of_key(&issuer.subject_public_key_info()));
    }
    keys.push(Pin::of_anchor(path.anchor()));
    keys
}

fn mismatch(found: Vec<Pin>) -> Error {
    let error = OtherError(Arc::new(PinMismatch { found }));
    CertificateError::Other(error).into()
}

/// Returns rustls's error for what webpki finds in addition to what rustls itself has found.
fn refused(error: webpki::Error) -> Error {
    use webpki::Error as Found;
    match error {
        Found::CertRevoked => CertificateError::Revoked.into(),
        Found::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus.into(),
        Found::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }.into()
        }
        Found::InvalidCrlSignatureForPublicKey => CertRevocationListError::BadSignature.into(),
        Found::IssuerNotCrlSigner => CertRevocationListError::IssuerInvalidForCrl.into(),
        Found::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        error => CertificateError::Other(OtherError(Arc::new(error))).into(),
    }
}

/// How a client checks a server.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    demands: Demands,
    danger: Option<Danger>,
}

impl ServerVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        pins: Vec<Pin>,
        crls: Crls,
        ask: Option<AskChain>,
        danger: Option<Danger>,
    ) -> Self {
        Self {
            demands: Demands::new(roots, pins, crls, ask),
            danger,
        }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let Demands {
            roots, algorithms, ..
        } = &self.demands;
        if roots.is_empty() {
            return self.demands.check_pin(end_entity);
        }
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let others = intermediates;
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, others, now, algorithms.all)?;
        match verify_server_name(&leaf, server_name) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.danger == Some(Danger::AnyName) => {}
            outcome => outcome?,
        }
        let usage = KeyUsage::server_auth();
        self.demands
            .check_chain(end_entity, intermediates, now, usage)
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.danger != Some(Danger::AnyCertificate) {
            self.check(end_entity, intermediates, server_name, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.demands.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.demands.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.demands.algorithms.supported_schemes()
    }
}

/// How a server checks a client, which must have a certificate.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// Absent where there are no authorities.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    demands: Demands,
}

impl ClientVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        pins: Vec<Pin>,
        crls: Crls,
        ask: Option<AskChain>,
    ) -> Result<Self, TlsConfigError> {
        let chain = match roots.is_empty() {
            true => None,
            false => {
                let roots = Arc::clone(&roots);
                let builder =
                    WebPkiClientVerifier::builder_with_provider(roots, config::provider());
                Some(builder.build().map_err(config::refused)?)
            }
        };
        Ok(Self {
            chain,
            demands: Demands::new(roots, pins, crls, ask),
        })
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(chain) = &self.chain else {
            return self.demands.check_pin(end_entity);
        };
        chain.verify_client_cert(end_entity, intermediates, now)?;
        let usage = KeyUsage::client_auth();
        self.demands
            .check_chain(end_entity, intermediates, now, usage)
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.chain {
            Some(chain) => chain.root_hint_subjects(),
            None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.demands.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.demands.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.demands.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
