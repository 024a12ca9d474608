//! Clocks and work on other threads, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::run;
use crate::sim::{SimBuilder, World};
use crate::tests::go;
use crate::{Instant, OFFLOAD_QUEUE_MAX, OffloadError, offload, sleep, timeout, wall_time};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn time_passes_only_while_all_wait_or_by_steps() {
    let still = SimBuilder::new(1)
        .step(Duration::ZERO..=Duration::ZERO)
        .run(|_| {
            let began = Instant::now();
            for _ in 0..100 {
                crate::yield_now().unwrap();
            }
            let turns = began.elapsed();
            sleep(SECOND * 3600).unwrap();
            (turns, began.elapsed())
        })
        .unwrap();
    assert_eq!(still.value, (Duration::ZERO, SECOND * 3600));
    let moving = run(1, |_| {
        let began = Instant::now();
        for _ in 0..1_000 {
            crate::yield_now().unwrap();
        }
        began.elapsed()
    });
    assert!(
        moving.value > Duration::from_micros(500),
        "{:?}",
        moving.value
    );
    assert!(
        moving.value < Duration::from_micros(2_000),
        "{:?}",
        moving.value
    );
}

#[test]
fn fibers_that_never_wait_do_not_hold_up_timers() {
    for seed in 0..50 {
        let over = run(seed, |_| {
            let stop = Rc::new(Cell::new(false));
            for _ in 0..3 {
                let stop = Rc::clone(&stop);
                go(move || {
                    while !stop.get() {
                        crate::yield_now().unwrap();
                    }
                });
            }
            let began = Instant::now();
            sleep(Duration::from_millis(1)).unwrap();
            stop.set(true);
            began.elapsed()
        });
        assert!(over.value < Duration::from_millis(2), "{:?}", over.value);
    }
}

#[test]
fn the_wall_clock_begins_as_told_and_is_each_machines_own() {
    let start = SystemTime::UNIX_EPOCH + SECOND * 1_000_000;
    let shown = SimBuilder::new(5)
        .wall_start(start)
        .step(Duration::ZERO..=Duration::ZERO)
        .run(|world: &World| {
            sleep(SECOND * 10).unwrap();
            let (ahead, behind) = (world.host("ahead"), world.host("behind"));
            ahead.set_clock_ahead(SECOND * 90);
            behind.set_clock_behind(SECOND * 30);
            let ahead = ahead.start(wall_time).unwrap().join().unwrap();
            let behind = behind.start(wall_time).unwrap().join().unwrap();
            [wall_time(), ahead, behind]
        })
        .unwrap();
    let after = |seconds| start + SECOND * seconds;
    assert_eq!(shown.value, [after(10), after(100), start - SECOND * 20]);
}

#[test]
fn offloaded_work_takes_virtual_time_and_as_many_threads_as_there_are() {
    let work = Duration::from_millis(10);
    let took = SimBuilder::new(2)
        .work(work..=work)
        .step(Duration::ZERO..=Duration::ZERO)
        .run(|_| {
            let began = Instant::now();
            let ends = Rc::new(RefCell::new(Vec::new()));
            for _ in 0..6 {
                let ends = Rc::clone(&ends);
                go(move || {
                    offload(|| ()).unwrap();
                    ends.borrow_mut().push(began.elapsed());
                });
            }
            sleep(SECOND).unwrap();
            ends.take()
        })
        .unwrap();
    let (one, two) = (work, work * 2);
    assert_eq!(took.value, [one, one, one, one, two, two]);
}

#[test]
fn offloaded_work_ends_in_any_order() {
    let orders: BTreeSet<Vec<u32>> = (0..60)
        .map(|seed| {
            run(seed, |_| {
                let ends = Rc::new(RefCell::new(Vec::new()));
                for n in 0..3 {
                    let ends = Rc::clone(&ends);
                    go(move || {
                        let n = offload(move || n).unwrap();
                        ends.borrow_mut().push(n);
                    });
                }
                sleep(SECOND).unwrap();
                ends.take()
            })
            .value
        })
        .collect();
    assert_eq!(orders.len(), 6);
}

#[test]
fn abandoned_work_goes_on_and_a_panic_of_it_arrives() {
    let work = Duration::from_millis(10);
    SimBuilder::new(2)
        .work(work..=work)
        .run(|_| {
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let at_work = std::sync::Arc::clone(&done);
            let set = move || at_work.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(timeout(Duration::from_millis(1), || offload(set)).is_err());
            assert!(!done.load(std::sync::atomic::Ordering::Relaxed));
            sleep(SECOND).unwrap();
            assert!(done.load(std::sync::atomic::Ordering::Relaxed));
            let panicked = offload(|| panic!("at work")).unwrap_err();
            assert!(matches!(panicked, OffloadError::Panicked(_)));
        })
        .unwrap();
}

#[test]
fn too_much_waiting_work_is_refused() {
    let work = Duration::from_millis(10);
    let refused = SimBuilder::new(2)
        .work(work..=work)
        .run(|_| {
            let refused = Rc::new(Cell::new(0));
            for _ in 0..OFFLOAD_QUEUE_MAX + 4 + 7 {
                let refused = Rc::clone(&refused);
                go(move || {
                    if let Err(OffloadError::Full) = offload(|| ()) {
                        refused.set(refused.get() + 1);
                    }
                });
            }
            sleep(SECOND * 60).unwrap();
            refused.get()
        })
        .unwrap();
    assert_eq!(refused.value, 7);
}
