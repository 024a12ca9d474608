//! What an error says: whose certificate, which names, which dates, what an alert means.
//!
//! Each text is one line. What a peer sent stands in it shortened and escaped, see `x509::quoted`.

use core::fmt;
use core::net::IpAddr;
use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as Cause, OtherError};

use super::{TlsError, TlsErrorKind};
use crate::clock::ClockVerdict;
use crate::tls::evidence::{Evidence, Language, Side};
use crate::tls::verify::{Certificate, Chain};
use crate::tls::x509::{quoted, visible};
use crate::utc::Utc;

/// Names of a certificate that are shown of those it is for.
const NAMES_SHOWN_MAX: usize = 8;
/// Most characters of what the library says.
const CAUSE_CHARS_MAX: usize = 512;

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer();
        match self.kind {
            TlsErrorKind::UnknownIssuer => self.unknown_issuer(f),
            TlsErrorKind::NameMismatch => self.name_mismatch(f),
            TlsErrorKind::Expired | TlsErrorKind::NotValidYet => self.out_of_time(f),
            TlsErrorKind::Revoked => self.revoked(f),
            TlsErrorKind::RevocationUnknown => {
                write!(
                    f,
                    "it cannot be told whether {peer}'s certificate is revoked"
                )?;
                if let Some(chain) = self.chain() {
                    write!(f, ": {}", chain.at)?;
                }
                self.because(f)
            }
            TlsErrorKind::PinMismatch => {
                write!(f, "{peer} has none of the pinned keys")?;
                self.because(f)
            }
            TlsErrorKind::BadCertificate => {
                write!(f, "{peer}'s certificate is not acceptable")?;
                if let Some(chain) = self.chain() {
                    write!(f, ": {}", chain.at)?;
                }
                self.because(f)
            }
            TlsErrorKind::NoCertificate => {
                write!(f, "{peer} presented no certificate and must have one")
            }
            TlsErrorKind::CertificateRefused => {
                match self.evidence.as_deref() {
                    Some(evidence) => refused(f, evidence)?,
                    None => {
                        f.write_str("the peer refuses the certificate of this side, or its lack")?
                    }
                }
                self.because(f)
            }
            TlsErrorKind::AlpnNotAgreed => self.alpn_not_agreed(f),
            TlsErrorKind::Alert => {
                write!(f, "{peer} ended the connection with an alert")?;
                self.because(f)
            }
            TlsErrorKind::Incompatible => {
                write!(f, "this side and {peer} have no way of TLS in common")?;
                self.because(f)
            }
            TlsErrorKind::NotTls => self.not_tls(f),
            TlsErrorKind::Protocol => {
                write!(f, "{peer} broke the rules of TLS")?;
                self.because(f)
            }
            TlsErrorKind::ClosedInHandshake => {
                write!(
                    f,
                    "{peer} closed the connection in the middle of the TLS handshake"
                )
            }
            TlsErrorKind::Truncated => write!(
                f,
                "the stream was cut off: {peer} closed the connection without close_notify"
            ),
            TlsErrorKind::KeysUsedUp => f.write_str(
                "the keys of this TLS 1.2 connection are used up: a new connection is needed",
            ),
            TlsErrorKind::SignerFailed => {
                f.write_str("the signer of this side's identity failed")?;
                self.because(f)
            }
            TlsErrorKind::Internal => {
                f.write_str("TLS failed on this side")?;
                self.because(f)
            }
        }
    }
}

/// How a certificate was used against what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misused {
    /// An authority's as a server's or a client's, which `openssl req -x509` leads to.
    Authority,
    /// A server's or a client's as an authority's.
    EndEntity,
}

