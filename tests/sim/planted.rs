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

/// The first seed under which the fault is found, and how many of all find it.
fn find(planted: Planted, seeds: u64) -> Option<(u64, usize)> {
    let finds = |seed: &u64| !is_right(Some(planted), *seed);
    let found: Vec<u64> = (0..seeds).filter(finds).collect();
    let first = *found.first()?;
    assert!(is_right(None, first), "seed {first} fails without a fault");
    Some((first, found.len()))
}

/// Each fault, with the seeds among which one finds it.
const PLANTED: [(Planted, u64); 7] = [
    (Planted::PublishBeforeRecord, 40),
    (Planted::ReleaseBeforeRecord, 40),
    (Planted::AckBeforeRecord, 200),
    (Planted::CompleteBeforeRecord, 40),
    (Planted::ResendWithoutDup, 600),
    (Planted::ForgottenPubrel, 600),
    (Planted::IdentifierReusedEarly, 40),
];

#[test]
fn every_planted_fault_is_found_among_few_seeds() {
    let mut missed = Vec::new();
    for (planted, seeds) in PLANTED {
        match find(planted, seeds) {
            Some((first, count)) => {
                say(&format!(
                    "{planted:?}: first under seed {first}, under {count} of {seeds}\n"
                ));
            }
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
