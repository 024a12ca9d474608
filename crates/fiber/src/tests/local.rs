//! Values that each fiber has one of.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, Trace, go, logged, paused, turns};
use crate::{Runtime, Stopped, fiber_local, fibers, scope, sleep, spawn, yield_now};

/// Notes its number when it is dropped.
struct Noted(u32, Trace<u32>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.note(self.0);
    }
}

fiber_local! {
    static COUNT: Cell<u32> = Cell::new(7);
    static FIRST: RefCell<Option<Noted>> = RefCell::new(None);
    static SECOND: RefCell<Option<Noted>> = RefCell::default();
}

fiber_local! { static MADE: Cell<u32> = Cell::new(next_made()) }

thread_local! {
    static MADE_SO_FAR: Cell<u32> = const { Cell::new(0) };
}

fn next_made() -> u32 {
    MADE_SO_FAR.set(MADE_SO_FAR.get() + 1);
    MADE_SO_FAR.get()
}

fn keep_both(trace: &Trace<u32>) {
    FIRST
        .with(|first| *first.borrow_mut() = Some(Noted(1, trace.clone())))
        .unwrap();
    SECOND
        .with(|second| *second.borrow_mut() = Some(Noted(2, trace.clone())))
        .unwrap();
}

#[test]
fn each_fiber_has_a_value_of_its_own_made_at_its_first_use() {
    paused(|| {
        MADE_SO_FAR.set(0);
        COUNT.with(|count| count.set(1)).unwrap();
        let fiber = || {
            let number = MADE.with(Cell::get).unwrap();
            turns(2);
            COUNT.with(|count| count.set(count.get() + number)).unwrap();
            turns(2);
            (
                number,
                MADE.with(Cell::get).unwrap(),
                COUNT.with(Cell::get).unwrap(),
            )
        };
        let mut fibers = [spawn(fiber).unwrap(), spawn(fiber).unwrap()];
        let ended = fibers.each_mut().map(|fiber| fiber.join().unwrap());
        assert_eq!(ended, [(1, 1, 8), (2, 2, 9)]);
        assert_eq!(COUNT.with(Cell::get), Ok(1));
        assert_eq!(MADE_SO_FAR.get(), 2, "this fiber never asked for one");
        // A fiber in the same slot starts anew.
        assert_eq!(
            spawn(|| COUNT.with(Cell::get)).unwrap().join().unwrap(),
            Ok(7)
        );
    });
}

#[test]
fn values_are_dropped_at_the_end_of_their_fiber_the_last_first() {
    paused(|| {
        let trace = Trace::new();
        let noted = trace.clone();
        spawn(move || {
            keep_both(&noted);
            noted.note(0);
        })
        .unwrap()
        .join()
        .unwrap();
        trace.expect([0, 2, 1]);
        let ended = scope(|s| {
            s.spawn(|| {
                keep_both(&trace);
                Err("an error")
            })
            .unwrap();
            Ok(())
        });
        assert_eq!(ended, Err("an error"));
        trace.expect([0, 2, 1, 2, 1]);
    });
}

#[test]
fn values_are_dropped_after_a_panic_too() {
    paused(|| {
        let trace = Trace::new();
        let noted = trace.clone();
        let ended = spawn(move || {
            keep_both(&noted);
            panic!("on purpose");
        })
        .unwrap()
        .join();
        let ended: Result<(), _> = ended;
        assert!(ended.is_err());
        trace.expect([2, 1]);
    });
}

#[test]
fn a_drop_may_wait_and_use_what_is_left_but_make_nothing_new() {
    struct Waits(Trace<Result<u32, Stopped>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            sleep(MILLISECOND).unwrap();
            self.0.note(COUNT.with(Cell::get));
            self.0.note(MADE.with(Cell::get));
        }
    }
    fiber_local! { static WAITS: RefCell<Option<Waits>> = RefCell::default() }
    paused(|| {
        let trace = Trace::new();
        let noted = trace.clone();
        spawn(move || {
            COUNT.with(|count| count.set(5)).unwrap();
            let waits = Some(Waits(noted));
            WAITS.with(|kept| *kept.borrow_mut() = waits).unwrap();
        })
        .unwrap()
        .join()
        .unwrap();
        trace.expect([Ok(5), Err(Stopped::NoRuntime)]);
    });
}

#[test]
fn a_drop_that_panics_is_told_and_keeps_neither_the_others_nor_the_join() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    fiber_local! { static PANICS: Panics = Panics }
    let lines = logged(|| {
        paused(|| {
            let trace = Trace::new();
            let noted = trace.clone();
            let ended = spawn(move || {
                keep_both(&noted);
                PANICS.with(|_| ()).unwrap();
                7
            })
            .unwrap()
            .join();
            assert_eq!(ended.unwrap(), 7);
            trace.expect([2, 1]);
        });
    });
    let told = lines
        .iter()
        .any(|line| line.contains("a panic while a value of the fiber"));
    assert!(told, "{lines:?}");
}

#[test]
fn a_value_may_be_used_across_waits_and_inside_itself() {
    paused(|| {
        go(|| while yield_now().is_ok() {});
        let found = COUNT.with(|outer| {
            turns(3);
            COUNT.with(|inner| inner.set(3)).unwrap();
            outer.get()
        });
        assert_eq!(found, Ok(3));
    });
}

#[test]
fn an_initialisation_that_uses_its_own_key_keeps_the_inner_value() {
    thread_local! { static DEPTH: Cell<u32> = const { Cell::new(0) } }
    fn nested() -> u32 {
        DEPTH.set(DEPTH.get() + 1);
        match DEPTH.get() {
            3 => 3,
            depth => NESTED.with(|_| depth).unwrap(),
        }
    }
    fiber_local! { static NESTED: u32 = nested() }
    paused(|| {
        assert_eq!(NESTED.with(|value| *value), Ok(3));
        assert_eq!(DEPTH.get(), 3);
    });
}

#[test]
fn outside_a_fiber_there_are_no_values() {
    assert_eq!(COUNT.with(Cell::get), Err(Stopped::NoRuntime));
}

#[test]
fn the_values_of_a_leaked_fiber_are_not_dropped() {
    let trace = Trace::new();
    let noted = trace.clone();
    logged(move || {
        Runtime::builder()
            .paused_clock(true)
            .grace(Duration::ZERO)
            .run(move || {
                go(move || {
                    keep_both(&noted);
                    loop {
                        let _ = yield_now();
                    }
                });
                turns(2);
            })
            .unwrap();
    });
    trace.expect([]);
}

#[test]
fn a_key_is_no_value_and_a_fiber_without_values_has_none() {
    let kept = Rc::new(Cell::new(0));
    let count = Rc::clone(&kept);
    paused(move || {
        let core = crate::core::current().unwrap();
        go(|| sleep(MILLISECOND));
        turns(1);
        COUNT.with(|_| ()).unwrap();
        let records = core.fibers.borrow();
        let locals = |index| {
            records.with_facts(index, |facts, _| {
                facts.locals.borrow().as_ref().map(|kept| kept.len())
            })
        };
        assert_eq!((locals(0), locals(1)), (Some(1), None));
        drop(records);
        count.set(fibers().len());
    });
    assert_eq!(kept.get(), 2);
}
