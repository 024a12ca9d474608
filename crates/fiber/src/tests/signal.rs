//! Signals: each is received once, by every listener, and costs nothing while there is none.
//!
//! A real signal reaches every listener of the process. So one test alone raises one, `SIGUSR2`,
//! and the others, which run beside it, inject and listen to other signals. `SIGINT` and `SIGTERM`
//! stay as they are: somebody may want to end the tests.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use super::child::passes_in_child;
use super::{MILLISECOND, go, paused, real, timed, turns};
use crate::signal::{Signal, Signals};
use crate::{
    Elapsed, Event, Selected, Stopped, coroutine, offload, select, sleep, spawn, stats, timeout,
    yield_now,
};

/// Far longer than a signal ever takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn raise() {
    signal_hook::low_level::raise(signal_hook::consts::SIGUSR2).unwrap();
}

#[test]
fn a_signal_of_the_system_is_received_once_by_every_listener() {
    real(|| {
        let ended = timeout(PATIENCE, || {
            let signals = Rc::new(Signals::listen(&[Signal::User2]).unwrap());
            assert_eq!(signals.try_recv(), None);

            // It is there already; three of them are one.
            for _ in 0..3 {
                raise();
            }
            assert_eq!(signals.recv(), Ok(Signal::User2));
            yield_now().unwrap();
            assert_eq!(signals.try_recv(), None);

            // It comes to a waiting fiber, handled by another thread.
            let waiting = Rc::clone(&signals);
            let mut waiter = spawn(move || waiting.recv()).unwrap();
            turns(2);
            assert!(!waiter.is_finished());
            offload(raise).unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(Signal::User2));

            // More of them than the pipe has room for.
            for _ in 0..100_000 {
                raise();
            }
            assert_eq!(signals.recv(), Ok(Signal::User2));
            assert_eq!(
                timeout(MILLISECOND, || signals.recv()),
                Err(Elapsed(Err(Stopped::TimedOut)))
            );
            raise();
            assert_eq!(signals.recv(), Ok(Signal::User2));

            // Another listener gets it as well, and leaves alone.
            let other = Signals::listen(&[Signal::User1, Signal::User2]).unwrap();
            raise();
            assert_eq!(signals.recv(), Ok(Signal::User2));
            assert_eq!(other.recv(), Ok(Signal::User2));
            drop(other);
            raise();
            assert_eq!(signals.recv(), Ok(Signal::User2));

            // Nobody listens any more: by default it would end the process.
            drop(signals);
            raise();
            let again = Signals::listen(&[Signal::User2]).unwrap();
            assert_eq!(again.try_recv(), None);
            raise();
            assert_eq!(again.recv(), Ok(Signal::User2));
        });
        ended.expect("no wait was in vain");
    });
}

#[test]
fn signals_are_received_in_the_order_in_which_they_were_named() {
    paused(|| {
        let signals = Signals::listen(&[Signal::User1, Signal::Hangup, Signal::User1]).unwrap();
        signals.inject(Signal::Hangup);
        signals.inject(Signal::User1);
        signals.inject(Signal::Interrupt);
        assert_eq!(signals.recv(), Ok(Signal::User1));
        assert_eq!(signals.recv(), Ok(Signal::Hangup));
        assert_eq!(signals.try_recv(), None);
        assert_eq!(format!("{signals:?}"), "[User1, Hangup]");
    });
}

#[test]
fn of_several_that_wait_each_signal_reaches_one() {
    paused(|| {
        let signals = Rc::new(Signals::listen(&[Signal::User1, Signal::Hangup]).unwrap());
        let mut waiters: Vec<_> = (0..2)
            .map(|_| {
                let signals = Rc::clone(&signals);
                spawn(move || signals.recv()).unwrap()
            })
            .collect();
        turns(2);
        signals.inject(Signal::Hangup);
        sleep(MILLISECOND).unwrap();
        assert_eq!(waiters.iter().filter(|w| w.is_finished()).count(), 1);
        signals.inject(Signal::User1);
        let got: Vec<_> = waiters.iter_mut().map(|w| w.join().unwrap()).collect();
        assert_eq!(got, [Ok(Signal::Hangup), Ok(Signal::User1)]);
    });
}

