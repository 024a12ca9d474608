//! Clean-up in a scope that is over: it has a time of its own, and the outer end is seen after it.

use std::time::Duration;

use super::{MILLISECOND, Trace, go, logged, paused, timed, turns};
use crate::{
    Cancelled, Elapsed, Event, Instant, Runtime, Stopped, ambient_deadline, cancellable, scope,
    shield, sleep, spawn, timeout, yield_now,
};

const LONG: Duration = Duration::from_secs(3_600);

/// Ways for the outer scope to end, before the shield is entered or inside it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outer {
    TimedOut,
    Cancelled,
    Both,
}

const OUTER: [Outer; 3] = [Outer::TimedOut, Outer::Cancelled, Outer::Both];

/// Runs `body` where the outer scope ends after a millisecond; returns its value and the cause that
/// a wait after it sees.
fn in_outer<T>(outer: Outer, body: impl FnOnce() -> T) -> (T, Stopped) {
    let both = || {
        let value = body();
        (value, sleep(LONG).unwrap_err())
    };
    let cancelled = |body: &mut dyn FnMut()| {
        let ended = cancellable(|canceller| {
            let canceller = canceller.clone();
            go(move || {
                sleep(MILLISECOND).unwrap();
                canceller.cancel();
            });
            body();
        });
        assert_eq!(ended, Err(Cancelled(())), "the outer scope reports its end");
    };
    let mut both = Some(both);
    let mut found = None;
    let mut body = || found = both.take().map(|both| both());
    match outer {
        Outer::TimedOut => assert_eq!(timeout(MILLISECOND, body), Err(Elapsed(()))),
        Outer::Cancelled => cancelled(&mut body),
        // The deadline is the inner one, and first.
        Outer::Both => cancelled(&mut || {
            let ended = timeout(MILLISECOND / 2, &mut body);
            assert_eq!(ended, Err(Elapsed(())));
            assert_eq!(sleep(LONG), Err(Stopped::Cancelled));
        }),
    }
    found.unwrap()
}

fn cause(outer: Outer) -> Stopped {
    match outer {
        Outer::TimedOut | Outer::Both => Stopped::TimedOut,
        Outer::Cancelled => Stopped::Cancelled,
    }
}

#[test]
fn waits_work_in_a_shield_and_fail_again_after_it() {
    for outer in OUTER {
        paused(move || {
            let ((shielded, took), after) = in_outer(outer, || {
                assert_eq!(sleep(LONG), Err(cause(outer)));
                timed(|| {
                    shield(10 * MILLISECOND, || {
                        yield_now().unwrap();
                        sleep(5 * MILLISECOND)
                    })
                })
            });
            assert_eq!((shielded, took), (Ok(Ok(())), 5 * MILLISECOND), "{outer:?}");
            assert_eq!(after, cause(outer));
            assert_eq!(sleep(MILLISECOND), Ok(()), "nothing is left of it");
        });
    }
}

#[test]
fn an_end_that_comes_while_the_shield_is_on_is_seen_after_it() {
    for outer in OUTER {
        paused(move || {
            let ((shielded, took), after) =
                in_outer(outer, || timed(|| shield(LONG, || sleep(5 * MILLISECOND))));
            assert_eq!((shielded, took), (Ok(Ok(())), 5 * MILLISECOND), "{outer:?}");
            assert_eq!(after, cause(outer));
        });
    }
}

#[test]
fn a_shield_has_an_end_of_its_own() {
    for outer in OUTER {
        paused(move || {
            let ((shielded, took), after) = in_outer(outer, || {
                assert_eq!(sleep(LONG), Err(cause(outer)));
                timed(|| {
                    shield(3 * MILLISECOND, || {
                        assert_eq!(sleep(LONG), Err(Stopped::TimedOut));
                        yield_now()
                    })
                })
            });
            let expected = Err(Elapsed(Err(Stopped::TimedOut)));
            assert_eq!((shielded, took), (expected, 3 * MILLISECOND), "{outer:?}");
            assert_eq!(after, cause(outer));
        });
    }
}

#[test]
fn limits_and_cancellations_inside_a_shield_work_as_ever() {
    for outer in OUTER {
        paused(move || {
            let ((), after) = in_outer(outer, || {
                assert_eq!(sleep(LONG), Err(cause(outer)));
                let shielded = shield(LONG, || {
                    let inner = timeout(MILLISECOND, || sleep(LONG));
                    assert_eq!(inner, Err(Elapsed(Err(Stopped::TimedOut))));
                    let inner = cancellable(|canceller| {
                        canceller.cancel();
                        // A shield in a cancellation in a shield.
                        assert_eq!(shield(LONG, || sleep(MILLISECOND)), Ok(Ok(())));
                        yield_now()
                    });
                    assert_eq!(inner, Err(Cancelled(Err(Stopped::Cancelled))));
                    let inner = shield(MILLISECOND, || sleep(LONG));
                    assert_eq!(inner, Err(Elapsed(Err(Stopped::TimedOut))));
                    sleep(MILLISECOND)
                });
                assert_eq!(shielded, Ok(Ok(())));
            });
            assert_eq!(after, cause(outer));
        });
    }
}

