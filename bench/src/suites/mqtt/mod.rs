//! The suite of the client: messages there and back, beside its peers and a loop over a raw socket,
//! which is the limit.

mod measure;
mod peers;
mod server;
mod table;

use crate::child::Program;
use crate::counts::Count;
use crate::error::Failure;
use crate::figure;
use crate::machine;
use crate::mqtt::task::Task;
use crate::suites::Options;

use measure::Measured;

/// Measures everything that is asked for and prints a line for each figure.
///
/// # Errors
/// [`Failure`] when nothing can be measured at all.
pub fn run(options: &Options) -> Result<bool, Failure> {
    if !Program::ours(peers::PEERS).exists() {
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
    if let Some(lacking) = peers::lacking() {
        println!("{lacking}");
    }
    println!("{}", figure::heading());
    let mut complete = true;
    for spec in table::specs() {
        spec.measure(options, |names, measured| {
            complete &= show(options, names, measured);
        });
    }
    println!("load after: {}", machine::load());
    Ok(complete)
}

/// Instructions of one message of a task that ours does with the server that only answers.
///
/// # Errors
/// [`Failure`].
pub fn instructions(task: Task) -> Result<f64, Failure> {
    measure::count_ours(Count::Instructions, task)
}

/// Prints figures that are asked for, or why there are none; false where one failed.
fn show(options: &Options, names: &[String], measured: Result<Measured, Failure>) -> bool {
    match measured {
        Ok(measured) => {
            let wanted = |one: &&figure::Figure| options.wants(&one.name);
            for figure in measured.figures.iter().filter(wanted) {
                println!("{}", figure.line());
                if let Some(line) = figure.line_of_all() {
                    println!("{line}");
                }
            }
            for (name, failure) in &measured.failed {
                println!(
                    "{}",
                    figure::line_without("", &format!("{name} failed: {failure}"))
                );
            }
            measured.failed.is_empty()
        }
        Err(failure) => {
            let is_lacking = matches!(failure, Failure::Lacking(_));
            let what = if is_lacking { "not run" } else { "failed" };
            for name in names.iter().filter(|name| options.wants(name)) {
                println!(
                    "{}",
                    figure::line_without(name, &format!("{what}: {failure}"))
                );
            }
            is_lacking
        }
    }
}
