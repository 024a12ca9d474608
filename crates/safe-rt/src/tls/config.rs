//! What both sides of TLS are configured from: versions, ALPN, and the doors.
//!
//! Everything that can be wrong with a configuration is found here, before any connection: damaged
//! files, a key that does not belong to its certificate, protocol names that cannot be sent. The
//! cryptography is given explicitly (ring) and the time comes from [`fiber::wall_time`], unless
//! that is before the [`ClockFloor`]; rustls never looks for either by itself.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::pem::PemError;
use super::signer::SignatureScheme;
use super::trust::TrustError;
use crate::clock::ClockFloor;
use crate::debug_is_text::debug_is_text;

/// Most application protocols that can be offered.
pub const ALPN_PROTOCOLS_MAX: usize = 16;
/// Servers whose sessions a client configuration remembers for resumption.
pub const SESSIONS_MAX: usize = 8;
/// Sessions a server configuration remembers for resumption.
pub const SERVER_SESSIONS_MAX: usize = 256;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

/// Why a TLS configuration cannot be built.
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// What reading it ended with.
        source: io::Error,
    },
    /// The PEM text of the trusted authorities is not usable.
    TrustPem(PemError),
    /// The PEM text of the certificate chain is not usable.
    ChainPem(PemError),
    /// The PEM text of the private key is not usable.
    KeyPem(PemError),
    /// None of the certificates to be trusted can be an authority.
    NoUsableAuthority(usize),
    /// Authorities, pins or revocation lists are not usable, or not together.
    Trust(TrustError),
    /// The first certificate of the chain cannot be read.
    BadCertificate,
    /// The private key is of a sort or size that is not supported, or damaged inside.
    UnsupportedKey,
    /// The private key does not belong to the first certificate of the chain.
    KeyMismatch,
    /// The private key belongs to a certificate of the chain that is not the first.
    LeafNotFirst {
        /// Which one it belongs to, counted from 1.
        at: usize,
    },
    /// A signer names a scheme that the key of its certificate cannot have.
    SignerScheme(SignatureScheme),
    /// A signer names no scheme.
    NoSignerScheme,
    /// A signer that was tried out failed, or its key is not the certificate's.
    Signer(io::Error),
    /// The decryption of a private key was not waited for, or could not be begun.
    Decrypting(io::Error),
    /// An application protocol's name is empty or has more than 255 bytes.
    AlpnLength(usize),
    /// There are more application protocols than [`ALPN_PROTOCOLS_MAX`].
    AlpnCount(usize),
    /// ALPN is demanded, but no protocol is offered.
    AlpnDemandedButNotOffered,
    /// The library refuses the configuration for another reason, given in its words.
    Other(String),
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "reading {}: {source}", path.display()),
            Self::TrustPem(error) => write!(f, "trusted authorities: {error}"),
            Self::ChainPem(error) => write!(f, "certificate chain: {error}"),
            Self::KeyPem(error) => write!(f, "private key: {error}"),
            Self::NoUsableAuthority(found) => write!(
                f,
                "trusted authorities: none of {found} certificate(s) can be an authority"
            ),
            Self::Trust(error) => error.fmt(f),
            Self::BadCertificate => f.write_str("the first certificate of the chain is damaged"),
            Self::UnsupportedKey => f.write_str(
                "the private key is damaged or unsupported: expected Ed25519, ECDSA P-256 or \
                 P-384, or RSA of 2048 to 8192 bits",
            ),
            Self::KeyMismatch => {
                f.write_str("the private key does not belong to the first certificate of the chain")
            }
            Self::LeafNotFirst { at } => write!(
                f,
                "the private key belongs to certificate {at} of the chain: expected the \
                 certificate of the key first, then the one that issued it"
            ),
            Self::SignerScheme(scheme) => write!(
                f,
                "the signer offers {scheme}, which the key of the certificate cannot have"
            ),
            Self::NoSignerScheme => f.write_str("the signer offers no signature scheme"),
            Self::Signer(error) => write!(f, "trying out the signer: {error}"),
            Self::Decrypting(error) => write!(f, "decrypting the private key: {error}"),
            Self::AlpnLength(found) => write!(
                f,
                "application protocol name of {found} bytes: expected 1 to 255"
            ),
            Self::AlpnCount(found) => write!(
                f,
                "{found} application protocols: at most {ALPN_PROTOCOLS_MAX} can be offered"
            ),
            Self::AlpnDemandedButNotOffered => {
                f.write_str("an application protocol is demanded, but none is offered")
            }
            Self::Other(text) => write!(f, "TLS configuration refused: {text}"),
        }
    }
}

debug_is_text!(TlsConfigError);

impl std::error::Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } | Self::Signer(source) | Self::Decrypting(source) => {
                Some(source)
            }
            Self::Trust(error) => Some(error),
            Self::TrustPem(error) | Self::ChainPem(error) | Self::KeyPem(error) => Some(error),
            _ => None,
        }
    }
}

/// Tells rustls the time of the clock door, or the earliest time that it can be.
#[derive(Debug)]
struct WallClock(ClockFloor);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
            .judged_at(fiber::wall_time())
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

pub(super) fn clock(floor: ClockFloor) -> Arc<dyn TimeProvider> {
    Arc::new(WallClock(floor))
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Bytes of a SHA-256.
pub(super) const HASH_LEN: usize = 32;

/// The SHA-256 of the provider, which is what a cipher suite names.
pub(super) fn sha256(bytes: &[u8]) -> [u8; HASH_LEN] {
    let hash = match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
    };
    let mut sum = [0; HASH_LEN];
    sum.copy_from_slice(hash.hash(bytes).as_ref());
    sum
}

static TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// Returns the versions to offer: the one demanded, or all.
pub(super) const fn versions(
    only: Option<TlsVersion>,
) -> &'static [&'static SupportedProtocolVersion] {
    match only {
        None => rustls::ALL_VERSIONS,
        Some(TlsVersion::Tls12) => &TLS12,
        Some(TlsVersion::Tls13) => &TLS13,
    }
}

/// Checks a list of application protocols (RFC 7301 section 3.1).
pub(super) fn check_alpn(protocols: &[Vec<u8>]) -> Result<(), TlsConfigError> {
    if protocols.len() > ALPN_PROTOCOLS_MAX {
        return Err(TlsConfigError::AlpnCount(protocols.len()));
    }
    match protocols
        .iter()
        .map(Vec::len)
        .find(|len| !(1..=255).contains(len))
    {
        Some(len) => Err(TlsConfigError::AlpnLength(len)),
        None => Ok(()),
    }
}

pub(super) fn refused(error: impl fmt::Display) -> TlsConfigError {
    TlsConfigError::Other(error.to_string())
}

/// Reads a file of certificates or keys; waits, without stopping other fibers.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    fiber::fs::read(path).map_err(|source| TlsConfigError::File {
        path: path.to_owned(),
        source,
    })
}
