//! What a certificate says of itself, for people and for who must renew it in time.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::config::{HASH_LEN, TlsConfigError, sha256};
use super::{pem, x509};

/// Whose a certificate is, who issued it, and when it is valid.
///
/// Nothing is checked: neither a signature, nor the time, nor a purpose. Names are as text in
/// quotation marks, such as `"CN=meter-17"`, shortened where they are long, and without characters
/// that end a line or control a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    subject: String,
    issuer: String,
    serial: String,
    not_before: Option<SystemTime>,
    not_after: Option<SystemTime>,
    sha256: [u8; HASH_LEN],
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM text. Does not yield.
    ///
    /// # Errors
    /// [`TlsConfigError::ChainPem`], or [`TlsConfigError::BadCertificate`].
    pub fn of_pem(text: &[u8]) -> Result<Self, TlsConfigError> {
        let certificates = pem::certificates(text).map_err(TlsConfigError::ChainPem)?;
        let first = certificates.first().and_then(|der| Self::of_der(der));
        first.ok_or(TlsConfigError::BadCertificate)
    }

    /// Reads a certificate in DER.
    pub(super) fn of_der(der: &[u8]) -> Option<Self> {
        let facts = x509::Facts::of(der)?;
        let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        Some(Self {
            subject: x509::name(facts.subject),
            issuer: x509::name(facts.issuer),
            serial: x509::serial(facts.serial),
            not_before: facts.not_before.map(time),
            not_after: facts.not_after.map(time),
            sha256: sha256(der),
        })
    }

    /// Returns whose it is.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns who issued it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns its serial number, as hexadecimal digits.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Returns since when it is valid; nothing for a time before 1970 or after 9999.
    #[must_use]
    pub const fn not_before(&self) -> Option<SystemTime> {
        self.not_before
    }

    /// Returns until when it is valid; nothing for a time before 1970 or after 9999.
    #[must_use]
    pub const fn not_after(&self) -> Option<SystemTime> {
        self.not_after
    }

    /// Returns the SHA-256 of the certificate as hexadecimal digits, as
    /// `openssl x509 -noout -fingerprint -sha256` tells it, without the colons.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut text = String::with_capacity(2 * HASH_LEN);
        for byte in &self.sha256 {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