impl TlsError {
    pub(super) fn peer(&self) -> &'static str {
        match self.side() {
            Some(Side::Client) => "the server",
            Some(Side::Server) => "the client",
            None => "the peer",
        }
    }

    pub(super) fn side(&self) -> Option<Side> {
        self.evidence.as_ref().map(|evidence| evidence.side)
    }

    pub(super) fn chain(&self) -> Option<&Chain> {
        self.evidence.as_ref()?.chain.as_deref()
    }

    /// Returns how a certificate was used against what it says of itself (RFC 5280 section 4.2.1.9).
    pub(super) fn misused(&self) -> Option<Misused> {
        let Some(Cause::InvalidCertificate(CertificateError::Other(OtherError(found)))) =
            &self.cause
        else {
            return None;
        };
        match found.downcast_ref()? {
            webpki::Error::CaUsedAsEndEntity => Some(Misused::Authority),
            webpki::Error::EndEntityUsedAsCa => Some(Misused::EndEntity),
            _ => None,
        }
    }

    /// Adds what the library says, or the peer by an alert.
    fn because(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.misused() {
            Some(Misused::Authority) => {
                return f.write_str(": it is an authority's (basicConstraints=CA:TRUE)");
            }
            Some(Misused::EndEntity) => {
                return f.write_str(": one that issued it, or another above it, is no authority's");
            }
            None => {}
        }
        match &self.cause {
            Some(Cause::InvalidCertificate(CertificateError::Other(found))) => {
                write!(f, ": {}", plain(&found.to_string()))
            }
            Some(Cause::InvalidCertificate(found)) => write!(f, ": {}", plain(&found.to_string())),
            Some(Cause::Other(inner)) => write!(f, ": {}", plain(&inner.to_string())),
            Some(Cause::AlertReceived(alert)) => {
                let code = u8::from(*alert);
                match meaning(*alert) {
                    Some(meaning) => write!(f, ": alert {alert:?} ({code}), {meaning}"),
                    None => write!(f, ": alert {alert:?} ({code})"),
                }
            }
            Some(cause) => write!(f, ": {}", plain(&cause.to_string())),
            None => Ok(()),
        }
    }

    fn unknown_issuer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer();
        write!(
            f,
            "{peer}'s certificate was issued by none of the trusted authorities"
        )?;
        let Some(chain) = self.chain() else {
            return Ok(());
        };
        let Certificate {
            subject, issuer, ..
        } = &chain.at;
        if chain.issuer_is_trusted {
            write!(
                f,
                ": one with the name {issuer} is trusted, but with another key than that which \
                 signed {subject}"
            )
        } else if chain.at.is_self_issued && chain.is_leaf {
            write!(
                f,
                ": {subject} is signed by itself and is not trusted itself"
            )
        } else if chain.at.is_self_issued {
            write!(
                f,
                ": the chain ends with {subject}, signed by itself and not trusted"
            )
        } else {
            write!(
                f,
                ": {subject} was issued by {issuer}, which is neither trusted nor among the {} \
                 certificate(s) that {peer} sent",
                chain.sent
            )
        }
    }

    fn revoked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer();
        let Some(chain) = self.chain() else {
            return write!(f, "{peer}'s certificate is revoked");
        };
        if chain.is_leaf {
            write!(f, "{peer}'s certificate is revoked: ")?;
        } else {
            write!(
                f,
                "{peer}'s certificate was issued by way of a revoked one: "
            )?;
        }
        write!(f, "{}, serial number {}", chain.at, chain.at.serial)
    }

    fn name_mismatch(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer();
        write!(f, "{peer}'s certificate is for another name")?;
        let Some(Cause::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected,
            presented,
        })) = &self.cause
        else {
            return Ok(());
        };
        write!(f, ": asked for {}, found ", quoted(&expected.to_str()))?;
        for (index, name) in presented.iter().take(NAMES_SHOWN_MAX).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", quoted(&bare(name)))?;
        }
        match presented.len().checked_sub(NAMES_SHOWN_MAX) {
            _ if presented.is_empty() => f.write_str("no name at all (subjectAltName)"),
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }

    fn out_of_time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer();
        let is_early = self.kind == TlsErrorKind::NotValidYet;
        let found = if is_early {
            "is not valid yet"
        } else {
            "has expired"
        };
        write!(f, "{peer}'s certificate {found}")?;
        let evidence = self.evidence.as_deref();
        match (self.chain(), self.date_of_cause()) {
            (Some(chain), _) if chain.is_leaf => write!(f, ": {}", chain.at)?,
            (Some(chain), _) => write!(f, " by way of one above it: {}", chain.at)?,
            (None, Some(date)) if is_early => write!(f, ": it is valid from {date}")?,
            (None, Some(date)) => write!(f, ": it was valid until {date}")?,
            (None, None) => {}
        }
        let Some(evidence) = evidence else {
            return Ok(());
        };
        let (wall, earliest) = (Utc(evidence.wall), Utc(evidence.earliest));
        write!(f, "; the clock of this device says {wall}, ")?;
        match (evidence.verdict, is_early) {
            (ClockVerdict::Behind { .. }, true) => write!(
                f,
                "which cannot be, for it is {earliest} at the least: the clock is wrong"
            ),
            (ClockVerdict::Behind { .. }, false) => write!(
                f,
                "which cannot be, for it is {earliest} at the least: the clock is wrong, and so is \
                 the certificate"
            ),
            (_, true) => f.write_str(
                "which can be: either that is behind, or the certificate was issued for later",
            ),
            (_, false) => f.write_str("which can be: the certificate is wrong"),
        }
    }

    /// The date that the verdict is about, where the library tells it.
    fn date_of_cause(&self) -> Option<Utc> {
        let Some(Cause::InvalidCertificate(found)) = &self.cause else {
            return None;
        };
        match found {
            CertificateError::ExpiredContext { not_after, .. } => Some(date(not_after)),
            CertificateError::NotValidYetContext { not_before, .. } => Some(date(not_before)),
            _ => None,
        }
    }

    fn alpn_not_agreed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer();
        f.write_str("no application protocol was agreed on (ALPN)")?;
        let Some(evidence) = &self.evidence else {
            return self.because(f);
        };
        let alpn = &evidence.alpn;
        match (evidence.side, &self.cause) {
            (Side::Server, _) => write!(f, ": {peer} offered none of {alpn}"),
            (Side::Client, Some(Cause::AlertReceived(_))) => {
                write!(f, ": offered {alpn}")?;
                self.because(f)
            }
            (Side::Client, Some(_)) => {
                write!(f, ": offered {alpn}, and {peer} chose another one")
            }
            (Side::Client, None) => write!(f, ": offered {alpn}, and {peer} chose none"),
        }
    }

    fn not_tls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not speak TLS", self.peer())?;
        let Some(first) = self.evidence.as_ref().map(|evidence| &evidence.first) else {
            return Ok(());
        };
        if !first.is_no_tls() {
            return self.because(f);
        }
        f.write_str(match first.language() {
            Language::Http => ": it speaks HTTP",
            Language::Mqtt => ": it speaks MQTT in plain text",
            Language::Ssh => ": it speaks SSH",
            Language::Unknown => "",
        })?;
        let text = String::from_utf8_lossy(first.as_slice());
        write!(f, ", its first bytes are {}", quoted(&text))
    }
}

