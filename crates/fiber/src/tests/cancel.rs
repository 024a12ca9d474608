//! Scopes of time and cancellation: what they end, and what they report.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, Trace, go, paused, timed, turns};
use crate::{
    Cancelled, Elapsed, Event, Instant, Stopped, ambient_deadline, cancellable, channel, deadline,
    give_way, select, sleep, spawn, timeout, yield_now,
};

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn every_wait_fails_until_the_scope_is_left_and_works_again_after() {
    paused(|| {
        let event = Event::new();
        let ended = timeout(MILLISECOND, || {
            assert_eq!(sleep(LONG), Err(Stopped::TimedOut));
            for _ in 0..3 {
                assert_eq!(sleep(LONG), Err(Stopped::TimedOut));
                assert_eq!(yield_now(), Err(Stopped::TimedOut));
                assert_eq!(event.wait(), Err(Stopped::TimedOut));
                let receiver = channel::<u8>(1).1;
                assert_eq!(receiver.recv(), Ok(None), "needs no wait");
            }
        });
        assert_eq!(ended, Err(Elapsed(())));
        let (slept, took) = timed(|| sleep(MILLISECOND));
        assert_eq!((slept, took), (Ok(()), MILLISECOND));
    });
}

#[test]
fn a_failed_wait_still_gives_up_the_turn() {
    paused(|| {
        let trace = Trace::new();
        let noted = trace.clone();
        let fiber = spawn(move || {
            for _ in 0..3 {
                let _ = sleep(LONG);
                noted.note(1);
            }
        })
        .unwrap();
        turns(1);
        fiber.cancel();
        for _ in 0..4 {
            yield_now().unwrap();
            trace.note(2);
        }
        trace.expect([1, 2, 1, 2, 1, 2, 2]);
    });
}

#[test]
fn of_nested_limits_only_the_one_that_expired_reports_it() {
    paused(|| {
        // The inner one.
        let outer = timeout(LONG, || timeout(MILLISECOND, || sleep(LONG)));
        assert_eq!(outer, Ok(Err(Elapsed(Err(Stopped::TimedOut)))));
        // The outer one: the inner scope returns its body's value as it is.
        let outer = timeout(MILLISECOND, || timeout(LONG, || sleep(LONG)));
        assert_eq!(outer, Err(Elapsed(Ok(Err(Stopped::TimedOut)))));
        // Both, the inner one first; the outer one expires while the inner scope lasts, but no
        // wait fails by it before the inner one is left.
        let outer = timeout(2 * MILLISECOND, || {
            let inner = timeout(MILLISECOND, || {
                assert!(sleep(LONG).is_err());
            });
            assert_eq!(inner, Err(Elapsed(())));
            sleep(LONG)
        });
        assert_eq!(outer, Err(Elapsed(Err(Stopped::TimedOut))));
    });
}

#[test]
fn a_limit_that_no_wait_failed_by_is_not_reported() {
    paused(|| {
        let other = spawn(|| sleep(LONG)).unwrap();
        let ended = timeout(MILLISECOND, || {
            // The scope is over when this wait ends, but the wait itself was granted.
            other.cancel();
            sleep(Duration::ZERO).unwrap();
            7
        });
        assert_eq!(ended, Ok(7));
    });
}

#[test]
fn an_outer_cancellation_is_not_reported_as_an_inner_deadline() {
    paused(|| {
        let outcome = cancellable(|canceller| {
            let canceller = canceller.clone();
            go(move || canceller.cancel());
            timeout(LONG, || sleep(LONG))
        });
        assert_eq!(outcome, Err(Cancelled(Ok(Err(Stopped::Cancelled)))));
    });
}

#[test]
fn a_canceller_of_a_scope_that_was_left_does_nothing() {
    paused(|| {
        let canceller = cancellable(Clone::clone).unwrap();
        let later = cancellable(|_| {
            canceller.cancel();
            sleep(MILLISECOND)
        });
        assert_eq!(later, Ok(Ok(())));
    });
}

