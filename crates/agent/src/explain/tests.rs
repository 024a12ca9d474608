//! What holds for every explanation.

use std::collections::BTreeSet;

use super::*;
use crate::config::ConfigError;

#[test]
fn every_code_is_there_once_and_in_the_table_of_its_kind() {
    let mut seen = BTreeSet::new();
    for kind in Kind::ALL {
        let codes: Vec<&str> = kind.explanations().map(|entry| entry.code).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        for code in codes {
            assert!(seen.insert(code), "{code} is there twice");
            let letter = match kind {
                Kind::Config => "C",
                Kind::Connection => "T",
                Kind::Provisioning => "P",
                Kind::Storage => "S",
                Kind::Health => {
                    let usual = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
                    assert!(code.bytes().all(usual), "{code}");
                    continue;
                }
            };
            let digits = code.strip_prefix(letter);
            let is_code = digits.is_some_and(|digits| {
                digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
            });
            assert!(is_code, "{code} in {kind:?}");
        }
    }
}

#[test]
fn every_fault_of_a_configuration_is_explained_and_nothing_else() {
    let explained: Vec<&str> = Kind::Config.explanations().map(|e| e.code).collect();
    let mut known = ConfigError::CODES.to_vec();
    known.sort_unstable();
    assert_eq!(explained, known);
}

#[test]
fn every_health_code_is_explained_and_nothing_else() {
    let explained: BTreeSet<&str> = Kind::Health.explanations().map(|e| e.code).collect();
    let known = crate::HealthCode::ALL.map(crate::HealthCode::name);
    assert_eq!(explained, BTreeSet::from(known));
}

#[test]
fn every_text_is_made_of_whole_sentences_in_one_line() {
    for entry in all() {
        let code = entry.code;
        assert!(
            !entry.title.ends_with('.') && !entry.title.is_empty(),
            "{code}"
        );
        let notes = entry.notes.iter().map(|note| note.text);
        for text in [entry.cause, entry.verify, entry.fix]
            .into_iter()
            .chain(notes)
        {
            assert!(text.ends_with(['.', '?', '`', ')']), "{code}: {text}");
            assert!(
                !text.contains('\n') && !text.contains("  "),
                "{code}: {text}"
            );
            assert!(
                text.starts_with(|c: char| c.is_uppercase() || c == '`'),
                "{code}: {text}"
            );
        }
    }
}

#[test]
fn a_code_is_found_in_small_letters_and_a_strange_one_is_not() {
    assert_eq!(find("t021").map(|entry| entry.code), Some("T021"));
    assert_eq!(find("T999"), None);
    assert_eq!(find(""), None);
}

#[test]
fn what_is_shown_fits_a_terminal_and_has_every_part() {
    for entry in all() {
        let text = entry.to_string();
        let code = entry.code;
        assert!(
            text.starts_with(&format!("{code}: {}\n", entry.title)),
            "{text}"
        );
        for heading in ["\nCause:\n  ", "\nVerify:\n  ", "\nFix:\n  "] {
            assert!(text.contains(heading), "{code}: {heading:?}");
        }
        let too_long = text
            .lines()
            .find(|line| line.chars().count() > 80 && line.trim_start().contains(' '));
        assert_eq!(too_long, None, "{code}");
    }
}

#[test]
fn what_nobody_has_checked_is_not_shown() {
    const NOTES: &[Note] = &[
        Note {
            provider: "A",
            text: "It is so.",
            evidence: Evidence::Documented,
        },
        Note {
            provider: "B",
            text: "It may be so.",
            evidence: Evidence::Unverified,
        },
    ];
    let entry = Explanation {
        notes: NOTES,
        ..*find("T021").unwrap()
    };
    let text = entry.to_string();
    assert!(text.contains("With A:\n  It is so."), "{text}");
    assert!(!text.contains("may be so"), "{text}");
}

#[test]
fn the_guide_is_made_of_the_same_texts() {
    let guide = include_str!("../../../../docs/guide/troubleshooting.md");
    let (_, generated) = guide
        .split_once("<!-- generated from here on -->\n\n")
        .expect("the mark");
    assert!(
        generated.trim_end() == markdown().trim_end(),
        "replace what follows the mark in docs/guide/troubleshooting.md by what \
         `agent explain --markdown` prints"
    );
}
