//! No source is longer than a reader keeps in mind.

use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

const LINES_MAX: usize = 500;

/// Files that may be longer, each with its reason. Tables are the usual one.
const EXCEPTIONS: [(&str, &str); 0] = [];

fn check(files: &[File], exceptions: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        let excepted = exceptions.iter().any(|(path, _)| *path == file.path);
        if lines > LINES_MAX && !excepted {
            let what = format!("{lines} lines, at most {LINES_MAX}: split by concern");
            findings.push(Finding::new(&file.path, 0, what));
        }
        if lines <= LINES_MAX && excepted {
            findings.push(Finding::new(
                &file.path,
                0,
                "is short enough: no exception is needed",
            ));
        }
    }
    for (path, reason) in exceptions {
        if !files.iter().any(|f| f.path == *path) {
            findings.push(Finding::new(path, 0, "is excepted and does not exist"));
        }
        if reason.is_empty() {
            findings.push(Finding::new(path, 0, "is excepted without a reason"));
        }
    }
    findings
}

#[test]
fn no_source_is_too_long() {
    expect_none(&check(&tree::all_sources(), &EXCEPTIONS));
}

#[test]
fn the_length_rule_bites() {
    let file = |path: &str, lines| File {
        path: path.to_owned(),
        text: "x\n".repeat(lines),
    };
    let files = [
        file("a.rs", 500),
        file("b.rs", 501),
        file("c.rs", 501),
        file("d.rs", 3),
    ];
    let exceptions = [("c.rs", "a table"), ("d.rs", "a table"), ("e.rs", "")];
    let expected = [
        (0, "501 lines"),
        (0, "no exception is needed"),
        (0, "does not exist"),
        (0, "without a reason"),
    ];
    expect_findings(&check(&files, &exceptions), &expected);
}
