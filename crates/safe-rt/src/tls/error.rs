//! What a TLS connection can fail with, by who is at fault.
//!
//! A [`TlsError`] travels as the payload of an [`io::Error`]; [`TlsError::of`] finds it again
//! behind any error of this crate. The text says what was found: what was asked for, which
//! certificate, which dates, what the alert means. [`TlsError::remedy`] says what a person can do.
//! A new kind gets a text in `text.rs` and a remedy in `remedy.rs`, or does not compile.

mod remedy;
mod text;

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as Cause, InvalidMessage, PeerMisbehaved};

use super::check::PinMismatch;
use super::evidence::Evidence;
use super::signer::SignerFailure;
use super::trust::Pin;
use crate::clock::ClockVerdict;

/// What went wrong, for a program to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The peer's certificate comes from none of the trusted authorities.
    UnknownIssuer,
    /// The peer's certificate is for other names than the one asked for.
    NameMismatch,
    /// The peer's certificate has expired, or our clock is wrong.
    Expired,
    /// The peer's certificate is not valid yet, or our clock is wrong.
    NotValidYet,
    /// The peer's certificate, or one that it leads to an authority by, is on a revocation list.
    Revoked,
    /// Whether the peer's certificate is revoked cannot be told: a list is missing, has expired, or
    /// is not its issuer's.
    RevocationUnknown,
    /// The peer has none of the keys that are pinned.
    PinMismatch,
    /// The peer's certificate fails another check.
    BadCertificate,
    /// The peer was asked for a certificate and presented none.
    NoCertificate,
    /// The peer refuses our certificate, or the lack of one. In TLS 1.3 a client sees this only at
    /// the first read after the handshake (RFC 8446 section 4.4.2.4).
    CertificateRefused,
    /// None of the application protocols offered was agreed on.
    AlpnNotAgreed,
    /// The peer ended the connection with another alert.
    Alert,
    /// The two sides have no version, cipher suite, group or signature scheme in common.
    Incompatible,
    /// What the peer sent is not TLS.
    NotTls,
    /// The peer broke the rules of TLS, or bytes were changed on the way.
    Protocol,
    /// The peer closed the transport in the middle of the handshake.
    ClosedInHandshake,
    /// The peer closed the transport without a close_notify alert: the stream may have been cut
    /// off by somebody else (RFC 8446 section 6.1).
    Truncated,
    /// The keys of a TLS 1.2 connection have protected as many records as they safely can.
    KeysUsedUp,
    /// The [`Signer`](crate::Signer) of this side's identity failed, was too slow, or signed with
    /// another key than its certificate's.
    SignerFailed,
    /// This side failed by itself: no randomness, no clock, wrong use.
    Internal,
}

/// A failed TLS connection.
#[derive(Clone, Debug)]
pub struct TlsError {
    kind: TlsErrorKind,
    cause: Option<Cause>,
    evidence: Option<Arc<Evidence>>,
}

impl TlsError {
    /// Builds an error that this crate found by itself.
    pub(super) const fn new(kind: TlsErrorKind) -> Self {
        Self {
            kind,
            cause: None,
            evidence: None,
        }
    }

    /// Adds what this side knows, for the text.
    pub(super) fn with_evidence(mut self, evidence: Arc<Evidence>) -> Self {
        self.evidence = Some(evidence);
        self
    }

    /// Returns what the clock of this device was worth when a certificate was found to have expired
    /// or to be not valid yet; `None` for errors of other kinds.
    ///
    /// With a clock that is [`Behind`](ClockVerdict::Behind) the same certificate may be accepted as
    /// soon as the clock is right, so that is no reason to give up or to wait for long.
    #[must_use]
    pub fn clock(&self) -> Option<ClockVerdict> {
        match self.kind {
            TlsErrorKind::Expired | TlsErrorKind::NotValidYet => {
                self.evidence.as_ref().map(|evidence| evidence.verdict)
            }
            _ => None,
        }
    }

    /// Returns the keys of the peer's chain, its own first, if none of them is pinned: what to pin
    /// if the peer is the right one.
    #[must_use]
    pub fn pins_found(&self) -> &[Pin] {
        PinMismatch::of(self.cause.as_ref()).map_or(&[], |mismatch| &mismatch.found)
    }

    /// Returns what went wrong.
    #[must_use]
    pub const fn kind(&self) -> TlsErrorKind {
        self.kind
    }

    /// Finds the TLS error behind `error`: in its payload, its source, or deeper.
    ///
    /// # Examples
    /// ```
    /// let error = std::io::Error::other("something else");
    /// assert!(safe_rt::TlsError::of(&error).is_none());
    /// ```
    #[must_use]
    pub fn of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        crate::error::find(error)
    }
}

impl From<Cause> for TlsError {
    fn from(cause: Cause) -> Self {
        let kind = match &cause {
            Cause::InvalidCertificate(_) if PinMismatch::of(Some(&cause)).is_some() => {
                TlsErrorKind::PinMismatch
            }
            Cause::InvalidCertificate(found) => certificate_kind(found),
            Cause::InvalidCertRevocationList(_) => TlsErrorKind::RevocationUnknown,
            other if SignerFailure::of(other).is_some() => TlsErrorKind::SignerFailed,
            Cause::NoCertificatesPresented => TlsErrorKind::NoCertificate,
            Cause::AlertReceived(alert) => alert_kind(*alert),
            Cause::NoApplicationProtocol => TlsErrorKind::AlpnNotAgreed,
            Cause::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                TlsErrorKind::AlpnNotAgreed
            }
            Cause::PeerIncompatible(_) => TlsErrorKind::Incompatible,
            Cause::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => TlsErrorKind::NotTls,
            Cause::InvalidMessage(_)
            | Cause::PeerMisbehaved(_)
            | Cause::InappropriateMessage { .. }
            | Cause::InappropriateHandshakeMessage { .. }
            | Cause::DecryptError
            | Cause::PeerSentOversizedRecord => TlsErrorKind::Protocol,
            _ => TlsErrorKind::Internal,
        };
        Self {
            kind,
            cause: Some(cause),
            evidence: None,
        }
    }
}

const fn certificate_kind(found: &CertificateError) -> TlsErrorKind {
    match found {
        CertificateError::UnknownIssuer => TlsErrorKind::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsErrorKind::NameMismatch
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            TlsErrorKind::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsErrorKind::NotValidYet
        }
        CertificateError::Revoked => TlsErrorKind::Revoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => TlsErrorKind::RevocationUnknown,
        _ => TlsErrorKind::BadCertificate,
    }
}

const fn alert_kind(alert: AlertDescription) -> TlsErrorKind {
    match alert {
        AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => TlsErrorKind::CertificateRefused,
        AlertDescription::NoApplicationProtocol => TlsErrorKind::AlpnNotAgreed,
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            TlsErrorKind::Incompatible
        }
        _ => TlsErrorKind::Alert,
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.cause {
            // The library passes it on without naming it as its source.
            Some(Cause::Other(inner)) => Some(inner),
            cause => cause.as_ref().map(|cause| cause as _),
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match error.kind {
            TlsErrorKind::Truncated | TlsErrorKind::ClosedInHandshake => {
                io::ErrorKind::UnexpectedEof
            }
            TlsErrorKind::CertificateRefused => io::ErrorKind::PermissionDenied,
            TlsErrorKind::Internal | TlsErrorKind::KeysUsedUp => io::ErrorKind::Other,
            TlsErrorKind::SignerFailed => error
                .cause
                .as_ref()
                .and_then(SignerFailure::of)
                .map_or(io::ErrorKind::Other, SignerFailure::kind),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests;
