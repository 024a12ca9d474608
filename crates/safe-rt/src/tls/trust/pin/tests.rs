//! The text of a pin, both ways.

use super::*;

/// The hash of nothing, and of three letters (FIPS 180-2 appendix B.1).
const KNOWN: [(&[u8], &str); 2] = [
    (b"", "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    (
        b"abc",
        "sha256/ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
    ),
];

#[test]
fn a_pin_is_the_sha256_in_base64() {
    for (key, text) in KNOWN {
        assert_eq!(Pin::of_key(key).to_string(), text);
        assert_eq!(text.parse::<Pin>().expect("a pin"), Pin::of_key(key));
    }
}

#[test]
fn every_hash_survives_its_text() {
    for fill in 0..=u8::MAX {
        let mut hash = [fill; HASH_LEN];
        hash[0] = !fill;
        hash[HASH_LEN - 1] = fill.rotate_left(3);
        let pin = Pin::from_sha256(hash);
        let text = pin.to_string();
        assert_eq!(text.len(), "sha256/".len() + TEXT_LEN);
        assert_eq!(text.parse::<Pin>().expect("a pin"), pin);
        let curl = text.replacen('/', "//", 1);
        assert_eq!(curl.parse::<Pin>().expect("a pin"), pin, "{curl}");
    }
}

#[test]
fn other_texts_are_refused_and_quoted() {
    let good = KNOWN[0].1;
    let texts = [
        String::new(),
        "sha256/".to_owned(),
        good.replace("sha256", "sha1"),
        good.replace('=', ""),
        good.replace('=', "=="),
        good.replace("47", "4_"),
        // Bits beyond the hash.
        good.replace("FU=", "FV="),
        good.replace("sha256/", "sha256///"),
        format!("{good}A"),
        "sha256/ä7DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF=".to_owned(),
    ];
    for text in texts {
        let error = text.parse::<Pin>().expect_err(&text);
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
    let long = "x".repeat(100_000);
    let error = long.parse::<Pin>().expect_err("no pin").to_string();
    assert!(error.len() < 300, "{error}");
}
