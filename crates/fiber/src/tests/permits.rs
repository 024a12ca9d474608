//! Semaphores and mutexes: order, and what becomes of permits when a wait ends early.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, Trace, go, parked_reasons, paused, timed, turns};
use crate::{
    AcquireError, Event, JoinHandle, LockError, Mutex, Selected, Semaphore, Stopped,
    TryAcquireError, WaitReason, no_park, scope, select, sleep, spawn, stats, timeout, yield_now,
};

const LONG: Duration = Duration::from_secs(3_600);

/// A fiber that acquires `count`, notes its name, holds them for a turn and gives them back.
fn acquirer(semaphore: &Semaphore, trace: &Trace<u32>, name: u32, count: u32) -> JoinHandle<bool> {
    let (semaphore, trace) = (semaphore.clone(), trace.clone());
    let fiber = spawn(move || {
        let permit = semaphore.acquire_many(count);
        let acquired = permit.is_ok();
        if acquired {
            trace.note(name);
            let _ = yield_now();
        }
        acquired
    });
    fiber.unwrap()
}

#[test]
fn permits_are_bounded_and_come_back() {
    paused(|| {
        let semaphore = Semaphore::new(3);
        let two = semaphore.acquire_many(2).unwrap();
        assert_eq!((two.count(), semaphore.available()), (2, 1));
        let full = semaphore.try_acquire_many(2).unwrap_err();
        assert_eq!(full, TryAcquireError::NoPermits);
        let one = semaphore.try_acquire().unwrap();
        drop(two);
        assert_eq!(semaphore.available(), 2);
        drop(one);
        let too_many = AcquireError::TooMany {
            wanted: 4,
            permits: 3,
        };
        assert_eq!(semaphore.acquire_many(4).unwrap_err(), too_many);
        let failed = semaphore.try_acquire_many(4).unwrap_err();
        assert_eq!(failed, TryAcquireError::Failed(too_many));
        assert_eq!(semaphore.acquire_many(0).unwrap().count(), 0);
        assert_eq!(semaphore.available(), 3);
    });
}

