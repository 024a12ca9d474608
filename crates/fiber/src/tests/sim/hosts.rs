//! Machines: whose fibers run, and whose never run again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::run;
use crate::sim::{FailureKind, SimBuilder};
use crate::tests::go;
use crate::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn machines_have_names_and_addresses_of_their_own() {
    run(1, |world| {
        let (meter, cloud) = (world.host("meter"), world.host("cloud"));
        assert_eq!(meter.name(), "meter");
        assert_ne!(meter.address(), cloud.address());
        assert_eq!(world.host("meter").address(), meter.address());
    });
}

#[test]
fn the_fibers_of_a_killed_machine_never_run_again_and_drop_nothing() {
    for seed in 0..100 {
        run(seed, |world| {
            let (ticks, drops) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let meter = world.host("meter");
            let program = {
                let (ticks, drops) = (Rc::clone(&ticks), Rc::clone(&drops));
                move || {
                    let _counted = Counted(Rc::clone(&drops));
                    let inherited = Rc::clone(&ticks);
                    // A child, a nested scope and a fiber that is always ready die with it.
                    go(move || {
                        let _counted = Counted(drops);
                        while crate::yield_now().is_ok() {
                            inherited.set(inherited.get() + 1);
                        }
                    });
                    let ticking = || {
                        while sleep(Duration::from_millis(10)).is_ok() {
                            ticks.set(ticks.get() + 1);
                        }
                    };
                    let _ = timeout(SECOND * 60, ticking);
                }
            };
            let mut handle = meter.start(program).unwrap();
            sleep(Duration::from_millis(100)).unwrap();
            meter.kill();
            let at_kill = ticks.get();
            assert!(at_kill > 10);
            sleep(SECOND * 120).unwrap();
            assert_eq!(ticks.get(), at_kill);
            assert_eq!(drops.get(), 0);
            assert!(timeout(SECOND, || handle.join()).is_err());
            assert!(meter.is_on());
        });
    }
}

#[test]
fn a_machine_lists_its_own_fibers_and_none_that_ended() {
    run(3, |world| {
        let (meter, cloud) = (world.host("meter"), world.host("cloud"));
        let count = || (meter.fibers().len(), cloud.fibers().len());
        drop(cloud.start(|| sleep(SECOND * 60)).unwrap());
        let two = || {
            go(|| sleep(SECOND * 2).unwrap());
            sleep(SECOND)
        };
        drop(meter.start(two).unwrap());
        assert_eq!(count(), (1, 1));
        sleep(SECOND / 2).unwrap();
        assert_eq!(count(), (2, 1));
        sleep(SECOND).unwrap();
        assert_eq!(count(), (1, 1));
        sleep(SECOND).unwrap();
        assert_eq!(count(), (0, 1));
        cloud.kill();
        assert_eq!(count(), (0, 0));
    });
}

#[test]
fn a_machine_can_take_its_own_power_and_be_started_again() {
    run(4, |world| {
        let (meter, step) = (world.host("meter"), Rc::new(Cell::new(0)));
        let (own, inside) = (meter.clone(), Rc::clone(&step));
        meter
            .start(move || {
                inside.set(1);
                own.power_cut();
                inside.set(2);
            })
            .unwrap();
        sleep(SECOND).unwrap();
        assert_eq!(step.get(), 1);
        assert!(!meter.is_on());
        let mut second = meter.start(|| 7).unwrap();
        assert!(meter.is_on());
        assert_eq!(second.join().unwrap(), 7);
    });
}

#[test]
fn a_panic_of_a_program_ends_the_run() {
    let failure = SimBuilder::new(1)
        .run(|world| {
            let broken = world
                .host("meter")
                .start(|| panic!("a fault of the program"));
            drop(broken.unwrap());
            let _ = sleep(SECOND * 3600);
        })
        .unwrap_err();
    assert!(matches!(&failure.kind, FailureKind::Panicked(host) if host == "meter"));
    assert!(failure.elapsed < SECOND);
}

#[test]
fn work_of_a_killed_machine_is_never_done() {
    let work = Duration::from_millis(10);
    SimBuilder::new(1)
        .work(work..=work)
        .run(|world| {
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let at_work = std::sync::Arc::clone(&done);
            let set = move || at_work.store(true, std::sync::atomic::Ordering::Relaxed);
            let meter = world.host("meter");
            drop(meter.start(|| crate::offload(set)).unwrap());
            sleep(Duration::from_millis(5)).unwrap();
            meter.kill();
            sleep(SECOND).unwrap();
            assert!(!done.load(std::sync::atomic::Ordering::Relaxed));
        })
        .unwrap();
}

#[test]
fn thousands_of_worlds_with_leaked_fibers_cost_no_descriptor() {
    for seed in 0..2_000 {
        run(seed, |world| {
            let meter = world.host("meter");
            drop(meter.start(|| sleep(SECOND * 60)).unwrap());
            sleep(SECOND).unwrap();
            meter.kill();
        });
    }
}
