//! Runs a suite, or checks a budget: `bench_runner SUITE [--only NAME]`, `bench_runner budget [--write]`,
//! `bench_runner size --check`, `bench_runner size --write`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench::suites::{Options, SUITES, size};
use bench::{budget, rounds};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Result<bool, String> {
    let text = |failure: bench::error::Failure| failure.to_string();
    match words {
        ["budget"] => budget::check().map_err(text),
        ["budget", "--write"] => budget::write().map(|()| true).map_err(text),
        ["size", "--check"] => size::check().map_err(text),
        ["size", "--write"] => size::write().map(|()| true).map_err(text),
        [name, rest @ ..] => {
            let Some((_, _, suite)) = SUITES.iter().find(|(suite, ..)| suite == name) else {
                return Err(format!("no suite is called `{name}`\n{}", usage()));
            };
            let only = match rest {
                [] => None,
                ["--only", name] => Some((*name).to_owned()),
                _ => return Err(format!("cannot read `{}`\n{}", rest.join(" "), usage())),
            };
            let rounds = rounds::asked().map_err(text)?;
            suite(&Options { only, rounds }).map_err(text)
        }
        [] => Err(usage()),
    }
}

fn usage() -> String {
    let mut text = "cargo run --release -p tests --bin bench -- SUITE [--only NAME]\n".to_owned();
    text += "cargo run --release -p tests --bin bench -- budget [--write]\n";
    text += "cargo run --release -p tests --bin bench -- size --check | --write\nsuites:";
    for (name, about, _) in SUITES {
        text += &format!("\n  {name:<8} {about}");
    }
    text += &format!(
        "\n{} sets the rounds of each figure ({} without it)",
        rounds::ROUNDS_VARIABLE,
        rounds::ROUNDS_DEFAULT
    );
    text
}
