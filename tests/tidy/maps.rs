//! The two maps from promises to proofs are complete: `docs/mqtt-conformance.md` and
//! `docs/regressions.md`.
//!
//! Both are tables. The first cell of a row is the id; the last cell is the proof: names of test
//! functions in backticks, or `open`, or `cannot exist: ...` or `does not apply: ...` with a
//! sentence. A path in backticks names a file that exists.

use std::collections::{BTreeMap, BTreeSet};

use crate::lex;
use crate::markdown::{self, Row};
use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

const CONFORMANCE: &str = "docs/mqtt-conformance.md";
const REGRESSIONS: &str = "docs/regressions.md";
/// Its table of bad days has tests in its last column.
const OPERATIONS: &str = "docs/guide/operations.md";
const DAYS: &str = "## Bad days\n";
/// The ids of the 3.1.1 standard that bind a client, one a line.
const CONFORMANCE_IDS: &str = include_str!("mqtt_ids.txt");
/// Letter and highest number of each family of regressions.
const REGRESSION_FAMILIES: [(&str, usize); 5] =
    [("F", 15), ("S", 9), ("M", 28), ("A", 15), ("R", 19)];
/// A reason of fewer characters explains nothing.
const REASON_CHARS_MIN: usize = 12;

/// What the rows may refer to.
struct Known {
    tests: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Known {
    fn of(sources: &[File]) -> Self {
        let mut tests = BTreeSet::new();
        for file in sources {
            let tokens = file.tokens();
            let names = lex::test_functions(&tokens);
            tests.extend(names.into_iter().map(|(name, _)| name.text.clone()));
        }
        Self {
            tests,
            files: sources.iter().map(|f| f.path.clone()).collect(),
        }
    }

    /// Whether the path, given from the root or from a crate's `src`, is a source.
    fn has_file(&self, path: &str) -> bool {
        let inside = format!("/src/{path}");
        self.files.contains(path)
            || self
                .files
                .iter()
                .any(|f| f.starts_with("crates/") && f.ends_with(&inside))
    }
}

fn check(path: &str, ids: &[String], document: &str, known: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for row in markdown::rows(document) {
        let id = id_of(&row);
        if !ids.contains(&id) {
            if looks_like_id(&id) {
                findings.push(Finding::new(path, row.line, format!("unknown id `{id}`")));
            }
            continue;
        }
        if let Some(earlier) = seen.insert(id.clone(), row.line) {
            let what = format!("`{id}` has a row already, in line {earlier}");
            findings.push(Finding::new(path, row.line, what));
        }
        let faults = check_proof(&row, known)
            .into_iter()
            .chain(check_files(&row, known));
        findings.extend(faults.map(|what| Finding::new(path, row.line, format!("`{id}` {what}"))));
    }
    for id in ids.iter().filter(|id| !seen.contains_key(*id)) {
        findings.push(Finding::new(path, 0, format!("`{id}` has no row")));
    }
    findings
}

/// The first cell without decoration: `` `[MQTT-3.3.1-2]` `` is the id `3.3.1-2`.
fn id_of(row: &Row) -> String {
    let cell = row.cells.first().map_or("", String::as_str);
    let bare: String = cell
        .chars()
        .filter(|c| !matches!(c, '`' | '[' | ']' | '*' | ' '))
        .collect();
    let bare = bare
        .strip_prefix("MQTT3-")
        .or_else(|| bare.strip_prefix("MQTT-"))
        .unwrap_or(&bare);
    bare.to_owned()
}

/// Ids are a digit and dots, or one capital letter and a number.
fn looks_like_id(id: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let regression =
        id.get(1..).is_some_and(digits) && id.starts_with(|c: char| c.is_ascii_uppercase());
    let clause = id.contains('.') && id.contains('-') && id.split(['.', '-']).all(digits);
    regression || clause
}

fn check_proof(row: &Row, known: &Known) -> Option<String> {
    let proof = row.cells.last().map_or("", String::as_str);
    let is_open = proof
        .strip_prefix("open")
        .is_some_and(|r| !r.starts_with(char::is_alphanumeric));
    if is_open {
        return None;
    }
    for excuse in ["cannot exist:", "does not apply:"] {
        if let Some(reason) = proof.strip_prefix(excuse) {
            let enough = reason.trim().chars().count() >= REASON_CHARS_MIN;
            return (!enough).then(|| format!("says `{excuse}` without a reason"));
        }
    }
    let names: Vec<&str> = markdown::code_spans(proof)
        .into_iter()
        .filter(|span| is_test_name(span))
        .collect();
    if names.is_empty() {
        return Some("names no test, and is neither open nor excused".to_owned());
    }
    let missing = names.iter().find(|name| {
        let last = name.rsplit("::").next().unwrap_or_default();
        !known.tests.contains(last)
    })?;
    Some(format!("names the test `{missing}`, which does not exist"))
}

/// Test functions are named by a sentence: lower case, with underscores.
fn is_test_name(span: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | ':');
    span.contains('_') && span.chars().all(allowed)
}

