//! Every interop test asks for its peers, and the number of them cannot shrink unseen.
//!
//! `test.sh` compares the tests that ran with `tests/interop/minimum`; this rule compares that file
//! with the tests that are written.

use crate::lex;
use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

const FOLDER: &str = "tests/interop/";
const MINIMUM: &str = "tests/interop/minimum";

fn check(files: &[File], minimum: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut written = 0;
    for file in files.iter().filter(|f| f.path.starts_with(FOLDER)) {
        let tokens = file.tokens();
        for (name, body) in lex::test_functions(&tokens) {
            written += 1;
            let asks = body
                .windows(2)
                .any(|pair| pair[0].is("peers") && pair[1].is("("));
            if !asks {
                let what = format!("`{}` does not ask for its `peers()`", name.text);
                findings.push(Finding::new(&file.path, name.line, what));
            }
        }
    }
    if minimum.trim().parse() != Ok(written) {
        let what = format!("says {}, and {written} test(s) are written", minimum.trim());
        findings.push(Finding::new(MINIMUM, 0, what));
    }
    findings
}

#[test]
fn every_interop_test_asks_for_its_peers_and_is_counted() {
    expect_none(&check(&tree::sources(), &tree::document(MINIMUM)));
}

#[test]
fn the_gate_rule_bites() {
    let text =
        "#[test]\nfn a() { let Some(p) = peers() else { return }; }\n#[test]\nfn b() { x() }";
    let file = File {
        path: "tests/interop/client.rs".to_owned(),
        text: text.to_owned(),
    };
    let expected = [(4, "`b` does not ask"), (0, "says 1, and 2 test(s)")];
    expect_findings(&check(&[file], "1\n"), &expected);
}
