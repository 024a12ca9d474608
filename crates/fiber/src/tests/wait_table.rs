//! Every kind of wait is ended by what it waits for, by a cancellation and by a deadline.
//!
//! The table is a match without a wildcard over [`WaitReason`], and so is the walk through it: a
//! new kind of wait does not compile before it has its row.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, Trace, go, logged, parked_reasons, paused, real, timed, turns};
use crate::net::pipe;
use crate::signal::{Signal, Signals};
use crate::{
    Event, OffloadError, Stopped, WaitReason, cause, channel, offload, oneshot, park, prepare,
    scope, select, sleep, spawn, timeout, yield_now,
};

/// A wait, and what makes it succeed.
struct Row {
    wait: Box<dyn FnOnce() -> Result<(), Stopped>>,
    wake: Box<dyn FnOnce()>,
    /// Real time passes while another thread works.
    real_time: bool,
}

fn row(
    wait: impl FnOnce() -> Result<(), Stopped> + 'static,
    wake: impl FnOnce() + 'static,
) -> Option<Row> {
    Some(Row {
        wait: Box::new(wait),
        wake: Box::new(wake),
        real_time: false,
    })
}

fn stopped(error: &std::io::Error) -> Stopped {
    cause(error).expect("the wait ended by its scope")
}

/// The row of a kind of wait; none for the one that nothing may end.
fn table(reason: WaitReason) -> Option<Row> {
    match reason {
        WaitReason::Sleep => row(|| sleep(5 * MILLISECOND), || ()),
        WaitReason::Join => {
            let event = Event::new();
            let waited = event.clone();
            let mut child = spawn(move || {
                // The other fiber may outlive the wait for it.
                let _ = waited.wait();
            })
            .unwrap();
            let wait = move || match child.join() {
                Ok(()) => Ok(()),
                Err(crate::JoinError::Stopped(stopped)) => Err(stopped),
                Err(other) => panic!("{other}"),
            };
            row(wait, move || event.set())
        }
        WaitReason::ScopeEnd => {
            let event = Event::new();
            let waited = event.clone();
            let wait = move || {
                let waited = &waited;
                scope(|s| {
                    s.spawn(|| waited.wait()).unwrap();
                    Ok(())
                })
            };
            row(wait, move || event.set())
        }
        WaitReason::Send => {
            let (sender, receiver) = channel(1);
            sender.send(1).unwrap();
            let wait = move || {
                sender.send(2).map_err(|error| match error.cause {
                    crate::sync::SendCause::Stopped(stopped) => stopped,
                    other => panic!("{other:?}"),
                })
            };
            let receiver = Rc::new(receiver);
            let kept = Rc::clone(&receiver);
            // Kept alive by both, for a channel without a receiver is not waited for.
            row(
                move || {
                    let _kept = kept;
                    wait()
                },
                move || assert_eq!(receiver.try_recv(), Ok(1)),
            )
        }
        WaitReason::Receive => {
            let (sender, receiver) = channel(1);
            let kept = sender.clone();
            row(
                move || {
                    let _kept = kept;
                    receiver.recv().map(|value| assert_eq!(value, Some(1)))
                },
                move || sender.send(1).unwrap(),
            )
        }
        WaitReason::Oneshot => {
            let (sender, mut receiver) = oneshot();
            row(
                move || receiver.recv().map(|value| assert_eq!(value, Some(1))),
                move || sender.send(1).unwrap(),
            )
        }
        WaitReason::Event => {
            let event = Event::new();
            let waited = event.clone();
            row(move || waited.wait(), move || event.set())
        }
        WaitReason::Readable => {
            let (left, mut right) = pipe(1);
            row(
                move || right.read_exact(&mut [0]).map_err(|error| stopped(&error)),
                move || assert_eq!(left.try_write(&[1]).unwrap(), Some(1)),
            )
        }
        WaitReason::Writable => {
            let (mut left, right) = pipe(1);
            left.write_all(&[1]).unwrap();
            let right = Rc::new(right);
            let kept = Rc::clone(&right);
            row(
                move || {
                    let _kept = kept;
                    left.write_all(&[2]).map_err(|error| stopped(&error))
                },
                move || assert_eq!(right.try_read(&mut [0]).unwrap(), Some(1)),
            )
        }
        WaitReason::Signal => {
            let signals = Rc::new(Signals::listen(&[Signal::User1]).unwrap());
            let waited = Rc::clone(&signals);
            row(
                move || {
                    waited
                        .recv()
                        .map(|signal| assert_eq!(signal, Signal::User1))
                },
                move || signals.inject(Signal::User1),
            )
        }
        WaitReason::Offload => {
            let (go_on, held) = std::sync::mpsc::channel::<()>();
            Some(Row {
                wait: Box::new(move || {
                    // The thread ends when the sender is used or dropped.
                    offload(move || held.recv().unwrap_or(())).map_err(|error| match error {
                        OffloadError::Stopped(stopped) => stopped,
                        other => panic!("{other}"),
                    })
                }),
                wake: Box::new(move || go_on.send(()).unwrap()),
                real_time: true,
            })
        }
        WaitReason::Select => {
            let (one, other) = (Event::new(), Event::new());
            let waited = (one.clone(), other.clone());
            row(
                move || {
                    select(&[&waited.0, &waited.1], None)
                        .map(|_| ())
                        .map_err(|error| stopped(&error))
                },
                move || {
                    let _ = &one;
                    other.set();
                },
            )
        }
        WaitReason::Unpark => {
            let token = Rc::new(Cell::new(None));
            let handed = Rc::clone(&token);
            row(
                move || {
                    handed.set(Some(prepare()?));
                    park()
                },
                move || assert!(token.get().unwrap().unpark()),
            )
        }
        WaitReason::Penalty => None,
    }
}

