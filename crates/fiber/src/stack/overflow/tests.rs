//! What needs a fault by force, or a handler of others.

use super::*;
use crate::tests::child::{dies_in_child, in_child};
use crate::tests::stack::recurse;
use crate::{Runtime, run, spawn};

/// What the handler of others says, and the code it ends the process with.
const OTHERS: &str = "the handler that was there before";
const OTHERS_CODE: i32 = 7;

#[test]
fn text_is_cut_at_its_bound_and_numbers_are_written_out() {
    let mut text = Text::new();
    for number in [0, 7, 10, 65_530, usize::MAX] {
        text.add_number(number);
        text.add(b" ");
    }
    let expected = format!("0 7 10 65530 {} ", usize::MAX);
    assert_eq!(&text.bytes[..text.len], expected.as_bytes());
    text.add(&[b'x'; 2 * REPORT_BYTES]);
    assert_eq!(text.len, REPORT_BYTES);
    assert_eq!(text.bytes[REPORT_BYTES - 1], b'x');
    text.add(b"y");
    assert_eq!(text.len, REPORT_BYTES);
}

/// Reads where nothing is mapped.
fn fault() {
    let nowhere: *const u8 = ptr::without_provenance(16);
    // SAFETY: none, on purpose: the process is to end here.
    let byte = unsafe { nowhere.read_volatile() };
    assert_eq!(byte, 0);
}

extern "C" fn others(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: pointer and length describe one text; both calls are allowed in a handler.
    unsafe {
        libc::write(2, OTHERS.as_ptr().cast(), OTHERS.len());
        libc::_exit(OTHERS_CODE);
    }
}

/// Handles SIGSEGV by `handler` before this crate does.
fn handle_by(handler: usize) {
    // SAFETY: a valid value of this plain C structure with a handler of the right signature, in a
    // process of this test's own.
    unsafe {
        let mut action = mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(
            libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()),
            0
        );
    }
}

fn in_a_fiber(body: impl FnOnce() + 'static) {
    run(|| spawn(body).unwrap().join().unwrap()).unwrap();
}

#[test]
fn a_fault_that_is_no_overflow_goes_to_the_handler_before() {
    let output = in_child(
        "stack::overflow::tests::a_fault_that_is_no_overflow_goes_to_the_handler_before",
        &[],
        || {
            handle_by(others as *const () as usize);
            in_a_fiber(fault);
        },
    );
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(OTHERS_CODE), "{text}");
    assert!(
        text.contains(OTHERS) && !text.contains("overflowed"),
        "{text}"
    );
}

#[test]
fn a_fault_that_is_no_overflow_ends_the_process_without_a_report() {
    for default in ["", "1"] {
        let text = dies_in_child(
            "stack::overflow::tests::a_fault_that_is_no_overflow_ends_the_process_without_a_report",
            &[("FIBER_TEST_DEFAULT", default)],
            || {
                // What std put there, or nothing at all.
                if std::env::var_os("FIBER_TEST_DEFAULT").unwrap() == "1" {
                    handle_by(libc::SIG_DFL);
                }
                in_a_fiber(fault);
            },
        );
        assert!(!text.contains("overflowed"), "{text}");
    }
}

#[test]
fn a_signal_that_is_sent_ends_the_process_without_a_report() {
    let text = dies_in_child(
        "stack::overflow::tests::a_signal_that_is_sent_ends_the_process_without_a_report",
        &[],
        || {
            handle_by(libc::SIG_DFL);
            // SAFETY: has no preconditions.
            in_a_fiber(|| assert_eq!(unsafe { libc::raise(libc::SIGSEGV) }, 0));
        },
    );
    assert!(!text.contains("overflowed"), "{text}");
}

#[test]
fn the_handler_before_is_told_of_an_overflow_after_the_report() {
    let output = in_child(
        "stack::overflow::tests::the_handler_before_is_told_of_an_overflow_after_the_report",
        &[],
        || {
            handle_by(others as *const () as usize);
            in_a_fiber(|| assert_eq!(recurse(0), 0));
        },
    );
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(OTHERS_CODE), "{text}");
    let report = text.find("has overflowed its stack").unwrap();
    assert!(text.find(OTHERS).unwrap() > report, "{text}");
}

#[test]
fn a_handler_before_that_changes_nothing_makes_no_loop() {
    extern "C" fn idle(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    let text = dies_in_child(
        "stack::overflow::tests::a_handler_before_that_changes_nothing_makes_no_loop",
        &[],
        || {
            handle_by(idle as *const () as usize);
            in_a_fiber(|| assert_eq!(recurse(0), 0));
        },
    );
    assert_eq!(text.matches("has overflowed its stack").count(), 1);
}

#[test]
fn the_signal_stack_of_the_thread_is_what_it_was_once_the_runtime_is_over() {
    let now = || {
        let before = swap_signal_stack(&libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        })
        .unwrap();
        swap_signal_stack(&before).unwrap();
        (before.ss_sp.addr(), before.ss_flags, before.ss_size)
    };
    let before = now();
    assert_eq!(run(now).unwrap().2, SIGNAL_STACK_BYTES);
    assert_eq!(now(), before);
    let off = Runtime::builder().overflow_report(false);
    assert_eq!(off.run(now).unwrap(), before);
}
