//! What two fibers do at the same time, and what waits that end early leave.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::fs;
use fiber::sim::SimBuilder;
use fiber::{sleep, timeout};

use super::*;

const HOME: &str = "/var/lib/agent";

fn world(seed: u64, body: impl FnOnce(&fiber::sim::World) + 'static) {
    let run = SimBuilder::new(seed).run(move |world| body(world));
    run.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
}

/// A life of the machine's program, waited for.
fn live(host: &fiber::sim::Host, body: impl FnOnce() + 'static) {
    let mut program = host.start(body).expect("a fiber");
    program.join().expect("it works");
}

#[test]
fn what_was_given_up_stays_so_whatever_another_fiber_is_at() {
    for seed in 0..200 {
        world(seed, move |world| {
            let host = world.host("device");
            live(&host, move || {
                let store = Store::open(HOME).unwrap();
                make(&store, 0).unwrap();
                begin(&store, 1).unwrap();
                store.asking().unwrap();
                hold(&store, 1).unwrap();
                store.registered(&About::new("meter-17", id(1))).unwrap();
                let candidate = store.prove().unwrap();
                let other = store.clone();
                let promoted = fiber::spawn(move || {
                    drop(other.promote(candidate, noon()));
                });
                // Somewhere in the middle of that.
                sleep(Duration::from_micros(seed * 150)).unwrap();
                store.give_up().unwrap();
                promoted.unwrap().join().unwrap();
                assert!(store.active().is_none());
                assert_eq!(store.state().active, None);
            });
            live(&host, || {
                let store = Store::open(HOME).unwrap();
                assert_eq!((store.state().active, in_use(&store)), (None, None));
            });
        });
    }
}

#[test]
fn of_two_who_begin_one_does_and_its_request_is_of_its_key() {
    for seed in 0..100 {
        world(seed, |world| {
            let host = world.host("device");
            live(&host, || {
                let store = Store::open(HOME).unwrap();
                let began = Rc::new(Cell::new(0));
                let ids = Rc::new(RefCell::new(Vec::new()));
                fiber::scope(|s| {
                    for number in 0..2 {
                        let (began, ids, store) = (&began, &ids, &store);
                        s.spawn(move || {
                            match begin(store, number) {
                                Ok(()) => began.set(began.get() + 1),
                                Err(error) => {
                                    assert!(matches!(error, StoreError::Step { .. }), "{error}");
                                }
                            }
                            let id = store.device_id().unwrap();
                            ids.borrow_mut().push(id);
                            Ok::<_, StoreError>(())
                        })
                        .unwrap();
                    }
                    Ok(())
                })
                .unwrap();
                assert_eq!(began.get(), 1);
                let request = store.request().unwrap().unwrap();
                let key = fs::read(format!("{HOME}/identity/a/key.pem")).unwrap();
                let number = usize::from(request == b"1");
                assert_eq!(key, pair(number).key.as_bytes());
                let ids = ids.borrow();
                assert_eq!(ids[0], ids[1], "a device has one id");
            });
        });
    }
}

#[test]
fn a_begin_that_was_not_waited_for_leaves_no_key_without_its_request() {
    const CALL: Duration = Duration::from_millis(1);
    for limit in 0..60 {
        for killed in 0..40 {
            world(limit * 100 + killed, move |world| {
                let host = world.host("device");
                host.set_disk_latency(CALL..=CALL);
                host.set_sync_latency(CALL..=CALL);
                let began = Rc::new(Cell::new(false));
                let note = Rc::clone(&began);
                let first = move || {
                    let store = Store::open(HOME).unwrap();
                    let waited = timeout(CALL * limit as u32, || begin(&store, 0));
                    note.set(true);
                    if waited.is_err() {
                        drop(begin(&store, 1));
                    }
                    sleep(Duration::from_secs(1)).unwrap();
                };
                drop(host.start(first).unwrap());
                while !began.get() {
                    sleep(CALL).unwrap();
                }
                sleep(CALL * killed as u32).unwrap();
                host.kill();
                live(&host, || {
                    let store = Store::open(HOME).unwrap();
                    if store.state().candidate.is_some() {
                        let request = store.request().unwrap().expect("a key of its own");
                        let key = fs::read(format!("{HOME}/identity/a/key.pem")).unwrap();
                        let number = usize::from(request == b"1");
                        assert_eq!(key, pair(number).key.as_bytes());
                    }
                });
            });
        }
    }
}