/// Walks through all kinds of waits.
fn after(reason: WaitReason) -> Option<WaitReason> {
    match reason {
        WaitReason::Sleep => Some(WaitReason::Join),
        WaitReason::Join => Some(WaitReason::ScopeEnd),
        WaitReason::ScopeEnd => Some(WaitReason::Send),
        WaitReason::Send => Some(WaitReason::Receive),
        WaitReason::Receive => Some(WaitReason::Oneshot),
        WaitReason::Oneshot => Some(WaitReason::Event),
        WaitReason::Event => Some(WaitReason::Readable),
        WaitReason::Readable => Some(WaitReason::Writable),
        WaitReason::Writable => Some(WaitReason::Signal),
        WaitReason::Signal => Some(WaitReason::Offload),
        WaitReason::Offload => Some(WaitReason::Select),
        WaitReason::Select => Some(WaitReason::Unpark),
        WaitReason::Unpark => Some(WaitReason::Penalty),
        WaitReason::Penalty => None,
    }
}

/// Runs `check` for each kind of wait that can be ended, in a runtime of its own.
fn for_each_row(check: fn(WaitReason, Row)) {
    let mut next = Some(WaitReason::Sleep);
    let mut rows = 0;
    while let Some(reason) = next {
        // Rows that need a runtime to be built get the one they are checked in.
        let body = move || match table(reason) {
            Some(row) => check(reason, row),
            None => assert_eq!(reason, WaitReason::Penalty, "only the pause has no row"),
        };
        if reason == WaitReason::Offload {
            real(body);
        } else {
            paused(body);
        }
        rows += 1;
        next = after(reason);
    }
    assert_eq!(rows, 14);
}

#[test]
fn every_wait_is_ended_by_what_it_waits_for() {
    for_each_row(|reason, row| {
        let mut waiter = spawn(row.wait).unwrap();
        turns(2);
        assert!(parked_reasons().contains(&reason), "{reason:?}");
        assert!(!waiter.is_finished());
        (row.wake)();
        assert_eq!(waiter.join().unwrap(), Ok(()), "{reason:?}");
    });
}

#[test]
fn every_wait_is_ended_by_a_cancellation() {
    for_each_row(|reason, row| {
        let mut waiter = spawn(row.wait).unwrap();
        turns(2);
        assert!(parked_reasons().contains(&reason), "{reason:?}");
        waiter.cancel();
        let (ended, took) = timed(|| waiter.join().unwrap());
        assert_eq!(ended, Err(Stopped::Cancelled), "{reason:?}");
        assert!(row.real_time || took.is_zero(), "{reason:?}");
    });
}

#[test]
fn every_wait_is_ended_by_a_deadline() {
    for_each_row(|reason, row| {
        let limit = 3 * MILLISECOND;
        let (ended, took) = timed(|| timeout(limit, row.wait));
        assert_eq!(ended.unwrap_err().0, Err(Stopped::TimedOut), "{reason:?}");
        assert!(took == limit || (row.real_time && took > limit), "{took:?}");
    });
}