#[test]
fn waits_for_permits_are_served_in_order_and_nobody_passes_by() {
    paused(|| {
        let semaphore = Semaphore::new(1);
        let trace = Trace::new();
        let held = semaphore.acquire().unwrap();
        let mut fibers: Vec<_> = (0..5)
            .map(|name| acquirer(&semaphore, &trace, name, 1))
            .collect();
        turns(1);
        drop(held);
        // It was handed over already, although nobody ran since.
        let passed = semaphore.try_acquire().unwrap_err();
        assert_eq!(passed, TryAcquireError::NoPermits);
        // The end of the line.
        drop(semaphore.acquire().unwrap());
        trace.expect([0, 1, 2, 3, 4]);
        assert!(fibers.iter_mut().all(|fiber| fiber.join().unwrap()));
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn one_that_wants_many_is_not_passed_by_those_that_want_few() {
    paused(|| {
        let semaphore = Semaphore::new(3);
        let trace = Trace::new();
        let (one, two) = (semaphore.acquire(), semaphore.acquire_many(2));
        let _many = acquirer(&semaphore, &trace, 3, 3);
        let _few = acquirer(&semaphore, &trace, 1, 1);
        turns(1);
        drop(two);
        turns(2);
        trace.expect([]);
        assert_eq!(semaphore.available(), 2);
        assert!(semaphore.try_acquire().is_err(), "others wait");
        drop(one);
        turns(3);
        trace.expect([3, 1]);
        turns(1);
        assert_eq!(semaphore.available(), 3);
    });
}

#[test]
fn one_that_gives_up_its_place_holds_nobody_back() {
    paused(|| {
        let semaphore = Semaphore::new(3);
        let trace = Trace::new();
        let held = semaphore.acquire().unwrap();
        let mut many = acquirer(&semaphore, &trace, 3, 3);
        let mut few = [1, 2].map(|name| acquirer(&semaphore, &trace, name, 1));
        turns(1);
        trace.expect([]);
        many.cancel();
        assert!(!many.join().unwrap());
        for few in &mut few {
            assert!(few.join().unwrap());
        }
        trace.expect([1, 2]);
        drop(held);
        assert_eq!(semaphore.available(), 3);
    });
}

#[test]
fn a_permit_whose_receiver_was_cancelled_goes_to_the_next() {
    // The cancellation before the permit comes, and after it was handed over; the last one to get
    // it has nobody behind it.
    for cancelled_first in [true, false] {
        for behind in [0, 2] {
            paused(move || {
                let semaphore = Semaphore::new(1);
                let trace = Trace::new();
                let held = semaphore.acquire().unwrap();
                let mut first = acquirer(&semaphore, &trace, 0, 1);
                let rest: Vec<_> = (1..=behind)
                    .map(|name| acquirer(&semaphore, &trace, name, 1))
                    .collect();
                turns(1);
                if cancelled_first {
                    first.cancel();
                    drop(held);
                } else {
                    drop(held);
                    first.cancel();
                }
                // What was granted was granted: the wait before the cancellation succeeded.
                assert_eq!(first.join().unwrap(), !cancelled_first);
                for mut fiber in rest {
                    assert!(fiber.join().unwrap());
                }
                assert_eq!(semaphore.available(), 1, "nothing is lost");
            });
        }
    }
}

#[test]
fn a_wait_for_permits_obeys_its_deadline_and_leaves_nothing_behind() {
    paused(|| {
        let semaphore = Semaphore::new(1);
        let held = semaphore.acquire().unwrap();
        let (ended, took) = timed(|| timeout(MILLISECOND, || semaphore.acquire().map(drop)));
        let stopped = AcquireError::Stopped(Stopped::TimedOut);
        assert_eq!(ended.unwrap_err().0, Err(stopped));
        assert_eq!(took, MILLISECOND);
        drop(held);
        assert_eq!(semaphore.available(), 1);
        drop(semaphore.try_acquire().unwrap());
    });
}

#[test]
fn closing_ends_all_waits_and_leaves_permits_to_their_holders() {
    paused(|| {
        let semaphore = Semaphore::new(1);
        let trace = Trace::new();
        let held = semaphore.acquire().unwrap();
        let mut waiters = [0, 1].map(|name| acquirer(&semaphore, &trace, name, 1));
        turns(1);
        drop(held);
        // The first has it already.
        semaphore.close();
        assert!(waiters[0].join().unwrap());
        assert!(!waiters[1].join().unwrap());
        assert_eq!(semaphore.acquire().unwrap_err(), AcquireError::Closed);
        let failed = TryAcquireError::Failed(AcquireError::Closed);
        assert_eq!(semaphore.try_acquire().unwrap_err(), failed);
        assert!(semaphore.is_closed());
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn a_wait_for_permits_wakes_once_and_neither_polls_nor_sleeps() {
    paused(|| {
        let semaphore = Semaphore::new(4);
        let held: Vec<_> = (0..4).map(|_| semaphore.acquire().unwrap()).collect();
        let mut waiter = spawn(move || semaphore.acquire_many(4).map(drop)).unwrap();
        turns(1);
        assert_eq!(parked_reasons(), [WaitReason::Acquire]);
        let before = stats().resumes;
        sleep(LONG).unwrap();
        for permit in held {
            drop(permit);
            turns(1);
        }
        waiter.join().unwrap().unwrap();
        // This fiber's own turns, and one run of the waiter.
        assert!(
            stats().resumes - before <= 7,
            "{}",
            stats().resumes - before
        );
    });
}

#[test]
fn a_select_takes_permits_in_line_and_drops_none() {
    paused(|| {
        let semaphore = Semaphore::new(1);
        let event = Event::new();
        let held = semaphore.acquire().unwrap();
        let (in_select, other) = (semaphore.clone(), event.clone());
        let mut selecting = spawn(move || {
            let acquiring = in_select.acquiring(1);
            assert!(acquiring.take().unwrap().is_none());
            let found = select(&[&other, &acquiring], None).unwrap();
            let permit = acquiring.take().unwrap();
            (found, permit.is_some())
        })
        .unwrap();
        let trace = Trace::new();
        turns(1);
        let mut behind = acquirer(&semaphore, &trace, 1, 1);
        turns(1);
        drop(held);
        assert_eq!(selecting.join().unwrap(), (Selected::Ready(1), true));
        assert!(behind.join().unwrap());
        assert_eq!(semaphore.available(), 1);

        // Both at once: the earlier source is what the select found, the permit is not lost.
        let held = semaphore.acquire().unwrap();
        let (in_select, other) = (semaphore.clone(), event.clone());
        let mut selecting = spawn(move || {
            let acquiring = in_select.acquiring(1);
            select(&[&other, &acquiring], None).unwrap()
        })
        .unwrap();
        turns(1);
        drop(held);
        event.set();
        assert_eq!(selecting.join().unwrap(), Selected::Ready(0));
        assert_eq!(semaphore.available(), 1);

        // Cancelled in line.
        let held = semaphore.acquire().unwrap();
        let in_select = semaphore.clone();
        let mut selecting = spawn(move || {
            let acquiring = in_select.acquiring(1);
            select(&[&acquiring], None).map_err(|_| ())
        })
        .unwrap();
        turns(1);
        let mut behind = acquirer(&semaphore, &trace, 2, 1);
        turns(1);
        selecting.cancel();
        drop(held);
        assert_eq!(selecting.join().unwrap(), Err(()));
        assert!(behind.join().unwrap());
        semaphore.close();
        let acquiring = semaphore.acquiring(1);
        select(&[&acquiring], None).unwrap();
        assert_eq!(acquiring.take().unwrap_err(), AcquireError::Closed);
    });
}

#[test]
fn a_mutex_is_held_across_waits_and_handed_over_in_order() {
    paused(|| {
        let mutex = Rc::new(Mutex::new(Vec::new()));
        let mut fibers: Vec<_> = (0..4)
            .map(|name| {
                let mutex = Rc::clone(&mutex);
                spawn(move || {
                    let mut list = mutex.lock().unwrap();
                    list.push(name);
                    sleep(MILLISECOND).unwrap();
                    assert_eq!(list.last(), Some(&name), "nobody else wrote meanwhile");
                })
                .unwrap()
            })
            .collect();
        turns(1);
        assert!(mutex.try_lock().is_none());
        // This fiber is the last in line.
        assert_eq!(*mutex.lock().unwrap(), [0, 1, 2, 3]);
        for fiber in &mut fibers {
            fiber.join().unwrap();
        }
        assert!(mutex.try_lock().is_some());
    });
}

#[test]
fn a_fiber_that_locks_twice_is_told() {
    paused(|| {
        let mutex = Mutex::new(1);
        let guard = mutex.lock().unwrap();
        assert_eq!(mutex.lock().unwrap_err(), LockError::Held);
        assert!(mutex.try_lock().is_none());
        drop(guard);
        assert_eq!(*mutex.lock().unwrap(), 1);
        // Another fiber waits, whatever slot it has.
        let ended = scope(|s| {
            let guard = mutex.lock().unwrap();
            s.spawn(|| mutex.lock().map(drop)).unwrap();
            turns(1);
            assert_eq!(parked_reasons(), [WaitReason::Lock]);
            drop(guard);
            Ok(())
        });
        assert_eq!(ended, Ok(()));
    });
}

#[test]
fn a_lock_whose_receiver_was_cancelled_goes_to_the_next() {
    paused(|| {
        let mutex = Rc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        let mut waiters = [0, 1].map(|_| {
            let mutex = Rc::clone(&mutex);
            spawn(move || mutex.lock().map(drop)).unwrap()
        });
        turns(1);
        waiters[0].cancel();
        drop(guard);
        let stopped = LockError::Stopped(Stopped::Cancelled);
        assert_eq!(waiters[0].join().unwrap(), Err(stopped));
        assert_eq!(waiters[1].join().unwrap(), Ok(()));
        assert!(mutex.try_lock().is_some());
    });
}

#[test]
fn a_panic_unlocks_and_poisons_nothing() {
    paused(|| {
        let mutex = Rc::new(Mutex::new(1));
        let held = Rc::clone(&mutex);
        let mut fiber = spawn(move || {
            let mut guard = held.lock().unwrap();
            *guard = 2;
            sleep(MILLISECOND).unwrap();
            panic!("on purpose");
        })
        .unwrap();
        turns(1);
        assert_eq!(*mutex.lock().unwrap(), 2);
        assert!(fiber.join().is_err());
    });
}

#[test]
fn while_unwinding_a_free_mutex_is_locked_and_a_held_one_is_not_waited_for() {
    struct Locks(Rc<Mutex<u32>>, Rc<Mutex<u32>>);
    impl Drop for Locks {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            let error = self.1.lock().unwrap_err();
            assert_eq!(error, LockError::Stopped(Stopped::Unwinding));
        }
    }
    paused(|| {
        let (free, held) = (Rc::new(Mutex::new(0)), Rc::new(Mutex::new(0)));
        let guard = held.lock().unwrap();
        let locks = Locks(Rc::clone(&free), Rc::clone(&held));
        let mut fiber = spawn(move || {
            let _locks = locks;
            panic!("on purpose");
        })
        .unwrap();
        assert!(fiber.join().is_err());
        drop(guard);
        assert_eq!((*free.lock().unwrap(), *held.lock().unwrap()), (1, 0));
    });
}

#[test]
fn a_mutex_and_a_semaphore_work_without_a_runtime_and_after_one() {
    let semaphore = Semaphore::new(1);
    let mutex = Mutex::new(1);
    let permit = semaphore.acquire().unwrap();
    let stopped = AcquireError::Stopped(Stopped::NoRuntime);
    assert_eq!(semaphore.acquire().unwrap_err(), stopped);
    drop(permit);
    let guard = mutex.lock().unwrap();
    let stopped = LockError::Stopped(Stopped::NoRuntime);
    assert_eq!(mutex.lock().unwrap_err(), stopped);
    drop(guard);
    let kept = semaphore.clone();
    // Its line is of a runtime that is over, with a fiber that never leaves it.
    let leaked = catch_unwind(AssertUnwindSafe(|| {
        let run = crate::Runtime::builder()
            .paused_clock(true)
            .grace(Duration::ZERO)
            .run(move || {
                let held = semaphore.acquire().unwrap();
                go(move || while semaphore.acquire().is_err() {});
                turns(1);
                std::mem::forget(held);
            });
        run.unwrap();
    }));
    assert!(leaked.is_ok());
    paused(move || {
        assert_eq!(kept.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
        let ended = timeout(MILLISECOND, || kept.acquire().map(drop));
        assert!(ended.is_err());
        let ended = no_park(|| kept.acquire().unwrap_err());
        assert_eq!(ended, AcquireError::Stopped(Stopped::WouldWait));
    });
}

#[test]
fn two_fibers_that_wait_with_one_acquiring_take_the_permits_of_one() {
    paused(|| {
        let semaphore = Semaphore::new(2);
        let held = semaphore.acquire_many(2).unwrap();
        let acquiring = semaphore.acquiring(1);
        scope(|s| {
            for _ in 0..2 {
                s.spawn(|| select(&[&acquiring], None).map(drop)).unwrap();
            }
            turns(1);
            drop(held);
            Ok(())
        })
        .unwrap();
        assert_eq!(semaphore.available(), 1);
        assert!(acquiring.take().unwrap().is_some());
        drop(acquiring);
        assert_eq!(semaphore.available(), 2, "nothing is lost");
    });
}
