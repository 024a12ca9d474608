//! Laws of waiting, under many seeds; and that faults planted into the runtime break them.
//!
//! `SIM_SEEDS` sets how many seeds, a few hundred unless it does.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use crate::net::{TcpListener, TcpStream};
use crate::park::{Unparker, park, prepare};
use crate::sim::{self, Planted, SimBuilder, World};
use crate::tests::go;
use crate::{
    Event, Instant, Stopped, cancellable, channel, random, scope, sleep, timeout, yield_now,
};

const SEEDS: u64 = 200;
const MILLISECOND: Duration = Duration::from_millis(1);

/// A number below `bound`, drawn from the seed.
fn draw(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    random::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % bound
}

fn pause() {
    match draw(3) {
        0 => yield_now().unwrap(),
        1 => sleep(Duration::from_micros(draw(500))).unwrap(),
        _ => {}
    }
}

/// A wait, and whether somebody ended it.
type Waiting = (Unparker, Rc<Cell<bool>>);

/// Each wait ends by its own wake, which works once, and by nothing else.
fn wakes(_: &World) {
    let waiting: Rc<RefCell<Vec<Waiting>>> = Rc::default();
    let left = Rc::new(Cell::new(0));
    for _ in 0..4 {
        let (waiting, left) = (Rc::clone(&waiting), Rc::clone(&left));
        left.set(left.get() + 1);
        go(move || {
            for _ in 0..10 {
                let woken = Rc::new(Cell::new(false));
                let token = prepare().unwrap();
                waiting.borrow_mut().push((token, Rc::clone(&woken)));
                if park().is_err() {
                    // The run is over, by a fault that was planted.
                    return;
                }
                assert!(woken.get(), "woken by nobody");
            }
            left.set(left.get() - 1);
        });
    }
    let mut used = Vec::new();
    while left.get() > 0 {
        let next = {
            let mut waiting = waiting.borrow_mut();
            let len = waiting.len() as u64;
            (len > 0).then(|| waiting.swap_remove(usize::try_from(draw(len)).unwrap()))
        };
        if let Some((token, woken)) = next {
            woken.set(true);
            assert!(token.unpark(), "a wait was not there to be woken");
            used.push(token);
        }
        for token in &used {
            assert!(!token.unpark(), "a used token woke a later wait");
        }
        pause();
    }
}

/// What is sent is received once; then the channel ends.
fn channels(_: &World) {
    let (to, from) = channel(usize::try_from(1 + draw(3)).unwrap());
    for sender in 0..3_u32 {
        let to = to.clone();
        go(move || {
            for n in 0..20_u32 {
                pause();
                to.send((sender, n)).unwrap();
            }
        });
    }
    drop(to);
    let got: Rc<RefCell<Vec<(u32, u32)>>> = Rc::default();
    let mut receivers = Vec::new();
    for _ in 0..2 {
        let (from, got) = (from.clone(), Rc::clone(&got));
        receivers.push(crate::spawn(move || {
            loop {
                match timeout(Duration::from_micros(draw(300)), || from.recv()) {
                    Ok(Ok(Some(value))) => got.borrow_mut().push(value),
                    Ok(Ok(None)) => break,
                    // A value that came at the last moment is inside.
                    Err(crate::Elapsed(Ok(Some(value)))) => got.borrow_mut().push(value),
                    Err(_) => {}
                    Ok(Err(stopped)) => panic!("no scope is over: {stopped}"),
                }
                pause();
            }
        }));
    }
    for receiver in receivers {
        receiver.unwrap().join().unwrap();
    }
    let got = got.take();
    assert_eq!(got.len(), 60);
    for sender in 0..3 {
        let mut of_one: Vec<_> = got
            .iter()
            .filter(|of| of.0 == sender)
            .map(|of| of.1)
            .collect();
        of_one.sort_unstable();
        assert_eq!(of_one, (0..20).collect::<Vec<_>>());
    }
}

