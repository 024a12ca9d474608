//! The table itself: a row for each kind of wait.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;

use crate::net::pipe;
use crate::signal::{Signal, Signals};
use crate::tests::{MILLISECOND, go, paused, real, turns};
use crate::{
    AcquireError, Event, LockError, Mutex, OffloadError, Semaphore, Stopped, WaitReason, cause,
    channel, offload, oneshot, park, prepare, scope, select, sleep, spawn,
};

/// A wait, and what makes it succeed.
pub(super) struct Row {
    pub(super) wait: Box<dyn FnOnce() -> Result<(), Stopped>>,
    pub(super) wake: Box<dyn FnOnce()>,
    /// Real time passes while another thread works.
    pub(super) real_time: bool,
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
        WaitReason::Acquire => {
            let semaphore = Semaphore::new(1);
            let permit = semaphore.acquire().unwrap();
            row(
                move || match semaphore.acquire() {
                    Ok(_) => Ok(()),
                    Err(AcquireError::Stopped(stopped)) => Err(stopped),
                    Err(other) => panic!("{other}"),
                },
                move || drop(permit),
            )
        }
        WaitReason::Lock => {
            let mutex = Rc::new(Mutex::new(()));
            let (free, held, locked) =
                (Event::new(), Rc::clone(&mutex), mutex.try_lock().is_some());
            assert!(locked);
            let freed = free.clone();
            // The lock is another fiber's, for one's own is not waited for.
            go(move || {
                let _guard = held.lock();
                while freed.wait().is_err() {}
            });
            turns(1);
            row(
                move || match mutex.lock() {
                    Ok(_) => Ok(()),
                    Err(LockError::Stopped(stopped)) => Err(stopped),
                    Err(other) => panic!("{other}"),
                },
                move || free.set(),
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
        WaitReason::Writable => Some(WaitReason::Acquire),
        WaitReason::Acquire => Some(WaitReason::Lock),
        WaitReason::Lock => Some(WaitReason::Signal),
        WaitReason::Signal => Some(WaitReason::Offload),
        WaitReason::Offload => Some(WaitReason::Select),
        WaitReason::Select => Some(WaitReason::Unpark),
        WaitReason::Unpark => Some(WaitReason::Penalty),
        WaitReason::Penalty => None,
    }
}

/// Runs `check` for each kind of wait that can be ended, in a runtime of its own.
pub(super) fn for_each_row(check: fn(WaitReason, Row)) {
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
    assert_eq!(rows, 16);
}