#[test]
fn every_wait_fails_at_once_where_the_scope_is_over() {
    for_each_row(|reason, row| {
        let waiter = spawn(move || {
            while yield_now().is_ok() {}
            (row.wait)()
        });
        let mut waiter = waiter.unwrap();
        turns(1);
        waiter.cancel();
        let (ended, took) = timed(|| waiter.join().unwrap());
        assert_eq!(ended, Err(Stopped::Cancelled), "{reason:?}");
        assert!(row.real_time || took.is_zero(), "{reason:?}");
    });
}

#[test]
fn a_scope_ends_only_after_its_children_however_it_is_ended() {
    for by_deadline in [false, true] {
        paused(move || {
            let trace = Trace::new();
            let inner = trace.clone();
            let mut parent = spawn(move || {
                let ended: Result<(), Stopped> = scope(|s| {
                    s.spawn(|| {
                        let ended = sleep(Duration::from_secs(60));
                        inner.note(1);
                        for _ in 0..10 {
                            // Clean-up that takes turns.
                            let _ = yield_now();
                        }
                        inner.note(2);
                        ended
                    })
                    .unwrap();
                    Ok(())
                });
                inner.note(3);
                ended
            })
            .unwrap();
            turns(2);
            let ended = if by_deadline {
                let outer = trace.clone();
                parent.cancel();
                timeout(MILLISECOND, move || {
                    scope(|s| {
                        s.spawn(|| sleep(Duration::from_secs(60))).unwrap();
                        Ok(())
                    })
                    .inspect_err(|_| outer.note(0))
                })
                .unwrap_err()
                .0
            } else {
                parent.cancel();
                parent.join().unwrap()
            };
            let cause = if by_deadline {
                Stopped::TimedOut
            } else {
                Stopped::Cancelled
            };
            assert_eq!(ended, Err(cause));
            let order: Vec<_> = trace.entries().into_iter().filter(|&n| n > 0).collect();
            assert_eq!(order, [1, 2, 3]);
        });
    }
}

#[test]
fn the_pause_lasts_its_millisecond_whatever_happens() {
    paused(|| {
        let (begun, ended) = (Trace::new(), Trace::new());
        let (note_begun, note_ended) = (begun.clone(), ended.clone());
        let looper = spawn(move || {
            for _ in 0..66 {
                note_begun.note(crate::Instant::now());
                let _ = timeout(Duration::from_micros(10), || sleep(Duration::from_secs(1)));
                note_ended.note(crate::Instant::now());
            }
        })
        .unwrap();
        turns(1);
        looper.cancel();
        while !parked_reasons().contains(&WaitReason::Penalty) {
            if begun.entries().len() > 66 {
                panic!("the loop was never slowed");
            }
            yield_now().unwrap();
        }
        // Neither another cancellation nor the nested deadline cuts it short.
        looper.cancel();
        sleep(Duration::from_micros(500)).unwrap();
        assert!(parked_reasons().contains(&WaitReason::Penalty));
        sleep(10 * MILLISECOND).unwrap();
        assert!(looper.is_finished());
        let paused = begun.entries().into_iter().zip(ended.entries());
        let paused: Vec<_> = paused.map(|(begun, ended)| ended - begun).collect();
        assert!(
            paused
                .iter()
                .all(|&pause| pause == Duration::ZERO || pause == MILLISECOND)
        );
        assert_eq!(paused.iter().filter(|pause| !pause.is_zero()).count(), 2);
    });
}

#[test]
fn a_loop_that_swallows_errors_is_slowed_and_named_once() {
    let lines = logged(|| {
        paused(|| {
            let looper = crate::FiberBuilder::new()
                .name("stubborn")
                .spawn(|| while sleep(Duration::from_secs(1)).is_err() {});
            go(|| ());
            turns(1);
            looper.unwrap().cancel();
            let before = crate::stats().resumes;
            sleep(Duration::from_secs(1)).unwrap();
            let resumes = crate::stats().resumes - before;
            assert!((1_000..1_200).contains(&resumes), "{resumes}");
        });
    });
    let named: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("stubborn"))
        .collect();
    assert!(named[0].contains("goes on waiting"), "{named:?}");
    assert_eq!(
        named.iter().filter(|line| line.contains("goes on")).count(),
        1
    );
}

#[test]
fn failures_of_a_scope_that_was_left_are_not_counted_on() {
    paused(|| {
        let ((), took) = timed(|| {
            for _ in 0..500 {
                let ended = timeout(Duration::ZERO, || {
                    let _ = sleep(MILLISECOND);
                    // Over already, which is what costs a pause after too many.
                    sleep(MILLISECOND)
                });
                assert!(ended.is_err());
            }
        });
        assert_eq!(took, Duration::ZERO);
    });
}
