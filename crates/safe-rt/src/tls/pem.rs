//! Certificates and private keys out of PEM text (RFC 7468).
//!
//! The only user of rustls-pemfile. It tells apart what can be wrong with a file that somebody
//! else wrote: no PEM at all, damaged PEM, the wrong thing in it, too much in it. Whether a key is
//! usable and belongs to its certificate is judged where both are known, in `identity`. Encrypted
//! keys are recognised here and read in `encrypted_pem`.

use core::fmt;

use crate::debug_is_text::debug_is_text;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls_pemfile::{Item, read_one_from_slice};
use zeroize::Zeroizing;

/// Largest PEM text taken, in bytes; a file with the roots of a whole system is a quarter of it.
pub const PEM_BYTES_MAX: usize = 1024 * 1024;

/// The sorts of PEM section that are told apart, and how many of each a text had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PemContents {
    /// Certificates.
    pub certificates: usize,
    /// Private keys: PKCS#8, PKCS#1 or SEC1.
    pub private_keys: usize,
    /// Public keys without a certificate.
    pub public_keys: usize,
    /// Lists of revoked certificates.
    pub revocation_lists: usize,
    /// Certificate signing requests and whatever else is known.
    pub others: usize,
}

impl fmt::Display for PemContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} certificate(s), {} private key(s), {} public key(s), {} revocation list(s), \
             {} other section(s)",
            self.certificates,
            self.private_keys,
            self.public_keys,
            self.revocation_lists,
            self.others
        )
    }
}

/// Why a text does not give the certificates or the key asked for.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PemError {
    /// The text has more than [`PEM_BYTES_MAX`] bytes.
    TooLong(usize),
    /// There is no PEM section in it: empty, DER, or something else altogether.
    NotPem,
    /// A section begins and does not end.
    UnendedSection,
    /// The line that begins a section is damaged.
    DamagedBegin,
    /// The inside of a section is not base64.
    DamagedBase64,
    /// There is PEM, but no certificate in it.
    NoCertificate(PemContents),
    /// There is PEM, but no private key in it.
    NoKey(PemContents),
    /// There is PEM, but no revocation list in it.
    NoCrl(PemContents),
    /// There is more than one private key, and nothing says which one is meant.
    SeveralKeys(usize),
    /// The private key is encrypted, and no password was given.
    EncryptedKey,
    /// The private key is encrypted in the older form of OpenSSL, which is not read.
    LegacyEncryptedKey,
    /// The password is wrong; or the key is damaged, which cannot be told apart.
    WrongPassword,
    /// The encrypted private key is damaged, whatever the password is.
    DamagedEncryptedKey,
    /// The private key is encrypted in a way that is not supported: its object identifier or name.
    UnsupportedEncryption(String),
    /// The encrypted private key asks for more rounds of PBKDF2 than are made.
    KdfIterations(u32),
    /// The encrypted private key asks for more of scrypt than is done.
    KdfMemory {
        /// The memory that it asks for, in bytes.
        bytes: u64,
        /// How many times it would go through that memory.
        passes: u16,
    },
}

/// What makes an encrypted key one that is read.
const CONVERT: &str = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.pem -out NEW.pem";

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(found) => {
                write!(f, "{found} bytes of PEM: at most {PEM_BYTES_MAX} are read")
            }
            Self::NotPem => f.write_str("not PEM: expected a line that starts with -----BEGIN"),
            Self::UnendedSection => f.write_str("damaged PEM: a section has no -----END line"),
            Self::DamagedBegin => f.write_str("damaged PEM: a -----BEGIN line is incomplete"),
            Self::DamagedBase64 => f.write_str("damaged PEM: a section is not valid base64"),
            Self::NoCertificate(found) => {
                write!(f, "no certificate found: the PEM holds {found}")
            }
            Self::NoKey(found) => write!(
                f,
                "no private key found: expected one of PKCS#8, PKCS#1 or SEC1, the PEM holds {found}"
            ),
            Self::NoCrl(found) => {
                write!(f, "no revocation list found: the PEM holds {found}")
            }
            Self::SeveralKeys(found) => {
                write!(f, "{found} private keys found: expected exactly one")
            }
            Self::EncryptedKey => {
                f.write_str("the private key is encrypted, and no password was given for it")
            }
            Self::LegacyEncryptedKey => write!(
                f,
                "the private key is encrypted in an old and weak form (Proc-Type: 4,ENCRYPTED): \
                 convert it with `{CONVERT}`"
            ),
            Self::WrongPassword => {
                f.write_str("the password is wrong, or the encrypted private key is damaged")
            }
            Self::DamagedEncryptedKey => f.write_str("the encrypted private key is damaged"),
            Self::UnsupportedEncryption(found) => write!(
                f,
                "the private key is encrypted in an unsupported way ({found}): expected PBES2 \
                 with AES, and PBKDF2 with SHA-2 or scrypt; convert it with `{CONVERT}`"
            ),
            Self::KdfIterations(found) => write!(
                f,
                "the encrypted private key asks for {found} rounds of PBKDF2, which is too many: \
                 convert it with `{CONVERT}`"
            ),
            Self::KdfMemory { bytes, passes } => write!(
                f,
                "the encrypted private key asks for {bytes} bytes of scrypt and {passes} passes, \
                 which is too much: convert it with `{CONVERT}`"
            ),
        }
    }
}

