//! Scopes: left when their last child ended, by the first error, whatever else happens.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Side, draw, handle, holds, join_all, milliseconds, pause};
use crate::{Elapsed, Stopped, scope, shield, sleep, timeout, yield_now};

/// A scope is left when its last child ended; the first error is its result and ends the others.
fn scopes(_: Side) {
    for _ in 0..5 {
        let (alive, failing) = (Cell::new(0), draw(6));
        let result = scope(|s| {
            for n in 0..5_u64 {
                let alive = &alive;
                alive.set(alive.get() + 1);
                s.spawn(move || {
                    let _ = yield_now();
                    let waited = sleep(milliseconds(draw(4)));
                    let _ = yield_now();
                    alive.set(alive.get() - 1);
                    match waited {
                        Ok(()) if n == failing => Err("failed"),
                        Ok(()) => Ok(()),
                        Err(Stopped::Cancelled) => Err("cancelled"),
                        Err(other) => panic!("no deadline was set: {other}"),
                    }
                })
                .unwrap();
            }
            Ok(())
        });
        assert_eq!(alive.get(), 0);
        assert_eq!(result, if failing < 5 { Err("failed") } else { Ok(()) });
    }
}

/// Of nested limits the one that expired has it as its own, those inside pass it on, and what is
/// shielded has its time.
fn nested(_: Side) {
    let mut fibers = Vec::new();
    for _ in 0..4 {
        fibers.push(handle(|| {
            let (outer, inner, length) = (draw(4), draw(4), draw(5));
            let cleaned = Cell::new(false);
            let result = timeout(milliseconds(outer), || {
                let result = timeout(milliseconds(inner), || sleep(milliseconds(length)));
                // Clean-up is done, whichever of them is over.
                let done = shield(milliseconds(1_000), || sleep(milliseconds(1)));
                cleaned.set(matches!(done, Ok(Ok(()))));
                result
            });
            assert!(cleaned.get());
            match result {
                // Neither expired while it was waited.
                Ok(Ok(waited)) => assert!(waited == Ok(()) && length <= inner.min(outer)),
                Ok(Err(elapsed)) => {
                    assert_eq!(elapsed, Elapsed(Err(Stopped::TimedOut)));
                    assert!(inner <= length);
                }
                Err(Elapsed(Ok(waited))) => {
                    assert_eq!(waited, Err(Stopped::TimedOut));
                    assert!(outer <= length);
                }
                Err(Elapsed(Err(elapsed))) => {
                    assert_eq!(elapsed, Elapsed(Err(Stopped::TimedOut)));
                    assert!(inner <= length);
                }
            }
        }));
    }
    join_all(fibers);
}

/// A scope whose surroundings end waits for its children all the same, and they borrow from it.
fn ended_from_outside(_: Side) {
    let log: Rc<RefCell<Vec<&str>>> = Rc::default();
    let inside = Rc::clone(&log);
    let mut parent = crate::spawn(move || {
        let alive = Cell::new(0);
        let result: Result<(), Stopped> = scope(|s| {
            for _ in 0..4 {
                alive.set(alive.get() + 1);
                s.spawn(|| {
                    let waited = sleep(milliseconds(draw(6)));
                    let _ = shield(milliseconds(50), || {
                        pause();
                        sleep(milliseconds(draw(3)))
                    });
                    alive.set(alive.get() - 1);
                    waited
                })
                .unwrap();
            }
            sleep(milliseconds(3))
        });
        assert_eq!(alive.get(), 0);
        inside.borrow_mut().push("left");
        result
    })
    .unwrap();
    sleep(milliseconds(draw(5))).unwrap();
    parent.cancel();
    let result = parent.join().unwrap();
    assert_eq!(log.take(), ["left"]);
    assert!(matches!(result, Ok(()) | Err(Stopped::Cancelled)));
}

#[test]
fn a_scope_waits_for_its_children_and_fails_by_the_first_error() {
    holds(scopes);
}

#[test]
fn of_nested_limits_each_reports_its_own_and_clean_up_has_its_time() {
    holds(nested);
}

#[test]
fn a_scope_that_is_ended_from_outside_waits_for_its_children() {
    holds(ended_from_outside);
}
