//! The instruction budget of this project's own operations: a committed file, and the check of it.
//!
//! Counts come from callgrind, so they do not depend on how busy the machine is or how fast. They do
//! depend on the compiler: with another than the file was written with, more slack is given.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;

use crate::child::Program;
use crate::counts::{self, Count};
use crate::error::Failure;
use crate::machine;
use crate::mqtt::task::{Kind, Task};
use crate::suites::mqtt;
use crate::work::Work;

/// Instructions above the budget that fail, as a share of it.
const SLACK: f64 = 0.03;
/// The same where the compiler is another one.
const SLACK_OTHER_COMPILER: f64 = 0.10;
/// Instructions below the budget that are worth a word.
const BETTER: f64 = 0.10;
/// Whose instructions are counted in the file.
const BUDGET_ARCH: &str = "x86_64";
/// What stands above the file.
const HEADING: &str = "Instructions of one operation in user space, counted by callgrind, x86-64.
Written by `cargo run --release -p tests --bin bench -- budget --write`.";
/// The program with the operations of the runtime.
const FIBERS: &str = "fibers_ours";
/// The program with the operations of the client.
const CLIENT: &str = "mqtt_ours";

/// An operation with a budget.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Of the runtime.
    Fiber(Work),
    /// Of the client, with a server that only answers.
    Client(Task),
}

/// The operations: name in the file, work.
const OPERATIONS: [(&str, Operation); 18] = [
    (
        "yield",
        Operation::Fiber(Work::Yield {
            fibers: 10,
            count: 10_000,
        }),
    ),
    (
        "spawn_and_join",
        Operation::Fiber(Work::Spawn { count: 20_000 }),
    ),
    ("channel_hop", Operation::Fiber(Work::Hop { count: 40_000 })),
    ("event_hop", Operation::Fiber(Work::Event { count: 40_000 })),
    (
        "timeout",
        Operation::Fiber(Work::Timer {
            live: 100,
            count: 20_000,
        }),
    ),
    (
        "tcp_hop",
        Operation::Fiber(Work::Tcp {
            pairs: 1,
            count: 10_000,
        }),
    ),
    (
        "tcp_hop_100_pairs",
        Operation::Fiber(Work::Tcp {
            pairs: 100,
            count: 20_000,
        }),
    ),
    ("publish_qos_0", client(Kind::Publish, 0, 100, 20_000)),
    ("publish_qos_1", client(Kind::Publish, 1, 100, 20_000)),
    ("publish_qos_2", client(Kind::Publish, 2, 100, 20_000)),
    ("receive_qos_0", client(Kind::Receive, 0, 100, 20_000)),
    ("receive_qos_1", client(Kind::Receive, 1, 100, 20_000)),
    ("receive_qos_2", client(Kind::Receive, 2, 100, 20_000)),
    ("receive_qos_0_inline", client(Kind::Inline, 0, 100, 20_000)),
    ("receive_qos_1_inline", client(Kind::Inline, 1, 100, 20_000)),
    ("receive_qos_2_inline", client(Kind::Inline, 2, 100, 20_000)),
    ("round_trip", client(Kind::Trip, 1, 1, 2_000)),
    ("connect", client(Kind::Connect, 0, 1, 200)),
];

/// A task with payloads of 256 bytes.
const fn client(kind: Kind, qos: u8, window: usize, count: usize) -> Operation {
    Operation::Client(Task {
        kind,
        qos,
        bytes: 256,
        window,
        count,
    })
}

impl Operation {
    /// Its instructions.
    fn measure(self) -> Result<f64, Failure> {
        match self {
            Self::Fiber(work) => counts::per_operation(&Program::ours(FIBERS), work),
            Self::Client(task) => mqtt::instructions(task),
        }
    }

    /// What it is run by; of a client, to be given the port of a `mqtt_sink`.
    fn command(self) -> String {
        let line = |program, words: Vec<String>| {
            let program = Program::ours(program);
            format!("{} {}", program.path().display(), words.join(" "))
        };
        match self {
            Self::Fiber(work) => line(FIBERS, work.words()),
            Self::Client(task) => {
                let words = [vec!["PORT".to_owned()], task.words()];
                line(CLIENT, words.concat())
            }
        }
    }
}

/// What a file of budgets says.
#[derive(Debug, PartialEq)]
pub(crate) struct Budget {
    /// The compiler it was measured with.
    pub(crate) rustc: String,
    /// Instructions by operation, or bytes by program.
    pub(crate) operations: Vec<(String, f64)>,
}

/// How a measured number stands to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Within,
    Better,
    Over,
}

