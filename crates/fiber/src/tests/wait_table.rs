//! Every kind of wait is ended by what it waits for, by a cancellation and by a deadline.
//!
//! The table is a match without a wildcard over [`WaitReason`], and so is the walk through it: a
//! new kind of wait does not compile before it has its row.

mod rows;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use self::rows::{Row, for_each_row};
use super::{MILLISECOND, Trace, go, logged, parked_reasons, paused, timed, turns};
use crate::{
    Stopped, WaitReason, cancellable, no_park, scope, shield, sleep, spawn, timeout, yield_now,
};

#[test]
fn every_wait_is_ended_by_what_it_waits_for() {
    for_each_row(|reason, row| {
        let mut waiter = spawn(row.wait).unwrap();
        turns(2);
        assert!(parked_reasons().contains(&reason), "{reason:?}");
        assert!(!waiter.is_finished());
        (row.wake)();
        assert_eq!(waiter.join().unwrap(), Ok(()), "{reason:?}");
    });
}

#[test]
fn every_wait_is_ended_by_a_cancellation() {
    for_each_row(|reason, row| {
        let mut waiter = spawn(row.wait).unwrap();
        turns(2);
        assert!(parked_reasons().contains(&reason), "{reason:?}");
        waiter.cancel();
        let (ended, took) = timed(|| waiter.join().unwrap());
        assert_eq!(ended, Err(Stopped::Cancelled), "{reason:?}");
        assert!(row.real_time || took.is_zero(), "{reason:?}");
    });
}

#[test]
fn every_wait_is_ended_by_a_deadline() {
    for_each_row(|reason, row| {
        let limit = 3 * MILLISECOND;
        let (ended, took) = timed(|| timeout(limit, row.wait));
        assert_eq!(ended.unwrap_err().0, Err(Stopped::TimedOut), "{reason:?}");
        assert!(took == limit || (row.real_time && took > limit), "{took:?}");
    });
}

#[test]
fn every_wait_fails_at_once_where_the_scope_is_over() {
    for_each_row(|reason, row| {
        let waiter = spawn(move || {
            while yield_now().is_ok() {}
            (row.wait)()
        });
        let mut waiter = waiter.unwrap();
        turns(1);
        waiter.cancel();
        let (ended, took) = timed(|| waiter.join().unwrap());
        assert_eq!(ended, Err(Stopped::Cancelled), "{reason:?}");
        assert!(row.real_time || took.is_zero(), "{reason:?}");
    });
}

#[test]
fn every_wait_goes_on_in_a_shield_although_the_scope_is_over() {
    for_each_row(|reason, row| {
        let mut waiter = spawn(move || {
            while yield_now().is_ok() {}
            let shielded = shield(Duration::from_secs(60), row.wait);
            (shielded, yield_now())
        })
        .unwrap();
        turns(1);
        waiter.cancel();
        turns(3);
        assert!(parked_reasons().contains(&reason), "{reason:?}");
        (row.wake)();
        let ended = waiter.join().unwrap();
        assert_eq!(ended, (Ok(Ok(())), Err(Stopped::Cancelled)), "{reason:?}");
    });
}

#[test]
fn every_wait_in_a_shield_is_ended_by_its_deadline() {
    for_each_row(|reason, row| {
        let limit = 3 * MILLISECOND;
        let ended = cancellable(|canceller| {
            canceller.cancel();
            timed(|| shield(limit, row.wait))
        });
        let (ended, took) = ended.unwrap();
        assert_eq!(ended.unwrap_err().0, Err(Stopped::TimedOut), "{reason:?}");
        assert!(took == limit || (row.real_time && took > limit), "{took:?}");
    });
}

#[test]
fn every_wait_fails_at_once_where_none_is_allowed() {
    for_each_row(|reason, row| {
        if reason == WaitReason::ScopeEnd {
            // It has no children to wait for there: they are refused.
            return;
        }
        let (ended, took) = timed(|| no_park(row.wait));
        assert_eq!(ended, Err(Stopped::WouldWait), "{reason:?}");
        assert!(row.real_time || took.is_zero(), "{reason:?}");
    });
}

#[test]
fn every_wait_fails_at_once_while_its_fiber_unwinds() {
    struct WaitOnDrop(Option<Row>, Rc<Cell<Option<Result<(), Stopped>>>>);
    impl Drop for WaitOnDrop {
        fn drop(&mut self) {
            self.1.set(self.0.take().map(|row| (row.wait)()));
        }
    }
    for_each_row(|reason, row| {
        if reason == WaitReason::ScopeEnd {
            // Likewise.
            return;
        }
        let found = Rc::new(Cell::new(None));
        let on_drop = WaitOnDrop(Some(row), Rc::clone(&found));
        let mut fiber = spawn(move || {
            let _on_drop = on_drop;
            panic!("on purpose");
        })
        .unwrap();
        assert!(fiber.join().is_err());
        assert_eq!(found.get(), Some(Err(Stopped::Unwinding)), "{reason:?}");
    });
}

