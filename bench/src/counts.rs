//! Counting what a program does: instructions under valgrind, system calls under strace.
//!
//! A count is of a whole process, so what an operation takes is the difference of two runs of
//! different length, divided by what the second did more. Both count what the program itself does in
//! user space: no clock, so they are the same on a busy machine.

use std::process::{Command, Stdio};

use crate::child::{Program, Values};
use crate::error::Failure;
use crate::work::Work;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Instructions in user space, by callgrind.
    Instructions,
    /// System calls, by strace.
    Calls,
}

impl Count {
    /// Whether the system has what counts.
    ///
    /// # Errors
    /// [`Failure::Lacking`].
    pub fn check(self) -> Result<(), Failure> {
        let tool = match self {
            Self::Instructions => "valgrind",
            Self::Calls => "strace",
        };
        let ended = Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match ended {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Failure::Lacking(format!("{tool} is not installed"))),
        }
    }

    /// The program under the tool.
    #[must_use]
    pub fn over(self, program: Program) -> Program {
        let wrapper: &[&str] = match self {
            Self::Instructions => &[
                "valgrind",
                "--tool=callgrind",
                "--callgrind-out-file=/dev/null",
            ],
            // What it counts goes to the error output.
            Self::Calls => &["strace", "-f", "-c"],
        };
        let words: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        program.under(&words)
    }

    /// What was counted, from the error output of the tool.
    ///
    /// # Errors
    /// [`Failure::NoValue`].
    pub fn total(self, values: &Values) -> Result<f64, Failure> {
        let found = match self {
            Self::Instructions => instructions(&values.errors),
            Self::Calls => calls(&values.errors),
        };
        found.ok_or_else(|| values.lacks("count"))
    }
}

/// `==12== Collected : 345`
fn instructions(errors: &str) -> Option<f64> {
    let line = errors
        .lines()
        .find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

/// `100.00    0.001          7       812        12 total`
fn calls(errors: &str) -> Option<f64> {
    let line = errors.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Instructions of one operation of `work`: the difference between it and a run twice as long.
///
/// # Errors
/// [`Failure`].
pub fn per_operation(program: &Program, work: Work) -> Result<f64, Failure> {
    let runs = [work, work.times(2)].map(|work| program.clone().with(&work.words()));
    difference(Count::Instructions, runs, work.operations())
}

/// What one operation takes, from two runs of which the second does `more` operations more.
fn difference(count: Count, runs: [Program; 2], more: usize) -> Result<f64, Failure> {
    let [short, long] = runs.map(|program| count.total(&count.over(program).run()?));
    Ok((long? - short?) / more as f64)
}

#[cfg(test)]
mod tests {
    use super::{calls, instructions};

    #[test]
    fn the_total_is_found_in_what_the_tools_print() {
        let valgrind = "==7== Events    : Ir\n==7== Collected : 4711\n==7==\n";
        assert_eq!(instructions(valgrind), Some(4711.0));
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
             60.00    0.000030           3        10           read\n\
            100.00    0.000050           2        25         3 total\n";
        assert_eq!(calls(strace), Some(25.0));
    }

    #[test]
    fn other_text_has_no_total() {
        assert_eq!(instructions("killed"), None);
        assert_eq!(calls("killed"), None);
    }
}
