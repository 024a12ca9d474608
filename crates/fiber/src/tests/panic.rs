//! Panics stay in their fiber.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Mutex;

use super::{MILLISECOND, Trace, go, paused, real, turns};
use crate::{
    Event, JoinError, OffloadError, RunError, SpawnError, Stopped, channel, offload, sleep, spawn,
    yield_now,
};

/// Runs its closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_panic_arrives_at_the_join_with_its_payload_and_others_live_on() {
    paused(|| {
        let trace = Trace::new();
        let noted = trace.clone();
        let mut other = spawn(move || {
            sleep(MILLISECOND).unwrap();
            noted.note(1);
        })
        .unwrap();
        let mut dying = spawn(|| {
            yield_now().unwrap();
            panic_any(7_u8);
        })
        .unwrap();
        let Err(JoinError::Panicked(payload)) = dying.join() else {
            panic!("the panic arrives");
        };
        assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
        other.join().unwrap();
        trace.expect([1]);
    });
}

#[test]
fn a_panic_of_the_main_fiber_arrives_at_run() {
    let Err(RunError::Panicked(payload)) = crate::run(|| panic!("main")) else {
        panic!("the panic arrives");
    };
    assert_eq!(*payload.downcast::<&str>().unwrap(), "main");
}

#[test]
fn waits_while_unwinding_fail_without_a_switch() {
    real(|| {
        let trace = Trace::new();
        let noted = trace.clone();
        let (mut left, right) = crate::net::pipe(1024);
        let mut dying = spawn(move || {
            let _cleanup = OnDrop(|| {
                noted.note(sleep(MILLISECOND));
                noted.note(yield_now());
                noted.note(Event::new().wait());
                let (_sender, receiver) = channel::<u8>(1);
                noted.note(receiver.recv().map(|_| ()));
                noted.note(match offload(|| ()) {
                    Err(OffloadError::Stopped(stopped)) => Err(stopped),
                    _ => Ok(()),
                });
                assert!(matches!(spawn(|| ()), Err(SpawnError::Unwinding)));
                let _ = crate::scope(|s| {
                    assert!(matches!(s.spawn(|| Ok(())), Err(SpawnError::Unwinding)));
                    Ok::<_, ()>(())
                });
                // More operations than a turn may hold: they go on, for none of them waits.
                for _ in 0..1_000 {
                    left.write_all(&[1]).unwrap();
                }
                let mut full = left.write_all(&[0; 100]);
                full = full.map_err(|error| crate::cause(&error).unwrap().into());
                assert_eq!(crate::cause(&full.unwrap_err()), Some(Stopped::Unwinding));
                noted.note(Ok(()));
            });
            panic!("on purpose");
        })
        .unwrap();
        let watcher = trace.clone();
        go(move || {
            assert!(!std::thread::panicking(), "no switch while another unwinds");
            watcher.note(Ok(()));
        });
        assert!(matches!(dying.join(), Err(JoinError::Panicked(_))));
        let unwinding = Err(Stopped::Unwinding);
        trace.expect([
            unwinding,
            unwinding,
            unwinding,
            unwinding,
            unwinding,
            Ok(()),
            Ok(()),
        ]);
        drop(right);
    });
}

#[test]
fn a_wait_while_unwinding_poisons_no_mutex_of_others() {
    paused(|| {
        static SHARED: Mutex<u8> = Mutex::new(0);
        let mut holder = spawn(|| {
            // Held across a wait, as one should not; released while the other unwinds, it would
            // be poisoned if that one's wait had switched.
            let guard = SHARED.lock().unwrap();
            turns(2);
            drop(guard);
        })
        .unwrap();
        go(|| {
            let _cleanup = OnDrop(|| {
                for _ in 0..10 {
                    assert_eq!(yield_now(), Err(Stopped::Unwinding));
                }
            });
            panic!("on purpose");
        });
        holder.join().unwrap();
        assert!(!SHARED.is_poisoned());
        assert!(!std::thread::panicking());
    });
}

#[test]
fn a_value_that_panics_when_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    paused(|| {
        // Dropped by the end of a fiber whose handle is gone: as value and as panic.
        go(|| Bomb);
        go(|| panic_any(Bomb));
        go(|| {
            let _bomb = Bomb;
            yield_now()
        });
        let mut other = spawn(|| {
            turns(5);
            7
        })
        .unwrap();
        assert_eq!(other.join().unwrap(), 7);
        // Taken and dropped by the joining fiber, it is that one's own.
        let mut bomb = spawn(|| Bomb).unwrap();
        let value = bomb.join().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(value))).is_err());
    });
}

#[test]
fn a_panic_whose_payload_panics_without_end_is_forgotten() {
    struct Hydra;
    impl Drop for Hydra {
        fn drop(&mut self) {
            panic_any(Self);
        }
    }
    paused(|| {
        go(|| panic_any(Hydra));
        go(|| Hydra);
        turns(2);
        assert_eq!(spawn(|| 7).unwrap().join().unwrap(), 7);
    });
}

#[test]
fn waits_of_a_caught_panic_work_again() {
    paused(|| {
        for _ in 0..3 {
            let caught = catch_unwind(|| {
                turns(1);
                panic!("on purpose")
            });
            assert!(caught.is_err());
            sleep(MILLISECOND).unwrap();
        }
    });
}

#[test]
fn a_thousand_panics_leave_nothing_behind() {
    paused(|| {
        for _ in 0..1_000 {
            let mut child = spawn(|| {
                turns(1);
                // As a panic, without the noise of the hook.
                std::panic::resume_unwind(Box::new(7_u8))
            })
            .unwrap();
            let _: JoinError = child.join().unwrap_err();
        }
        let core = crate::core::current().unwrap();
        assert!(
            core.fibers.borrow().get(3).is_none(),
            "slots are used again"
        );
    });
}
