//! What a TLS connection can fail with, by who is at fault.
//!
//! A [`TlsError`] travels as the payload of an [`io::Error`]; [`TlsError::of`] finds it again
//! behind any error of this crate. The text is complete in itself: it says what was found and, for
//! a certificate, what was asked for.

use core::fmt;
use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as Cause, InvalidMessage};

use super::signer::SignerFailure;

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
}

impl TlsError {
    /// Builds an error that this crate found by itself.
    pub(super) const fn new(kind: TlsErrorKind) -> Self {
        Self { kind, cause: None }
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
            Cause::InvalidCertificate(found) => certificate_kind(found),
            other if SignerFailure::of(other).is_some() => TlsErrorKind::SignerFailed,
            Cause::NoCertificatesPresented => TlsErrorKind::NoCertificate,
            Cause::AlertReceived(alert) => alert_kind(*alert),
            Cause::NoApplicationProtocol => TlsErrorKind::AlpnNotAgreed,
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

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TlsErrorKind::UnknownIssuer => {
                "the peer's certificate was issued by none of the trusted authorities"
            }
            TlsErrorKind::NameMismatch => {
                "the peer's certificate is not for the name that was asked for"
            }
            TlsErrorKind::Expired => "the peer's certificate has expired, or the clock is wrong",
            TlsErrorKind::NotValidYet => {
                "the peer's certificate is not valid yet, or the clock is wrong"
            }
            TlsErrorKind::BadCertificate => "the peer's certificate is not acceptable",
            TlsErrorKind::NoCertificate => "the peer presented no certificate and must have one",
            TlsErrorKind::CertificateRefused => {
                "the peer refuses our certificate, or demands one and was given none"
            }
            TlsErrorKind::AlpnNotAgreed => {
                "no application protocol was agreed on (ALPN), and one is demanded"
            }
            TlsErrorKind::Alert => "the peer ended the connection with an alert",
            TlsErrorKind::Incompatible => "the two sides have no way of TLS in common",
            TlsErrorKind::NotTls => {
                "the peer does not speak TLS: expected a TLS record, found other bytes"
            }
            TlsErrorKind::Protocol => "the peer broke the rules of TLS",
            TlsErrorKind::ClosedInHandshake => {
                "the peer closed the connection in the middle of the TLS handshake"
            }
            TlsErrorKind::Truncated => {
                "the stream was cut off: the peer closed the connection without close_notify"
            }
            TlsErrorKind::KeysUsedUp => {
                "the keys of this TLS 1.2 connection are used up: a new connection is needed"
            }
            TlsErrorKind::SignerFailed => "the signer of this side's identity failed",
            TlsErrorKind::Internal => "TLS failed on this side",
        })?;
        match &self.cause {
            // The variants with a text of their own give the names and dates; the outer text of
            // the library would only repeat what was just said.
            Some(Cause::InvalidCertificate(found)) => write!(f, ": {found}"),
            Some(Cause::Other(inner)) => write!(f, ": {inner}"),
            Some(Cause::AlertReceived(alert)) => write!(f, ": alert {alert:?}"),
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
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
mod tests {
    use super::*;

    #[test]
    fn causes_are_sorted_by_whose_fault_they_are() {
        let alert = Cause::AlertReceived;
        let table = [
            (
                Cause::InvalidCertificate(CertificateError::UnknownIssuer),
                TlsErrorKind::UnknownIssuer,
            ),
            (
                Cause::InvalidCertificate(CertificateError::Expired),
                TlsErrorKind::Expired,
            ),
            (
                Cause::InvalidCertificate(CertificateError::NotValidYet),
                TlsErrorKind::NotValidYet,
            ),
            (
                Cause::InvalidCertificate(CertificateError::Revoked),
                TlsErrorKind::BadCertificate,
            ),
            (Cause::NoCertificatesPresented, TlsErrorKind::NoCertificate),
            (
                alert(AlertDescription::CertificateRequired),
                TlsErrorKind::CertificateRefused,
            ),
            (
                alert(AlertDescription::UnknownCA),
                TlsErrorKind::CertificateRefused,
            ),
            (
                alert(AlertDescription::NoApplicationProtocol),
                TlsErrorKind::AlpnNotAgreed,
            ),
            (
                alert(AlertDescription::ProtocolVersion),
                TlsErrorKind::Incompatible,
            ),
            (alert(AlertDescription::InternalError), TlsErrorKind::Alert),
            (
                Cause::InvalidMessage(InvalidMessage::InvalidContentType),
                TlsErrorKind::NotTls,
            ),
            (Cause::DecryptError, TlsErrorKind::Protocol),
            (Cause::FailedToGetRandomBytes, TlsErrorKind::Internal),
        ];
        for (cause, kind) in table {
            assert_eq!(TlsError::from(cause.clone()).kind(), kind, "{cause:?}");
        }
    }

    #[test]
    fn it_is_found_again_behind_other_errors() {
        let io = io::Error::from(TlsError::new(TlsErrorKind::Truncated));
        assert_eq!(io.kind(), io::ErrorKind::UnexpectedEof);
        let outer = crate::Error::new(crate::Phase::Tls, "broker:8883", io);
        let wrapped = io::Error::other(outer);
        let found = TlsError::of(&wrapped).expect("a TLS error two layers down");
        assert_eq!(found.kind(), TlsErrorKind::Truncated);
        assert!(wrapped.to_string().contains("without close_notify"));
        assert!(TlsError::of(&io::Error::other("another")).is_none());
    }

    #[test]
    fn the_text_of_an_alert_names_it_once() {
        let error = TlsError::from(Cause::AlertReceived(AlertDescription::CertificateRequired));
        assert_eq!(
            error.to_string(),
            "the peer refuses our certificate, or demands one and was given none: \
             alert CertificateRequired"
        );
    }
}
