//! `docs/ARCHITECTURE.md` is a true map: every source it names exists, every source is on it.
//!
//! A name is anything that ends in `.rs`, given from the root or from the `src` folder of the crate
//! the section is about (the last heading that says `crates/NAME`). Braces name several files at
//! once: `tls/{pem,config}.rs`. Sources that hold only tests need no place on the map.

use std::collections::BTreeSet;

use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

const DOCUMENT: &str = "docs/ARCHITECTURE.md";

struct Mention {
    line: usize,
    written: String,
    path: String,
}

fn mentions(document: &str) -> Vec<Mention> {
    let mut section: Option<String> = None;
    let mut out = Vec::new();
    for (index, line) in document.lines().enumerate() {
        if line.starts_with('#') {
            section = crate_of(line).or(section);
        }
        let in_name = |c: char| c.is_ascii_alphanumeric() || "_-./{},".contains(c);
        for word in line.split(|c: char| !in_name(c)) {
            let word = word.trim_matches([',', '.']);
            if !word.ends_with(".rs") {
                continue;
            }
            for written in expand(word) {
                let from_root = ["crates/", "tests/", "bench/", "fuzz/"]
                    .iter()
                    .any(|home| written.starts_with(home));
                let path = match &section {
                    Some(name) if !from_root => format!("crates/{name}/src/{written}"),
                    _ => written.clone(),
                };
                out.push(Mention {
                    line: index + 1,
                    written,
                    path,
                });
            }
        }
    }
    out
}

/// The crate a heading is about: the word after `crates/`.
fn crate_of(heading: &str) -> Option<String> {
    let (_, after) = heading.split_once("crates/")?;
    let name: String = after
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    (!name.is_empty()).then_some(name)
}

/// `a/{b,c}.rs` becomes `a/b.rs` and `a/c.rs`; without braces, a comma separates two names.
fn expand(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else {
        return word
            .split(',')
            .filter(|w| w.ends_with(".rs"))
            .map(str::to_owned)
            .collect();
    };
    let Some((inside, after)) = rest.split_once('}') else {
        return vec![word.to_owned()];
    };
    inside
        .split(',')
        .map(|part| format!("{before}{part}{after}"))
        .collect()
}

fn check(files: &[File], document: &str) -> Vec<Finding> {
    let mentions = mentions(document);
    let mut findings = Vec::new();
    for mention in &mentions {
        if !files.iter().any(|f| f.path == mention.path) {
            let what = format!("names `{}`: no {}", mention.written, mention.path);
            findings.push(Finding::new(DOCUMENT, mention.line, what));
        }
    }
    let named: BTreeSet<&str> = mentions.iter().map(|m| m.path.as_str()).collect();
    let is_source = |path: &str| path.contains("/src/") || path.starts_with("fuzz/");
    let must = |f: &&File| !f.path.starts_with("tests/") && is_source(&f.path) && !f.is_test_file();
    for file in files.iter().filter(must) {
        if !named.contains(file.path.as_str()) {
            findings.push(Finding::new(
                &file.path,
                0,
                format!("is not on the map, {DOCUMENT}"),
            ));
        }
    }
    findings
}

#[test]
fn the_map_of_the_sources_is_true() {
    expect_none(&check(&tree::all_sources(), &tree::document(DOCUMENT)));
}

#[test]
fn the_map_of_the_sources_rule_bites() {
    let paths = [
        "crates/fiber/src/lib.rs",
        "crates/fiber/src/timer.rs",
        "crates/fiber/src/timer/tests.rs",
        "crates/safe-rt/src/tls/pem.rs",
        "crates/safe-rt/src/tls/config.rs",
        "tests/src/pki.rs",
        "bench/src/lib.rs",
        "bench/src/extra.rs",
        "fuzz/fuzz_targets/packets.rs",
        "fuzz/fuzz_targets/topics.rs",
    ];
    let files = paths.map(|path| File {
        path: path.to_owned(),
        text: String::new(),
    });
    let document = "# Map\n## `crates/fiber`: fibers\n| `lib.rs`, `gone.rs` | x |\n### Details\n\
        ## crates/safe-rt\n`tls/{pem,config,client}.rs` and tests/src/pki.rs, bench/src/lib.rs, \
        fuzz/fuzz_targets/topics.rs.";
    let expected = [
        (3, "names `gone.rs`: no crates/fiber/src/gone.rs"),
        (
            6,
            "names `tls/client.rs`: no crates/safe-rt/src/tls/client.rs",
        ),
        (0, "is not on the map"),
        (0, "is not on the map"),
        (0, "is not on the map"),
    ];
    expect_findings(&check(&files, document), &expected);
}
