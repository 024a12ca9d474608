//! Pins: the SHA-256 of a public key, as a person writes it down (RFC 7469 section 2.4).

use core::fmt;
use core::str::FromStr;

use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::TrustError;
use crate::tls::config::{HASH_LEN, TlsConfigError, sha256};
use crate::tls::pem;

/// Most pins that one [`Trust`](crate::Trust) holds.
pub const PINS_MAX: usize = 16;
/// Base64 symbols of that many bytes, the padding included.
const TEXT_LEN: usize = 44;

/// The SHA-256 of a public key: of the whole SubjectPublicKeyInfo, so that the sort of key counts.
///
/// As text it is `sha256/` and 44 symbols of base64; `sha256//`, as curl writes it, is read too.
/// What OpenSSL tells of a certificate is the same:
/// `openssl x509 -in FILE -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256
/// -binary | base64`. A pin that does not match is told with the ones that were found.
///
/// # Examples
/// ```
/// use safe_rt::Pin;
///
/// let text = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
/// let pin: Pin = text.parse()?;
/// assert_eq!(pin.to_string(), text);
/// assert!("sha256/47DE".parse::<Pin>().is_err());
/// # Ok::<(), safe_rt::TlsConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin([u8; HASH_LEN]);

impl Pin {
    /// Takes the 32 bytes of the hash themselves.
    #[must_use]
    pub const fn from_sha256(hash: [u8; HASH_LEN]) -> Self {
        Self(hash)
    }

    /// Returns the 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_LEN] {
        &self.0
    }

    /// Pins the key of the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`TrustError::PinPem`], or [`TlsConfigError::BadCertificate`].
    pub fn of_certificate(pem: &[u8]) -> Result<Self, TlsConfigError> {
        let certificates = pem::certificates(pem).map_err(TrustError::PinPem)?;
        certificates
            .first()
            .and_then(Self::of)
            .ok_or(TlsConfigError::BadCertificate)
    }

    /// Pins the key of a certificate, if it can be read.
    pub(in crate::tls) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(Self::of_key(&certificate.subject_public_key_info()))
    }

    /// Pins the key of an authority, which is kept without the SEQUENCE around it.
    pub(in crate::tls) fn of_anchor(anchor: &TrustAnchor<'_>) -> Self {
        let inside = &anchor.subject_public_key_info;
        let mut key = vec![0x30];
        // The length in DER (X.690 section 8.1.3): itself below 128, else the bytes it takes.
        let len = inside.len();
        if let Ok(short @ ..0x80) = u8::try_from(len) {
            key.push(short);
        } else {
            let bytes = len.to_be_bytes();
            let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            key.extend(u8::try_from(significant.len()).map(|count| 0x80 | count));
            key.extend(significant);
        }
        key.extend_from_slice(inside);
        Self::of_key(&key)
    }

    /// Pins a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
    pub(in crate::tls) fn of_key(key: &[u8]) -> Self {
        Self(sha256(key))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl FromStr for Pin {
    type Err = TlsConfigError;

    fn from_str(text: &str) -> Result<Self, TlsConfigError> {
        decode(text.trim()).map(Self).ok_or_else(|| {
            let quoted = text.chars().take(2 * TEXT_LEN).collect();
            TrustError::BadPin(quoted).into()
        })
    }
}

/// Reads the one text that a hash has, but for the second slash.
fn decode(text: &str) -> Option<[u8; HASH_LEN]> {
    let symbols = text.strip_prefix("sha256/")?;
    let symbols = match symbols.len() {
        // The base64 may begin with a slash of its own, so it is the length that tells.
        TEXT_LEN => symbols,
        _ => symbols.strip_prefix('/')?,
    };
    let symbols = symbols.strip_suffix('=')?.as_bytes();
    if symbols.len() != TEXT_LEN - 1 {
        return None;
    }
    // 43 symbols are two bits more than the hash, which are zero, and so is what the padding means.
    let mut bytes = [0; HASH_LEN + 1];
    for (symbols, bytes) in symbols.chunks(4).zip(bytes.chunks_exact_mut(3)) {
        let mut bits = 0;
        for place in 0..4 {
            let value = match symbols.get(place) {
                Some(symbol) => ALPHABET.iter().position(|known| known == symbol)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    match bytes.split_last() {
        Some((0, hash)) => hash.try_into().ok(),
        _ => None,
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256/")?;
        for bytes in self.0.chunks(3) {
            let byte = |place| u32::from(*bytes.get(place).unwrap_or(&0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..=bytes.len() {
                let value = bits >> (18 - 6 * place) & 63;
                write!(f, "{}", char::from(ALPHABET[value as usize]))?;
            }
        }
        // 32 bytes are ten groups and two bytes: one symbol is missing.
        f.write_str("=")
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

#[cfg(test)]
mod tests;
