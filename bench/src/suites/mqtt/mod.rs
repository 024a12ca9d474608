//! The suite of the client: messages there and back, beside its peers and a loop over a raw socket,
//! which is the limit.

mod measure;
mod table;

use crate::child::Program;
use crate::error::Failure;
use crate::figure;
use crate::machine;
use crate::suites::Options;

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
        complete &= spec.print(options)?;
    }
    println!("load after: {}", machine::load());
    Ok(complete)
}
