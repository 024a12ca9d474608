//! Wakes, deadlines and cancellations: no wake is lost, none works twice, and a race has one end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Side, draw, handle, holds, join_all, milliseconds, pause};
use crate::park::{Unparker, park, prepare};
use crate::tests::go;
use crate::{Event, Instant, Stopped, cancellable, sleep, timeout};

/// A wait, and whether somebody ended it.
type Waiting = (Unparker, Rc<Cell<bool>>);

/// Each wait ends by its own wake, which works once, and by nothing else.
pub(super) fn wakes(_: Side) {
    let waiting: Rc<RefCell<Vec<Waiting>>> = Rc::default();
    let left = Rc::new(Cell::new(0));
    for _ in 0..4 {
        let (waiting, left) = (Rc::clone(&waiting), Rc::clone(&left));
        left.set(left.get() + 1);
        go(move || {
            for _ in 0..10 {
                let woken = Rc::new(Cell::new(false));
                let token = prepare().unwrap();
                waiting.borrow_mut().push((token, Rc::clone(&woken)));
                if park().is_err() {
                    // The run is over, by a fault that was planted.
                    return;
                }
                assert!(woken.get(), "woken by nobody");
            }
            left.set(left.get() - 1);
        });
    }
    let mut used = Vec::new();
    while left.get() > 0 {
        let next = {
            let mut waiting = waiting.borrow_mut();
            let len = waiting.len() as u64;
            (len > 0).then(|| waiting.swap_remove(usize::try_from(draw(len)).unwrap()))
        };
        if let Some((token, woken)) = next {
            woken.set(true);
            assert!(token.unpark(), "a wait was not there to be woken");
            used.push(token);
        }
        for token in &used {
            assert!(!token.unpark(), "a used token woke a later wait");
        }
        pause();
    }
}

/// A wait that races with its deadline and a cancellation ends by one of the three, in time.
pub(super) fn races(side: Side) {
    let mut fibers = Vec::new();
    for _ in 0..6 {
        fibers.push(handle(move || {
            let (event, cancelled) = (Rc::new(Event::new()), Rc::new(Cell::new(false)));
            let (limit, set_at, cancel_at) = (draw(5), draw(5), draw(5));
            let began = Instant::now();
            let ended = cancellable(|canceller| {
                let (canceller, setting) = (canceller.clone(), Rc::clone(&event));
                let was_cancelled = Rc::clone(&cancelled);
                go(move || {
                    if sleep(milliseconds(set_at)).is_ok() {
                        setting.set();
                    }
                });
                go(move || {
                    if sleep(milliseconds(cancel_at)).is_ok() {
                        was_cancelled.set(true);
                        canceller.cancel();
                    }
                });
                timeout(milliseconds(limit), || event.wait())
            });
            let took = began.elapsed();
            let first = limit.min(set_at).min(cancel_at);
            let first = milliseconds(first);
            assert!(
                took < first + side.late_max(),
                "{took:?} instead of {first:?}"
            );
            match ended {
                Ok(Ok(Ok(()))) => assert!(event.is_set()),
                Ok(Err(elapsed)) => {
                    assert_eq!(elapsed.0, Err(Stopped::TimedOut));
                    assert!(took >= milliseconds(limit));
                }
                Err(_) => assert!(cancelled.get()),
                Ok(Ok(Err(stopped))) => panic!("a cause of no scope: {stopped}"),
            }
        }));
    }
    join_all(fibers);
}

/// A sleep never ends early, and those of one fiber add up.
fn sleeps(side: Side) {
    let began = Instant::now();
    let mut fibers = Vec::new();
    for _ in 0..8 {
        fibers.push(handle(move || {
            let mut due = 0;
            for _ in 0..4 {
                let length = draw(4);
                let before = Instant::now();
                sleep(milliseconds(length)).unwrap();
                let took = before.elapsed();
                assert!(took >= milliseconds(length), "{took:?} of {length} ms");
                assert!(took < milliseconds(length) + side.late_max(), "{took:?}");
                due += length;
                assert!(began.elapsed() >= milliseconds(due));
            }
        }));
    }
    join_all(fibers);
}

/// A fiber that is cancelled learns of it once and for all; one that is not never does.
fn cancellations(_: Side) {
    let mut fibers = Vec::new();
    for _ in 0..6 {
        fibers.push(handle(|| {
            let cancels = draw(2) == 0;
            let mut victim = crate::spawn(|| {
                let first = sleep(milliseconds(2));
                let second = sleep(milliseconds(0));
                (first, second)
            })
            .unwrap();
            pause();
            let before_its_end = !victim.is_finished();
            if cancels {
                victim.cancel();
            }
            match victim.join().unwrap() {
                (Ok(()), Ok(())) => assert!(!cancels || !before_its_end),
                (Err(Stopped::Cancelled), Err(Stopped::Cancelled)) => assert!(cancels),
                // It came between the two, or one of them had ended when it came.
                (Ok(()), Err(Stopped::Cancelled)) => assert!(cancels),
                other => panic!("cancelled or not, found {other:?}"),
            }
        }));
    }
    join_all(fibers);
}

#[test]
fn no_wake_is_lost_and_none_works_twice() {
    holds(wakes);
}

#[test]
fn a_race_of_deadline_cancellation_and_event_has_one_end() {
    holds(races);
}

#[test]
fn no_sleep_ends_early_or_late() {
    holds(sleeps);
}

#[test]
fn who_is_cancelled_learns_of_it_and_nobody_else() {
    holds(cancellations);
}
