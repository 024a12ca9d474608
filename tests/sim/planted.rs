//! Faults that are planted into the client of the device: a check that finds none of them is none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fiber::sim::SimBuilder;
use mqtt::Planted;
use mqtt::store::Level;

use crate::coverage::say;
use crate::durable::{Matter, scenario};

fn is_right(planted: Option<Planted>, seed: u64) -> bool {
    let matter = Matter {
        planted,
        ..Matter::default()
    };
    let run = scenario(Level::Synced, |host| host.power_cut(), matter);
    let ran = catch_unwind(AssertUnwindSafe(|| run(SimBuilder::new(seed))));
    matches!(ran, Ok(Ok(_)))
}

/// The first seeds under which the fault is found.
fn find(planted: Planted, seeds: u64) -> Vec<u64> {
    let finds = |seed: &u64| !is_right(Some(planted), *seed);
    let found: Vec<u64> = (0..seeds).filter(finds).take(FINDS).collect();
    for seed in &found {
        assert!(is_right(None, *seed), "seed {seed} fails without a fault");
    }
    found
}

/// How often each fault is found.
const FINDS: usize = 3;

/// Each fault, with the seeds among which three find it: several times as many as that takes.
const PLANTED: [(Planted, u64); 7] = [
    (Planted::PublishBeforeRecord, 100),
    (Planted::ReleaseBeforeRecord, 200),
    (Planted::AckBeforeRecord, 400),
    (Planted::CompleteBeforeRecord, 200),
    (Planted::ResendWithoutDup, 100),
    (Planted::ForgottenPubrel, 100),
    (Planted::IdentifierReusedEarly, 100),
];

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    for (planted, seeds) in PLANTED {
        let found = find(planted, seeds);
        say(&format!("{planted:?}: found under the seeds {found:?}\n"));
        if found.len() < FINDS {
            missed.push(planted);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
