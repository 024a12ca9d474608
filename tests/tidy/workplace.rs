//! The project speaks of itself alone: no folder of somebody's machine, no ticket of somebody's
//! tracker.

use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

/// What never occurs in a file; spelled in pieces, because this file is checked as well.
const WORDS: [&str; 7] = [
    concat!("sha", "red/"),
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tmp/", "bash"),
    concat!("issue", " #"),
];

fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in WORDS {
            let found = line.match_indices(word).any(|(at, _)| {
                // `a/home/b` is a path inside something and `unshared/` a word of its own.
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
            });
            if found {
                findings.push(Finding::new(
                    &file.path,
                    index + 1,
                    format!("speaks of `{word}`"),
                ));
            }
        }
    }
    findings
}

#[test]
fn no_file_speaks_of_the_workplace() {
    let findings: Vec<Finding> = tree::files().iter().flat_map(check).collect();
    expect_none(&findings);
}

#[test]
fn the_workplace_rule_bites() {
    let text = format!(
        "see {}x\nun{}y\n({}main)\nfixes {}7\nsite{}a",
        WORDS[0], WORDS[0], WORDS[1], WORDS[6], WORDS[4]
    );
    let file = File {
        path: "README.md".to_owned(),
        text,
    };
    expect_findings(
        &check(&file),
        &[(1, WORDS[0]), (3, WORDS[1]), (4, WORDS[6])],
    );
}
