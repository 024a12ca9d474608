//! What other threads ask of a runtime: nothing is lost, nothing is polled for, and all is bounded.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::child::passes_in_child;
use super::{MILLISECOND, go, logged, patiently, paused, real, turns};
use crate::{
    Event, FiberBuilder, REMOTE_QUEUE_MAX, Remote, RemoteError, RunError, Runtime, SpawnError,
    StackGuards, Stopped, park, prepare, sleep, spawn, stats, timeout, yield_now,
};

thread_local! {
    /// What closures from other threads find on the runtime's thread.
    static ARRIVED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static NEWS: Event = Event::new();
}

fn on_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[expect(clippy::disallowed_methods, reason = "other threads are the subject")]
    thread::spawn(body)
}

fn arrive(value: usize) {
    ARRIVED.with_borrow_mut(|arrived| arrived.push(value));
    NEWS.with(Event::set);
}

/// Waits until `count` values arrived.
fn arrived(count: usize) -> Vec<usize> {
    let news = NEWS.with(Clone::clone);
    while ARRIVED.with_borrow(Vec::len) < count {
        news.wait().unwrap();
        news.clear();
    }
    ARRIVED.take()
}

/// Counts how often a value of it was dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn closures_of_several_threads_all_run_on_the_runtimes_thread() {
    const THREADS: usize = 4;
    const EACH: usize = 200;
    patiently(|| {
        let here = thread::current().id();
        let threads: Vec<_> = (0..THREADS)
            .map(|at| {
                let remote = Remote::current().unwrap();
                on_thread(move || {
                    for n in 0..EACH {
                        let value = at * EACH + n;
                        remote
                            .spawn(move || {
                                assert_eq!(thread::current().id(), here);
                                yield_now().unwrap();
                                arrive(value);
                            })
                            .unwrap();
                    }
                })
            })
            .collect();
        let values = arrived(THREADS * EACH);
        // Each thread's in their order.
        for at in 0..THREADS {
            let own = values.iter().filter(|&&value| value / EACH == at);
            assert!(own.copied().eq(at * EACH..(at + 1) * EACH));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_wait_is_ended_from_another_thread_whenever_the_wake_comes() {
    patiently(|| {
        let (ask, asked) = mpsc::channel();
        let remote = Remote::current().unwrap();
        let waker = on_thread(move || {
            for token in asked {
                // Before the fiber parks, while it does, or after.
                remote.unpark(token).unwrap();
                remote.unpark(token).unwrap();
            }
        });
        for _ in 0..2_000 {
            ask.send(prepare().unwrap()).unwrap();
            park().unwrap();
        }
        drop(ask);
        waker.join().unwrap();
    });
}

#[test]
fn a_wake_for_a_wait_that_is_over_is_nothing() {
    patiently(|| {
        let remote = Remote::current().unwrap();
        let old = prepare().unwrap();
        let (began, until) = (crate::Instant::now(), 5 * MILLISECOND);
        let _new = prepare().unwrap();
        remote.unpark(old).unwrap();
        timeout(until, park).unwrap_err();
        assert!(began.elapsed() >= until);
    });
}

#[test]
fn wakes_of_one_wait_are_one_and_those_of_too_many_are_refused() {
    paused(|| {
        let remote = Remote::current().unwrap();
        let fibers: Vec<_> = (0..=REMOTE_QUEUE_MAX)
            .map(|_| {
                let token: Rc<RefCell<Option<_>>> = Rc::default();
                let own = Rc::clone(&token);
                let fiber = spawn(move || {
                    own.replace(Some(prepare().unwrap()));
                    park()
                });
                (token, fiber.unwrap())
            })
            .collect();
        turns(1 + REMOTE_QUEUE_MAX / 32);
        let tokens: Vec<_> = fibers
            .iter()
            .map(|(token, _)| token.borrow().unwrap())
            .collect();
        for _ in 0..3 {
            for &token in &tokens[..REMOTE_QUEUE_MAX] {
                remote.unpark(token).unwrap();
            }
        }
        let last = tokens[REMOTE_QUEUE_MAX];
        assert_eq!(remote.unpark(last), Err(RemoteError::Full));
        sleep(MILLISECOND).unwrap();
        let woken = fibers.iter().filter(|(_, fiber)| fiber.is_finished());
        assert_eq!(woken.count(), REMOTE_QUEUE_MAX);
        remote.unpark(last).unwrap();
        for (_, mut fiber) in fibers {
            fiber.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_closure_too_many_is_refused_and_dropped_and_the_others_run_in_order() {
    paused(|| {
        let remote = Remote::current().unwrap();
        for n in 0..REMOTE_QUEUE_MAX {
            remote.spawn(move || arrive(n)).unwrap();
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let held = Dropped(Arc::clone(&dropped));
        let refused = remote.spawn(move || drop(held));
        assert_eq!(refused, Err(RemoteError::Full));
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        let values = arrived(REMOTE_QUEUE_MAX);
        assert!(values.into_iter().eq(0..REMOTE_QUEUE_MAX));
        remote.spawn(|| arrive(7)).unwrap();
        assert_eq!(arrived(1), [7]);
    });
}

#[test]
fn closures_wait_for_room_among_the_fibers() {
    let run = || {
        let remote = Remote::current().unwrap();
        for n in 0..50 {
            let body = move || {
                sleep(MILLISECOND).unwrap();
                arrive(n);
            };
            remote.spawn(body).unwrap();
        }
        assert!(arrived(50).into_iter().eq(0..50));
    };
    let runtime = Runtime::builder().paused_clock(true).fibers_max(4);
    runtime.run(run).unwrap();
}

#[test]
fn a_remote_costs_nothing_while_nobody_uses_it() {
    real(|| {
        let _remote = Remote::current().unwrap();
        sleep(MILLISECOND).unwrap();
        let before = stats();
        sleep(Duration::from_millis(60)).unwrap();
        let after = stats();
        assert!(after.polls - before.polls <= 3);
        assert!(after.resumes - before.resumes <= 1);
    });
}

#[test]
fn a_batch_of_requests_wakes_the_reactor_once() {
    patiently(|| {
        let remote = Remote::current().unwrap();
        let before = stats();
        for n in 0..100 {
            remote.spawn(move || arrive(n)).unwrap();
        }
        arrived(100);
        sleep(MILLISECOND).unwrap();
        let after = stats();
        assert!(after.polls - before.polls <= 8, "{before:?} {after:?}");
    });
}

#[test]
fn a_runtime_waits_for_a_remote_and_is_deadlocked_without_one() {
    let wait_for = |drop_it: bool| {
        Runtime::builder().paused_clock(true).run(move || {
            let remote = Remote::current().unwrap();
            let thread = on_thread(move || {
                thread::yield_now();
                if !drop_it {
                    remote.spawn(|| arrive(1)).unwrap();
                }
            });
            let ended = Event::new();
            if drop_it {
                assert_eq!(ended.wait(), Err(Stopped::Cancelled));
            } else {
                assert_eq!(arrived(1), [1]);
            }
            thread.join().unwrap();
        })
    };
    for _ in 0..50 {
        wait_for(false).unwrap();
        assert!(matches!(wait_for(true), Err(RunError::Deadlock(_))));
    }
}

#[test]
fn a_remote_that_outlives_its_runtime_says_so() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let held = Dropped(Arc::clone(&dropped));
    let (remote, token) = paused(move || {
        let remote = Remote::current().unwrap();
        let token = prepare().unwrap();
        // Accepted, but the runtime ends before its next poll.
        remote.spawn(move || drop(held)).unwrap();
        (remote, token)
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    for remote in [remote.clone(), remote] {
        let held = Dropped(Arc::clone(&dropped));
        assert_eq!(remote.spawn(move || drop(held)), Err(RemoteError::Ended));
        assert_eq!(remote.unpark(token), Err(RemoteError::Ended));
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
    assert_eq!(Remote::current().unwrap_err(), Stopped::NoRuntime);
}

#[test]
fn fibers_that_clean_up_are_woken_but_none_is_started() {
    let found = Rc::new(Cell::new(None));
    let seen = Rc::clone(&found);
    paused(move || {
        let remote = Remote::current().unwrap();
        go(move || {
            let stopped = Event::new().wait();
            let started = remote.spawn(|| ());
            let woken = remote.unpark(prepare().unwrap());
            seen.set(Some((stopped, started, woken)));
        });
        turns(1);
    });
    let expected = (Err(Stopped::Cancelled), Err(RemoteError::Ended), Ok(()));
    assert_eq!(found.get(), Some(expected));
}

#[test]
fn a_closure_that_panics_when_it_is_dropped_does_not_hurt_the_end() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let lines = logged(|| {
        let ran = paused(|| {
            let remote = Remote::current().unwrap();
            for _ in 0..2 {
                let bomb = Bomb;
                remote.spawn(move || drop(bomb)).unwrap();
            }
            7
        });
        assert_eq!(ran, 7);
    });
    let expected = "a panic while a closure from another thread was dropped is forgotten";
    assert_eq!(lines, [expected; 2]);
}

#[test]
fn a_runtime_that_ends_while_it_is_used_runs_or_drops_all_it_accepted() {
    for round in 0..30 {
        let (ran, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let barrier = Arc::new(Barrier::new(4));
        let (counted, gone, together) =
            (Arc::clone(&ran), Arc::clone(&dropped), Arc::clone(&barrier));
        let threads = real(move || {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let remote = Remote::current().unwrap();
                    let (ran, dropped) = (Arc::clone(&counted), Arc::clone(&gone));
                    let barrier = Arc::clone(&together);
                    on_thread(move || {
                        barrier.wait();
                        let (mut accepted, mut refused) = (0, 0);
                        loop {
                            let (ran, held) = (Arc::clone(&ran), Dropped(Arc::clone(&dropped)));
                            match remote.spawn(move || {
                                ran.fetch_add(1, Ordering::SeqCst);
                                drop(held);
                            }) {
                                Ok(()) => accepted += 1,
                                Err(RemoteError::Full) => refused += 1,
                                Err(error) => {
                                    assert_eq!(error, RemoteError::Ended);
                                    return (accepted, refused + 1);
                                }
                            }
                        }
                    })
                })
                .collect();
            together.wait();
            turns(round);
            threads
        });
        let (mut accepted, mut refused) = (0, 0);
        for thread in threads {
            let (yes, no) = thread.join().unwrap();
            accepted += yes;
            refused += no;
        }
        let (ran, dropped) = (ran.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst));
        assert_eq!(dropped, accepted + refused);
        assert!(ran <= accepted);
    }
}

#[test]
fn two_runtimes_talk_to_each_other() {
    const ROUNDS: usize = 500;
    patiently(|| {
        let home = Remote::current().unwrap();
        let (hand_over, handed) = mpsc::channel();
        let other = on_thread(move || {
            real(move || {
                hand_over.send(Remote::current().unwrap()).unwrap();
                let mut seen = BTreeSet::new();
                while seen.len() < ROUNDS {
                    for value in arrived(1) {
                        assert!(seen.insert(value));
                        home.spawn(move || arrive(value + 1)).unwrap();
                    }
                }
            });
        });
        let there = handed.recv().unwrap();
        let foreign = prepare().unwrap();
        assert_eq!(there.unpark(foreign), Err(RemoteError::OtherRuntime));
        let mut value = 0;
        for _ in 0..ROUNDS {
            there.spawn(move || arrive(value)).unwrap();
            value = arrived(1)[0];
        }
        assert_eq!(value, ROUNDS);
        other.join().unwrap();
        // Its end is known here at once.
        assert_eq!(there.spawn(|| ()), Err(RemoteError::Ended));
    });
}

#[test]
fn a_remote_goes_to_any_thread() {
    fn goes_anywhere<T: Send + Sync + Clone + 'static>(_: &T) {}
    paused(|| goes_anywhere(&Remote::current().unwrap()));
}

#[test]
fn a_closure_that_cannot_be_started_and_panics_when_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let name =
        "tests::remote::a_closure_that_cannot_be_started_and_panics_when_dropped_harms_nobody";
    passes_in_child(name, &[], || {
        let pages = Runtime::builder().stack_guards(StackGuards::Pages);
        let run = pages.run(|| {
            let end = Event::new();
            // All stacks that the process may have.
            loop {
                let end = end.clone();
                match FiberBuilder::new().stack_size(1).spawn(move || end.wait()) {
                    Ok(_) => {}
                    Err(SpawnError::StackLimit { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            let bomb = Bomb;
            let remote = Remote::current().unwrap();
            remote.spawn(move || std::mem::forget(bomb)).unwrap();
            sleep(MILLISECOND).unwrap();
            end.set();
            7
        });
        assert_eq!(run.unwrap(), 7);
    });
}