/// A wait that races with its deadline and a cancellation ends by one of the three, in time.
fn races(_: &World) {
    let mut fibers = Vec::new();
    for _ in 0..6 {
        fibers.push(crate::spawn(|| {
            let (event, cancelled) = (Rc::new(Event::new()), Rc::new(Cell::new(false)));
            let (limit, set_at, cancel_at) = (draw(5), draw(5), draw(5));
            let began = Instant::now();
            let ended = cancellable(|canceller| {
                let (canceller, setting) = (canceller.clone(), Rc::clone(&event));
                let was_cancelled = Rc::clone(&cancelled);
                go(move || {
                    if sleep(MILLISECOND * u32::try_from(set_at).unwrap()).is_ok() {
                        setting.set();
                    }
                });
                go(move || {
                    if sleep(MILLISECOND * u32::try_from(cancel_at).unwrap()).is_ok() {
                        was_cancelled.set(true);
                        canceller.cancel();
                    }
                });
                let limit = MILLISECOND * u32::try_from(limit).unwrap();
                timeout(limit, || event.wait())
            });
            let took = began.elapsed();
            let first = limit.min(set_at).min(cancel_at);
            let first = MILLISECOND * u32::try_from(first).unwrap();
            assert!(took < first + MILLISECOND, "{took:?} instead of {first:?}");
            match ended {
                Ok(Ok(Ok(()))) => assert!(event.is_set()),
                Ok(Err(elapsed)) => {
                    assert_eq!(elapsed.0, Err(Stopped::TimedOut));
                    assert!(took >= MILLISECOND * u32::try_from(limit).unwrap());
                }
                Err(_) => assert!(cancelled.get()),
                Ok(Ok(Err(stopped))) => panic!("a cause of no scope: {stopped}"),
            }
        }));
    }
    for fiber in fibers {
        fiber.unwrap().join().unwrap();
    }
}

/// A scope is left when its last child ended; the first error is its result and ends the others.
fn scopes(_: &World) {
    for _ in 0..5 {
        let (alive, failing) = (Cell::new(0), draw(6));
        let result = scope(|s| {
            for n in 0..5_u64 {
                let alive = &alive;
                alive.set(alive.get() + 1);
                s.spawn(move || {
                    let _ = yield_now();
                    let waited = sleep(MILLISECOND * u32::try_from(draw(4)).unwrap());
                    let _ = yield_now();
                    alive.set(alive.get() - 1);
                    match waited {
                        Ok(()) if n == failing => Err("failed"),
                        Ok(()) => Ok(()),
                        Err(Stopped::Cancelled) => Err("cancelled"),
                        Err(other) => panic!("no deadline was set: {other}"),
                    }
                })
                .unwrap();
            }
            Ok(())
        });
        assert_eq!(alive.get(), 0);
        assert_eq!(result, if failing < 5 { Err("failed") } else { Ok(()) });
    }
}

/// Busy connections do not hold up timers, nor many timers the connections.
fn both_sorts(_: &World) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let moved = Rc::new(Cell::new(0_u64));
    let writing = go_handle(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(&[0; 4_000]).is_ok() {}
    });
    let reading = {
        let moved = Rc::clone(&moved);
        go_handle(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut buffer = [0; 1_000];
            while let Ok(n) = stream.read(&mut buffer) {
                moved.set(moved.get() + n as u64);
            }
        })
    };
    let storm = go_handle(|| while sleep(Duration::from_micros(20)).is_ok() {});
    for _ in 0..3 {
        let (before, began) = (moved.get(), Instant::now());
        sleep(MILLISECOND * 3).unwrap();
        assert!(began.elapsed() < MILLISECOND * 4, "a timer starved");
        assert!(moved.get() > before, "the connection starved");
    }
    for fiber in [writing, reading, storm] {
        fiber.cancel();
    }
}

fn go_handle(body: impl FnOnce() + 'static) -> crate::JoinHandle<()> {
    crate::spawn(body).unwrap()
}

fn holds(law: fn(&World)) {
    sim::check(SEEDS, move |sim| sim.steps_max(200_000).run(law));
}

#[test]
fn no_wake_is_lost_and_none_works_twice() {
    holds(wakes);
}

#[test]
fn a_channel_gives_each_value_once() {
    holds(channels);
}

#[test]
fn a_race_of_deadline_cancellation_and_event_has_one_end() {
    holds(races);
}

#[test]
fn a_scope_waits_for_its_children_and_fails_by_the_first_error() {
    holds(scopes);
}

#[test]
fn timers_and_connections_do_not_starve_each_other() {
    holds(both_sorts);
}

/// The first seed that shows a planted fault, by what it says.
fn found(planted: Planted, law: fn(&World)) -> String {
    let scenario = move |sim: SimBuilder| sim.steps_max(50_000).plant(planted).run(law);
    sim::verdict(None, 100, &scenario).expect_err("a planted fault is found")
}

#[test]
fn a_lost_wake_a_double_one_and_a_forgotten_timer_are_found() {
    let lost = found(Planted::LostWake, wakes);
    assert!(
        lost.contains("seed ") && lost.contains("again: SEED="),
        "{lost}"
    );
    assert!(
        lost.contains("within 50000 steps") || lost.contains("waits for"),
        "{lost}"
    );
    let double = found(Planted::DoubleWake, wakes);
    assert!(
        double.contains("a used token woke a later wait"),
        "{double}"
    );
    let forgotten = found(Planted::ForgottenTimer, races);
    assert!(
        forgotten.contains("instead of") || forgotten.contains("waits"),
        "{forgotten}"
    );
}