#[test]
fn a_select_finds_a_signal_and_leaves_it_to_be_received() {
    paused(|| {
        let signals = Rc::new(Signals::listen(&[Signal::User1]).unwrap());
        let event = Event::new();
        let later = Rc::clone(&signals);
        go(move || {
            sleep(5 * MILLISECOND).unwrap();
            later.inject(Signal::User1);
        });
        let (found, took) = timed(|| select(&[&event, &*signals], None).unwrap());
        assert_eq!((found, took), (Selected::Ready(1), 5 * MILLISECOND));
        // Ready until it is received.
        let found = select(&[&event, &*signals], None).unwrap();
        assert_eq!(found, Selected::Ready(1));
        assert_eq!(signals.try_recv(), Some(Signal::User1));
        let deadline = crate::Instant::now() + MILLISECOND;
        let found = select(&[&event, &*signals], Some(deadline)).unwrap();
        assert_eq!(found, Selected::Deadline);
    });
}

#[test]
fn a_loop_of_signals_gives_up_its_turn() {
    paused(|| {
        let signals = Signals::listen(&[Signal::User1]).unwrap();
        let mut other = spawn(|| ()).unwrap();
        for _ in 0..200 {
            signals.inject(Signal::User1);
            assert_eq!(signals.recv(), Ok(Signal::User1));
        }
        assert!(other.is_finished());
        other.join().unwrap();
    });
}

#[test]
fn listening_costs_nothing_while_there_is_no_signal() {
    real(|| {
        let signals = Rc::new(Signals::listen(&[Signal::User1, Signal::Hangup]).unwrap());
        go(move || assert!(signals.recv().is_err()));
        sleep(MILLISECOND).unwrap();
        let before = stats();
        sleep(Duration::from_millis(60)).unwrap();
        let after = stats();
        // Rounding to whole milliseconds may cost one poll more.
        assert!(after.polls - before.polls <= 3);
        assert!(after.resumes - before.resumes <= 1);
    });
}

#[test]
fn nothing_to_listen_to_is_an_error_and_so_is_a_missing_runtime() {
    let refused = Signals::listen(&[Signal::User1]).unwrap_err();
    assert_eq!(crate::cause(&refused), Some(Stopped::NoRuntime));
    paused(|| {
        let refused = Signals::listen(&[]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn signals_that_outlive_their_runtime_wait_for_nothing() {
    let kept = paused(|| Signals::listen(&[Signal::User1]).unwrap());
    kept.inject(Signal::User1);
    assert_eq!(kept.recv(), Err(Stopped::NoRuntime));
    paused(move || {
        assert_eq!(kept.recv(), Err(Stopped::NoRuntime));
        assert!(select(&[&kept], None).is_ok());
    });
}

/// Calls itself until less than so many bytes of the fiber's stack are left, and raises `SIGUSR2`.
#[inline(never)]
fn raise_with_little_stack(left: usize) -> usize {
    let frame = std::hint::black_box([0_u8; 64]);
    let usable = coroutine::with_running(|_, stack| stack.usable).unwrap();
    let here = frame.as_ptr().addr() - usable;
    if here < left {
        raise();
        return here;
    }
    raise_with_little_stack(left) + usize::from(frame[7])
}

#[test]
fn a_signal_that_comes_while_a_fiber_has_little_stack_left_is_received() {
    let name = "tests::signal::a_signal_that_comes_while_a_fiber_has_little_stack_left_is_received";
    passes_in_child(name, &[], || {
        real(|| {
            let signals = Signals::listen(&[Signal::User2]).unwrap();
            // Less than the system's frame takes where registers are widest.
            let mut deep = spawn(|| raise_with_little_stack(2_500)).unwrap();
            assert!(deep.join().unwrap() > 2_000);
            assert_eq!(timeout(PATIENCE, || signals.recv()), Ok(Ok(Signal::User2)));
        });
    });
}
