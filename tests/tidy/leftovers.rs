//! Nothing unfinished and nothing switched off is committed.

use crate::lex::{self, Token};
use crate::tree::{self, File};
use crate::{Finding, expect_findings, expect_none};

/// Macros that stand for missing code. Spelled in pieces: this file is checked as well.
const MACROS: [&str; 2] = [concat!("to", "do"), concat!("unimple", "mented")];
/// Words that mark something left for later.
const MARKS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];
/// Ways to keep an example in the documentation from being run.
const UNRUN: [&str; 2] = [concat!("no_", "run"), concat!("```", "ignore")];

fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_rust = file.path.ends_with(".rs");
    for (index, line) in file.text.lines().enumerate() {
        let marks = MARKS.iter().filter(|mark| has_word(line, mark));
        let unrun = UNRUN.iter().filter(|mark| is_rust && line.contains(**mark));
        for mark in marks.chain(unrun) {
            findings.push(Finding::new(&file.path, index + 1, format!("`{mark}`")));
        }
    }
    if is_rust {
        let tokens = file.tokens();
        findings
            .extend(unfinished(&tokens).map(|(line, what)| Finding::new(&file.path, line, what)));
    }
    findings
}

fn unfinished(tokens: &[Token]) -> impl Iterator<Item = (usize, String)> {
    tokens.windows(3).filter_map(|three| {
        if MACROS.contains(&three[0].text.as_str()) && three[1].is("!") {
            Some((three[0].line, format!("`{}!`", three[0].text)))
        } else if three[0].is("#") && three[1].is("[") && three[2].is("ignore") {
            Some((three[0].line, "a test that is switched off".to_owned()))
        } else {
            None
        }
    })
}

fn has_word(line: &str, word: &str) -> bool {
    lex::tokens(line).iter().any(|token| token.is(word))
}

#[test]
fn nothing_unfinished_is_left() {
    let files = tree::files();
    let findings: Vec<Finding> = files
        .iter()
        .filter(|f| f.path != "Cargo.lock")
        .flat_map(check)
        .collect();
    expect_none(&findings);
}

#[test]
fn the_leftover_rule_bites() {
    let text = format!(
        "fn f() {{ {}!() }}\n#[ignore = \"slow\"]\n// {}: later\n/// {}\n/// ```rust,{}\nlet x = \"{}!\";",
        MACROS[0], MARKS[1], UNRUN[1], UNRUN[0], MACROS[1]
    );
    let file = File {
        path: "crates/mqtt/src/x.rs".to_owned(),
        text,
    };
    let expected = [
        (3, MARKS[1]),
        (4, UNRUN[1]),
        (5, UNRUN[0]),
        (1, MACROS[0]),
        (2, "switched off"),
    ];
    expect_findings(&check(&file), &expected);
    let script = File {
        path: "test.sh".to_owned(),
        text: format!("# {}\nmktemp -d aXXXXXX", MARKS[0]),
    };
    expect_findings(&check(&script), &[(1, MARKS[0])]);
}
