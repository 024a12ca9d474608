//! What is said of a stack that overflows, by processes that die of it.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;

use super::child::{dies_in_child, in_child};
use super::paused;
use super::stack::{guards, recurse};
use crate::{FiberBuilder, Runtime, STACK_BYTES_DEFAULT, STACK_BYTES_MIN, spawn};

/// The number that stands before `unit` in a report.
fn number_before(text: &str, unit: &str) -> usize {
    let (before, _) = text.split_once(unit).unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_recursion_without_end_is_reported_by_name_place_size_and_depth() {
    for (name, _) in guards() {
        let text = dies_in_child(
            "tests::overflow::a_recursion_without_end_is_reported_by_name_place_size_and_depth",
            &[("FIBER_GUARDS", name)],
            || {
                paused(|| {
                    let fiber = FiberBuilder::new().name(String::from("deep"));
                    fiber.spawn(|| recurse(0)).unwrap().join().unwrap();
                });
            },
        );
        assert!(text.contains("fiber \"deep\" (spawned at "), "{text}");
        assert!(text.contains("tests/overflow.rs:"), "{text}");
        let size = number_before(&text, " bytes, ");
        let depth = number_before(&text, " bytes deep");
        assert!(size.is_multiple_of(4_096) && size >= STACK_BYTES_DEFAULT);
        // The guard is 64 KiB at most, and something was above it.
        assert!(depth <= size && depth + 64 * 1024 >= size, "{text}");
        assert_eq!(text.matches("overflowed").count(), 1, "{text}");
    }
}

#[test]
fn a_frame_of_200_kb_on_a_small_stack_is_reported() {
    #[inline(never)]
    fn big_frame() -> u8 {
        let frame = [1_u8; 200_000];
        black_box(&frame)[7]
    }
    for (name, _) in guards() {
        let text = dies_in_child(
            "tests::overflow::a_frame_of_200_kb_on_a_small_stack_is_reported",
            &[("FIBER_GUARDS", name)],
            || {
                paused(|| {
                    let fiber = FiberBuilder::new().name("small");
                    let fiber = fiber.stack_size(STACK_BYTES_MIN);
                    fiber.spawn(big_frame).unwrap().join().unwrap();
                });
            },
        );
        assert!(text.contains("fiber \"small\""), "{text}");
        assert!(number_before(&text, " bytes, ") < STACK_BYTES_DEFAULT);
    }
}

#[test]
fn the_main_fiber_is_reported() {
    let text = dies_in_child("tests::overflow::the_main_fiber_is_reported", &[], || {
        paused(|| assert_eq!(recurse(0), 0));
    });
    assert!(text.contains("fiber \"main\" (spawned at "), "{text}");
}

#[test]
fn a_child_of_a_scope_is_reported() {
    let text = dies_in_child(
        "tests::overflow::a_child_of_a_scope_is_reported",
        &[],
        || {
            let child = || {
                assert_eq!(recurse(0), 0);
                Ok(())
            };
            paused(move || crate::scope(|s| s.spawn(child).map_err(drop)).unwrap());
        },
    );
    assert!(text.contains("fiber without a name (spawned at "), "{text}");
}

#[test]
fn a_long_name_is_cut() {
    let text = dies_in_child("tests::overflow::a_long_name_is_cut", &[], || {
        paused(|| {
            let fiber = FiberBuilder::new().name("n".repeat(10_000));
            fiber.spawn(|| recurse(0)).unwrap().join().unwrap();
        });
    });
    assert_eq!(
        text.matches('n').count(),
        128 + "spawned".matches('n').count()
    );
}

#[test]
fn without_the_report_the_process_dies_all_the_same() {
    let text = dies_in_child(
        "tests::overflow::without_the_report_the_process_dies_all_the_same",
        &[],
        || {
            // Another runtime of the process has it: what counts is that of this thread.
            crate::run(|| ()).unwrap();
            let quiet = Runtime::builder().overflow_report(false);
            quiet
                .run(|| spawn(|| recurse(0)).unwrap().join().unwrap())
                .unwrap();
        },
    );
    assert!(!text.contains("overflowed"), "{text}");
}

#[test]
fn an_overflow_of_a_threads_own_stack_is_still_reported_by_std() {
    let output = in_child(
        "tests::overflow::an_overflow_of_a_threads_own_stack_is_still_reported_by_std",
        &[],
        || {
            crate::run(|| ()).unwrap();
            assert_eq!(recurse(0), 0);
        },
    );
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(text.contains("thread '"), "{text}");
    assert!(text.contains("has overflowed its stack"), "{text}");
    assert!(!text.contains("fiber without"), "{text}");
}
