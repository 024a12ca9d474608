//! The suite of the runtime: its moves, its memory, its sockets and its time, beside three peers.

mod measure;
mod table;

use crate::child::Program;
use crate::error::Failure;
use crate::figure::{self, Goal};
use crate::machine;
use crate::suites::Options;

use measure::How;

/// Figures that come from one measurement, and how that is made.
struct Spec {
    how: How,
    /// The peers that are measured as well.
    peers: &'static [&'static str],
    /// One for each value that the measurement gives.
    values: Vec<Value>,
}

/// One figure of a measurement.
struct Value {
    name: String,
    unit: &'static str,
    goal: Goal,
    more_is_better: bool,
}

/// Measures everything that is asked for and prints a line for each figure.
///
/// # Errors
/// [`Failure`] when nothing can be measured at all.
pub fn run(options: &Options) -> Result<bool, Failure> {
    if !Program::ours(measure::PEERS).exists() {
        return Err(Failure::Lacking(
            "the peers' programs were not built".to_owned(),
        ));
    }
    println!("{}", machine::describe());
    println!(
        "load before: {}, rounds: {}",
        machine::load(),
        options.rounds
    );
    println!("{}", figure::heading());
    let mut complete = true;
    for spec in table::specs() {
        if !spec.values.iter().any(|value| options.wants(&value.name)) {
            continue;
        }
        match spec.measure(options.rounds) {
            Ok(figures) => {
                for figure in figures.iter().filter(|figure| options.wants(&figure.name)) {
                    println!("{}", figure.line());
                }
            }
            Err(failure) => {
                complete &= matches!(failure, Failure::Lacking(_));
                let reason = match failure {
                    Failure::Lacking(what) => format!("not run: {what}"),
                    other => format!("failed: {other}"),
                };
                for value in spec
                    .values
                    .iter()
                    .filter(|value| options.wants(&value.name))
                {
                    println!("{}", figure::line_without(&value.name, &reason));
                }
            }
        }
    }
    println!("load after: {}", machine::load());
    Ok(complete)
}