fn check_files(row: &Row, known: &Known) -> Option<String> {
    let spans = row.cells.iter().flat_map(|cell| markdown::code_spans(cell));
    let missing = spans
        .filter(|span| span.ends_with(".rs"))
        .find(|span| !known.has_file(span))?;
    Some(format!("names the file `{missing}`, which does not exist"))
}

/// The table of bad days: tests alone prove a row, and there is one.
fn check_days(document: &str, known: &Known) -> Vec<Finding> {
    let start = document.find(DAYS).unwrap_or(document.len());
    let section = &document[start..];
    let end = section.find("\n## ").unwrap_or(section.len());
    let above = document[..start].matches('\n').count();
    let rows = markdown::rows(&section[..end]);
    if rows.is_empty() {
        return vec![Finding::new(OPERATIONS, 0, "has no table of bad days")];
    }
    let faults = rows
        .iter()
        .filter_map(|row| Some((row.line, check_proof(row, known)?)));
    faults
        .map(|(line, what)| Finding::new(OPERATIONS, above + line, what))
        .collect()
}

fn conformance_ids() -> Vec<String> {
    CONFORMANCE_IDS.lines().map(str::to_owned).collect()
}

fn regression_ids() -> Vec<String> {
    let family = |(letter, last)| (1..=last).map(move |n: usize| format!("{letter}{n}"));
    REGRESSION_FAMILIES.into_iter().flat_map(family).collect()
}

#[test]
fn every_clause_that_binds_a_client_has_a_proof() {
    let known = Known::of(&tree::sources());
    expect_none(&check(
        CONFORMANCE,
        &conformance_ids(),
        &tree::document(CONFORMANCE),
        &known,
    ));
}

#[test]
fn every_regression_has_a_proof() {
    let known = Known::of(&tree::sources());
    expect_none(&check(
        REGRESSIONS,
        &regression_ids(),
        &tree::document(REGRESSIONS),
        &known,
    ));
}

#[test]
fn every_bad_day_has_a_test() {
    let known = Known::of(&tree::sources());
    expect_none(&check_days(&tree::document(OPERATIONS), &known));
}

#[test]
fn the_rule_for_bad_days_bites() {
    let source = File {
        path: "crates/agent/tests/failures/disks.rs".to_owned(),
        text: "#[test]\nfn it_goes_on() {}".to_owned(),
    };
    let known = Known::of(&[source]);
    let document = "# Operations\n\n## Bad days\n\n| Day | Test |\n|---|---|\n\
        | full | `it_goes_on` |\n| lost | `it_comes_back` |\n| wet | it dries |\n\n\
        ## Commands\n\n| Name | |\n|---|---|\n| a | b |\n";
    let expected = [(8, "`it_comes_back`"), (9, "names no test")];
    expect_findings(&check_days(document, &known), &expected);
    expect_findings(&check_days("# Operations\n", &known), &[(0, "no table")]);
}

#[test]
fn the_lists_of_ids_are_whole() {
    let ids = conformance_ids();
    let unique: BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), unique.len()), (88, 88));
    assert!(ids.iter().all(|id| looks_like_id(id)));
    assert_eq!(regression_ids().len(), 86);
}

#[test]
fn the_map_rule_bites() {
    let source = File {
        path: "crates/mqtt/src/packet/publish.rs".to_owned(),
        text: "#[test]\nfn dup_is_set() {}\nfn not_a_test() {}".to_owned(),
    };
    let known = Known::of(&[source]);
    let ids: Vec<String> = ["M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "3.3.1-2"]
        .map(str::to_owned)
        .to_vec();
    let document = "| Id | Where | Proof |\n|---|---|---|\n\
        | M1 | `packet/publish.rs` | `dup_is_set` |\n\
        | M2 | `packet/none.rs` | `publish::dup_is_set` |\n\
        | M3 | | `not_a_test` |\n\
        | M4 | | it works |\n\
        | M5 | | open: later |\n\
        | M6 | | cannot exist: no |\n\
        | M7 | | cannot exist: the type has no such value |\n\
        | M7 | | opening |\n\
        | M29 | | open |\n\
        | [MQTT-3.3.1-2] | `crates/mqtt/src/packet/publish.rs` | `dup_is_set` |";
    let expected = [
        (4, "names the file `packet/none.rs`"),
        (5, "names the test `not_a_test`"),
        (6, "names no test"),
        (8, "without a reason"),
        (10, "has a row already, in line 9"),
        (10, "names no test"),
        (11, "unknown id `M29`"),
        (0, "`M8` has no row"),
    ];
    expect_findings(&check("x.md", &ids, document, &known), &expected);
}