#[test]
fn a_scope_ends_only_after_its_children_however_it_is_ended() {
    for by_deadline in [false, true] {
        paused(move || {
            let trace = Trace::new();
            let inner = trace.clone();
            let mut parent = spawn(move || {
                let ended: Result<(), Stopped> = scope(|s| {
                    s.spawn(|| {
                        let ended = sleep(Duration::from_secs(60));
                        inner.note(1);
                        for _ in 0..10 {
                            // Clean-up that takes turns.
                            let _ = yield_now();
                        }
                        inner.note(2);
                        ended
                    })
                    .unwrap();
                    Ok(())
                });
                inner.note(3);
                ended
            })
            .unwrap();
            turns(2);
            let ended = if by_deadline {
                let outer = trace.clone();
                parent.cancel();
                timeout(MILLISECOND, move || {
                    scope(|s| {
                        s.spawn(|| sleep(Duration::from_secs(60))).unwrap();
                        Ok(())
                    })
                    .inspect_err(|_| outer.note(0))
                })
                .unwrap_err()
                .0
            } else {
                parent.cancel();
                parent.join().unwrap()
            };
            let cause = if by_deadline {
                Stopped::TimedOut
            } else {
                Stopped::Cancelled
            };
            assert_eq!(ended, Err(cause));
            let order: Vec<_> = trace.entries().into_iter().filter(|&n| n > 0).collect();
            assert_eq!(order, [1, 2, 3]);
        });
    }
}

#[test]
fn the_pause_lasts_its_millisecond_whatever_happens() {
    paused(|| {
        let (begun, ended) = (Trace::new(), Trace::new());
        let (note_begun, note_ended) = (begun.clone(), ended.clone());
        let looper = spawn(move || {
            for _ in 0..66 {
                note_begun.note(crate::Instant::now());
                let _ = timeout(Duration::from_micros(10), || sleep(Duration::from_secs(1)));
                note_ended.note(crate::Instant::now());
            }
        })
        .unwrap();
        turns(1);
        looper.cancel();
        while !parked_reasons().contains(&WaitReason::Penalty) {
            if begun.entries().len() > 66 {
                panic!("the loop was never slowed");
            }
            yield_now().unwrap();
        }
        // Neither another cancellation nor the nested deadline cuts it short.
        looper.cancel();
        sleep(Duration::from_micros(500)).unwrap();
        assert!(parked_reasons().contains(&WaitReason::Penalty));
        sleep(10 * MILLISECOND).unwrap();
        assert!(looper.is_finished());
        let paused = begun.entries().into_iter().zip(ended.entries());
        let paused: Vec<_> = paused.map(|(begun, ended)| ended - begun).collect();
        assert!(
            paused
                .iter()
                .all(|&pause| pause == Duration::ZERO || pause == MILLISECOND)
        );
        assert_eq!(paused.iter().filter(|pause| !pause.is_zero()).count(), 2);
    });
}

#[test]
fn a_loop_that_swallows_errors_is_slowed_and_named_once() {
    let lines = logged(|| {
        paused(|| {
            let looper = crate::FiberBuilder::new()
                .name("stubborn")
                .spawn(|| while sleep(Duration::from_secs(1)).is_err() {});
            go(|| ());
            turns(1);
            looper.unwrap().cancel();
            let before = crate::stats().resumes;
            sleep(Duration::from_secs(1)).unwrap();
            let resumes = crate::stats().resumes - before;
            assert!((1_000..1_200).contains(&resumes), "{resumes}");
        });
    });
    let named: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("stubborn"))
        .collect();
    assert!(named[0].contains("goes on waiting"), "{named:?}");
    assert_eq!(
        named.iter().filter(|line| line.contains("goes on")).count(),
        1
    );
}

#[test]
fn failures_of_a_scope_that_was_left_are_not_counted_on() {
    paused(|| {
        let ((), took) = timed(|| {
            for _ in 0..500 {
                let ended = timeout(Duration::ZERO, || {
                    let _ = sleep(MILLISECOND);
                    // Over already, which is what costs a pause after too many.
                    sleep(MILLISECOND)
                });
                assert!(ended.is_err());
            }
        });
        assert_eq!(took, Duration::ZERO);
    });
}
