//! Signals to the programs of a machine.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::run;
use crate::signal::{Signal, Signals};
use crate::{Event, Selected, Stopped, select, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_signal_reaches_every_listener_of_its_machine_once_and_no_other() {
    for seed in 0..50 {
        run(seed, |world| {
            let got: Rc<RefCell<Vec<(&str, Signal)>>> = Rc::default();
            for (host, name) in [("meter", "one"), ("meter", "two"), ("cloud", "three")] {
                let got = Rc::clone(&got);
                let listening = world.host(host).start(move || {
                    let listened = [Signal::Hangup, Signal::User1];
                    let signals = Signals::listen(&listened).unwrap();
                    while let Ok(signal) = signals.recv() {
                        got.borrow_mut().push((name, signal));
                    }
                });
                drop(listening.unwrap());
            }
            sleep(SECOND).unwrap();
            let meter = world.host("meter");
            meter.signal(Signal::User1);
            meter.signal(Signal::User1);
            sleep(SECOND).unwrap();
            meter.signal(Signal::Hangup);
            sleep(SECOND).unwrap();
            let mut got = got.take();
            got.sort_unstable();
            let expected = [
                ("one", Signal::Hangup),
                ("one", Signal::User1),
                ("two", Signal::Hangup),
                ("two", Signal::User1),
            ];
            assert_eq!(got, expected);
        });
    }
}

#[test]
fn a_signal_that_nobody_listens_to_ends_the_programs() {
    run(1, |world| {
        let ticks = Rc::new(Cell::new(0));
        let ticking = Rc::clone(&ticks);
        let meter = world.host("meter");
        let program = move || {
            let signals = Signals::listen(&[Signal::Terminate]).unwrap();
            while timeout(SECOND, || signals.recv()) == Err(crate::Elapsed(Err(Stopped::TimedOut)))
            {
                ticking.set(ticking.get() + 1);
            }
            // In good order; from here on the signal does nothing.
            drop(signals);
            sleep(SECOND * 1_000)
        };
        drop(meter.start(program).unwrap());
        sleep(SECOND * 5).unwrap();
        meter.signal(Signal::Terminate);
        sleep(SECOND).unwrap();
        let at_signal = ticks.get();
        assert!((4..=5).contains(&at_signal));
        let mut other = meter.start(|| sleep(SECOND * 10)).unwrap();
        meter.signal(Signal::Terminate);
        sleep(SECOND * 20).unwrap();
        assert!(other.is_finished(), "the signal does nothing any more");
        drop(other.join());
        // This one is by default.
        let other = meter.start(|| sleep(SECOND * 10)).unwrap();
        meter.signal(Signal::User2);
        sleep(SECOND * 20).unwrap();
        assert!(!other.is_finished());
        // Programs that begin anew have the defaults again.
        let other = meter.start(|| sleep(SECOND * 10)).unwrap();
        meter.signal(Signal::Terminate);
        sleep(SECOND * 20).unwrap();
        assert!(!other.is_finished());
        assert!(meter.is_on());
        meter.power_cut();
        meter.signal(Signal::Terminate);
        assert!(!meter.is_on());
    });
}

#[test]
fn a_signal_and_a_timer_of_one_time_come_in_any_order_and_the_same_one_again() {
    let race = |seed| {
        run(seed, |world| {
            let meter = world.host("meter");
            let at = crate::Instant::now() + SECOND;
            let mut first = meter
                .start(move || {
                    let signals = Signals::listen(&[Signal::User1]).unwrap();
                    select(&[&Event::new(), &signals], Some(at)).unwrap()
                })
                .unwrap();
            crate::sleep_until(at).unwrap();
            meter.signal(Signal::User1);
            first.join().unwrap()
        })
    };
    let mut signals = 0;
    for seed in 0..100 {
        let first = race(seed);
        assert_eq!(first, race(seed));
        signals += u32::from(first.value == Selected::Ready(1));
    }
    assert!((10..=90).contains(&signals), "{signals} of 100");
}

#[test]
fn a_signal_can_be_injected_by_the_program() {
    run(2, |_| {
        let signals = Rc::new(Signals::listen(&[Signal::User1]).unwrap());
        let waiting = Rc::clone(&signals);
        let mut got = crate::spawn(move || waiting.recv()).unwrap();
        sleep(SECOND).unwrap();
        signals.inject(Signal::User1);
        assert_eq!(got.join().unwrap(), Ok(Signal::User1));
        assert_eq!(signals.try_recv(), None);
    });
}
