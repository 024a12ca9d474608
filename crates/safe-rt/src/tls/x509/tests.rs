use super::*;

use rcgen::{CertificateParams, DnType, DnValue, KeyPair, PKCS_ED25519, date_time_ymd};

/// A certificate that signs itself, with so many parts to its name.
fn certificate(name: &[(DnType, DnValue)]) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["broker.test".to_owned()]).expect("a name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (label, value) in name {
        params.distinguished_name.push(label.clone(), value.clone());
    }
    params.not_before = date_time_ymd(1999, 12, 31);
    params.not_after = date_time_ymd(2100, 3, 1);
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    params.self_signed(&key).expect("signed").der().to_vec()
}

fn text(value: &str) -> DnValue {
    DnValue::Utf8String(value.to_owned())
}

fn name_of(parts: &[(DnType, DnValue)]) -> String {
    let der = certificate(parts);
    name(Facts::of(&der).expect("facts").subject)
}

#[test]
fn names_and_dates_are_read() {
    let der = certificate(&[
        (DnType::CommonName, text("broker.test")),
        (DnType::OrganizationName, text("Example's Süd")),
        (
            DnType::CountryName,
            DnValue::PrintableString("DE".try_into().expect("text")),
        ),
        (
            DnType::LocalityName,
            DnValue::BmpString("Köln".try_into().expect("text")),
        ),
        (DnType::CustomDnType(vec![1, 2, 3]), text("other")),
    ]);
    let facts = Facts::of(&der).expect("facts");
    assert!(facts.is_self_issued());
    assert_eq!(
        name(facts.issuer),
        r#""CN=broker.test, O=Example's Süd, C=DE, L=Köln, ?=other""#
    );
    // A UTCTime and, from 2050 on, a GeneralizedTime.
    assert_eq!(facts.not_before, Some(946_598_400));
    assert_eq!(facts.not_after, Some(4_107_542_400));
}

#[test]
fn a_name_without_parts_says_so() {
    assert_eq!(name_of(&[]), "(without a name)");
}

#[test]
fn a_hostile_name_stays_one_short_line() {
    let evil = "x\r\n2026 ERROR forged\u{1b}[2J\u{202e}\0\"quoted\"\\";
    assert_eq!(
        name_of(&[(DnType::CommonName, text(evil))]),
        r#""CN=x\r\n2026 ERROR forged\u{1b}[2J\u{202e}\0\"quoted\"\\""#
    );
    let long = "a".repeat(60_000);
    for value in [
        text(&long),
        DnValue::BmpString(long.as_str().try_into().expect("text")),
    ] {
        let shown = name_of(&[(DnType::CommonName, value)]);
        assert_eq!(shown.len(), NAME_CHARS_MAX + r#""...""#.len());
        assert!(shown.starts_with("\"CN=aaa") && shown.ends_with("a...\""));
    }
}

#[test]
fn no_damage_gives_more_than_wrong_facts() {
    let der = certificate(&[(DnType::CommonName, text("broker.test"))]);
    let looked_at =
        |der: &[u8]| Facts::of(der).map(|facts| (name(facts.subject), name(facts.issuer)));
    for len in 0..der.len() {
        assert_eq!(looked_at(&der[..len]), None, "cut at {len}");
    }
    for index in 0..der.len() {
        for value in [0, 1, 0x30, 0x7f, 0x80, 0x83, 0x84, 0xff] {
            let mut damaged = der.clone();
            damaged[index] = value;
            if let Some((subject, issuer)) = looked_at(&damaged) {
                // Each character takes ten at the most, as `\u{10ffff}`.
                assert!(subject.len().max(issuer.len()) <= 10 * NAME_CHARS_MAX + 5);
            }
        }
    }
}

#[test]
fn times_are_read_as_the_standard_has_them() {
    let table: [(u8, &[u8], Option<u64>); 12] = [
        (UTC_TIME, b"700101000000Z", Some(0)),
        (UTC_TIME, b"491231235959Z", Some(2_524_607_999)),
        (UTC_TIME, b"500101000000Z", None),
        (UTC_TIME, b"690101000000Z", None),
        (UTC_TIME, b"7001010000Z", None),
        (UTC_TIME, b"700101000000+0100", None),
        (UTC_TIME, b"70010100000xZ", None),
        (GENERALIZED_TIME, b"19700101000001Z", Some(1)),
        (GENERALIZED_TIME, b"99991231235959Z", Some(253_402_300_799)),
        (GENERALIZED_TIME, b"20260230000000Z", None),
        (GENERALIZED_TIME, b"", None),
        (0x02, b"19700101000001Z", None),
    ];
    for (tag, text, expected) in table {
        assert_eq!(
            time((tag, text)),
            expected,
            "{}",
            String::from_utf8_lossy(text)
        );
    }
}
