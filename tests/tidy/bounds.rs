//! Every named bound is explained in `docs/limits.md`, and nothing there is made up.
//!
//! A constant is a bound when its name ends or begins as one (see [`ENDS`] and [`STARTS`]).
//! Constants of tests do not count.

use std::collections::BTreeMap;

use crate::lex::Token;
use crate::markdown;
use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

const DOCUMENT: &str = "docs/limits.md";

const ENDS: [&str; 10] = [
    "_MAX",
    "_MIN",
    "_DEFAULT",
    "_TIMEOUT",
    "_BYTES",
    "_BOUND",
    "_LIMIT",
    "_CAPACITY",
    "_WINDOW",
    "_GRACE",
];
const STARTS: [&str; 2] = ["MAX_", "DEFAULT_"];

/// Names and places of all constants of the file that are named as bounds.
fn bounds(file: &File) -> Vec<(String, usize)> {
    let tokens = file.tokens();
    tokens[..tests_start(&tokens)]
        .windows(3)
        .filter(|three| three[0].is("const") && three[2].is(":"))
        .map(|three| &three[1])
        .filter(|name| {
            ENDS.iter().any(|end| name.text.ends_with(end))
                || STARTS.iter().any(|start| name.text.starts_with(start))
        })
        .map(|name| (name.text.clone(), name.line))
        .collect()
}

/// Where the module of tests begins: it is the last thing in a file.
fn tests_start(tokens: &[Token]) -> usize {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let is_start = |at: usize| {
        MARK.iter()
            .enumerate()
            .all(|(n, mark)| tokens[at + n].is(mark))
            && tokens.get(at + MARK.len()).is_some_and(|t| t.is("mod"))
            // `mod tests;` names another file and may stand anywhere.
            && tokens.get(at + MARK.len() + 2).is_some_and(|t| t.is("{"))
    };
    (0..tokens.len().saturating_sub(MARK.len()))
        .find(|at| is_start(*at))
        .unwrap_or(tokens.len())
}

fn check(files: &[File], document: &str) -> Vec<Finding> {
    let spans: BTreeMap<&str, usize> = document
        .lines()
        .enumerate()
        .flat_map(|(index, line)| {
            markdown::code_spans(line)
                .into_iter()
                .map(move |s| (s, index + 1))
        })
        .map(|(span, line)| (span.rsplit("::").next().unwrap_or(span), line))
        .collect();
    let mut findings = Vec::new();
    let mut known = Vec::new();
    for file in files.iter().filter(|f| !f.is_test_file()) {
        for (name, line) in bounds(file) {
            if !spans.contains_key(name.as_str()) {
                findings.push(Finding::new(
                    &file.path,
                    line,
                    format!("`{name}` is not in {DOCUMENT}"),
                ));
            }
            known.push(name);
        }
    }
    for (span, line) in spans {
        let is_constant = span.contains('_')
            && span
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if is_constant && !known.iter().any(|name| name == span) {
            findings.push(Finding::new(
                DOCUMENT,
                line,
                format!("`{span}` is no bound of the code"),
            ));
        }
    }
    findings
}

#[test]
fn every_bound_is_documented() {
    expect_none(&check(&tree::crate_sources(), &tree::document(DOCUMENT)));
}

#[test]
fn the_bound_rule_bites() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file(
            "crates/a/src/x.rs",
            "pub const QUEUE_MAX: usize = 1;\nconst READ_BYTES: usize = 2;\npub const MASK: u8 = 3;\n\
             #[cfg(test)]\nmod tests;\nconst MAX_IDS: u8 = 4;\n#[cfg(test)]\nmod tests { const TEST_MAX: u8 = 5; }",
        ),
        file("crates/a/src/x/tests.rs", "const OTHER_MAX: usize = 6;"),
    ];
    let document = "| Name | Value |\n|---|---|\n| `x::READ_BYTES` | 2 |\n| `GONE_MAX` | 9 |";
    let expected = [
        (1, "`QUEUE_MAX` is not in"),
        (6, "`MAX_IDS` is not in"),
        (4, "`GONE_MAX` is no bound"),
    ];
    expect_findings(&check(&files, document), &expected);
}
