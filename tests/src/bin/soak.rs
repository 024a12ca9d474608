//! Publishers that are killed, a server that is restarted, links that fail: for how long is said on the
//! command line, `cargo run --release -p tests --bin soak -- --for 60s`.
//!
//! The exit status is 0 when all arrived as it should, 1 when it did not or too little went wrong for it
//! to say anything, 2 when nothing was run.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use ::tests::peers::Peers;
use ::tests::program;
use ::tests::random::Random;
use ::tests::soak::{self, Options};

const USAGE: &str = "\
usage: soak [--for 60s|10m|8h] [--rate MESSAGES_IN_A_SECOND] [--seed NUMBER]
";

fn main() -> ExitCode {
    let report = run(std::env::args().skip(1));
    let (text, code) = match report {
        Ok(report) => {
            let good = report.failures().is_empty();
            (report.to_string(), if good { 0 } else { 1 })
        }
        Err(error) => (format!("soak: {error}\n"), 2),
    };
    // A closed output does not change what was found.
    drop(io::stdout().write_all(text.as_bytes()));
    ExitCode::from(code)
}

fn run(words: impl Iterator<Item = String>) -> Result<soak::Report, Box<dyn Error>> {
    let (length, rate, seed) = arguments(words).ok_or(USAGE)?;
    let peers = Peers::find()?;
    let seed = seed.unwrap_or_else(|| Random::of_run().seed());
    // So that a run that is broken off can be had again.
    writeln!(io::stdout(), "seed {seed}")?;
    let program = program::built("tests", "durable_publisher");
    let options = Options {
        program,
        length,
        rate,
        seed,
    };
    soak::run(&peers, &options)
}

/// How long, how fast, and the seed if there is one; `None` for anything else.
fn arguments(mut words: impl Iterator<Item = String>) -> Option<(Duration, u32, Option<u64>)> {
    let (mut length, mut rate, mut seed) = (Duration::from_secs(60), 200, None);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--for" => length = duration(&value)?,
            "--rate" => rate = value.parse().ok().filter(|rate| *rate > 0)?,
            "--seed" => seed = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some((length, rate, seed))
}

fn duration(text: &str) -> Option<Duration> {
    let secs = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let number: u32 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::from_secs(secs) * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments_of(text: &str) -> Option<(Duration, u32, Option<u64>)> {
        arguments(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_are_read_and_others_refused() {
        let minute = Duration::from_secs(60);
        assert_eq!(arguments_of(""), Some((minute, 200, None)));
        let all = arguments_of("--for 2h --rate 5 --seed 7");
        assert_eq!(all, Some((minute * 120, 5, Some(7))));
        for wrong in [
            "--for",
            "--for 5",
            "--for s",
            "--for 5ä",
            "--rate 0",
            "--rate x",
            "--seed -1",
            "60s",
        ] {
            assert_eq!(arguments_of(wrong), None, "{wrong}");
        }
    }
}
