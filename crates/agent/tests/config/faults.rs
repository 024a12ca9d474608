//! Every fault of a configuration, in its exact words.
//!
//! The table is `faults.txt`: what is given, and what is told about it, without the name of the
//! folder and the last line. A fault without a row there fails.

use std::collections::BTreeSet;

use std::path::Path;

use agent::config::{ConfigError, ConfigErrors};
use safe_rt::Scheme;

use crate::temp_dir::TempDir;
use crate::{LEAST, folder, load, load_text, permit};

const TABLE: &str = include_str!("faults.txt");

/// What `checks.rs` shows.
const CHECKED: [&str; 10] = [
    "C046", "C047", "C048", "C049", "C050", "C051", "C052", "C053", "C054", "C055",
];

/// What stands in every configuration of the table that has a password.
const SECRETS: [&str; 2] = ["hunter2", "271828"];

/// Loads what a row gives.
#[track_caller]
fn refused(folder: &TempDir, kind: &str, text: &str) -> ConfigErrors {
    let loaded = match kind {
        "text" => load_text(folder, text),
        "text that everybody may read" => {
            let path = folder.write("agent.toml", text);
            permit(&path, 0o644);
            load(&path)
        }
        "text in Latin-1" => {
            let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap());
            load_text(folder, bytes.collect::<Vec<u8>>())
        }
        "no file" => load(Path::new(&folder.path().join("missing.toml"))),
        other => panic!("a row of an unknown kind: {other}"),
    };
    loaded.expect_err(text)
}

#[test]
fn every_fault_is_told_in_its_own_words_with_its_place_and_a_remedy() {
    let folder = folder();
    let mut seen = BTreeSet::new();
    for row in TABLE.split("=== ").skip(1) {
        let (kind, row) = row.split_once('\n').unwrap();
        let (text, expected) = row.split_once("--- is told as\n").unwrap();
        let errors = refused(&folder, kind, text);
        let told = errors.to_string();
        let told = told.replace(&folder.path().display().to_string(), "DIR");
        assert_eq!(told, format!("{expected}\n1 error, nothing was started"));
        for secret in SECRETS {
            assert!(!told.contains(secret), "{told}");
        }
        let [problem] = errors.problems() else {
            panic!("{errors}")
        };
        assert!(told.contains(&format!(
            "error[{}]: {}",
            problem.error.code(),
            problem.error
        )));
        seen.insert(problem.error.code());
    }
    // Shown elsewhere: by a build without WebSockets, where there are more layers than a file, and by
    // what looks at more than a start needs.
    for code in [
        ConfigError::NoWebSocket(Scheme::Ws).code(),
        "C041",
        "C042",
        "C043",
        "C044",
    ]
    .into_iter()
    .chain(CHECKED)
    {
        seen.insert(code);
    }
    assert_eq!(Vec::from_iter(seen), ConfigError::CODES);
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = r#"
        [cloud]
        endpoint = "mqtts://user:hunter2@host:99"
        keep_alive = 30
        user = 1
        password = 271828
        password_file = "missing"
        certificate = "missing.pem"
        key = "missing.key"
        pasword = "hunter2"
        [telemetry]
        topic = "a/+"
        interval = "1y"
        [[subscription]]
        qos = "1"
        [[subscription]]
        topic = ""
        [misc]
    "#;
    let errors = load_text(&folder(), text).unwrap_err();
    let told: Vec<_> = errors
        .problems()
        .iter()
        .map(|problem| (problem.place().map_or(0, |p| p.line), problem.error.code()))
        .collect();
    let expected = [
        (3, "C016"),
        (4, "C009"),
        (5, "C012"),
        (6, "C012"),
        (7, "C021"),
        (7, "C028"),
        (8, "C028"),
        (9, "C028"),
        (10, "C005"),
        (12, "C017"),
        (13, "C010"),
        (14, "C007"),
        (15, "C012"),
        (17, "C017"),
        (18, "C004"),
    ];
    assert_eq!(told, expected, "{errors}");
    let told = errors.to_string();
    assert!(
        told.ends_with("\n\n15 errors, nothing was started"),
        "{told}"
    );
    for secret in SECRETS {
        assert!(!told.contains(secret) && !format!("{errors:?}").contains(secret));
    }
}

#[test]
fn what_is_no_toml_is_told_in_a_few_places_and_shows_no_password() {
    let folder = folder();
    for line in [
        "password = hunter2",
        "password = \"hunter2",
        "password = 'hunter2",
        "password = \"\"\"hunter2",
        "password \"hunter2\"",
        "password = \"a\\hunter2\"",
        "password = {hunter2}",
        "password = \"hunter2\" \"hunter2\"",
        "hunter2",
        &"[".repeat(100_000),
        &"a={".repeat(100_000),
    ] {
        let text = format!("{LEAST}list = [1,\n{line}\nx = [[[\ny = = 2\nz == 3\n");
        let errors = load_text(&folder, text).unwrap_err();
        let count = errors.problems().len();
        assert!((1..=4).contains(&count), "{errors}");
        for problem in errors.problems() {
            assert!(matches!(problem.error, ConfigError::Syntax(_)), "{errors}");
            assert!(problem.place().is_some_and(|place| place.line >= 5));
        }
        let shown = format!("{errors} {errors:?}");
        assert!(!shown.contains("hunter2"), "{errors}");
    }
}
