//! The order in which fibers run.

use std::time::Duration;

use super::{Trace, go, paused, turns};
use crate::{Event, channel, sleep, spawn, timeout, yield_now};

#[test]
fn the_parent_runs_on_and_children_start_in_spawn_order() {
    paused(|| {
        let trace = Trace::new();
        for n in 0..5 {
            let trace = trace.clone();
            go(move || trace.note(n));
        }
        trace.note(100);
        turns(1);
        trace.expect([100, 0, 1, 2, 3, 4]);
    });
}

#[test]
fn wakes_run_in_the_order_of_the_waits() {
    paused(|| {
        let (trace, event) = (Trace::new(), Event::new());
        for n in 0..5 {
            let (trace, event) = (trace.clone(), event.clone());
            go(move || {
                event.wait().unwrap();
                trace.note(n);
            });
        }
        turns(1);
        event.set();
        trace.note(100);
        turns(1);
        trace.expect([100, 0, 1, 2, 3, 4]);
    });
}

#[test]
fn fibers_that_yield_take_turns() {
    paused(|| {
        let trace = Trace::new();
        for n in 0..3 {
            let trace = trace.clone();
            go(move || {
                for round in 0..3 {
                    trace.note((round, n));
                    yield_now().unwrap();
                }
            });
        }
        turns(4);
        let expected: Vec<_> = (0..3).flat_map(|r| (0..3).map(move |n| (r, n))).collect();
        trace.expect(expected);
    });
}

#[test]
fn sleepers_wake_by_time_and_then_by_the_order_of_their_sleeps() {
    paused(|| {
        let trace = Trace::new();
        for (n, millis) in [30, 10, 20, 10, 30].into_iter().enumerate() {
            let trace = trace.clone();
            go(move || {
                sleep(Duration::from_millis(millis)).unwrap();
                trace.note(n);
            });
        }
        sleep(Duration::from_millis(31)).unwrap();
        trace.expect([1, 3, 2, 0, 4]);
    });
}

/// A program of many kinds of waits; its trace tells the order in which all of it happened.
fn busy_program(mut seed: u64) -> Vec<(u32, u32)> {
    paused(move || {
        let trace = Trace::new();
        let (sender, receiver) = channel::<(u32, u32)>(3);
        for fiber in 0..20_u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (mut dice, sender, trace) = (seed, sender.clone(), trace.clone());
            go(move || {
                for step in 0..20 {
                    dice ^= dice << 13;
                    dice ^= dice >> 7;
                    dice ^= dice << 17;
                    match dice % 4 {
                        0 => yield_now().unwrap(),
                        1 => sleep(Duration::from_micros(dice % 50)).unwrap(),
                        2 => sender.send((fiber, step)).unwrap(),
                        _ => {
                            let limit = Duration::from_micros(dice % 7);
                            let _ = timeout(limit, || sleep(Duration::from_micros(4)));
                        }
                    }
                    trace.note((fiber, step));
                }
            });
        }
        drop(sender);
        let mut reader = {
            let trace = trace.clone();
            spawn(move || {
                while let Some(value) = receiver.recv().unwrap() {
                    trace.note(value);
                }
            })
            .unwrap()
        };
        reader.join().unwrap();
        trace.entries()
    })
}

#[test]
fn the_same_program_runs_in_the_same_order_every_time() {
    for seed in 1..10 {
        let first = busy_program(seed);
        assert!(first.len() > 400);
        assert_eq!(first, busy_program(seed));
    }
    assert_ne!(
        busy_program(1),
        busy_program(2),
        "the trace tells programs apart"
    );
}
