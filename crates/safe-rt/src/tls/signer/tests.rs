use super::*;

const ALL: [SignatureScheme; 9] = [
    SignatureScheme::EcdsaP256Sha256,
    SignatureScheme::EcdsaP384Sha384,
    SignatureScheme::Ed25519,
    SignatureScheme::RsaPssSha256,
    SignatureScheme::RsaPssSha384,
    SignatureScheme::RsaPssSha512,
    SignatureScheme::RsaPkcs1Sha256,
    SignatureScheme::RsaPkcs1Sha384,
    SignatureScheme::RsaPkcs1Sha512,
];

#[test]
fn every_scheme_can_be_checked_and_has_one_name() {
    let mut names = Vec::new();
    for scheme in ALL {
        assert!(scheme.verifier().is_some(), "{scheme}");
        names.push(scheme.to_string());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn the_parts_of_a_public_key_are_found_and_damage_is_not_followed() {
    let key = [7; 200];
    let info = rustls::sign::public_key_to_spki(&rustls::pki_types::alg_id::RSA_ENCRYPTION, key);
    let (algorithm, found) = parts(&info).expect("both parts");
    assert_eq!(
        algorithm,
        rustls::pki_types::alg_id::RSA_ENCRYPTION.as_ref()
    );
    assert_eq!(found, key);
    for len in 0..info.len() {
        assert_eq!(parts(&info[..len]), None, "{len} bytes");
    }
    let table: [&[u8]; 5] = [
        &[0x31, 0],
        &[0x30, 0x84, 0, 0, 0, 0],
        &[0x30, 0x80],
        &[0x30, 4, 0x30, 0, 0x03, 0],
        &[0x30, 5, 0x30, 0, 0x03, 1, 1],
    ];
    for damaged in table {
        assert_eq!(parts(damaged), None, "{damaged:02x?}");
    }
}