/// Measures each operation and compares; prints a line for each. False when one is over its budget.
/// Without valgrind nothing is measured: said, and no failure.
///
/// # Errors
/// [`Failure`].
pub fn check() -> Result<bool, Failure> {
    if let Err(lacking) = Count::Instructions.check() {
        println!("instruction budget: not run: {lacking}");
        return Ok(true);
    }
    if ARCH != BUDGET_ARCH {
        println!("instruction budget: not run: it is of {BUDGET_ARCH}, this machine is {ARCH}");
        return Ok(true);
    }
    let budget = read()?;
    let compiler = machine::rustc();
    let slack = if compiler == budget.rustc {
        SLACK
    } else {
        println!(
            "the budget was written with {}, this is {compiler}: {:.0} % more are allowed instead of {:.0} %",
            budget.rustc,
            100.0 * SLACK_OTHER_COMPILER,
            100.0 * SLACK
        );
        SLACK_OTHER_COMPILER
    };
    let mut within = true;
    for (name, operation) in OPERATIONS {
        let allowed = budget.of(name)?;
        let measured = operation.measure()?;
        let change = 100.0 * (measured / allowed - 1.0);
        println!("{name:<24} {measured:>8.1} instructions, budget {allowed:>8.1} ({change:+.1} %)");
        match standing(measured, allowed, slack) {
            Standing::Within => {}
            Standing::Better => {
                println!(
                    "  better by more than {:.0} %: lower the budget, `budget --write`",
                    100.0 * BETTER
                );
            }
            Standing::Over => {
                within = false;
                println!(
                    "  OVER BUDGET: `{name}` takes {measured:.1} instructions, {allowed:.1} and {:.0} % are allowed.\n  \
                     Find what made it dearer (valgrind --tool=callgrind {}), or, if it is worth it, \
                     write the new budget and say why in the commit:\n  \
                     cargo run --release -p tests --bin bench -- budget --write",
                    100.0 * slack,
                    operation.command()
                );
            }
        }
    }
    Ok(within)
}

/// Measures each operation and writes the file.
///
/// # Errors
/// [`Failure`]; also without valgrind.
pub fn write() -> Result<(), Failure> {
    Count::Instructions.check()?;
    let mut budget = Budget {
        rustc: machine::rustc(),
        operations: Vec::new(),
    };
    for (name, operation) in OPERATIONS {
        let measured = operation.measure()?;
        println!("{name:<24} {measured:>8.1} instructions");
        budget.operations.push((name.to_owned(), measured));
    }
    let path = path();
    fs::write(&path, budget.text(HEADING)).map_err(|error| file(error.to_string()))?;
    println!("written: {}", path.display());
    Ok(())
}

pub(crate) fn standing(measured: f64, allowed: f64, slack: f64) -> Standing {
    if measured > allowed * (1.0 + slack) {
        Standing::Over
    } else if measured < allowed * (1.0 - BETTER) {
        Standing::Better
    } else {
        Standing::Within
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("budget.toml")
}

fn file(what: String) -> Failure {
    Failure::File {
        path: path().display().to_string(),
        what,
    }
}

fn read() -> Result<Budget, Failure> {
    let text = fs::read_to_string(path()).map_err(|error| file(error.to_string()))?;
    Budget::parse(&text).map_err(file)
}

impl Budget {
    /// Reads lines `name = number` and `rustc = "text"`; comments begin with `#`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rustc = None;
        let mut operations = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let cannot = || {
                format!(
                    "line {}: expected `name = number`, found `{line}`",
                    index + 1
                )
            };
            let (name, value) = line.split_once('=').ok_or_else(cannot)?;
            let (name, value) = (name.trim(), value.trim());
            if name == "rustc" {
                rustc = Some(value.trim_matches('"').to_owned());
            } else {
                operations.push((name.to_owned(), value.parse().map_err(|_| cannot())?));
            }
        }
        let rustc = rustc.ok_or("no line says with which rustc it was written")?;
        Ok(Self { rustc, operations })
    }

    /// The file, with the lines of `heading` as comments.
    pub(crate) fn text(&self, heading: &str) -> String {
        let mut text: String = heading.lines().map(|line| format!("# {line}\n")).collect();
        text += &format!("rustc = \"{}\"\n", self.rustc);
        for (name, value) in &self.operations {
            text += &format!("{name} = {value:.1}\n");
        }
        text
    }

    fn of(&self, name: &str) -> Result<f64, Failure> {
        let found = self
            .operations
            .iter()
            .find(|(operation, _)| operation == name);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| file(format!("has no budget for `{name}`: `budget --write`")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, HEADING, OPERATIONS, Standing, standing};

    #[test]
    fn the_file_is_read_as_it_is_written() {
        let budget = Budget {
            rustc: "rustc 1.95.0".to_owned(),
            operations: vec![("yield".to_owned(), 167.0), ("tcp_hop".to_owned(), 931.5)],
        };
        assert_eq!(Budget::parse(&budget.text(HEADING)), Ok(budget));
    }

    #[test]
    fn a_file_with_something_else_is_refused() {
        assert!(Budget::parse("yield = 12\n").unwrap_err().contains("rustc"));
        assert!(
            Budget::parse("rustc = \"x\"\nyield = many\n")
                .unwrap_err()
                .contains("line 2")
        );
    }

    #[test]
    fn the_slack_is_at_its_edges() {
        assert_eq!(standing(103.0, 100.0, 0.03), Standing::Within);
        assert_eq!(standing(103.1, 100.0, 0.03), Standing::Over);
        assert_eq!(standing(109.9, 100.0, 0.10), Standing::Within);
        assert_eq!(standing(90.1, 100.0, 0.03), Standing::Within);
        assert_eq!(standing(89.9, 100.0, 0.03), Standing::Better);
    }

    #[test]
    fn every_operation_has_a_budget() {
        let budget = Budget::parse(include_str!("../budget.toml")).unwrap();
        for (name, _) in OPERATIONS {
            assert!(budget.of(name).is_ok(), "{name}");
        }
    }
}
