//! A child process that was forked off inside a runtime.
//!
//! These tests pretend to be the child: a forked process of a test binary, whose other threads are
//! gone with whatever they held, may not do much.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;

use super::{MILLISECOND, logged, patiently, tcp_pair};
use crate::core;
use crate::net::UdpSocket;
use crate::{RunError, Runtime, sleep, timeout};

fn pretend(forked: bool) {
    core::current()
        .unwrap()
        .reactor
        .pretend_to_be_forked(forked);
}

#[test]
fn a_wait_in_a_child_process_ends_the_run_with_an_error_of_its_own() {
    let went_on = Rc::new(Cell::new(false));
    let seen = Rc::clone(&went_on);
    let lines = logged(move || {
        let ended = Runtime::builder().run(move || {
            pretend(true);
            let _ = sleep(MILLISECOND);
            seen.set(true);
        });
        let error = ended.unwrap_err();
        assert!(matches!(error, RunError::Forked));
        assert_eq!(
            error.to_string(),
            "the runtime belongs to the process that this one was forked from"
        );
    });
    assert!(!went_on.get());
    // The child says nothing of fibers that are the parent's.
    assert_eq!(lines, [""; 0]);
    // A runtime of the child's own is sound.
    crate::run(|| sleep(MILLISECOND)).unwrap().unwrap();
}

#[test]
fn a_child_process_changes_nothing_of_what_its_parent_watches() {
    patiently(|| {
        let (mut near, mut far) = tcp_pair();
        let idle = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(timeout(2 * MILLISECOND, || far.read(&mut [0])).is_err());

        pretend(true);
        let refused = idle.try_recv(&mut [0]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Other);
        let entry = far.bits().entry();
        assert!(entry.is_some());
        far.bits().close(&core::current().unwrap());
        pretend(false);

        // Had it been taken off the queue, registering it again would not be refused as a double.
        let again = far.try_read(&mut [0]).map(drop);
        assert!(again.is_ok(), "the bit was clear: nothing is tried");
        let error = timeout(2 * MILLISECOND, || far.read(&mut [0]));
        assert_eq!(error.unwrap().unwrap_err().kind(), ErrorKind::AlreadyExists);
        near.write_all(&[1]).unwrap();
    });
}
