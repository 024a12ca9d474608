//! Unsafe code stays in four places of one crate, and every site is on the list.

use std::collections::BTreeMap;

use crate::markdown;
use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

const DOCUMENT: &str = "docs/unsafe.md";
const FIBER: &str = "crates/fiber/src/";
/// Where `unsafe` may stand, below [`FIBER`].
const HOMES: [&str; 4] = ["coroutine.rs", "stack/", "scope.rs", "sys.rs"];

/// Counts the word `unsafe` outside comments, per file: blocks, functions, impls and attributes.
fn count(files: &[File]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for file in files {
        let sites = file.tokens().iter().filter(|t| t.is("unsafe")).count();
        if sites > 0 {
            out.insert(file.path.clone(), sites);
        }
    }
    out
}

fn check_homes(sites: &BTreeMap<String, usize>) -> Vec<Finding> {
    let at_home = |path: &str| {
        path.strip_prefix(FIBER)
            .is_some_and(|p| HOMES.iter().any(|home| p.starts_with(home)))
    };
    sites
        .iter()
        .filter(|(path, _)| !at_home(path))
        .map(|(path, sites)| {
            Finding::new(
                path,
                0,
                format!("{sites} unsafe site(s) outside their homes"),
            )
        })
        .collect()
}

/// Compares with the table whose rows start with the file (from `crates/fiber/src/`) and the count.
fn check_table(sites: &BTreeMap<String, usize>, document: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut listed = BTreeMap::new();
    for row in markdown::rows(document) {
        let [file, number, ..] = row.cells.as_slice() else {
            continue;
        };
        let Some(file) = markdown::code_spans(file).first().copied() else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        let path = if file.starts_with("crates/") {
            file.to_owned()
        } else {
            format!("{FIBER}{file}")
        };
        let found = sites.get(&path).copied().unwrap_or(0);
        if found != number {
            let what = format!("lists {number} site(s) for {path}, the code has {found}");
            findings.push(Finding::new(DOCUMENT, row.line, what));
        }
        listed.insert(path, number);
    }
    for path in sites.keys().filter(|path| !listed.contains_key(*path)) {
        findings.push(Finding::new(DOCUMENT, 0, format!("has no row for {path}")));
    }
    findings
}

/// Every crate root refuses unsafe code, but for fiber's, which has it refused by default.
fn check_roots(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| is_crate_root(&f.path)) {
        let code: String = file.tokens().into_iter().map(|t| t.text).collect();
        let wanted = if file.path.starts_with(FIBER) {
            "deny"
        } else {
            "forbid"
        };
        if !code.contains(&format!("#![{wanted}(unsafe_code")) {
            findings.push(Finding::new(
                &file.path,
                0,
                format!("lacks #![{wanted}(unsafe_code)]"),
            ));
        }
    }
    findings
}

fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["crates", _, "src", file] => matches!(*file, "lib.rs" | "main.rs"),
        ["crates", _, "examples" | "tests" | "benches", _] => true,
        ["crates", _, "tests", _, "main.rs"] => true,
        ["tests", "src", "lib.rs"] | ["tests", _, "main.rs"] | ["tests", "src", "bin", _] => true,
        _ => false,
    }
}

#[test]
fn unsafe_code_stays_in_its_homes() {
    expect_none(&check_homes(&count(&tree::sources())));
}

#[test]
fn the_table_of_unsafe_code_is_complete() {
    expect_none(&check_table(
        &count(&tree::sources()),
        &tree::document(DOCUMENT),
    ));
}

#[test]
fn every_crate_root_refuses_unsafe_code() {
    expect_none(&check_roots(&tree::sources()));
}

#[test]
fn the_unsafe_rules_bite() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file(
            "crates/fiber/src/sys.rs",
            "unsafe fn f() { unsafe { g() } } // unsafe",
        ),
        file("crates/fiber/src/stack/pool.rs", "unsafe impl X for Y {}"),
        file("crates/fiber/src/lib.rs", "#![deny(unsafe_code)]"),
        file(
            "crates/mqtt/src/lib.rs",
            "// #![forbid(unsafe_code)]\n#![allow(unsafe_code)] unsafe {}",
        ),
    ];
    let sites = count(&files);
    expect_findings(&check_homes(&sites), &[(0, "1 unsafe site(s)")]);
    expect_findings(&check_roots(&files), &[(0, "lacks #![forbid")]);
    let table = "| file | sites |\n|---|---|\n| `sys.rs` | 3 |\n| `scope.rs` | 1 |\n| `crates/mqtt/src/lib.rs` | 1 |";
    let expected = [
        (
            3,
            "lists 3 site(s) for crates/fiber/src/sys.rs, the code has 2",
        ),
        (4, "the code has 0"),
        (0, "no row for crates/fiber/src/stack/pool.rs"),
    ];
    expect_findings(&check_table(&sites, table), &expected);
}
