//! The size budget: a committed file with the sizes of the smallest programs, and the check of it.

use std::fs;
use std::path::PathBuf;

use crate::budget::{Budget, Standing, standing};
use crate::error::Failure;
use crate::machine;

use super::build;
use super::{OWN, PLAIN, TLS};

/// Bytes above the budget that fail, as a share of it.
const SLACK: f64 = 0.02;
/// The same where the compiler is another one: the standard library is one more, then.
const SLACK_OTHER_COMPILER: f64 = 0.08;
/// What stands above the file.
const HEADING: &str = "Bytes of the smallest programs, stripped, and of the code of the client in the first of them; x86-64.
Written by `cargo run --release -p tests --bin bench -- size --write`.";
/// The names in the file: the program without TLS, the one with TLS, the client's code.
const NAMES: [&str; 3] = ["plain", "tls", "mqtt_code"];

/// Builds the programs and compares; prints a line for each. False when one is over its budget.
///
/// # Errors
/// [`Failure`].
pub fn check() -> Result<bool, Failure> {
    let text = fs::read_to_string(path()).map_err(|error| file(error.to_string()))?;
    let budget = Budget::parse(&text).map_err(file)?;
    let compiler = machine::rustc();
    let is_same = compiler == budget.rustc;
    if !is_same {
        println!(
            "the budget was written with {}, this is {compiler}",
            budget.rustc
        );
    }
    let slack = if is_same { SLACK } else { SLACK_OTHER_COMPILER };
    let mut within = true;
    for (name, measured) in measure()? {
        let allowed = of(&budget, name)?;
        let change = 100.0 * (measured / allowed - 1.0);
        println!("{name:<20} {measured:>9.0} bytes, budget {allowed:>9.0} ({change:+.1} %)");
        match standing(measured, allowed, slack) {
            Standing::Within => {}
            Standing::Better => println!("  far below: lower the budget, `size --write`"),
            Standing::Over => {
                within = false;
                println!(
                    "  OVER BUDGET: {:.0} % are allowed. Find what made it larger \
                     (`bench -- size --only \"code of\"`), or, if it is worth it, write the new budget \
                     and say why in the commit:\n  \
                     cargo run --release -p tests --bin bench -- size --write",
                    100.0 * slack
                );
            }
        }
    }
    Ok(within)
}

/// Builds the programs and writes the file.
///
/// # Errors
/// [`Failure`].
pub fn write() -> Result<(), Failure> {
    let operations = measure()?.map(|(name, bytes)| (name.to_owned(), bytes));
    let budget = Budget {
        rustc: machine::rustc(),
        operations: operations.to_vec(),
    };
    fs::write(path(), budget.text(HEADING)).map_err(|error| file(error.to_string()))?;
    println!("written: {}", path().display());
    Ok(())
}

fn measure() -> Result<[(&'static str, f64); 3], Failure> {
    let [plain, tls] = [build::small(PLAIN)?, build::small(TLS)?];
    let code = plain.anatomy()?.of("mqtt", &OWN);
    let bytes = [plain.bytes()?, tls.bytes()?, code as f64];
    Ok(std::array::from_fn(|at| (NAMES[at], bytes[at])))
}

fn of(budget: &Budget, name: &str) -> Result<f64, Failure> {
    let found = budget.operations.iter().find(|(one, _)| one == name);
    found
        .map(|(_, bytes)| *bytes)
        .ok_or_else(|| file(format!("has no budget for `{name}`: `size --write`")))
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("size.toml")
}

fn file(what: String) -> Failure {
    Failure::File {
        path: path().display().to_string(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADING, NAMES, of};
    use crate::budget::Budget;

    #[test]
    fn everything_that_is_measured_has_a_budget() {
        let budget = Budget::parse(include_str!("../../../size.toml")).unwrap();
        for name in NAMES {
            assert!(of(&budget, name).unwrap() > 10_000.0, "{name}");
        }
        assert!(of(&budget, "something else").is_err());
        assert_eq!(Budget::parse(&budget.text(HEADING)), Ok(budget));
    }
}
