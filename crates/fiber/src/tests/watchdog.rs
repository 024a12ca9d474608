//! Turns that last too long are named.

use std::time::{Duration, Instant};

use super::{MILLISECOND, go, logged, turns};
use crate::{FiberBuilder, Runtime, core, sleep, stats};

/// Keeps the thread busy for a time.
#[expect(
    clippy::disallowed_methods,
    reason = "turns are measured in real time, the runtime's clock stands still"
)]
fn spin(duration: Duration, until: impl Fn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < duration && !until() {
        std::hint::spin_loop();
    }
}

const BOUND: Duration = Duration::from_millis(5);

#[test]
fn a_turn_that_takes_too_long_is_counted_and_the_fiber_named_also_when_it_ended() {
    let lines = logged(|| {
        let run = Runtime::builder()
            .paused_clock(true)
            .watchdog(BOUND)
            .run(|| {
                FiberBuilder::new()
                    .name("hog")
                    .spawn(|| spin(2 * BOUND, || false))
                    .unwrap();
                turns(1);
                assert!(stats().slow_turns >= 1);
            });
        run.unwrap();
    });
    let line = lines.iter().find(|line| line.starts_with("a turn took"));
    let line = line.unwrap();
    assert!(
        line.contains("longer than 5.0ms: fiber 1 \"hog\" has ended, spawned at"),
        "{line}"
    );
}

#[test]
fn many_slow_turns_make_few_lines() {
    let lines = logged(|| {
        let run = Runtime::builder()
            .paused_clock(true)
            .watchdog(Duration::ZERO)
            .run(|| {
                for _ in 0..50 {
                    go(|| turns(1));
                }
                sleep(MILLISECOND).unwrap();
                assert!(stats().slow_turns >= 100);
            });
        run.unwrap();
    });
    let told = lines.iter().filter(|line| line.starts_with("a turn took"));
    // One per second; the machine may be slow.
    assert!((1..10).contains(&told.count()), "{lines:?}");
}

#[test]
fn turns_within_the_bound_are_not_told() {
    let lines = logged(|| {
        let bound = Duration::from_secs(600);
        let run = Runtime::builder()
            .paused_clock(true)
            .watchdog_thread(bound)
            .run(|| {
                go(|| turns(5));
                sleep(MILLISECOND).unwrap();
                let core = core::current().unwrap();
                let watchdog = core.watchdog.as_ref().unwrap();
                (stats().slow_turns, watchdog.reports())
            });
        assert_eq!(run.unwrap(), (0, 0));
    });
    assert!(
        !lines.iter().any(|line| line.starts_with("a turn")),
        "{lines:?}"
    );
}

#[test]
fn a_turn_that_does_not_end_is_told_while_it_lasts() {
    let run = Runtime::builder()
        .paused_clock(true)
        .watchdog_thread(BOUND)
        .run(|| {
            let reports = || {
                let core = core::current().unwrap();
                core.watchdog.as_ref().unwrap().reports()
            };
            // Twice, with a pause in which the thread goes to sleep or does not.
            let mut told = Vec::new();
            for _ in 0..2 {
                let before = reports();
                spin(Duration::from_secs(60), || reports() > before);
                told.push(reports() - before);
                sleep(MILLISECOND).unwrap();
            }
            told
        });
    assert_eq!(run.unwrap(), [1, 1], "once for each turn");
}

#[test]
fn without_a_watchdog_nothing_is_counted() {
    super::paused(|| {
        spin(2 * BOUND, || false);
        turns(1);
        assert_eq!(stats().slow_turns, 0);
    });
}

#[test]
fn the_watching_thread_ends_with_its_runtime_although_a_fiber_is_leaked() {
    logged(|| {
        let watched = Runtime::builder()
            .paused_clock(true)
            .grace(MILLISECOND)
            .watchdog_thread(Duration::from_secs(600));
        let run = watched.run(|| {
            go(|| {
                loop {
                    let _ = sleep(MILLISECOND);
                }
            });
            turns(1);
            let core = core::current().unwrap();
            core.watchdog.as_ref().unwrap().thread_is_alive()
        });
        let is_alive = run.unwrap();
        spin(Duration::from_secs(20), || !is_alive());
        assert!(!is_alive());
    });
}
