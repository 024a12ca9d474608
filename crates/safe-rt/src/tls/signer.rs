//! Private keys that are somewhere else: in a TPM, behind PKCS #11, in another process.
//!
//! rustls asks for a signature once per full handshake, in the middle of its work and in the words
//! of an ordinary call. That call is made on the fiber of the handshake, so a signer that waits
//! parks this fiber and no other; nobody else can reach the connection before its handshake is
//! done, and nothing of it is lent to anyone (`stream/handshake.rs`).

use core::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use rustls::sign::SigningKey;
use rustls::{OtherError, SignatureAlgorithm};

use super::config::{TlsConfigError, provider};

/// A way to sign in TLS (RFC 8446 section 4.2.3): key, padding and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// `ecdsa_secp256r1_sha256`; the signature is the DER form of `ECDSA-Sig-Value` (RFC 3279).
    EcdsaP256Sha256,
    /// `ecdsa_secp384r1_sha384`; the signature as above.
    EcdsaP384Sha384,
    /// `ed25519` (RFC 8032).
    Ed25519,
    /// `rsa_pss_rsae_sha256`; the salt is as long as the hash.
    RsaPssSha256,
    /// `rsa_pss_rsae_sha384`.
    RsaPssSha384,
    /// `rsa_pss_rsae_sha512`.
    RsaPssSha512,
    /// `rsa_pkcs1_sha256`; TLS 1.2 only.
    RsaPkcs1Sha256,
    /// `rsa_pkcs1_sha384`; TLS 1.2 only.
    RsaPkcs1Sha384,
    /// `rsa_pkcs1_sha512`; TLS 1.2 only.
    RsaPkcs1Sha512,
}

impl SignatureScheme {
    const fn code(self) -> rustls::SignatureScheme {
        use rustls::SignatureScheme as Code;
        match self {
            Self::EcdsaP256Sha256 => Code::ECDSA_NISTP256_SHA256,
            Self::EcdsaP384Sha384 => Code::ECDSA_NISTP384_SHA384,
            Self::Ed25519 => Code::ED25519,
            Self::RsaPssSha256 => Code::RSA_PSS_SHA256,
            Self::RsaPssSha384 => Code::RSA_PSS_SHA384,
            Self::RsaPssSha512 => Code::RSA_PSS_SHA512,
            Self::RsaPkcs1Sha256 => Code::RSA_PKCS1_SHA256,
            Self::RsaPkcs1Sha384 => Code::RSA_PKCS1_SHA384,
            Self::RsaPkcs1Sha512 => Code::RSA_PKCS1_SHA512,
        }
    }

    const fn algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::EcdsaP256Sha256 | Self::EcdsaP384Sha384 => SignatureAlgorithm::ECDSA,
            Self::Ed25519 => SignatureAlgorithm::ED25519,
            Self::RsaPssSha256
            | Self::RsaPssSha384
            | Self::RsaPssSha512
            | Self::RsaPkcs1Sha256
            | Self::RsaPkcs1Sha384
            | Self::RsaPkcs1Sha512 => SignatureAlgorithm::RSA,
        }
    }

    /// Returns what checks a signature of this scheme. The first algorithm of a scheme is the one
    /// whose curve is the scheme's, which TLS 1.3 demands.
    fn verifier(self) -> Option<&'static dyn SignatureVerificationAlgorithm> {
        let known: WebPkiSupportedAlgorithms = provider().signature_verification_algorithms;
        known
            .mapping
            .iter()
            .find(|(code, _)| *code == self.code())
            .and_then(|(_, algorithms)| algorithms.first().copied())
    }
}

impl fmt::Display for SignatureScheme {
    /// Writes the name that RFC 8446 gives.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256Sha256 => "ecdsa_secp256r1_sha256",
            Self::EcdsaP384Sha384 => "ecdsa_secp384r1_sha384",
            Self::Ed25519 => "ed25519",
            Self::RsaPssSha256 => "rsa_pss_rsae_sha256",
            Self::RsaPssSha384 => "rsa_pss_rsae_sha384",
            Self::RsaPssSha512 => "rsa_pss_rsae_sha512",
            Self::RsaPkcs1Sha256 => "rsa_pkcs1_sha256",
            Self::RsaPkcs1Sha384 => "rsa_pkcs1_sha384",
            Self::RsaPkcs1Sha512 => "rsa_pkcs1_sha512",
        })
    }
}

/// A private key that signs and is never seen: the hook for a TPM, PKCS #11 or another process.
///
/// [`Identity::with_signer`](crate::Identity::with_signer) puts it beside its certificate chain.
///
/// A call of [`sign`](Self::sign) may wait: it is made on the fiber of the handshake, whose
/// deadline it obeys as every wait does. A library that blocks belongs into [`fiber::offload`]. A
/// signer is shared by all connections of its identity, so calls may overlap: while one waits,
/// another begins. It runs on what the handshake has left of the fiber's stack; one that needs much
/// takes [`fiber::on_big_stack`]. The example `signer` has the key in another process.
pub trait Signer: Send + Sync {
    /// Returns the schemes that the key can sign with, the preferred one first.
    ///
    /// Asked once, by [`Identity::with_signer`](crate::Identity::with_signer). Nothing else is
    /// agreed on with a peer; RSA keys need one of the PSS schemes for TLS 1.3.
    fn schemes(&self) -> Vec<SignatureScheme>;

