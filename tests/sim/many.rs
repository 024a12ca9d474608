//! A scenario under many seeds: in this process, or in one after the other. A machine that loses its
//! power drops nothing, so that each run leaves about a megabyte behind.

use std::env;
use std::io::Read as _;
use std::ops::Range;
use std::process::{Command, Stdio};

use allocation_counter::measure;
use fiber::sim::{self, Failure, Run, SimBuilder};

use crate::coverage::{Counts, Expected, Total, parse, say};

/// Runs of one process.
const RUNS_PER_PROCESS: u64 = 1_000;
/// What all machines but the device take at most, with disks and networks.
const WORLD_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// What one life of the device takes at most: two mebibytes are the table of a session that has come to
/// its highest identifiers. A machine that loses its power drops nothing, so that each life adds its part.
const LIFE_BYTES_MAX: u64 = 3 * 1024 * 1024;
/// Failures after which no more are looked for.
const FAILURES_TOLD: usize = 20;

/// Runs a scenario as [`sim::check`] does, reports what the runs came by, and checks that it is what is
/// expected. `test` is the name of the calling test.
pub(crate) fn check(
    test: &str,
    seeds: u64,
    expected: &Expected,
    scenario: impl Fn(SimBuilder) -> Result<Run<Counts>, Failure>,
) {
    let total = Total::default();
    match asked() {
        Some(seeds) if seeds.end - seeds.start > RUNS_PER_PROCESS => apart(test, seeds, &total),
        _ => sim::check(seeds, |sim| {
            let mut result = None;
            let taken = measure(|| result = Some(scenario(sim))).bytes_max;
            let run = result.expect("the scenario returns")?;
            check_memory(taken, &run.value);
            total.add(1, &run.value);
            let mebibytes = taken.div_ceil(1 << 20);
            let memory = format!("memory: at most {mebibytes} MiB");
            total.add(0, &Counts::from([(memory, 1)]));
            Ok(run)
        }),
    }
    total.report(test, expected);
}

/// Checks that a run took no more memory than it may.
fn check_memory(taken: u64, counts: &Counts) {
    let crashes = counts
        .iter()
        .filter(|(what, _)| what.starts_with("Crash at: "));
    let lives = 1 + crashes.map(|(_, count)| count).sum::<u64>();
    let most = WORLD_BYTES_MAX + lives * LIFE_BYTES_MAX;
    assert!(taken <= most, "{taken} bytes taken in {lives} lives");
}

/// The seeds that the environment asks for, if it asks for many.
fn asked() -> Option<Range<u64>> {
    if env::var_os("SEED").is_some() {
        return None;
    }
    let text = env::var("SIM_SEEDS").ok()?;
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    Some(from.parse().ok()?..to.parse().ok()?)
}

/// Runs the test under these seeds in other processes; goes on behind a seed that fails.
fn apart(test: &str, seeds: Range<u64>, total: &Total) {
    let mut failures = Vec::new();
    let mut next = seeds.start;
    while next < seeds.end && failures.len() < FAILURES_TOLD {
        let end = seeds.end.min(next + RUNS_PER_PROCESS);
        let (passed, text) = run_test(test, next..end);
        if passed {
            let (runs, counts) = parse(&text).expect("the test has this name and reports");
            total.add(runs, &counts);
            next = end;
            continue;
        }
        let failed = text.lines().find(|line| line.starts_with("seed "));
        let seed = failed.and_then(|line| line["seed ".len()..].split(':').next()?.parse().ok());
        let failed = failed.unwrap_or(&text).to_owned();
        say(&format!("{test}: {failed}\n"));
        failures.push(failed);
        next = seed.map_or(end, |seed: u64| seed + 1);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Runs one test; returns whether it passed, and what it printed.
fn run_test(test: &str, seeds: Range<u64>) -> (bool, String) {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("SIM_SEEDS", format!("{}..{}", seeds.start, seeds.end))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program again");
    let mut errors = child.stderr.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text);
        text
    });
    let output = child.wait_with_output().expect("it can be waited for");
    let errors = reader.join().expect("no panic");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + "\n" + &errors)
}
