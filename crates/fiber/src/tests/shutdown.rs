//! The end of a runtime, and runs that can never go on.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, Trace, go, logged, paused, turns};
use crate::{
    Event, FiberBuilder, RunError, Runtime, Stopped, channel, scope, sleep, spawn, timeout,
    yield_now,
};

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn the_end_of_main_cancels_the_others_and_waits_for_their_clean_up() {
    let trace = Trace::new();
    let noted = trace.clone();
    let value = paused(move || {
        go(move || {
            noted.note(sleep(LONG));
            for _ in 0..5 {
                let _ = yield_now();
            }
            noted.note(Ok(()));
        });
        turns(1);
        7
    });
    assert_eq!(value, 7);
    trace.expect([Err(Stopped::Cancelled), Ok(())]);
}

#[test]
fn a_fiber_started_during_the_shutdown_is_cancelled_too() {
    let trace = Trace::new();
    let noted = trace.clone();
    paused(move || {
        go(move || {
            let _ = sleep(LONG);
            go(move || noted.note(sleep(LONG)));
        });
        turns(1);
    });
    trace.expect([Err(Stopped::Cancelled)]);
}

#[test]
fn who_does_not_end_within_the_grace_is_named_and_leaked() {
    let dropped = Rc::new(Cell::new(false));
    struct Say(Rc<Cell<bool>>);
    impl Drop for Say {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let say = Say(Rc::clone(&dropped));
    let lines = logged(move || {
        let began = Runtime::builder()
            .paused_clock(true)
            .grace(50 * MILLISECOND)
            .run(move || {
                FiberBuilder::new()
                    .name("deaf")
                    .spawn(move || {
                        let _say = say;
                        loop {
                            let _ = sleep(LONG);
                        }
                    })
                    .unwrap();
                turns(1);
                crate::Instant::now()
            })
            .unwrap();
        let _ = began;
    });
    let named = lines.iter().any(|line| {
        line.starts_with("leaked") && line.contains("\"deaf\"") && line.contains("shutdown.rs:")
    });
    assert!(named, "{lines:?}");
    assert!(!dropped.get(), "a leaked fiber is never unwound");
}

#[test]
fn a_main_that_can_never_go_on_is_a_deadlock_that_names_the_fibers() {
    let run = Runtime::builder().paused_clock(true).run(|| {
        let (_sender, receiver) = channel::<u8>(1);
        go(|| ());
        let event = Event::new();
        FiberBuilder::new()
            .name("stuck")
            .spawn(move || event.wait())
            .unwrap();
        receiver.recv()
    });
    let Err(RunError::Deadlock(fibers)) = run else {
        panic!("{run:?}");
    };
    assert!(
        fibers.contains("\"main\"") && fibers.contains("waits for Receive"),
        "{fibers}"
    );
    assert!(
        fibers.contains("\"stuck\"") && fibers.contains("waits for Event"),
        "{fibers}"
    );
    assert!(fibers.contains("shutdown.rs:"), "{fibers}");
}

#[test]
fn a_deadlock_is_found_on_real_time_too() {
    let run = crate::run(|| Event::new().wait());
    assert!(matches!(run, Err(RunError::Deadlock(_))), "{run:?}");
}

#[test]
fn a_wait_without_end_hides_no_deadlock() {
    for paused_clock in [true, false] {
        let builder = Runtime::builder().paused_clock(paused_clock);
        let run = builder.run(|| {
            go(|| sleep(Duration::MAX));
            timeout(Duration::MAX, || Event::new().wait())
        });
        assert!(matches!(run, Err(RunError::Deadlock(_))), "{run:?}");
    }
}

#[test]
fn a_report_of_many_fibers_is_bounded() {
    let run = Runtime::builder().paused_clock(true).run(|| {
        for _ in 0..1_000 {
            go(|| Event::new().wait());
        }
        Event::new().wait()
    });
    let Err(RunError::Deadlock(fibers)) = run else {
        panic!("{run:?}");
    };
    assert!(fibers.ends_with("and 937 more"), "{fibers}");
    assert!(fibers.len() < 16 * 1024);
}

#[test]
fn a_main_that_does_not_end_after_a_deadlock_is_leaked() {
    let run = Runtime::builder()
        .paused_clock(true)
        .grace(MILLISECOND)
        .run(|| {
            loop {
                let _ = Event::new().wait();
            }
        });
    let run: Result<(), _> = run;
    assert!(matches!(run, Err(RunError::Deadlock(_))), "{run:?}");
}

#[test]
fn a_runtime_inside_a_runtime_is_refused_and_the_outer_one_goes_on() {
    paused(|| {
        assert!(matches!(crate::run(|| ()), Err(RunError::Nested)));
        let mut child = spawn(|| {
            turns(1);
            crate::run(|| ()).is_err()
        })
        .unwrap();
        assert!(child.join().unwrap());
        sleep(MILLISECOND).unwrap();
    });
}

#[test]
fn a_leaked_scope_frees_nothing_that_its_children_borrow() {
    // Parent and children stay where they are: nothing of them is dropped or run again.
    let touched = Rc::new(Cell::new(0));
    let count = Rc::clone(&touched);
    logged(move || {
        Runtime::builder()
            .paused_clock(true)
            .grace(MILLISECOND)
            .run(move || {
                go(move || {
                    let local = [1; 100];
                    let _ = scope(|s| {
                        s.spawn(|| {
                            loop {
                                let _ = sleep(LONG);
                                count.set(count.get() + local[7]);
                            }
                            #[expect(unreachable_code, reason = "names the error's type")]
                            Ok::<_, ()>(())
                        })
                        .unwrap();
                        Ok(())
                    });
                    unreachable!("the scope is never left");
                });
                turns(2);
            })
            .unwrap();
    });
    assert!(touched.get() > 0);
    let before = touched.get();
    paused(|| sleep(LONG).unwrap());
    assert_eq!(touched.get(), before);
}

#[test]
fn a_fiber_that_never_started_is_dropped_with_the_runtime() {
    // Without a grace period, one that is ready at the end may never begin.
    let dropped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&dropped);
    logged(move || {
        Runtime::builder()
            .paused_clock(true)
            .grace(Duration::ZERO)
            .run(move || {
                for _ in 0..200 {
                    go(|| ());
                }
                go(move || flag.set(true));
            })
            .unwrap();
    });
    assert!(dropped.get() || Rc::strong_count(&dropped) == 1);
}
