//! What a configuration is refused for, with PEM of real keys and certificates.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use safe_rt::{ALPN_PROTOCOLS_MAX, ClientTlsOptions, Identity, PemError, TlsConfigError, Trust};

use crate::pki::{Authority, VALID, authority_and_server};

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (authority, server) = authority_and_server();
    let other = authority.server(&["other.test"], VALID);
    let outcome = Identity::from_pem(server.chain.as_bytes(), other.key.as_bytes());
    assert!(
        matches!(outcome, Err(TlsConfigError::KeyMismatch)),
        "{outcome:?}"
    );
    let of_another_sort = authority.client("client.test");
    let outcome = Identity::from_pem(server.chain.as_bytes(), of_another_sort.key.as_bytes());
    assert!(
        matches!(outcome, Err(TlsConfigError::KeyMismatch)),
        "{outcome:?}"
    );
}

#[test]
fn swapped_files_are_named() {
    let (_, server) = authority_and_server();
    let outcome = Identity::from_pem(server.key.as_bytes(), server.chain.as_bytes());
    let Err(TlsConfigError::ChainPem(PemError::NoCertificate(found))) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((found.certificates, found.private_keys), (0, 1));
    let outcome = Identity::from_pem(server.chain.as_bytes(), server.chain.as_bytes());
    let error = outcome.expect_err("no key");
    assert!(
        matches!(error, TlsConfigError::KeyPem(PemError::NoKey(_))),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with("private key: no private key found")
    );
}

#[test]
fn one_text_may_hold_chain_and_key() {
    let (_, server) = authority_and_server();
    let both = format!("{}{}", server.key, server.chain);
    Identity::from_pem(both.as_bytes(), both.as_bytes()).expect("a matching pair");
}

/// The same P-256 key as a SEC1 section: the inner part of the PKCS#8 form.
fn as_sec1(key: &KeyPair) -> String {
    let pkcs8 = key.serialize_der();
    // The private key is the last element: an OCTET STRING that holds the SEC1 structure, whose
    // SEQUENCE begins with version 1.
    let start = pkcs8
        .windows(6)
        .position(|window| window[0] == 0x30 && window[2..5] == [0x02, 0x01, 0x01])
        .expect("a SEC1 structure inside");
    let der = &pkcs8[start..][..usize::from(pkcs8[start + 1]) + 2];
    pem("EC PRIVATE KEY", der)
}

fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let group = chunk
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..4 {
            let symbol = ALPHABET[group >> (18 - 6 * place) & 63];
            text.push(if place <= chunk.len() {
                symbol.into()
            } else {
                '='
            });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn a_sec1_key_is_taken() {
    let authority = Authority::new("test authority");
    let leaf = authority.client("client.test");
    let key = KeyPair::from_pem_and_sign_algo(&leaf.key, &PKCS_ECDSA_P256_SHA256).expect("a key");
    Identity::from_pem(leaf.chain.as_bytes(), as_sec1(&key).as_bytes()).expect("a matching pair");
}

#[test]
fn damage_inside_the_sections_is_found() {
    let (_, server) = authority_and_server();
    let nonsense = pem("PRIVATE KEY", b"nonsense");
    let outcome = Identity::from_pem(server.chain.as_bytes(), nonsense.as_bytes());
    assert!(
        matches!(outcome, Err(TlsConfigError::UnsupportedKey)),
        "{outcome:?}"
    );
    let nonsense = pem("CERTIFICATE", b"nonsense");
    let outcome = Identity::from_pem(nonsense.as_bytes(), server.key.as_bytes());
    assert!(
        matches!(outcome, Err(TlsConfigError::BadCertificate)),
        "{outcome:?}"
    );
    let outcome = Trust::from_pem(nonsense.as_bytes());
    assert!(
        matches!(outcome, Err(TlsConfigError::NoUsableAuthority(1))),
        "{outcome:?}"
    );
}

#[test]
fn odd_certificates_in_a_bundle_are_passed_over() {
    let (authority, _) = authority_and_server();
    let bundle = format!("{}{}", pem("CERTIFICATE", b"nonsense"), authority.pem());
    let trust = Trust::from_pem(bundle.as_bytes()).expect("one usable authority");
    assert_eq!(format!("{trust:?}"), "Trust(1 authorities)");
}

#[test]
fn protocol_lists_are_checked() {
    let (authority, _) = authority_and_server();
    let options = || ClientTlsOptions::new(authority.trust());
    let error = options().alpn([""]).build().expect_err("an empty name");
    assert!(matches!(error, TlsConfigError::AlpnLength(0)));
    let error = options()
        .alpn(["x".repeat(256)])
        .build()
        .expect_err("a long name");
    assert!(matches!(error, TlsConfigError::AlpnLength(256)));
    let many = vec!["mqtt"; ALPN_PROTOCOLS_MAX + 1];
    let error = options().alpn(many).build().expect_err("a long list");
    assert!(matches!(error, TlsConfigError::AlpnCount(17)));
    let error = options()
        .require_alpn()
        .build()
        .expect_err("nothing to demand");
    assert!(matches!(error, TlsConfigError::AlpnDemandedButNotOffered));
    options()
        .alpn(["x".repeat(255)])
        .require_alpn()
        .build()
        .expect("the longest name");
}

#[test]
fn files_are_read_off_the_thread_and_named_in_errors() {
    let (authority, server) = authority_and_server();
    let directory = std::env::temp_dir().join(format!("safe-rt-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory of our own");
    let place = |name: &str| directory.join(name);
    for (name, text) in [
        ("ca.pem", &authority.pem()),
        ("server.pem", &server.chain),
        ("server.key", &server.key),
    ] {
        #[allow(clippy::disallowed_methods, reason = "a test may stop its own thread")]
        std::fs::write(place(name), text).expect("a file of our own");
    }
    let (ca, chain, key) = (place("ca.pem"), place("server.pem"), place("server.key"));
    let missing = place("missing.pem");
    let outcome = fiber::run(move || {
        Trust::from_file(ca).expect("an authority");
        Identity::from_files(chain, key).expect("an identity");
        Trust::from_file(missing)
    })
    .expect("the runtime ran");
    std::fs::remove_dir_all(&directory).expect("our own directory");
    let error = outcome.expect_err("no such file");
    assert!(matches!(error, TlsConfigError::File { .. }));
    assert!(error.to_string().contains("missing.pem"), "{error}");
}

#[test]
fn nothing_shows_a_key() {
    let (authority, server) = authority_and_server();
    let options = ClientTlsOptions::new(authority.trust()).identity(server.identity());
    let shown = format!(
        "{options:?} {:?}",
        options.clone().build().expect("options")
    );
    assert!(shown.contains("Identity(1 certificates)"), "{shown}");
    let secret: String = server.key.lines().nth(1).expect("a line of base64").into();
    assert!(!shown.contains(&secret));
}

#[test]
fn a_leaf_that_is_not_first_is_told_from_a_wrong_key() {
    let (authority, server) = authority_and_server();
    let wrong_order = format!("{}{}", authority.pem(), server.chain);
    let outcome = Identity::from_pem(wrong_order.as_bytes(), server.key.as_bytes());
    assert!(
        matches!(outcome, Err(TlsConfigError::LeafNotFirst { at: 2 })),
        "{outcome:?}"
    );
}
