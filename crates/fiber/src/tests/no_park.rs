//! Sections that must not wait.

use std::io::{Read, Write};
use std::panic::catch_unwind;
use std::time::Duration;

use super::{MILLISECOND, go, logged, paused, turns};
use crate::net::pipe;
use crate::{
    Event, Instant, OffloadError, SpawnError, Stopped, cancellable, cause, channel, no_park,
    offload, scope, select, sleep, spawn, stats, yield_now,
};

#[test]
fn calls_that_need_no_wait_work_and_others_fail_without_a_switch() {
    paused(|| {
        let (sender, receiver) = channel(1);
        let (mut left, mut right) = pipe(4);
        go(|| while yield_now().is_ok() {});
        turns(1);
        let (before, parks) = (stats().resumes, super::parked_reasons());
        no_park(|| {
            sender.send(1).unwrap();
            assert!(sender.send(2).is_err());
            assert_eq!(receiver.recv(), Ok(Some(1)));
            assert_eq!(receiver.recv(), Err(Stopped::WouldWait));
            left.write_all(&[1; 4]).unwrap();
            let error = left.write_all(&[1]).unwrap_err();
            assert_eq!(cause(&error), Some(Stopped::WouldWait));
            right.read_exact(&mut [0; 4]).unwrap();
            let error = right.read(&mut [0]).unwrap_err();
            assert_eq!(cause(&error), Some(Stopped::WouldWait));
            assert_eq!(yield_now(), Err(Stopped::WouldWait));
            let offloaded = offload(|| ());
            let stopped = matches!(offloaded, Err(OffloadError::Stopped(Stopped::WouldWait)));
            assert!(stopped, "{offloaded:?}");
            let event = Event::new();
            let error = select(&[&event], None).unwrap_err();
            assert_eq!(cause(&error), Some(Stopped::WouldWait));
            event.set();
            select(&[&event], None).unwrap();
        });
        assert_eq!((stats().resumes, super::parked_reasons()), (before, parks));
        yield_now().unwrap();
    });
}

#[test]
fn the_first_wait_of_a_section_is_named_and_the_next_section_names_its_own() {
    let lines = logged(|| {
        paused(|| {
            for _ in 0..2 {
                no_park(|| {
                    let inner = no_park(|| sleep(MILLISECOND));
                    assert_eq!(inner, Err(Stopped::WouldWait));
                    assert_eq!(sleep(MILLISECOND), Err(Stopped::WouldWait), "still on");
                });
                sleep(MILLISECOND).unwrap();
            }
        });
    });
    let named: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("a wait failed inside the no_park at"))
        .collect();
    assert_eq!(named.len(), 2, "{lines:?}");
    assert!(
        named[0].contains("no_park.rs:") && named[0].contains("\"main\""),
        "{named:?}"
    );
}

#[test]
fn a_section_that_panics_is_left() {
    paused(|| {
        let caught = catch_unwind(|| no_park(|| panic!("on purpose")));
        assert!(caught.is_err());
        sleep(MILLISECOND).unwrap();
    });
}

#[test]
fn a_scope_that_is_over_gives_up_no_turn_in_a_section() {
    paused(|| {
        let ended = cancellable(|canceller| {
            canceller.cancel();
            no_park(|| {
                // More than are free.
                for _ in 0..200 {
                    assert_eq!(sleep(MILLISECOND), Err(Stopped::WouldWait));
                    assert_eq!(yield_now(), Err(Stopped::WouldWait));
                }
            });
            sleep(MILLISECOND)
        });
        assert_eq!(ended.unwrap_err().0, Err(Stopped::Cancelled));
    });
}

#[test]
fn many_operations_in_a_section_keep_the_turn() {
    paused(|| {
        let event = Event::new();
        event.set();
        let mut other = spawn(|| ()).unwrap();
        no_park(|| {
            for _ in 0..1_000 {
                select(&[&event], Some(Instant::from_nanos(0))).unwrap();
            }
            assert!(!other.is_finished());
        });
        other.join().unwrap();
    });
}

#[test]
fn a_section_starts_fibers_but_no_children() {
    paused(|| {
        let ended = no_park(|| {
            go(|| ());
            scope(|s| {
                let refused = s.spawn(|| Ok(()));
                assert!(matches!(refused, Err(SpawnError::WouldWait)), "{refused:?}");
                Ok::<_, ()>(7)
            })
        });
        assert_eq!(ended, Ok(7));
    });
}

#[test]
fn outside_a_fiber_a_section_runs_its_body() {
    assert_eq!(no_park(|| sleep(Duration::ZERO)), Err(Stopped::NoRuntime));
}
