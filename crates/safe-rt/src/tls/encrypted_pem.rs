//! Private keys that a password protects: PKCS #8 `EncryptedPrivateKeyInfo` (RFC 5958 section 3)
//! with PBES2 (RFC 8018 section 6.2), which is what OpenSSL writes since 2010.
//!
//! The file says how much work it takes to make a key of the password, and a file may be anybody's:
//! the work is bounded before it begins, and is done on a thread beside. The older form of OpenSSL,
//! with `Proc-Type: 4,ENCRYPTED`, derives its key by one round of MD5 and is not read.

use core::fmt;
use std::path::Path;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::{Decode as _, Error as DerError, ErrorKind as DerErrorKind, Tag};
use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Kdf, Parameters};
use pkcs8::pkcs5::{EncryptionScheme, Error as CipherError};
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::{Zeroize, Zeroizing};

use super::config::{TlsConfigError, read};
use super::identity::{Identity, chain_of};
use super::pem::{self, PemError, SecretKey};

/// Most rounds of PBKDF2 that are made for an encrypted key: eight times what is recommended today,
/// and some seconds of a small processor.
pub const PBKDF2_ITERATIONS_MAX: u32 = 5_000_000;
/// Most memory that scrypt may take for an encrypted key, in bytes: a table four times as large as
/// OpenSSL asks for, and what is needed beside it.
pub const SCRYPT_BYTES_MAX: u64 = 65 * 1024 * 1024;
/// Most times that scrypt may go through its memory, which is its parameter p.
pub const SCRYPT_PASSES_MAX: u16 = 16;

const AES_BLOCK: usize = 16;

/// The password of an encrypted private key; overwritten when it is dropped, and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes of a password, as they are.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Reads a file whose first line is the password; waits, without stopping other fibers.
    ///
    /// # Errors
    /// [`TlsConfigError::File`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        let mut bytes = Zeroizing::new(read(path.as_ref())?);
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            bytes[end..].zeroize();
            bytes.truncate(end);
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Identity {
    /// Takes the chain, leaf first, from one PEM text and the encrypted key from another; both may
    /// be the same text. A key that is not encrypted is taken too, with a warning in the log.
    ///
    /// Waits while a thread makes the key of the password, without stopping other fibers.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem); [`PemError::WrongPassword`];
    /// [`PemError::KdfIterations`] and [`PemError::KdfMemory`] for a file that asks for too much
    /// work; [`TlsConfigError::Decrypting`] when the wait ends early.
    ///
    /// # Examples
    /// ```
    /// use safe_rt::{Identity, Password, PemError, TlsConfigError};
    ///
    /// # fiber::run(|| {
    /// # let made = rcgen::generate_simple_self_signed(vec!["device".to_owned()]).unwrap();
    /// # let (chain, key) = (made.cert.pem(), "-----BEGIN ENCRYPTED PRIVATE KEY-----
    /// # MAA=
    /// # -----END ENCRYPTED PRIVATE KEY-----");
    /// let password = Password::new("correct horse");
    /// match Identity::from_pem_with_password(chain.as_bytes(), key.as_bytes(), password) {
    ///     Err(TlsConfigError::KeyPem(PemError::WrongPassword)) => { /* ask again */ }
    ///     other => drop(other),
    /// }
    /// # }).unwrap();
    /// ```
    pub fn from_pem_with_password(
        chain: &[u8],
        key: &[u8],
        password: Password,
    ) -> Result<Self, TlsConfigError> {
        let chain = chain_of(chain)?;
        let key = match pem::private_key(key) {
            Err(PemError::EncryptedKey) => decrypt(key, password)?,
            Ok(key) => {
                log::warn!("a password was given for a private key that is not encrypted");
                key
            }
            Err(error) => return Err(TlsConfigError::KeyPem(error)),
        };
        Self::new(chain, &key)
    }

    /// Reads both PEM files, the key an encrypted one; waits, without stopping other fibers.
    ///
    /// # Errors
    /// As [`from_pem_with_password`](Self::from_pem_with_password), and [`TlsConfigError::File`].
    pub fn from_files_with_password(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
        password: Password,
    ) -> Result<Self, TlsConfigError> {
        let chain = read(chain.as_ref())?;
        let key = Zeroizing::new(read(key.as_ref())?);
        Self::from_pem_with_password(&chain, &key, password)
    }
}

/// Decrypts the one key of `pem`.
fn decrypt(pem: &[u8], password: Password) -> Result<SecretKey, TlsConfigError> {
    let sealed = Sealed::read(pem).map_err(TlsConfigError::KeyPem)?;
    match fiber::offload(move || sealed.open(&password)) {
        Ok(opened) => opened.map_err(TlsConfigError::KeyPem),
        Err(error) => Err(TlsConfigError::Decrypting(error.into())),
    }
}