/// Says who is refused, and with what.
fn refused(f: &mut fmt::Formatter<'_>, evidence: &Evidence) -> fmt::Result {
    match (evidence.side, &evidence.ours) {
        (Side::Client, None) => {
            f.write_str("the server refuses this client, which has no certificate to show")
        }
        (Side::Client, Some(ours)) => {
            write!(
                f,
                "the server refuses the certificate of this client, {ours}"
            )
        }
        (Side::Server, None) => f.write_str("the client refuses the certificate of this server"),
        (Side::Server, Some(ours)) => {
            write!(
                f,
                "the client refuses the certificate of this server, {ours}"
            )
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject, issuer, ..
        } = self;
        if self.is_self_issued {
            write!(f, "{subject} (signed by itself")?;
        } else {
            write!(f, "{subject} (issued by {issuer}")?;
        }
        if let (Some(from), Some(until)) = (self.not_before, self.not_after) {
            write!(f, ", valid from {} until {}", at(from), at(until))?;
        }
        f.write_str(")")
    }
}

/// What an alert means that people meet (RFC 8446 section 6.2, RFC 5246 section 7.2.2).
const fn meaning(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::HandshakeFailure => {
            "no set of parameters was acceptable, or a certificate is missing"
        }
        AlertDescription::NoCertificate | AlertDescription::CertificateRequired => {
            "a certificate is demanded"
        }
        AlertDescription::BadCertificate => "the certificate is damaged or wrongly signed",
        AlertDescription::UnsupportedCertificate => "the certificate is of a sort not taken",
        AlertDescription::CertificateRevoked => "the certificate was revoked",
        AlertDescription::CertificateExpired => {
            "the certificate has expired or is not valid yet, by the clock over there"
        }
        AlertDescription::CertificateUnknown => "the certificate is not accepted, without a reason",
        AlertDescription::UnknownCA => "the authority that issued the certificate is not known",
        AlertDescription::AccessDenied => "the certificate is valid, but lets nobody in",
        AlertDescription::DecryptError => "a signature or a key did not fit",
        AlertDescription::ProtocolVersion => "the version of TLS is not supported",
        AlertDescription::InsufficientSecurity => "better ciphers are demanded",
        AlertDescription::InternalError => "something failed over there",
        AlertDescription::UnrecognisedName => "no host of the name asked for (SNI)",
        AlertDescription::NoApplicationProtocol => "none of the protocols offered is spoken",
        _ => return None,
    })
}

/// Takes a name out of the form that the library gives it.
fn bare(name: &str) -> Cow<'_, str> {
    let inside = |begin: &str, end: &str| name.strip_prefix(begin)?.strip_suffix(end);
    if let Some(host) = inside("DnsName(\"", "\")") {
        return host.into();
    }
    let address = inside("IpAddress(", ")").unwrap_or(name);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_string().into(),
        Err(_) => address.into(),
    }
}

/// Makes a text of the library fit for a log: it may hold what a peer sent.
fn plain(text: &str) -> String {
    visible(text, CAUSE_CHARS_MAX)
}

fn date(time: &UnixTime) -> Utc {
    at(time.as_secs())
}

fn at(seconds: u64) -> Utc {
    Utc(UNIX_EPOCH + Duration::from_secs(seconds))
}
