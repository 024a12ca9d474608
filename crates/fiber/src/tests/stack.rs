//! Guards and reuse of stacks.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::{go, paused, turns};
use crate::coroutine::{FiberCoroutine, Switch};
use crate::spawn;
use crate::stack::{STACK_BYTES_DEFAULT, Stacks};

/// Says to a child process that it is to overflow a stack, and of which kind.
const OVERFLOW: &str = "FIBER_TEST_OVERFLOW";

fn recurse(depth: u64) -> u64 {
    let frame = [depth; 64];
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + black_box(&frame)[7]
}

fn big_frame() -> u8 {
    let frame = [1_u8; 4 * STACK_BYTES_DEFAULT];
    black_box(&frame)[7]
}

/// Runs this very test in a child that overflows a fiber's stack; it must die of it.
fn dies_of(test: &str, overflow: fn()) {
    if std::env::var_os(OVERFLOW).is_some() {
        overflow();
        std::process::exit(0);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(OVERFLOW, "1")
        .output()
        .unwrap();
    let signal = output.status.signal();
    assert!(
        matches!(signal, Some(libc::SIGSEGV | libc::SIGBUS)),
        "{output:?}"
    );
}

#[test]
fn a_recursion_without_end_hits_the_guard() {
    dies_of(
        "tests::stack::a_recursion_without_end_hits_the_guard",
        || {
            paused(|| spawn(|| recurse(0)).unwrap().join().unwrap());
        },
    );
}

#[test]
fn a_frame_larger_than_the_stack_hits_the_guard() {
    dies_of(
        "tests::stack::a_frame_larger_than_the_stack_hits_the_guard",
        || {
            paused(|| spawn(big_frame).unwrap().join().unwrap());
        },
    );
}

#[test]
fn a_mapped_stack_has_a_guard_too() {
    dies_of("tests::stack::a_mapped_stack_has_a_guard_too", || {
        let stack = Stacks::mapped().take().unwrap();
        FiberCoroutine::new(stack, || recurse(0), |_| ()).resume();
    });
}

#[test]
fn a_fiber_runs_on_either_kind_of_stack() {
    for stacks in [Stacks::new(), Stacks::mapped()] {
        for _ in 0..3 {
            let stack = stacks.take().unwrap();
            let body = || {
                // Most of the stack can be used.
                let used = [1_u8; STACK_BYTES_DEFAULT / 2];
                crate::coroutine::suspend();
                black_box(&used)[7]
            };
            let mut coroutine =
                FiberCoroutine::new(stack, body, |value| assert_eq!(value.unwrap(), 1));
            assert_eq!(coroutine.resume(), Switch::Suspended);
            assert_eq!(coroutine.resume(), Switch::Finished);
        }
    }
}

#[test]
fn a_fiber_dropped_before_it_starts_drops_its_body_and_one_dropped_after_is_leaked() {
    let stacks = Stacks::new();
    let held = std::rc::Rc::new(());
    let make = || {
        let held = std::rc::Rc::clone(&held);
        let body = move || {
            crate::coroutine::suspend();
            drop(held);
        };
        FiberCoroutine::new(stacks.take().unwrap(), body, |_| ())
    };
    drop(make());
    assert_eq!(std::rc::Rc::strong_count(&held), 1);
    let mut started = make();
    assert_eq!(started.resume(), Switch::Suspended);
    let address = std::ptr::from_ref(&held);
    drop(started);
    assert_eq!(std::rc::Rc::strong_count(&held), 2, "its locals stay");
    // Its stack is never given to another.
    let mut next = make();
    assert_eq!(next.resume(), Switch::Suspended);
    assert_eq!(next.resume(), Switch::Finished);
    assert_eq!(std::rc::Rc::strong_count(&held), 2);
    let _ = address;
}

/// The address of a local of a new fiber.
fn address_of_a_local() -> usize {
    spawn(|| {
        let local = 7_u64;
        std::ptr::from_ref(black_box(&local)).addr()
    })
    .unwrap()
    .join()
    .unwrap()
}

#[test]
fn the_stack_of_a_fiber_that_ended_is_the_next_ones() {
    paused(|| {
        let first = address_of_a_local();
        assert_eq!(address_of_a_local(), first);
        go(|| turns(5));
        turns(1);
        assert_ne!(address_of_a_local(), first);
    });
}
