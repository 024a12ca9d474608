//! Disks that are full, read-only, or fail now and then.

use std::cell::RefCell;
use std::ffi::OsString;
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::SimBuilder;
use fiber::{fs, sleep};

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

/// A life of the machine's program, waited for.
fn live(host: &fiber::sim::Host, body: impl FnOnce(&Store) + 'static) {
    let program = move || body(&Store::open(HOME).expect("it works"));
    let mut program = host.start(program).expect("a fiber");
    program.join().expect("it works");
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
fn a_store_without_the_lock_writes_nothing_that_another_has_changed_meanwhile() {
    SimBuilder::new(1)
        .run(|world| {
            let host = world.host("device");
            let first = |store: &Store| make(store, 0).unwrap();
            live(&host, first);
            host.set_disk_read_only(true);
            let locked = host.clone();
            let program = move || {
                let store = Store::open(HOME).expect("it works");
                assert_eq!(in_use(&store), Some(id(0)));
                locked.set_disk_read_only(false);
                // Another program renews the identity meanwhile, and is at it.
                let second = Store::open(HOME).expect("the first has no lock");
                make(&second, 1).unwrap();
                let refused = begin(&store, 2);
                assert!(
                    matches!(refused, Err(StoreError::InUse { .. })),
                    "{refused:?}"
                );
                drop(second);
                assert_eq!(in_use(&store), Some(id(0)), "as it was read");
                begin(&store, 2).unwrap();
                assert_eq!(store.state().candidate_slot(), Slot::A);
                assert_eq!(in_use(&store), Some(id(1)));
            };
            host.start(program).unwrap().join().expect("it works");
            live(&host, |store| assert_eq!(in_use(store), Some(id(1))));
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_read_error_makes_no_second_device_id() {
    SimBuilder::new(1)
        .run(|world| {
            let host = world.host("device");
            let (told, disk) = (Rc::new(RefCell::new(String::new())), host.clone());
            let note = Rc::clone(&told);
            live(&host, move |store| {
                note.replace(store.device_id().unwrap());
            });
            let program = move || {
                for name in ["state.0", "state.1"] {
                    let file = File::open(format!("{HOME}/{name}")).unwrap();
                    file.write_at(0, "damaged").unwrap();
                }
                disk.set_failing_reads(1_000_000);
                assert!(Store::open(HOME).is_err(), "nothing is known");
                disk.set_failing_reads(0);
                // Not even that there is one: it is asked when it is needed.
                fs::rename(format!("{HOME}/identity/device-id"), "/aside").unwrap();
                let store = Store::open(HOME).unwrap();
                fs::rename("/aside", format!("{HOME}/identity/device-id")).unwrap();
                disk.set_failing_reads(1_000_000);
                let refused = store.device_id();
                assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
                disk.set_failing_reads(0);
                assert_eq!(store.device_id().unwrap(), *told.borrow());
            };
            host.start(program).unwrap().join().expect("it works");
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_certificate_that_the_disk_does_not_take_is_kept_when_it_does() {
    SimBuilder::new(1)
        .run(|world| {
            let host = world.host("device");
            let disk = host.clone();
            live(&host, move |store| {
                begin(store, 0).unwrap();
                store.asking().unwrap();
                disk.set_failing_writes(1_000_000);
                assert!(matches!(hold(store, 0), Err(StoreError::Io { .. })));
                assert!(matches!(store.hold_again(), Err(StoreError::Io { .. })));
                assert!(store.asking().is_err(), "nor is another one asked for");
                disk.set_failing_writes(0);
                assert!(store.hold_again().unwrap());
                assert_eq!(store.state().phase(), "CertHeld");
                assert_eq!(**store.token().unwrap().unwrap(), *b"a token");
                assert!(!store.hold_again().unwrap());
            });
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_certificate_is_let_go_when_it_was_refused_for_a_day_that_the_device_was_on() {
    SimBuilder::new(1)
        .run(|world| {
            let host = world.host("device");
            let refused = |store: &Store| {
                drop(store.prove().unwrap());
                store.proof_refused("revoked").unwrap()
            };
            live(&host, move |store| {
                make(store, 0).unwrap();
                begin(store, 1).unwrap();
                store.asking().unwrap();
                hold(store, 1).unwrap();
                store.registered(&About::new("meter-17", id(1))).unwrap();
                for _ in 0..20 {
                    assert!(!refused(store));
                }
                sleep(REFUSED_FOR_MIN / 2).unwrap();
                assert!(!refused(store));
            });
            // A clock that jumps is no day, nor is a time that the device was off.
            host.set_clock_ahead(100 * REFUSED_FOR_MIN);
            live(&host, move |store| {
                assert!(!refused(store));
                drop(store.prove().unwrap());
                store.not_proven("no network").unwrap();
                sleep(REFUSED_FOR_MIN / 2).unwrap();
                assert!(refused(store));
                assert_eq!(
                    (store.state().candidate, in_use(store)),
                    (None, Some(id(0)))
                );
                begin(store, 2).unwrap();
                assert_eq!(store.state().refused_for, 0);
            });
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_clock_that_was_wrong_when_it_came_makes_nothing_in_the_trash_old() {
    let builder = SimBuilder::new(1).wall_start(UNIX_EPOCH + Duration::from_secs(3_600));
    builder
        .run(|world| {
            let host = world.host("device");
            live(&host, |store| {
                for number in 0..4 {
                    make(store, number).unwrap();
                }
            });
            host.set_clock_ahead(noon().duration_since(UNIX_EPOCH).unwrap());
            live(&host, |store| {
                let key = || {
                    let trash = fs::list(format!("{HOME}/identity/trash")).unwrap();
                    let key = |name: OsString| {
                        let name = name.into_string().unwrap();
                        fs::read(format!("{HOME}/identity/trash/{name}/key.pem")).unwrap()
                    };
                    trash.into_iter().map(key).collect::<Vec<_>>()
                };
                let keys = |numbers: &[usize]| -> Vec<Vec<u8>> {
                    let keys = numbers.iter().map(|number| pair(*number).key.clone());
                    keys.map(String::into_bytes).collect()
                };
                let wipe = |at| store.wipe_old_trash(at).unwrap();
                assert_eq!(wipe(fiber::wall_time()), 0);
                assert_eq!(key(), keys(&[0, 1]));
                // Once, the clock was ahead: what was seen then counts from now on again.
                let ahead = noon() + TRASH_AGE_MIN - Duration::from_secs(7_200);
                assert_eq!(wipe(ahead), 0);
                assert_eq!(wipe(noon() + TRASH_AGE_MIN), 0);
                assert_eq!(wipe(noon() + 2 * TRASH_AGE_MIN), 1);
                // The last one that was proven before those in the slots.
                assert_eq!(key(), keys(&[1]));
                assert_eq!(store.wipe_all_trash().unwrap(), 1);
                assert_eq!(key(), keys(&[]));
            });
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn on_a_full_disk_a_write_that_was_not_waited_for_is_made_again() {
    lives(
        1,
        |store| make(store, 0).unwrap(),
        |host| host.set_disk_capacity(Some(0)),
        |store| {
            let day = Duration::from_secs(86_400);
            store.passed(noon()).unwrap();
            store.passed(noon() + day).unwrap();
            let moment = Duration::from_micros(1);
            let late = fiber::timeout(moment, || store.passed(noon() + 2 * day));
            assert!(late.is_err());
            store.passed(noon() + 2 * day).unwrap();
            assert_eq!(store.state().last_good, Some(seconds(noon() + 2 * day)));
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
