//! What a seed decides, and that it decides all.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::run;
use crate::sim::{self, FailureKind, Order, SimBuilder, World};
use crate::tests::go;
use crate::{RunError, random, sleep, yield_now};

/// Fibers that wait, yield and draw, and the order in which they came to their ends.
fn busy(_: &World) -> Vec<u32> {
    let ended = Rc::new(RefCell::new(Vec::new()));
    for n in 0..8 {
        let ended = Rc::clone(&ended);
        go(move || {
            for _ in 0..n % 3 {
                yield_now().unwrap();
            }
            let mut byte = [0];
            random::fill(&mut byte).unwrap();
            sleep(Duration::from_millis(u64::from(byte[0] % 4))).unwrap();
            ended.borrow_mut().push(n);
        });
    }
    sleep(Duration::from_secs(1)).unwrap();
    ended.take()
}

#[test]
fn equal_seeds_give_equal_runs_and_different_seeds_different_ones() {
    let mut traces = BTreeSet::new();
    for seed in 0..200 {
        let first = run(seed, busy);
        assert_eq!(first, run(seed, busy));
        assert_eq!(first.value.len(), 8);
        traces.insert(first.trace);
    }
    assert_eq!(traces.len(), 200);
}

#[test]
fn ready_fibers_run_in_any_order_or_in_that_of_their_coming() {
    let orders = |order| -> BTreeSet<Vec<u32>> {
        let started = |_: &World| {
            let order = Rc::new(RefCell::new(Vec::new()));
            for n in 0..3 {
                let order = Rc::clone(&order);
                go(move || order.borrow_mut().push(n));
            }
            sleep(Duration::from_millis(1)).unwrap();
            order.take()
        };
        (0..100)
            .map(|seed| {
                SimBuilder::new(seed)
                    .order(order)
                    .run(started)
                    .unwrap()
                    .value
            })
            .collect()
    };
    assert_eq!(orders(Order::Fifo), BTreeSet::from([vec![0, 1, 2]]));
    assert_eq!(orders(Order::Random).len(), 6);
    assert_eq!(orders(Order::Drawn).len(), 6);
}

#[test]
fn timers_of_one_time_fire_in_any_order() {
    let both: BTreeSet<_> = (0..50)
        .map(|seed| {
            let tie = |_: &World| {
                let at = crate::Instant::now() + Duration::from_secs(1);
                crate::deadline(at, || crate::sleep_until(at)).is_ok()
            };
            SimBuilder::new(seed)
                .order(Order::Fifo)
                .run(tie)
                .unwrap()
                .value
        })
        .collect();
    assert_eq!(both.len(), 2, "a sleep and its limit end at the same time");
}

#[test]
fn randomness_is_the_seeds() {
    let draw = |seed| {
        run(seed, |_| {
            let mut bytes = [0; 13];
            random::fill(&mut bytes).unwrap();
            bytes
        })
        .value
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_run_that_cannot_go_on_is_a_deadlock_with_its_fibers() {
    let failure = SimBuilder::new(3)
        .run(|_| {
            let event = crate::Event::new();
            let _ = event.wait();
        })
        .unwrap_err();
    assert_eq!(failure.seed, 3);
    let FailureKind::Run(RunError::Deadlock(fibers)) = failure.kind else {
        panic!("expected a deadlock, found {failure}");
    };
    assert!(fibers.contains("\"main\"") && fibers.contains("waits for Event"));
}

#[test]
fn a_run_without_end_is_stopped_by_its_bounds() {
    let turning = || {
        let builder = SimBuilder::new(1).steps_max(5_000);
        builder.run(|_| while yield_now().is_ok() {}).unwrap_err()
    };
    let failure = turning();
    assert!(
        matches!(failure.kind, FailureKind::Steps(5_000)),
        "{failure}"
    );
    assert!(failure.steps >= 5_000 && failure.steps < 5_100);
    assert_eq!(failure.trace, turning().trace);

    let failure = SimBuilder::new(1)
        .time_max(Duration::from_secs(60))
        .run(|_| while sleep(Duration::from_secs(1)).is_ok() {})
        .unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Time(_)), "{failure}");
    assert!(failure.elapsed >= Duration::from_secs(60));
}

#[test]
fn check_names_the_failing_seed_and_how_to_see_it_again() {
    let scenario = |sim: SimBuilder| {
        let seed = sim.seed();
        sim.run(move |_| assert_ne!(seed, 3, "three is too much"))
    };
    assert_eq!(sim::verdict(0..3, &scenario), Ok(()));
    let text = sim::verdict(0..10, &scenario).unwrap_err();
    assert!(text.starts_with("seed 3: "), "{text}");
    assert!(text.contains("three is too much"), "{text}");
    let test = "check_names_the_failing_seed_and_how_to_see_it_again";
    assert!(text.contains("again: SEED=3 cargo test"), "{text}");
    assert!(text.ends_with(test), "{text}");
    assert_eq!(sim::verdict(4..5, &scenario), Ok(()));
    assert!(sim::verdict(3..4, &scenario).is_err());
}

#[test]
fn check_finds_what_is_not_drawn_from_the_seed() {
    let outside = std::cell::Cell::new(0);
    let text = sim::verdict(0..5, &|sim: SimBuilder| {
        let n = outside.replace(outside.get() + 1);
        sim.run(move |_| sleep(Duration::from_millis(n)).unwrap())
    })
    .unwrap_err();
    assert!(text.contains("seed 0: two runs differ"), "{text}");
}

#[test]
fn check_panics_when_a_seed_fails() {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        sim::check(2, |sim| {
            let run = sim.run(|_| 1)?;
            assert_eq!(run.value, 2);
            Ok(run)
        });
    }));
    let text = *caught.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("seed "), "{text}");
}
