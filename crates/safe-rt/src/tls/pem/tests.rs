//! Tables of PEM texts. The bytes inside the sections are arbitrary: this module does not look
//! into them.

use super::*;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";
const PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nAAEC\n-----END RSA PRIVATE KEY-----\n";
const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\nAAEC\n-----END EC PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----\n";
const REQUEST: &str =
    "-----BEGIN CERTIFICATE REQUEST-----\nAAEC\n-----END CERTIFICATE REQUEST-----\n";
const CRL: &str = "-----BEGIN X509 CRL-----\nAAEC\n-----END X509 CRL-----\n";
const PARAMETERS: &str = "-----BEGIN EC PARAMETERS-----\nAAEC\n-----END EC PARAMETERS-----\n";

fn holding(certificates: usize, private_keys: usize, public_keys: usize) -> PemContents {
    PemContents {
        certificates,
        private_keys,
        public_keys,
        ..PemContents::default()
    }
}

#[test]
fn certificates_are_read_in_order_and_the_rest_is_passed_over() {
    let second = CERTIFICATE.replace("AAEC", "AwQF");
    let text = format!("a comment\n{PKCS8}{CERTIFICATE}{PARAMETERS}\r\n{second}");
    let found = certificates(text.as_bytes()).expect("two certificates");
    let found: Vec<&[u8]> = found.iter().map(|one| one.as_ref()).collect();
    assert_eq!(found, [[0, 1, 2].as_slice(), [3, 4, 5].as_slice()]);
}

#[test]
fn each_sort_of_private_key_is_read() {
    for (text, sort) in [(PKCS8, 8), (PKCS1, 1), (SEC1, 5)] {
        let text = format!("{CERTIFICATE}{PARAMETERS}{text}");
        let key = private_key(text.as_bytes()).expect("one key");
        let found = match *key {
            PrivateKeyDer::Pkcs8(_) => 8,
            PrivateKeyDer::Pkcs1(_) => 1,
            PrivateKeyDer::Sec1(_) => 5,
            _ => 0,
        };
        assert_eq!((found, key.secret_der()), (sort, [0, 1, 2].as_slice()));
    }
}

#[test]
fn revocation_lists_are_read_in_order_and_the_rest_is_passed_over() {
    let second = CRL.replace("AAEC", "AwQF");
    let text = format!("{CERTIFICATE}{CRL}{PKCS8}{second}");
    let found = crls(text.as_bytes()).expect("two lists");
    let found: Vec<&[u8]> = found.iter().map(|one| one.as_ref()).collect();
    assert_eq!(found, [[0, 1, 2].as_slice(), [3, 4, 5].as_slice()]);
    let found = crls(CERTIFICATE.as_bytes());
    assert_eq!(found, Err(PemError::NoCrl(holding(1, 0, 0))));
    let contents = PemContents {
        revocation_lists: 1,
        ..PemContents::default()
    };
    let found = certificates(CRL.as_bytes());
    assert_eq!(found, Err(PemError::NoCertificate(contents)));
}

#[test]
fn texts_are_refused_by_each_reader() {
    let unended = CERTIFICATE.replace("-----END", "----- END");
    let begin = CERTIFICATE.replace("CERTIFICATE-----\nAAEC", "CERTIFICATE\nAAEC");
    let base64 = CERTIFICATE.replace("AAEC", "A%EC");
    let long = vec![b'x'; PEM_BYTES_MAX + 1];
    let cases: [(&[u8], PemError); 6] = [
        (b"", PemError::NotPem),
        (&[0x30, 0x82, 0x01, 0x0a], PemError::NotPem),
        (unended.as_bytes(), PemError::UnendedSection),
        (begin.as_bytes(), PemError::DamagedBegin),
        (base64.as_bytes(), PemError::DamagedBase64),
        (&long, PemError::TooLong(PEM_BYTES_MAX + 1)),
    ];
    for (text, expected) in cases {
        assert_eq!(certificates(text).as_ref(), Err(&expected));
        assert_eq!(private_key(text).as_ref(), Err(&expected));
        assert_eq!(crls(text).as_ref(), Err(&expected));
    }
}

#[test]
fn the_wrong_contents_are_named() {
    assert_eq!(
        certificates(PKCS8.as_bytes()),
        Err(PemError::NoCertificate(holding(0, 1, 0)))
    );
    assert_eq!(
        private_key(format!("{CERTIFICATE}{PUBLIC}").as_bytes()),
        Err(PemError::NoKey(holding(1, 0, 1)))
    );
    assert_eq!(
        private_key(REQUEST.as_bytes()),
        Err(PemError::NoKey(PemContents {
            others: 1,
            ..PemContents::default()
        }))
    );
    let several = format!("{PKCS8}{SEC1}{PKCS1}");
    assert_eq!(
        private_key(several.as_bytes()),
        Err(PemError::SeveralKeys(3))
    );
}

#[test]
fn encrypted_keys_are_recognised() {
    let pkcs8 = PKCS8.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let pkcs1 = PKCS1.replace(
        "AAEC",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAEC",
    );
    assert_eq!(private_key(pkcs8.as_bytes()), Err(PemError::EncryptedKey));
    assert_eq!(
        private_key(pkcs1.as_bytes()),
        Err(PemError::LegacyEncryptedKey)
    );
}

#[test]
fn every_text_says_what_was_expected_or_found() {
    let texts = [
        (PemError::TooLong(2_000_000), "2000000 bytes of PEM"),
        (PemError::NotPem, "-----BEGIN"),
        (PemError::UnendedSection, "-----END"),
        (PemError::DamagedBegin, "-----BEGIN"),
        (PemError::DamagedBase64, "base64"),
        (
            PemError::NoCertificate(holding(0, 1, 0)),
            "1 private key(s)",
        ),
        (PemError::NoKey(holding(2, 0, 0)), "2 certificate(s)"),
        (PemError::NoCrl(holding(2, 0, 0)), "2 certificate(s)"),
        (PemError::SeveralKeys(2), "2 private keys"),
        (PemError::EncryptedKey, "encrypted"),
        (PemError::LegacyEncryptedKey, "openssl pkcs8 -topk8"),
        (PemError::WrongPassword, "password is wrong"),
        (PemError::DamagedEncryptedKey, "damaged"),
        (PemError::UnsupportedEncryption("1.2.3".into()), "(1.2.3)"),
        (PemError::KdfIterations(6_000_000), "6000000 rounds"),
        (
            PemError::KdfMemory {
                bytes: 1 << 30,
                passes: 1,
            },
            "1073741824 bytes",
        ),
    ];
    for (error, part) in texts {
        assert!(error.to_string().contains(part), "{error}");
    }
}
