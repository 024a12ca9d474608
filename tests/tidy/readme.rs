//! The README's example is one that is compiled: `crates/mqtt/examples/first_connection.rs`.

use crate::tree;
use crate::{Finding, expect_findings, expect_none};

const README: &str = "README.md";
const EXAMPLE: &str = "crates/mqtt/examples/first_connection.rs";

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

#[test]
fn the_readmes_example_is_compiled() {
    expect_none(&check(&tree::document(README), &tree::document(EXAMPLE)));
}

#[test]
fn the_readme_rule_bites() {
    let readme = "text\n```rust\nfn main() {}\n```\nmore";
    expect_none(&check(readme, "//! doc\n\nfn main() {}\n"));
    expect_findings(&check(readme, "fn other() {}\n"), &[(0, "not that of")]);
    expect_findings(&check("no code", ""), &[(0, "no example")]);
}