#[test]
fn an_inner_shield_outlives_the_time_of_the_outer_one() {
    paused(|| {
        let (outer, took) = timed(|| {
            shield(MILLISECOND, || {
                let inner = shield(4 * MILLISECOND, || sleep(3 * MILLISECOND));
                assert_eq!(inner, Ok(Ok(())));
                sleep(LONG)
            })
        });
        assert_eq!(outer, Err(Elapsed(Err(Stopped::TimedOut))));
        assert_eq!(took, 3 * MILLISECOND);
    });
}

#[test]
fn a_fiber_that_is_cancelled_twice_in_its_shield_is_cancelled_after_it() {
    paused(|| {
        let mut fiber = spawn(|| {
            let shielded = shield(LONG, || sleep(2 * MILLISECOND));
            (shielded, sleep(LONG))
        })
        .unwrap();
        turns(1);
        fiber.cancel();
        turns(2);
        fiber.cancel();
        let ended = fiber.join().unwrap();
        assert_eq!(ended, (Ok(Ok(())), Err(Stopped::Cancelled)));
    });
}

#[test]
fn children_in_a_shield_are_shielded_and_those_outside_are_not() {
    paused(|| {
        let trace = Trace::new();
        let ended: Result<_, Cancelled<Result<(), Stopped>>> = cancellable(|canceller| {
            scope(|outside| {
                outside
                    .spawn(|| {
                        trace.note(("outside", sleep(LONG).is_ok()));
                        Ok(())
                    })
                    .unwrap();
                turns(1);
                canceller.cancel();
                let shielded = shield(LONG, || {
                    scope(|inside| {
                        inside
                            .spawn(|| {
                                trace.note(("inside", sleep(MILLISECOND).is_ok()));
                                Ok(())
                            })
                            .unwrap();
                        Ok::<_, Stopped>(())
                    })
                });
                assert_eq!(shielded, Ok(Ok(())));
                Ok(())
            })
        });
        assert_eq!(
            ended,
            Err(Cancelled(Ok(()))),
            "by the wait of the child outside"
        );
        trace.expect([("outside", false), ("inside", true)]);
    });
}

#[test]
fn the_ambient_deadline_in_a_shield_is_its_own_or_an_inner_one() {
    paused(|| {
        let now = Instant::now();
        let _ = timeout(MILLISECOND, || {
            let _ = shield(LONG, || {
                assert_eq!(ambient_deadline(), Some(now + LONG));
                let _ = timeout(2 * MILLISECOND, || {
                    assert_eq!(ambient_deadline(), Some(now + 2 * MILLISECOND));
                });
            });
            assert_eq!(ambient_deadline(), Some(now + MILLISECOND));
        });
    });
}

#[test]
fn a_panic_leaves_its_shield() {
    paused(|| {
        let mut fiber = spawn(|| {
            let _ = std::panic::catch_unwind(|| {
                let _ = shield(LONG, || panic!("on purpose"));
            });
            sleep(LONG)
        })
        .unwrap();
        turns(1);
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), Err(Stopped::Cancelled));
    });
}

#[test]
fn clean_up_has_its_time_at_shutdown_too() {
    let trace = Trace::new();
    let noted = trace.clone();
    paused(move || {
        go(move || {
            let ended = sleep(LONG);
            let shielded = shield(100 * MILLISECOND, || timed(|| sleep(50 * MILLISECOND)).1);
            noted.note((ended, shielded, sleep(LONG)));
        });
        turns(1);
    });
    trace.expect([(
        Err(Stopped::Cancelled),
        Ok(50 * MILLISECOND),
        Err(Stopped::Cancelled),
    )]);
}

#[test]
fn the_grace_period_bounds_a_shield() {
    let trace = Trace::new();
    let noted = trace.clone();
    let lines = logged(move || {
        Runtime::builder()
            .paused_clock(true)
            .grace(50 * MILLISECOND)
            .run(move || {
                go(move || {
                    let _ = shield(LONG, || sleep(LONG));
                    noted.note(());
                });
                turns(1);
            })
            .unwrap();
    });
    assert!(
        lines.iter().any(|line| line.starts_with("leaked")),
        "{lines:?}"
    );
    trace.expect([]);
}

#[test]
fn a_shield_hides_no_loop_that_swallows_errors() {
    paused(|| {
        let event = Event::new();
        let done = event.clone();
        let looper = spawn(move || {
            for _ in 0..100 {
                let _ = sleep(LONG);
                let _ = shield(Duration::ZERO, || {
                    let _ = sleep(LONG);
                    sleep(LONG)
                });
            }
            done.set();
        })
        .unwrap();
        turns(1);
        looper.cancel();
        let (waited, took) = timed(|| event.wait());
        assert_eq!((waited, took), (Ok(()), 36 * MILLISECOND), "64 are free");
    });
}

#[test]
fn outside_a_fiber_a_shield_runs_its_body() {
    assert_eq!(shield(LONG, || 7), Ok(7));
    assert_eq!(shield(LONG, || sleep(LONG)), Ok(Err(Stopped::NoRuntime)));
}