/// An encrypted key whose demands are within the bounds.
struct Sealed {
    how: Parameters,
    /// Encrypted, and after a successful [`open`](Self::open) not any more.
    bytes: Zeroizing<Vec<u8>>,
}

impl Sealed {
    /// Reads the one key of `pem`, which is an encrypted one.
    fn read(pem: &[u8]) -> Result<Self, PemError> {
        // The PEM reader passes sections of this name over; by the name of the plain form it
        // gives what is in them.
        let text = replaced(
            &replaced(pem, b"-----BEGIN ENCRYPTED PRIVATE", b"-----BEGIN PRIVATE"),
            b"-----END ENCRYPTED PRIVATE",
            b"-----END PRIVATE",
        );
        let der = pem::private_key(&text)?;
        Self::from_der(der.secret_der())
    }

    fn from_der(der: &[u8]) -> Result<Self, PemError> {
        let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| malformed(&error))?;
        let EncryptionScheme::Pbes2(how) = info.encryption_algorithm else {
            return Err(PemError::UnsupportedEncryption("PBES1".to_owned()));
        };
        check_cost(&how.kdf)?;
        let bytes = info.encrypted_data.as_bytes();
        if is_cbc(how.encryption) && (bytes.is_empty() || bytes.len() % AES_BLOCK != 0) {
            return Err(PemError::DamagedEncryptedKey);
        }
        Ok(Self {
            how,
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }

    /// Decrypts; takes as long as the file says.
    fn open(mut self, password: &Password) -> Result<SecretKey, PemError> {
        let opened = self
            .how
            .decrypt_in_place(password.0.as_slice(), &mut self.bytes)
            .map_err(refused)?;
        // A wrong password leaves good padding behind once in 256 times, and then nonsense.
        if !is_one_sequence(opened) {
            return Err(PemError::WrongPassword);
        }
        let key = PrivatePkcs8KeyDer::from(opened.to_vec());
        Ok(SecretKey::new(key.into()))
    }
}

const fn is_cbc(cipher: Cipher) -> bool {
    matches!(
        cipher,
        Cipher::Aes128Cbc { .. } | Cipher::Aes192Cbc { .. } | Cipher::Aes256Cbc { .. }
    )
}

/// Refuses what a file may ask for to keep a device busy or short of memory.
fn check_cost(kdf: &Kdf) -> Result<(), PemError> {
    match kdf {
        Kdf::Pbkdf2(params) if params.iteration_count == 0 => Err(PemError::DamagedEncryptedKey),
        Kdf::Pbkdf2(params) if params.iteration_count > PBKDF2_ITERATIONS_MAX => {
            Err(PemError::KdfIterations(params.iteration_count))
        }
        Kdf::Pbkdf2(_) => Ok(()),
        Kdf::Scrypt(params) => {
            let (cost, passes) = (params.cost_parameter, params.parallelization);
            // RFC 7914 section 2; the library takes this for granted.
            if !cost.is_power_of_two() || cost < 2 || params.block_size == 0 || passes == 0 {
                return Err(PemError::DamagedEncryptedKey);
            }
            // RFC 7914 sections 5 and 6: a table of N blocks, gone through p times, once for each of
            // p blocks that are all there from the beginning; and one block to work on.
            let block = 128 * u64::from(params.block_size);
            let bytes = cost
                .saturating_add(u64::from(passes) + 1)
                .saturating_mul(block);
            if bytes > SCRYPT_BYTES_MAX || passes > SCRYPT_PASSES_MAX {
                return Err(PemError::KdfMemory { bytes, passes });
            }
            Ok(())
        }
        _ => Err(PemError::UnsupportedEncryption(kdf.oid().to_string())),
    }
}

/// Tells a way of encryption that is not known from damage.
fn malformed(error: &DerError) -> PemError {
    match error.kind() {
        DerErrorKind::OidUnknown { oid } => PemError::UnsupportedEncryption(oid.to_string()),
        // An identifier of PBES1 that is not known.
        DerErrorKind::Value {
            tag: Tag::ObjectIdentifier,
        } => PemError::UnsupportedEncryption("an algorithm from before PBES2".to_owned()),
        _ => PemError::DamagedEncryptedKey,
    }
}

fn refused(error: CipherError) -> PemError {
    match error {
        CipherError::UnsupportedAlgorithm { oid } => {
            PemError::UnsupportedEncryption(oid.to_string())
        }
        CipherError::AlgorithmParametersInvalid { .. } => PemError::DamagedEncryptedKey,
        _ => PemError::WrongPassword,
    }
}

/// Returns whether `der` is one SEQUENCE from its first to its last byte.
fn is_one_sequence(der: &[u8]) -> bool {
    super::signer::element(super::signer::SEQUENCE, der).is_some_and(|(_, rest)| rest.is_empty())
}

/// Returns `text` with each `from` replaced by `to`, which is not longer.
fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Zeroizing<Vec<u8>> {
    // Of its full size at once: what grows leaves copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests;
