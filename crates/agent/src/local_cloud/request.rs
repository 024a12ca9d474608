//! A signing request (PKCS#10, RFC 2986), as far as an authority must read it. Pure.

use data_encoding::BASE64;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::CloudError;

/// The key that a device wants certified, and the name it asks for; its owner has the private half.
pub(super) struct Request {
    point: Vec<u8>,
    pub(super) common_name: Option<String>,
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `id-ecPublicKey` on `secp256r1`, as the algorithm of a key says it (RFC 5480 section 2.1.1).
const EC_ON_P256: [u8; 19] = [
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];
/// `commonName` (RFC 5280 appendix A.1).
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

impl Request {
    /// Reads a request, and checks that it is signed by the key that is in it.
    pub(super) fn of_pem(text: &str) -> Result<Self, CloudError> {
        let der = der_of_pem(text).ok_or(CloudError::Request("PEM of a signing request"))?;
        let (request, signed, signature) =
            Self::read(&der).ok_or(CloudError::Request("a request for a key on P-256"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &request.point)
            .verify(signed, signature)
            .map_err(|_| CloudError::Request("the signature of the key in it"))?;
        Ok(request)
    }

    /// Returns the request, what of it is signed, and the signature.
    fn read(der: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let mut outer = Der(Der(der).expect(SEQUENCE)?);
        let before = outer.0;
        let mut info = Der(outer.expect(SEQUENCE)?);
        let signed = &before[..before.len() - outer.0.len()];
        outer.expect(SEQUENCE)?;
        let signature = outer.expect(BIT_STRING)?.strip_prefix(&[0])?;
        info.expect(INTEGER)?;
        let common_name = common_name(info.expect(SEQUENCE)?);
        let mut key = Der(info.expect(SEQUENCE)?);
        if key.expect(SEQUENCE)? != EC_ON_P256 {
            return None;
        }
        let point = key.expect(BIT_STRING)?.strip_prefix(&[0])?.to_vec();
        Some((Self { point, common_name }, signed, signature))
    }
}

impl PublicKeyData for Request {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn common_name(name: &[u8]) -> Option<String> {
    let mut sets = Der(name);
    while let Some(set) = sets.expect(SET) {
        let mut part = Der(Der(set).expect(SEQUENCE)?);
        if part.expect(OID)? == COMMON_NAME {
            let (_, text) = part.next()?;
            return String::from_utf8(text.to_vec()).ok();
        }
    }
    None
}

fn der_of_pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE REQUEST-----")?;
    let (inside, _) = rest.split_once("-----END CERTIFICATE REQUEST-----")?;
    let symbols: String = inside.split_whitespace().collect();
    BASE64.decode(symbols.as_bytes()).ok()
}

/// What is left of a sequence of values in DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next value: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let big = |len: usize, byte: &u8| len << 8 | usize::from(*byte);
                (bytes.iter().fold(0, big), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, expected: u8) -> Option<&'a [u8]> {
        match self.next()? {
            (tag, content) if tag == expected => Some(content),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};

    use super::*;

    fn request(key: &KeyPair) -> String {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::CommonName, "meter-17");
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    #[test]
    fn a_request_is_read_if_the_key_in_it_signed_it() {
        let key = KeyPair::generate().unwrap();
        let text = request(&key);
        let read = Request::of_pem(&text).unwrap();
        assert_eq!(read.common_name.as_deref(), Some("meter-17"));
        assert_eq!(read.der_bytes(), key.public_key_raw());

        let mut der = der_of_pem(&text).unwrap();
        for at in 0..der.len() {
            der[at] ^= 0x10;
            let symbols = BASE64.encode(&der);
            let damaged = format!(
                "-----BEGIN CERTIFICATE REQUEST-----\n{symbols}\n-----END CERTIFICATE REQUEST-----\n"
            );
            // The algorithm of the signature is not looked at: there is one.
            if let Ok(found) = Request::of_pem(&damaged) {
                assert_eq!(found.der_bytes(), key.public_key_raw(), "{at}");
                assert_eq!(found.common_name.as_deref(), Some("meter-17"), "{at}");
            }
            der[at] ^= 0x10;
        }
        for end in 0..der.len() {
            assert!(Request::read(&der[..end]).is_none());
        }
    }

    #[test]
    fn what_is_no_request_for_a_key_on_p256_is_refused() {
        let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        for text in [&*request(&other), "", "-----BEGIN CERTIFICATE REQUEST-----"] {
            assert!(matches!(Request::of_pem(text), Err(CloudError::Request(_))));
        }
    }
}