debug_is_text!(PemError);

impl std::error::Error for PemError {}

/// Reads every certificate of `pem`, in order; other sections are passed over.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let sections = Sections::read(pem)?;
    if sections.certificates.is_empty() {
        return Err(PemError::NoCertificate(sections.contents()));
    }
    Ok(sections.certificates)
}

/// Reads every revocation list of `pem`, in order; other sections are passed over.
pub(super) fn crls(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    let sections = Sections::read(pem)?;
    if sections.crls.is_empty() {
        return Err(PemError::NoCrl(sections.contents()));
    }
    Ok(sections.crls)
}

/// Reads the one private key of `pem`; other sections are passed over.
pub(super) fn private_key(pem: &[u8]) -> Result<SecretKey, PemError> {
    // An encrypted key is either a section of a sort of its own or, in the older form, a section
    // whose base64 follows two header lines; the parser skips the one and stumbles on the other.
    if contains(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(PemError::EncryptedKey);
    }
    if contains(pem, b"Proc-Type: 4,ENCRYPTED") {
        return Err(PemError::LegacyEncryptedKey);
    }
    let mut sections = Sections::read(pem)?;
    match (sections.keys.pop(), sections.keys.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), others) => Err(PemError::SeveralKeys(others + 1)),
        (None, _) => Err(PemError::NoKey(sections.contents())),
    }
}

/// A private key that is overwritten when it is dropped.
pub(super) type SecretKey = Zeroizing<PrivateKeyDer<'static>>;

/// Everything of a PEM text that somebody may ask for.
#[derive(Default)]
struct Sections {
    certificates: Vec<CertificateDer<'static>>,
    keys: Vec<SecretKey>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    public_keys: usize,
    others: usize,
}

impl Sections {
    fn read(pem: &[u8]) -> Result<Self, PemError> {
        if pem.len() > PEM_BYTES_MAX {
            return Err(PemError::TooLong(pem.len()));
        }
        if !contains(pem, b"-----BEGIN") {
            return Err(PemError::NotPem);
        }
        let mut sections = Self::default();
        let mut rest = pem;
        while let Some((item, after)) = read_one_from_slice(rest).map_err(syntax)? {
            rest = after;
            match item {
                Item::X509Certificate(certificate) => sections.certificates.push(certificate),
                Item::Pkcs8Key(key) => sections.keys.push(SecretKey::new(key.into())),
                Item::Pkcs1Key(key) => sections.keys.push(SecretKey::new(key.into())),
                Item::Sec1Key(key) => sections.keys.push(SecretKey::new(key.into())),
                Item::Crl(list) => sections.crls.push(list),
                Item::SubjectPublicKeyInfo(_) => sections.public_keys += 1,
                _ => sections.others += 1,
            }
        }
        Ok(sections)
    }

    fn contents(&self) -> PemContents {
        PemContents {
            certificates: self.certificates.len(),
            private_keys: self.keys.len(),
            public_keys: self.public_keys,
            revocation_lists: self.crls.len(),
            others: self.others,
        }
    }
}

/// Maps a syntax error without the bytes that it quotes: they may be part of a key.
fn syntax(error: rustls_pemfile::Error) -> PemError {
    match error {
        rustls_pemfile::Error::MissingSectionEnd { .. } => PemError::UnendedSection,
        rustls_pemfile::Error::IllegalSectionStart { .. } => PemError::DamagedBegin,
        rustls_pemfile::Error::Base64Decode(_) => PemError::DamagedBase64,
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
