//! Calls on a stack of their own, and how much stack some calls take.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::child::{dies_in_child, passes_in_child};
use super::stack::{guards, recurse, use_stack};
use super::{MILLISECOND, Trace, go, paused, real, turns};
use crate::{
    Event, FiberBuilder, JoinError, OffloadError, Runtime, STACK_BYTES_MAX, STACK_BYTES_MIN,
    SpawnError, Stopped, channel, offload, on_big_stack, resolve, sleep, spawn, stack_high_water,
    stats, yield_now,
};

const DEEP: usize = 3 * 1024 * 1024;

#[test]
fn a_call_deeper_than_its_fibers_stack_runs_and_returns_its_value() {
    for (_, guards) in guards() {
        let runtime = Runtime::builder().stack_guards(guards);
        runtime
            .run(|| {
                let local = Rc::new(7);
                for _ in 0..3 {
                    let borrowed = &local;
                    let value = on_big_stack(DEEP + DEEP / 8, || {
                        use_stack(DEEP);
                        **borrowed + 1
                    });
                    assert_eq!(value.unwrap(), 8);
                }
                assert_eq!(Rc::strong_count(&local), 1);
                // The stack is lent: one is enough for all calls that are not nested.
                assert_eq!(stats().stacks_made, 2);
            })
            .unwrap();
    }
}

#[test]
fn calls_on_big_stacks_nest_each_on_its_own() {
    real(|| {
        let address = || {
            let local = black_box(7_u8);
            std::ptr::from_ref(black_box(&local)).addr()
        };
        let outside = address();
        on_big_stack(DEEP, || {
            let outer = address();
            let inner = on_big_stack(DEEP, || {
                use_stack(DEEP);
                yield_now().unwrap_err();
            });
            inner.unwrap();
            assert_eq!(yield_now(), Err(Stopped::WouldWait), "still");
            assert!(outer.abs_diff(address()) < STACK_BYTES_MIN);
            assert!(outer.abs_diff(outside) > STACK_BYTES_MIN);
        })
        .unwrap();
        yield_now().unwrap();
    });
}

#[test]
fn waits_on_a_big_stack_fail_without_a_switch() {
    paused(|| {
        let trace = Trace::new();
        let noted = trace.clone();
        go(move || noted.note(7));
        on_big_stack(DEEP, || {
            assert_eq!(sleep(MILLISECOND), Err(Stopped::WouldWait));
            assert_eq!(yield_now(), Err(Stopped::WouldWait));
            assert_eq!(Event::new().wait(), Err(Stopped::WouldWait));
            let (sender, receiver) = channel::<u8>(1);
            assert_eq!(receiver.recv(), Err(Stopped::WouldWait));
            assert!(matches!(
                offload(|| ()),
                Err(OffloadError::Stopped(Stopped::WouldWait))
            ));
            // What is there needs no wait, and a turn that would be given up is kept.
            for _ in 0..1_000 {
                sender.send(1).unwrap();
                assert_eq!(receiver.recv(), Ok(Some(1)));
            }
            let mut child = spawn(|| 8).unwrap();
            assert!(matches!(
                child.join(),
                Err(JoinError::Stopped(Stopped::WouldWait))
            ));
            let scoped = crate::scope(|s| s.spawn(|| Ok(())).map_err(|error| error.to_string()));
            assert_eq!(scoped, Err(SpawnError::WouldWait.to_string()));
            trace.expect([]);
        })
        .unwrap();
        turns(1);
        trace.expect([7]);
    });
}

#[test]
fn a_panic_on_a_big_stack_passes_through_and_waits_work_again() {
    paused(|| {
        let call = || on_big_stack(DEEP, || -> u8 { panic!("deep down") });
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "deep down");
        sleep(MILLISECOND).unwrap();
        // Uncaught it is the fiber's.
        let mut child = spawn(move || call().unwrap()).unwrap();
        assert!(matches!(child.join(), Err(JoinError::Panicked(_))));
    });
}

#[test]
fn a_big_stack_is_refused_outside_a_fiber_and_beyond_the_bound() {
    assert!(matches!(
        on_big_stack(DEEP, || ()),
        Err(SpawnError::NoRuntime)
    ));
    real(|| {
        assert!(matches!(
            on_big_stack(STACK_BYTES_MAX + 1, || ()),
            Err(SpawnError::StackTooLarge { .. })
        ));
    });
}

