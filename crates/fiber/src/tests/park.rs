//! Tokens: one wake each, none lost, none stale.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::{Trace, go, paused, turns};
use crate::core;
use crate::{Instant, Stopped, Unparker, park, park_until, prepare, sleep, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// A fiber that parks over and over, each time handing out its token first.
fn parker(tokens: &Rc<RefCell<Vec<Unparker>>>, runs: &Rc<Cell<u32>>, waits: usize) {
    let (tokens, runs) = (Rc::clone(tokens), Rc::clone(runs));
    go(move || {
        for _ in 0..waits {
            tokens.borrow_mut().push(prepare().unwrap());
            park().unwrap();
            runs.set(runs.get() + 1);
        }
    });
}

#[test]
fn two_wakes_of_one_wait_give_one_run() {
    paused(|| {
        let (tokens, runs) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        parker(&tokens, &runs, 2);
        turns(1);
        let token = tokens.borrow()[0];
        assert!(token.unpark());
        assert!(!token.unpark(), "the second wake finds the fiber awake");
        turns(3);
        assert_eq!((runs.get(), tokens.borrow().len()), (1, 2));
        let token = tokens.borrow()[1];
        assert!(token.unpark());
        turns(1);
        assert_eq!(runs.get(), 2);
    });
}

#[test]
fn a_wait_with_a_time_of_its_own_ends_by_a_wake_or_by_that_time() {
    paused(|| {
        let began = Instant::now();
        let at = began + 2 * SECOND;
        let token = prepare().unwrap();
        go(move || {
            sleep(SECOND).unwrap();
            assert!(token.unpark());
        });
        assert_eq!(park_until(at), Ok(false));
        assert_eq!(began.elapsed(), SECOND);
        prepare().unwrap();
        assert_eq!(park_until(at), Ok(true));
        assert_eq!(began.elapsed(), 2 * SECOND);
        // One that is past already is not waited for, but the turn is given up.
        prepare().unwrap();
        assert_eq!(park_until(began), Ok(true));
        assert_eq!(began.elapsed(), 2 * SECOND);
    });
}

#[test]
fn the_time_of_a_wait_that_is_over_wakes_nobody() {
    paused(|| {
        let at = Instant::now() + 2 * SECOND;
        let token = prepare().unwrap();
        go(move || {
            token.unpark();
        });
        assert_eq!(park_until(at), Ok(false));
        // It would be an hour, if nothing woke it before.
        prepare().unwrap();
        assert_eq!(park_until(at + 3_600 * SECOND), Ok(true));
        assert_eq!(Instant::now(), at + 3_600 * SECOND);
        assert_eq!(core::current().unwrap().next_timer(), None);
    });
}

#[test]
fn a_token_of_an_earlier_wait_wakes_nobody() {
    paused(|| {
        let (tokens, runs) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        parker(&tokens, &runs, 2);
        turns(1);
        let first = tokens.borrow()[0];
        assert!(first.unpark());
        turns(1);
        assert!(!first.unpark());
        turns(2);
        assert_eq!(runs.get(), 1);
        assert!(tokens.borrow()[1].unpark());
    });
}

#[test]
fn a_token_of_a_fiber_that_ended_does_not_wake_the_next_one_in_its_place() {
    paused(|| {
        let (tokens, runs) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        parker(&tokens, &runs, 1);
        turns(1);
        let old = tokens.borrow()[0];
        assert!(old.unpark());
        turns(1);
        parker(&tokens, &runs, 1);
        turns(1);
        let new = tokens.borrow()[1];
        assert_eq!(
            (new.index, new.epoch),
            (old.index, old.epoch),
            "the same slot and wait"
        );
        assert_ne!(new.generation, old.generation);
        assert!(!old.unpark());
        turns(2);
        assert_eq!(runs.get(), 1);
        assert!(new.unpark());
    });
}

#[test]
fn a_wake_before_the_park_is_not_lost() {
    paused(|| {
        let token = prepare().unwrap();
        assert!(token.unpark());
        assert!(!token.unpark());
        park().unwrap();
        let ((), passed) = super::timed(|| sleep(super::MILLISECOND).unwrap());
        assert_eq!(passed, super::MILLISECOND, "it was used up");
    });
}

#[test]
fn a_wake_while_the_turn_is_given_up_before_the_park_is_not_lost() {
    paused(|| {
        let token = prepare().unwrap();
        let trace = Trace::new();
        let noted = trace.clone();
        go(move || noted.note((token.unpark(), token.unpark())));
        yield_now().unwrap();
        trace.expect([(true, false)]);
        park().unwrap();
    });
}

#[test]
fn epochs_and_generations_wrap() {
    paused(|| {
        let core = core::current().unwrap();
        let index = core.current.get();
        core.fibers.borrow_mut().get_mut(index).unwrap().epoch = u32::MAX - 1;
        core.fibers.borrow_mut().get_mut(index).unwrap().generation = u32::MAX;
        for _ in 0..4 {
            let token = prepare().unwrap();
            go(move || assert!(token.unpark()));
            park().unwrap();
            sleep(super::MILLISECOND).unwrap();
        }
    });
}

#[test]
fn calls_outside_a_runtime_fail_at_once() {
    use crate::{OffloadError, SpawnError, channel, offload, oneshot, select};
    assert_eq!(yield_now(), Err(Stopped::NoRuntime));
    assert_eq!(sleep(super::MILLISECOND), Err(Stopped::NoRuntime));
    assert_eq!(prepare(), Err(Stopped::NoRuntime));
    assert_eq!(park(), Err(Stopped::NoRuntime));
    assert_eq!(crate::Event::new().wait(), Err(Stopped::NoRuntime));
    let (sender, receiver) = channel::<u8>(1);
    assert_eq!(receiver.recv(), Err(Stopped::NoRuntime));
    sender.send(1).unwrap();
    assert!(sender.send(2).is_err());
    let mut receiver = oneshot::<u8>().1;
    assert_eq!(receiver.recv(), Ok(None));
    assert!(matches!(crate::spawn(|| ()), Err(SpawnError::NoRuntime)));
    assert!(matches!(
        offload(|| ()),
        Err(OffloadError::Stopped(Stopped::NoRuntime))
    ));
    let error = select(&[], None).unwrap_err();
    assert_eq!(crate::cause(&error), Some(Stopped::NoRuntime));
    let error = crate::net::TcpStream::connect("127.0.0.1:9".parse().unwrap()).unwrap_err();
    assert_eq!(crate::cause(&error), Some(Stopped::NoRuntime));
    let within = crate::scope(|s| {
        assert!(matches!(s.spawn(|| Ok(())), Err(SpawnError::NoRuntime)));
        Ok::<_, ()>(7)
    });
    assert_eq!(within, Ok(7));
    assert_eq!(crate::timeout(super::MILLISECOND, || 7), Ok(7));
    assert_eq!(crate::cancellable(|canceller| canceller.cancel()), Ok(()));
    assert_eq!(crate::ambient_deadline(), None);
    assert_eq!(crate::stats(), crate::Stats::default());
}

#[test]
fn who_comes_when_the_first_has_left_stands_behind_the_others() {
    paused(|| {
        let event = crate::Event::new();
        let trace = Trace::new();
        let wait = |name: &'static str, limit: u64| {
            let (event, trace) = (event.clone(), trace.clone());
            go(move || {
                let limit = Duration::from_millis(limit);
                let _ = crate::timeout(limit, || event.wait());
                trace.note(name);
            });
            turns(1);
        };
        wait("first", 1);
        wait("second", 100);
        wait("third", 100);
        sleep(2 * super::MILLISECOND).unwrap();
        wait("last", 100);
        event.set();
        turns(1);
        trace.expect(["first", "second", "third", "last"]);
        event.clear();
        wait("again", 100);
        wait("behind", 100);
        assert_eq!(core::current().unwrap().waiters.borrow().in_use(), 2);
        event.set();
        turns(1);
        trace.expect(["first", "second", "third", "last", "again", "behind"]);
        assert_eq!(core::current().unwrap().waiters.borrow().in_use(), 0);
    });
}
