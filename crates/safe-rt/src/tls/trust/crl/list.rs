//! A revocation list with what webpki does not tell of it: who signed it, and when.

use rustls::crypto::WebPkiSupportedAlgorithms;
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::TrustError;
use crate::tls::x509::{BIT_STRING, Der, INTEGER, SEQUENCE, time};

/// A revocation list.
#[derive(Debug)]
pub(super) struct List {
    pub(super) parsed: CertRevocationList<'static>,
    /// As it was given, for its signature.
    der: Vec<u8>,
    /// When it was issued, in seconds of Unix time.
    issued: Option<u64>,
}

/// Who may have signed a list: an authority of a chain.
pub(in crate::tls) struct Signatory<'a> {
    /// Its name, encoded and without tag and length.
    pub(in crate::tls) name: &'a [u8],
    /// Its SubjectPublicKeyInfo, likewise.
    pub(in crate::tls) key: &'a [u8],
}

impl List {
    pub(super) fn new(der: &[u8]) -> Result<Self, TrustError> {
        let parsed = OwnedCertRevocationList::from_der(der)
            .map_err(|error| TrustError::BadCrl(error.to_string()))?;
        Ok(Self {
            parsed: parsed.into(),
            der: der.to_vec(),
            issued: Parts::of(der).and_then(|parts| parts.issued),
        })
    }

    pub(super) const fn issued(&self) -> Option<u64> {
        self.issued
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.der == other.der
    }

    /// Whether both are for the certificates of one issuer, and for the same part of them.
    pub(super) fn rivals(&self, other: &Self) -> bool {
        let [one, other] = [&self.parsed, &other.parsed];
        one.issuer() == other.issuer()
            && one.issuing_distribution_point() == other.issuing_distribution_point()
    }

    /// Whether it bears the name of one of these, and its signature.
    pub(super) fn is_of(
        &self,
        signatories: &[Signatory<'_>],
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let Some(parts) = Parts::of(&self.der) else {
            return false;
        };
        signatories
            .iter()
            .filter(|signatory| signatory.name == self.parsed.issuer())
            .any(|signatory| parts.is_signed_with(signatory.key, algorithms) == Some(true))
    }
}

/// What a list is made of (RFC 5280 section 5.1).
struct Parts<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issued: Option<u64>,
}

impl<'a> Parts<'a> {
    fn of(der: &'a [u8]) -> Option<Self> {
        let content = Der(der).expect(SEQUENCE)?;
        let mut outer = Der(content);
        let mut fields = Der(outer.expect(SEQUENCE)?);
        let signed = content.get(..content.len() - outer.0.len())?;
        let algorithm = outer.expect(SEQUENCE)?;
        let signature = bits(&mut outer)?;
        // The version, which the second one has.
        if fields.0.first() == Some(&INTEGER) {
            fields.expect(INTEGER)?;
        }
        // The algorithm once more, and the issuer.
        fields.expect(SEQUENCE)?;
        fields.expect(SEQUENCE)?;
        Some(Self {
            signed,
            algorithm,
            signature,
            issued: time(fields.next()?),
        })
    }

    fn is_signed_with(&self, key: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> Option<bool> {
        let mut fields = Der(key);
        let sort = fields.expect(SEQUENCE)?;
        let key = bits(&mut fields)?;
        Some(algorithms.all.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == sort
                && algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm
                    .verify_signature(key, self.signed, self.signature)
                    .is_ok()
        }))
    }
}

/// Takes a BIT STRING of whole bytes.
fn bits<'a>(fields: &mut Der<'a>) -> Option<&'a [u8]> {
    fields.expect(BIT_STRING)?.strip_prefix(&[0])
}
