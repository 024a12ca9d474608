//! A scenario under many seeds, and the command that shows a failure again.

use std::env;
use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::coroutine::PanicPayload;
use crate::sim::builder::{Failure, Run, SimBuilder};
use crate::world::offload::thread_name;

/// Runs a scenario under the seeds from 0 to below `seeds`; one of them twice, to see that it is
/// the same run.
///
/// `SIM_SEEDS=n` in the environment changes the number, `SIM_SEEDS=a..b` runs those from `a` to below
/// `b`, `SEED=x` runs that seed alone. The scenario sets the builder up, runs it, and asserts what must hold.
///
/// # Panics
///
/// At the first seed whose run fails, or whose scenario panics: the message names the seed and the
/// command that shows it again. Also when two runs of one seed differ, which means that the program
/// learns of the outside beside the doors of this crate.
///
/// # Examples
///
/// ```
/// use fiber::sim;
///
/// sim::check(20, |sim| {
///     sim.run(|_world| {
///         let (to, mut from) = fiber::channel(1);
///         fiber::spawn(move || to.send(7)).unwrap();
///         assert_eq!(from.recv(), Ok(Some(7)));
///     })
/// });
/// ```
#[track_caller]
pub fn check<T>(seeds: u64, scenario: impl Fn(SimBuilder) -> Result<Run<T>, Failure>) {
    if let Err(text) = verdict(chosen(seeds), &scenario) {
        panic!("{text}");
    }
}

/// The seeds that [`check`] runs, as the environment has it.
fn chosen(seeds: u64) -> Range<u64> {
    if let Ok(seed) = env::var("SEED") {
        let seed = number("SEED", &seed);
        return seed..seed + 1;
    }
    match env::var("SIM_SEEDS") {
        Ok(text) => match text.split_once("..") {
            Some((from, to)) => number("SIM_SEEDS", from)..number("SIM_SEEDS", to),
            None => 0..number("SIM_SEEDS", &text),
        },
        Err(_) => 0..seeds,
    }
}

/// What [`check`] finds, as text.
pub(crate) fn verdict<T>(
    seeds: Range<u64>,
    scenario: &impl Fn(SimBuilder) -> Result<Run<T>, Failure>,
) -> Result<(), String> {
    let first = seeds.start;
    let mut trace = None;
    for seed in std::iter::once(first).chain(seeds) {
        let ran = catch_unwind(AssertUnwindSafe(|| scenario(SimBuilder::new(seed))));
        let (hash, steps) = match ran {
            Ok(Ok(run)) => (run.trace, run.steps),
            Ok(Err(failure)) => return Err(report(seed, &failure.to_string())),
            Err(payload) => return Err(report(seed, &panic_text(&payload))),
        };
        match trace {
            // The first one, once more.
            Some(before) if seed == first && before != (hash, steps) => {
                let what = "two runs differ: something is not drawn from the seed";
                return Err(report(seed, what));
            }
            Some(_) => {}
            None => trace = Some((hash, steps)),
        }
    }
    Ok(())
}

fn panic_text(payload: &PanicPayload) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&'static str>().copied());
    format!("the scenario panicked: {}", text.unwrap_or("no text"))
}

fn report(seed: u64, what: &str) -> String {
    let mut text = what.to_owned();
    if !text.starts_with("seed ") {
        text.insert_str(0, &format!("seed {seed}: "));
    }
    let again = format!("\nagain: SEED={seed} cargo test");
    text.push_str(&again);
    // Cargo tells a test its package, and the test harness names the thread after the test.
    if let Ok(package) = env::var("CARGO_PKG_NAME") {
        let _ = write!(text, " -p {package}");
    }
    if let Some(test) = thread_name() {
        let _ = write!(text, " {test}");
    }
    text
}

fn number(variable: &str, text: &str) -> u64 {
    match text.parse() {
        Ok(number) => number,
        Err(_) => panic!("expected a number in {variable}, found {text:?}"),
    }
}
