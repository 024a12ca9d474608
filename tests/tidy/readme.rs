//! Code in the documents is code that is compiled: the README's example is that of
//! `crates/mqtt/examples/first_connection.rs`, and a page of the guide says before a block which file it
//! is from.

use crate::tree;
use crate::{Finding, expect_findings, expect_none};

const README: &str = "README.md";
const EXAMPLE: &str = "crates/mqtt/examples/first_connection.rs";
const GUIDE: &str = "docs/guide/";
const FROM: &str = "<!-- from ";

/// The first Rust block of a document.
fn rust_block(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once("```rust\n")?;
    let (block, _) = rest.split_once("```")?;
    Some(block)
}

fn check(readme: &str, example: &str) -> Vec<Finding> {
    match rust_block(readme) {
        None => vec![Finding::new(README, 0, "has no example in Rust")],
        Some(block) if example.ends_with(block) => Vec::new(),
        Some(_) => vec![Finding::new(
            README,
            0,
            format!("its example is not that of {EXAMPLE}"),
        )],
    }
}

/// A page of the guide: each Rust block says which file it is from, and is the end of that file. One
/// that is a part of a program, and marked as such (`rust,ignore`), is not looked at.
fn check_page(path: &str, page: &str, read: impl Fn(&str) -> String) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut line = 1;
    let mut before = "";
    let mut rest = page;
    while let Some((text, next)) = rest.split_once('\n') {
        if text == "```rust" {
            let block = next.split("```").next().unwrap_or_default();
            let from = before
                .strip_prefix(FROM)
                .and_then(|from| from.strip_suffix(" -->"));
            match from {
                None => findings.push(Finding::new(path, line, "code that says no file")),
                Some(from) if read(from).ends_with(block) => {}
                Some(from) => {
                    let what = format!("this is not the end of {from}");
                    findings.push(Finding::new(path, line, what));
                }
            }
        }
        (before, rest) = (text, next);
        line += 1;
    }
    findings
}

#[test]
fn the_readmes_example_is_compiled() {
    expect_none(&check(&tree::document(README), &tree::document(EXAMPLE)));
}

#[test]
fn the_code_of_the_guide_is_compiled() {
    let pages = tree::files();
    let pages = pages
        .iter()
        .filter(|file| file.path.starts_with(GUIDE) && file.path.ends_with(".md"));
    let findings = pages.flat_map(|file| check_page(&file.path, &file.text, tree::document));
    expect_none(&findings.collect::<Vec<_>>());
}

#[test]
fn the_readme_rule_bites() {
    let readme = "text\n```rust\nfn main() {}\n```\nmore";
    expect_none(&check(readme, "//! doc\n\nfn main() {}\n"));
    expect_findings(&check(readme, "fn other() {}\n"), &[(0, "not that of")]);
    expect_findings(&check("no code", ""), &[(0, "no example")]);
}

#[test]
fn the_rule_for_pages_bites() {
    let read = |path: &str| format!("//! {path}\n\nfn main() {{}}\n");
    let page = "text\n<!-- from a.rs -->\n```rust\nfn main() {}\n```\nmore\n";
    expect_none(&check_page("p.md", page, read));
    let ignored = "```rust,ignore\nsomething();\n```\n";
    expect_none(&check_page("p.md", ignored, read));
    let found = check_page("p.md", &page.replace("main", "other"), read);
    expect_findings(&found, &[(3, "not the end of a.rs")]);
    let found = check_page("p.md", &page.replace("<!--", "<-"), read);
    expect_findings(&found, &[(3, "no file")]);
}