    /// Signs `message`, which is not hashed yet, with one of the [`schemes`](Self::schemes).
    ///
    /// The message has at most a few hundred bytes, but for a client in TLS 1.2: there it is the
    /// whole handshake so far, certificates included (RFC 5246 section 7.4.8). The signature is
    /// checked against the certificate before it is sent.
    ///
    /// # Errors
    /// Whatever went wrong. The handshake ends with it:
    /// [`TlsErrorKind::SignerFailed`](crate::TlsErrorKind::SignerFailed), with this error's text
    /// and, for a deadline or a cancellation, as [`fiber::cause`] finds it.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> io::Result<Vec<u8>>;
}

/// What a signer's call failed with, on its way through rustls, which keeps it as it is.
#[derive(Debug)]
pub(super) struct SignerFailure(io::Error);

impl fmt::Display for SignerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SignerFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl SignerFailure {
    /// Finds the failure in what rustls passed on.
    pub(super) fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::Other(OtherError(inner)) => inner.downcast_ref(),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }
}

/// A [`Signer`] in the shape that rustls asks for, with the public half of its key.
#[derive(Clone)]
pub(super) struct DistantKey {
    signer: Arc<dyn Signer>,
    schemes: Arc<[SignatureScheme]>,
    /// Of the certificate; what the signatures are checked with.
    public_key: SubjectPublicKeyInfoDer<'static>,
}

impl DistantKey {
    /// Checks that the schemes of `signer` are such that the certificate's key can have.
    pub(super) fn new(
        signer: Arc<dyn Signer>,
        public_key: SubjectPublicKeyInfoDer<'static>,
    ) -> Result<Self, TlsConfigError> {
        let mut schemes: Vec<SignatureScheme> = Vec::new();
        let (algorithm, _) = parts(&public_key).ok_or(TlsConfigError::BadCertificate)?;
        for scheme in signer.schemes() {
            let of_this_key = scheme
                .verifier()
                .is_some_and(|verifier| verifier.public_key_alg_id().as_ref() == algorithm);
            if !of_this_key {
                return Err(TlsConfigError::SignerScheme(scheme));
            }
            if !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
        }
        if schemes.is_empty() {
            return Err(TlsConfigError::NoSignerScheme);
        }
        Ok(Self {
            signer,
            schemes: schemes.into(),
            public_key,
        })
    }

    /// Has a text signed that TLS never signs, with the preferred scheme.
    pub(super) fn try_out(&self) -> io::Result<()> {
        const TEXT: &[u8] = b"does this private key belong to its certificate?";
        self.schemes
            .first()
            .map_or(Ok(()), |scheme| self.sign(*scheme, TEXT).map(drop))
    }

    /// Has `message` signed, and checks the signature: a peer would only say that it is wrong.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> io::Result<Vec<u8>> {
        let signature = self.signer.sign(scheme, message)?;
        let fits =
            parts(&self.public_key)
                .zip(scheme.verifier())
                .is_some_and(|((_, key), verifier)| {
                    verifier.verify_signature(key, message, &signature).is_ok()
                });
        if !fits {
            let text = format!(
                "its signature ({scheme}, {} bytes) does not fit the key of the certificate",
                signature.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(signature)
    }
}

impl fmt::Debug for DistantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistantKey")
            .field("schemes", &self.schemes)
            .finish_non_exhaustive()
    }
}

impl SigningKey for DistantKey {
    fn choose_scheme(
        &self,
        offered: &[rustls::SignatureScheme],
    ) -> Option<Box<dyn rustls::sign::Signer>> {
        let scheme = *self
            .schemes
            .iter()
            .find(|scheme| offered.contains(&scheme.code()))?;
        let key = self.clone();
        Some(Box::new(ChosenScheme { key, scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public_key.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        // There is at least one, and all are of one key.
        self.schemes
            .first()
            .map_or(SignatureAlgorithm::ED25519, |scheme| scheme.algorithm())
    }
}

/// The scheme agreed on with a peer.
#[derive(Debug)]
struct ChosenScheme {
    key: DistantKey,
    scheme: SignatureScheme,
}

impl rustls::sign::Signer for ChosenScheme {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key
            .sign(self.scheme, message)
            .map_err(|error| OtherError(Arc::new(SignerFailure(error))).into())
    }

    fn scheme(&self) -> rustls::SignatureScheme {
        self.scheme.code()
    }
}

/// The tag of a DER SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;

/// Splits a SubjectPublicKeyInfo (RFC 5280 section 4.1) into the inside of its algorithm and the
/// bytes of its key.
fn parts(info: &[u8]) -> Option<(&[u8], &[u8])> {
    const BIT_STRING: u8 = 0x03;
    let (inside, _) = element(SEQUENCE, info)?;
    let (algorithm, rest) = element(SEQUENCE, inside)?;
    let (key, _) = element(BIT_STRING, rest)?;
    // The first byte counts the unused bits of the last; keys are whole bytes.
    match key.split_first() {
        Some((0, key)) => Some((algorithm, key)),
        _ => None,
    }
}

/// Splits a DER element with `tag` off `bytes`: its content, and what follows it.
pub(super) fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let len = len
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            (len, rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(len))?
}

#[cfg(test)]
mod tests;