#[test]
fn an_overflow_of_a_big_stack_is_reported_with_its_size() {
    let text = dies_in_child(
        "tests::big_stack::an_overflow_of_a_big_stack_is_reported_with_its_size",
        &[],
        || {
            real(|| {
                let fiber = FiberBuilder::new().name("parser");
                let deep = || on_big_stack(16 * STACK_BYTES_MIN, || recurse(0)).unwrap();
                fiber.spawn(deep).unwrap().join().unwrap();
            });
        },
    );
    assert!(text.contains("fiber \"parser\""), "{text}");
    assert!(text.contains("stack of 10"), "a MiB: {text}");
}

#[test]
fn the_high_water_mark_tells_what_was_touched_and_no_more() {
    const SOME: usize = 100 * 1024;
    for (_, guards) in guards() {
        let runtime = Runtime::builder().stack_guards(guards);
        runtime
            .run(|| {
                let touch = || {
                    let before = stack_high_water().unwrap();
                    use_stack(SOME);
                    (before, stack_high_water().unwrap())
                };
                let (before, after) = spawn(touch).unwrap().join().unwrap();
                assert!(before < 32 * 1024, "{before}");
                assert!((SOME..SOME + 32 * 1024).contains(&after), "{after}");
            })
            .unwrap();
    }
    assert_eq!(stack_high_water(), None);
}

/// The mark of a fiber of its own after `body`, on a stack that nobody used before.
fn mark(body: impl FnOnce() + 'static) -> usize {
    real(move || {
        let marked = || {
            body();
            stack_high_water().unwrap()
        };
        spawn(marked).unwrap().join().unwrap()
    })
}

#[test]
fn a_panic_with_a_backtrace_takes_half_of_the_smallest_stack() {
    for backtrace in ["0", "1", "full"] {
        passes_in_child(
            "tests::big_stack::a_panic_with_a_backtrace_takes_half_of_the_smallest_stack",
            &[("RUST_BACKTRACE", backtrace)],
            || {
                let mark = mark(|| drop(catch_unwind(|| panic!("on purpose"))));
                assert!(mark <= STACK_BYTES_MIN / 2, "{mark}");
            },
        );
    }
}

#[test]
fn a_name_is_looked_up_on_a_threads_stack_and_not_on_the_fibers() {
    let mark = mark(|| drop(resolve("localhost", 1)));
    assert!(mark <= 16 * 1024, "{mark}");
}

#[test]
fn what_a_deep_call_touched_goes_back_and_what_is_in_use_stays() {
    for (_, guards) in guards() {
        let touched = || {
            let here = crate::coroutine::with_running(|_, stack| stack.touched());
            here.expect("this runs on a fiber")
        };
        let runtime = Runtime::builder().stack_guards(guards);
        runtime
            .run(move || {
                let kept = black_box([7_u8; 20_000]);
                for _ in 0..3 {
                    use_stack(100_000);
                    assert!(touched() > 120_000);
                    crate::trim_stack();
                    assert!(touched() < 40_000, "{}", touched());
                    assert_eq!(black_box(&kept), &[7; 20_000]);
                }
                // On a stack that is lent it is about that one.
                use_stack(100_000);
                let lent = on_big_stack(DEEP, || {
                    use_stack(DEEP / 2);
                    crate::trim_stack();
                    touched()
                });
                assert!(lent.unwrap() < 20_000);
                assert!(touched() > 120_000);
            })
            .unwrap();
    }
    crate::trim_stack();
}

#[test]
fn trimming_on_a_stack_of_somebody_else_empties_nothing() {
    // Mapped before those of the runtime, so that it mostly lies above them.
    let mut other =
        corosensei::Coroutine::new(|_: &corosensei::Yielder<(), ()>, ()| crate::trim_stack());
    real(move || {
        let locals = black_box([7_u8; 8 * 1024]);
        let _ended = other.resume(());
        assert!(locals.iter().all(|byte| *byte == 7));
        turns(2);
    });
}
