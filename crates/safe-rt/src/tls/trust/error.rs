//! What can be wrong with whom to believe.

use core::fmt;
use std::path::PathBuf;

use super::{AUTHORITIES_MAX, CRLS_MAX, PINS_MAX, TRUST_FILES_MAX};
use crate::debug_is_text::debug_is_text;
use crate::tls::config::TlsConfigError;
use crate::tls::pem::PemError;

/// Why a [`Trust`](crate::Trust) cannot be built or used.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody is to be believed: no authority and no pin.
    Nobody,
    /// There are more authorities than [`AUTHORITIES_MAX`].
    TooManyAuthorities,
    /// A folder holds more files of certificates than [`TRUST_FILES_MAX`].
    TooManyFiles(PathBuf),
    /// None of the files of a folder holds a certificate that can be an authority.
    NoAuthorityInFolder(PathBuf),
    /// The authorities of the system were asked for, and there are none.
    NoSystemRoots {
        /// Where they were looked for, in this order.
        looked_at: Vec<PathBuf>,
    },
    /// The authorities of the system were given to check clients by.
    SystemRootsForClients,
    /// The text is no pin.
    BadPin(String),
    /// The PEM text of a certificate whose key is to be pinned is not usable.
    PinPem(PemError),
    /// There are more pins than [`PINS_MAX`].
    TooManyPins,
    /// The PEM text of revocation lists is not usable.
    CrlPem(PemError),
    /// A revocation list is damaged, or of a sort that is not supported.
    BadCrl(String),
    /// There are more revocation lists than [`CRLS_MAX`].
    TooManyCrls,
    /// Revocation lists were given, but no authorities: a pin alone is checked against none.
    CrlsWithoutAuthorities,
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody is trusted: expected authorities or pins"),
            Self::TooManyAuthorities => write!(
                f,
                "trusted authorities: at most {AUTHORITIES_MAX} can be given"
            ),
            Self::TooManyFiles(path) => write!(
                f,
                "{}: a folder of trusted authorities has at most {TRUST_FILES_MAX} files",
                path.display()
            ),
            Self::NoAuthorityInFolder(path) => write!(
                f,
                "{}: no trusted authority found: expected PEM files that end in .pem, .crt or \
                 .cer, or have the names that `openssl rehash` gives",
                path.display()
            ),
            Self::NoSystemRoots { looked_at } => {
                f.write_str("the system has no trusted authorities, looked at ")?;
                for (index, path) in looked_at.iter().enumerate() {
                    let before = if index == 0 { "" } else { ", " };
                    write!(f, "{before}{}", path.display())?;
                }
                f.write_str(
                    ": install the package ca-certificates, or name a file with SSL_CERT_FILE",
                )
            }
            Self::SystemRootsForClients => f.write_str(
                "the system's authorities say nothing about who may be a client: expected \
                 authorities of your own",
            ),
            Self::BadPin(text) => write!(
                f,
                "{text:?} is no pin: expected sha256/ and 44 symbols of base64"
            ),
            Self::PinPem(error) => write!(f, "certificate to be pinned: {error}"),
            Self::TooManyPins => write!(f, "pins: at most {PINS_MAX} can be given"),
            Self::CrlPem(error) => write!(f, "revocation lists: {error}"),
            Self::BadCrl(text) => write!(f, "a revocation list is damaged or unsupported: {text}"),
            Self::TooManyCrls => write!(f, "revocation lists: at most {CRLS_MAX} can be given"),
            Self::CrlsWithoutAuthorities => f.write_str(
                "revocation lists need authorities: a pin alone is not checked against any",
            ),
        }
    }
}

debug_is_text!(TrustError);

impl std::error::Error for TrustError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::PinPem(error) | Self::CrlPem(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TrustError> for TlsConfigError {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}
