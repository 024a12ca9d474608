//! `SSLKEYLOGFILE`: obeyed in a build that asks for it, and in no other.

use std::collections::BTreeMap;

use safe_rt::TlsVersion;

use crate::alone::{is_alone, run_alone, warnings};
use crate::support::{ROOMY, connected, paused};
use crate::trust::Folder;

const VARIABLE: &str = "SSLKEYLOGFILE";

/// Both sides of a connection of each version, and what is logged with it.
fn connections() -> Vec<String> {
    warnings(|| {
        paused(|| {
            for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
                let _both = connected(version, ROOMY);
            }
        });
    })
}

/// A line of such a file: `<label> <client random> <secret>`, the latter two in hexadecimal.
fn fields(line: &str) -> (&str, &str, &str) {
    let fields: Vec<_> = line.split(' ').collect();
    let [label, random, secret] = fields[..] else {
        panic!("{line}")
    };
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(random.len() == 64 && is_hex(random), "{line}");
    assert!(secret.len() >= 64 && is_hex(secret), "{line}");
    (label, random, secret)
}

#[test]
fn secrets_are_written_by_a_build_that_asks_for_it_and_by_no_other() {
    if is_alone() {
        let warnings = connections();
        if !cfg!(feature = "keylog") {
            assert_eq!(warnings, Vec::<String>::new());
            return;
        }
        // Two sides with two versions each.
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        let path = std::env::var(VARIABLE).expect("it was set");
        let said = "WARN a TLS configuration is dangerous: whoever reads ";
        for warning in warnings {
            assert!(
                warning.starts_with(said) && warning.contains(&path),
                "{warning}"
            );
        }
        return;
    }
    let folder = Folder::new("key-log");
    let file = folder.place("secrets");
    let test = "key_log::secrets_are_written_by_a_build_that_asks_for_it_and_by_no_other";
    run_alone(test, &[(VARIABLE, file.as_os_str())]);
    let written = std::fs::read_to_string(&file).ok();
    if !cfg!(feature = "keylog") {
        assert_eq!(written, None, "a build that must not write");
        return;
    }
    // Both sides of a connection write into the same file, and the same.
    let written = written.expect("a file");
    let mut found = BTreeMap::<_, u32>::new();
    for line in written.lines() {
        *found.entry(fields(line)).or_default() += 1;
    }
    let labels: Vec<_> = found.keys().map(|(label, ..)| *label).collect();
    let expected = [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_RANDOM",
        "CLIENT_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_TRAFFIC_SECRET_0",
    ];
    assert_eq!(labels, expected);
    assert!(found.values().all(|times| *times == 2), "{written}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).expect("a file").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "others can read it");
    }
}

#[test]
fn nothing_is_written_or_said_without_the_variable() {
    let test = "key_log::nothing_is_written_or_said_without_the_variable";
    if is_alone() {
        assert_eq!(connections(), Vec::<String>::new());
    } else if std::env::var_os(VARIABLE).is_none() {
        run_alone(test, &[]);
    }
}

#[cfg(feature = "keylog")]
#[test]
fn a_file_that_cannot_be_written_is_said_and_stops_no_connection() {
    if is_alone() {
        let warnings = connections();
        let said = "WARN unable to create key log file";
        assert!(
            warnings.iter().any(|line| line.starts_with(said)),
            "{warnings:?}"
        );
        return;
    }
    let folder = Folder::new("no-key-log");
    let test = "key_log::a_file_that_cannot_be_written_is_said_and_stops_no_connection";
    run_alone(test, &[(VARIABLE, folder.place("").as_os_str())]);
}
