//! Faults planted into the runtime break the laws: a law that no fault breaks says nothing.

use super::waits::{races, wakes};
use super::{Law, under};
use crate::sim::{self, Planted, SimBuilder};

/// Seeds that a planted fault is looked for under.
const SEEDS: u64 = 40;

/// The first seed that shows a planted fault, by what it says, and how many of the seeds do.
fn found(planted: Planted, law: Law) -> (String, usize) {
    let scenario = move |sim: SimBuilder| under(sim.plant(planted), law);
    let text = sim::verdict(0..SEEDS, &scenario).expect_err("a planted fault is found");
    let shows = |seed| sim::verdict(seed..seed + 1, &scenario).is_err();
    let all = (0..SEEDS).filter(|&seed| shows(seed)).count();
    (text, all)
}

#[track_caller]
fn says(text: &str, any: &[&str]) {
    assert!(text.contains("again: SEED="), "{text}");
    assert!(any.iter().any(|part| text.contains(part)), "{text}");
}

#[test]
fn a_lost_wake_is_found_under_most_seeds() {
    let (text, seeds) = found(Planted::LostWake, wakes);
    // A token whose wake did nothing is as good as new.
    let tokens = "a used token woke a later wait";
    says(&text, &["within 200000 steps", "waits for", tokens]);
    assert!(seeds >= 30, "{seeds} of {SEEDS}: {text}");
}

#[test]
fn a_double_wake_is_found_under_most_seeds() {
    let (text, seeds) = found(Planted::DoubleWake, wakes);
    says(&text, &["a used token woke a later wait"]);
    assert!(seeds >= 30, "{seeds} of {SEEDS}: {text}");
}

#[test]
fn a_forgotten_timer_is_found_under_many_seeds() {
    let (text, seeds) = found(Planted::ForgottenTimer, races);
    says(&text, &["instead of", "waits"]);
    assert!(seeds >= 5, "{seeds} of {SEEDS}: {text}");
}