#[test]
fn a_handle_of_a_fiber_that_ended_cancels_nobody_in_its_place() {
    paused(|| {
        let mut old = spawn(|| ()).unwrap();
        old.join().unwrap();
        let mut new = spawn(|| sleep(MILLISECOND)).unwrap();
        turns(1);
        old.cancel();
        assert_eq!(new.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_cancelled_join_keeps_the_handle() {
    paused(|| {
        let mut slow = spawn(|| {
            sleep(3 * MILLISECOND).unwrap();
            7
        })
        .unwrap();
        let early = timeout(MILLISECOND, || slow.join());
        assert!(matches!(
            early,
            Err(Elapsed(Err(crate::JoinError::Stopped(Stopped::TimedOut))))
        ));
        assert_eq!(slow.join().unwrap(), 7);
        assert!(matches!(slow.join(), Err(crate::JoinError::Taken)));
    });
}

#[test]
fn the_ambient_deadline_is_the_nearest_one_above() {
    paused(|| {
        assert_eq!(ambient_deadline(), None);
        let now = Instant::now();
        timeout(2 * MILLISECOND, || {
            assert_eq!(ambient_deadline(), Some(now + 2 * MILLISECOND));
            timeout(LONG, || {
                assert_eq!(ambient_deadline(), Some(now + 2 * MILLISECOND));
            })
            .unwrap();
            deadline(now + MILLISECOND, || {
                assert_eq!(ambient_deadline(), Some(now + MILLISECOND));
                // A fiber of its own is not under the limits of the one that started it.
                go(|| assert_eq!(ambient_deadline(), None));
                crate::scope(|s| {
                    s.spawn(|| {
                        assert_eq!(ambient_deadline(), Some(now + MILLISECOND));
                        Ok::<_, ()>(())
                    })
                    .unwrap();
                    Ok(())
                })
                .unwrap();
            })
            .unwrap();
        })
        .unwrap();
        assert_eq!(ambient_deadline(), None);
    });
}

#[test]
fn a_limit_costs_one_timer_however_many_waits_it_holds() {
    paused(|| {
        let core = crate::core::current().unwrap();
        let before = core.next_timer();
        assert_eq!(before, None);
        let (mut left, mut right) = crate::net::pipe(1);
        let peer = spawn(move || std::io::copy(&mut right, &mut std::io::sink()));
        timeout(LONG, || {
            let only = core.next_timer();
            std::io::Write::write_all(&mut left, &[0; 100]).unwrap();
            assert_eq!(core.next_timer(), only);
        })
        .unwrap();
        assert_eq!(core.next_timer(), None, "it is gone with its scope");
        drop(left);
        peer.unwrap().join().unwrap().unwrap();
    });
}

#[test]
fn the_longest_durations_saturate() {
    paused(|| {
        let ended = timeout(Duration::MAX, || {
            timeout(MILLISECOND, || sleep(Duration::MAX))
        });
        assert!(matches!(ended, Ok(Err(Elapsed(_)))));
    });
}

#[test]
fn a_panic_leaves_its_scopes() {
    paused(|| {
        let caught = std::panic::catch_unwind(|| {
            let _ = timeout(MILLISECOND, || cancellable(|_| panic!("on purpose")));
        });
        assert!(caught.is_err());
        assert_eq!(ambient_deadline(), None);
        sleep(10 * MILLISECOND).unwrap();
    });
}

#[test]
fn select_takes_the_first_ready_source_or_its_own_deadline() {
    paused(|| {
        let (one, two) = (Event::new(), Event::new());
        let until = Instant::now() + MILLISECOND;
        let (found, took) = timed(|| select(&[&one, &two], Some(until)).unwrap());
        assert_eq!((found, took), (crate::Selected::Deadline, MILLISECOND));
        let setter = (one.clone(), two.clone());
        go(move || {
            setter.1.set();
            setter.0.set();
        });
        let found = select(&[&one, &two], None).unwrap();
        assert_eq!(found, crate::Selected::Ready(0), "in the order given");
        let past = Some(Instant::from_nanos(0));
        assert_eq!(select(&[&two], past).unwrap(), crate::Selected::Ready(0));
        two.clear();
        assert_eq!(select(&[&two], past).unwrap(), crate::Selected::Deadline);
    });
}

#[test]
fn values_dropped_by_the_end_of_a_wait_may_use_the_runtime() {
    /// Uses everything when dropped.
    struct Busy(Rc<RefCell<u32>>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = yield_now();
            let _ = sleep(MILLISECOND);
            let _ = timeout(MILLISECOND, || sleep(LONG));
            go(|| ());
            let _ = crate::scope(|s| {
                s.spawn(yield_now).map_err(|_| Stopped::WouldWait)?;
                Ok::<_, Stopped>(())
            });
            *self.0.borrow_mut() += 1;
        }
    }
    let drops = Rc::new(RefCell::new(0));
    let count = Rc::clone(&drops);
    paused(move || {
        let busy = || Busy(Rc::clone(&count));
        // As a fiber's value that nobody takes, as a capture, as an error of a scope, in a queue.
        let value = busy();
        go(move || value);
        let capture = busy();
        go(move || {
            let _capture = capture;
            sleep(MILLISECOND)
        });
        let (first, second) = (busy(), busy());
        let scoped = crate::scope(|s| {
            s.spawn(move || Err(first)).unwrap();
            s.spawn(move || Err(second)).unwrap();
            Ok(())
        });
        drop(scoped);
        let (sender, receiver) = channel(4);
        assert!(sender.send(busy()).is_ok());
        drop(receiver);
        assert!(sender.try_send(busy()).is_err());
        sleep(10 * MILLISECOND).unwrap();
    });
    assert_eq!(*drops.borrow(), 6);
}

#[test]
fn giving_way_in_a_scope_that_is_over_is_no_wait_that_failed() {
    paused(|| {
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        go(move || counted.set(counted.get() + 1));
        let cancelled = cancellable(|canceller| {
            canceller.cancel();
            give_way();
            turns.get()
        });
        assert_eq!(cancelled, Ok(0));
        give_way();
        assert_eq!(turns.get(), 1);
        let cancelled = cancellable(|canceller| {
            canceller.cancel();
            yield_now()
        });
        assert_eq!(cancelled, Err(Cancelled(Err(Stopped::Cancelled))));
    });
}
