//! The tidy tier: rules of this code base that the compiler does not know.
//!
//! Every rule is a function over text: sources or documents in, findings out. A rule is tested
//! twice: on a small bad example, to show that it bites, and on the repository itself, where it
//! must find nothing. Nothing here starts a fiber or opens a socket; two modules start programs
//! (`cargo` in `manifest`, `bash` in `installer`).
//!
//! `docs/testing.md` says how to add a rule.

#![forbid(unsafe_code)]

mod architecture;
mod bans;
mod bounds;
mod gate;
mod installer;
mod leftovers;
mod lengths;
mod lex;
mod manifest;
mod maps;
mod markdown;
mod purity;
mod readme;
mod release;
mod tree;
mod unsafety;
mod workplace;

/// One violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from one; zero when the finding is about the whole file.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

/// Fails with one line per finding.
#[track_caller]
fn expect_none(findings: &[Finding]) {
    let lines: Vec<String> = findings
        .iter()
        .map(|f| match f.line {
            0 => format!("  {}: {}", f.path, f.what),
            line => format!("  {}:{line}: {}", f.path, f.what),
        })
        .collect();
    assert!(
        lines.is_empty(),
        "{} finding(s):\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// Fails unless the findings are exactly these, given as `(line, part of the text)`.
#[track_caller]
fn expect_findings(findings: &[Finding], expected: &[(usize, &str)]) {
    let agree = findings.len() == expected.len()
        && findings
            .iter()
            .zip(expected)
            .all(|(f, (l, part))| f.line == *l && f.what.contains(part));
    assert!(agree, "expected {expected:#?}\nfound {findings:#?}");
}
