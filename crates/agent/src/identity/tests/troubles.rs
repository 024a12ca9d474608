//! Disks that are full, read-only, or fail now and then.

use std::time::Duration;

use fiber::sim::SimBuilder;
use fiber::sleep;

use super::*;

const HOME: &str = "/var/lib/agent";

/// Runs on a machine of its own, in two lives with the disk spoiled in the second.
fn lives(
    seed: u64,
    first: impl FnOnce(&Store) + 'static,
    spoil: impl FnOnce(&fiber::sim::Host) + 'static,
    second: impl FnOnce(&Store) + 'static,
) {
    let run = SimBuilder::new(seed).run(move |world| {
        let host = world.host("device");
        let mut program = host
            .start(|| first(&Store::open(HOME).expect("it works")))
            .expect("it works");
        program.join().expect("it works");
        spoil(&host);
        let mut program = host
            .start(|| second(&Store::open(HOME).expect("it works")))
            .expect("it works");
        program.join().expect("it works");
    });
    run.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
}

#[test]
fn on_a_disk_that_cannot_be_written_the_identity_is_used_all_the_same() {
    lives(
        1,
        |store| make(store, 0).unwrap(),
        |host| host.set_disk_read_only(true),
        |store| {
            assert_eq!(in_use(store), Some(id(0)));
            assert!(matches!(begin(store, 1), Err(StoreError::Io { .. })));
            assert!(store.give_up().is_err());
            assert_eq!(in_use(store), Some(id(0)));
        },
    );
}

#[test]
fn on_a_full_disk_nothing_is_begun_and_the_state_is_still_kept() {
    lives(
        1,
        |store| {
            make(store, 0).unwrap();
            begin(store, 1).unwrap();
        },
        |host| host.set_disk_capacity(Some(0)),
        |store| {
            assert_eq!(in_use(store), Some(id(0)));
            // What the cloud answers could not be kept.
            assert!(matches!(store.asking(), Err(StoreError::NoRoom { .. })));
            assert_eq!(store.state().phase(), "KeyReady");
            // The records were there before the disk was full.
            store.passed(noon()).unwrap();
            store.abandon("no room").unwrap();
            assert!(matches!(begin(store, 2), Err(StoreError::NoRoom { .. })));
            assert_eq!(in_use(store), Some(id(0)));
        },
    );
}

#[test]
fn a_disk_that_fails_now_and_then_costs_attempts_and_no_identity() {
    for seed in 0..200 {
        lives(
            seed,
            |store| make(store, 0).unwrap(),
            |host| {
                host.set_failing_writes(100_000);
                host.set_failing_syncs(100_000);
            },
            |store| {
                let mut failures = 0;
                while in_use(store) != Some(id(1)) {
                    assert_eq!(in_use(store), Some(id(0)));
                    let step = match store.state().candidate {
                        None => begin(store, 1),
                        Some(Step::KeyReady) => store.asking(),
                        Some(Step::CsrSent) => hold(store, 1),
                        Some(Step::CertHeld { .. }) => {
                            store.registered(&About::new("meter-17", id(1)))
                        }
                        Some(Step::Registered { .. } | Step::Proving { .. }) => store
                            .prove()
                            .and_then(|candidate| store.promote(candidate, noon()).map(drop)),
                    };
                    failures += u32::from(step.is_err());
                    assert!(failures < 1_000, "it does not end: {step:?}");
                    sleep(Duration::from_millis(1)).unwrap();
                }
            },
        );
    }
}
