//! The laws of select: order, nothing consumed, nothing left behind.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, go, paused, timed, turns};
use crate::net::pipe;
use crate::{
    Event, Instant, Interval, Selected, Semaphore, Source, Timer, channel, core, interval, oneshot,
    select, sleep, spawn, timeout, yield_now,
};

/// A source of some kind, what makes it ready, and what shows that its readiness was not consumed.
struct Kind {
    name: &'static str,
    source: Box<dyn Source>,
    make_ready: Box<dyn FnOnce()>,
}

fn kind(
    name: &'static str,
    source: impl Source + 'static,
    make_ready: impl FnOnce() + 'static,
) -> Kind {
    Kind {
        name,
        source: Box::new(source),
        make_ready: Box::new(make_ready),
    }
}

/// One of each kind, not ready.
fn kinds() -> Vec<Kind> {
    let event = Event::new();
    let (sender, receiver) = channel(2);
    let (full, room) = channel(1);
    full.send(1).unwrap();
    let (once, value) = oneshot();
    let end = Event::new();
    let ended = end.clone();
    let child = spawn(move || ended.wait().is_ok()).unwrap();
    let semaphore = Semaphore::new(1);
    let permit = semaphore.acquire().unwrap();
    turns(1);
    vec![
        kind("event", event.clone(), move || event.set()),
        kind("receiver", receiver, move || {
            sender.send(1).unwrap();
            // It is not closed by this.
            std::mem::forget(sender);
        }),
        kind("sender", full, move || {
            room.recv().unwrap();
            std::mem::forget(room);
        }),
        kind("oneshot", value, move || once.send(1).unwrap()),
        kind("join", child, move || {
            end.set();
            turns(2);
        }),
        kind("permits", semaphore.acquiring(1), move || drop(permit)),
        kind("timer", Timer::after(MILLISECOND), || {
            sleep(MILLISECOND).unwrap()
        }),
        kind("interval", interval(MILLISECOND), || {
            sleep(MILLISECOND).unwrap();
        }),
        pipe_kind(true),
        pipe_kind(false),
    ]
}

/// A direction of a pipe; the pipe lives as long as the source.
struct Piped(crate::net::PipeStream, bool);

impl Source for Piped {
    fn is_ready(&self) -> bool {
        self.ends().is_ready()
    }

    fn link(&self, waiter: crate::Unparker) -> std::io::Result<crate::Link> {
        self.ends().link(waiter)
    }

    fn unlink(&self, link: crate::Link) {
        self.ends().unlink(link);
    }
}

impl Piped {
    fn ends(&self) -> crate::net::Readiness<'_> {
        if self.1 {
            self.0.readable()
        } else {
            self.0.writable()
        }
    }
}

fn pipe_kind(reading: bool) -> Kind {
    let (mut near, mut far) = pipe(1);
    if reading {
        kind("readable", Piped(near, true), move || {
            far.write_all(&[1]).unwrap();
            std::mem::forget(far);
        })
    } else {
        near.write_all(&[1]).unwrap();
        kind("writable", Piped(near, false), move || {
            far.read_exact(&mut [0]).unwrap();
            std::mem::forget(far);
        })
    }
}

const KINDS: usize = 10;

/// Entries of wait lists and timers that are in use.
pub(super) fn registrations() -> (usize, Option<u64>) {
    let core = core::current().unwrap();
    let waiters = core.waiters.borrow().in_use();
    let timer = core.next_timer();
    (waiters, timer)
}

#[test]
fn every_kind_of_source_ends_a_select_and_stays_ready_until_it_is_used() {
    for index in 0..KINDS {
        paused(move || {
            let kind = kinds().swap_remove(index);
            let never = Event::new();
            let make_ready = kind.make_ready;
            go(move || {
                turns(2);
                make_ready();
            });
            let sources: [&dyn Source; 2] = [&never, &*kind.source];
            for _ in 0..3 {
                let found = select(&sources, None).unwrap();
                assert_eq!(found, Selected::Ready(1), "{}", kind.name);
            }
        });
    }
}

#[test]
fn of_several_that_are_ready_the_first_in_order_is_found_whatever_kind() {
    for index in 0..KINDS {
        paused(move || {
            let mut kinds = kinds();
            let first = kinds.swap_remove(index);
            let second = kinds.swap_remove(index % (KINDS - 1));
            (second.make_ready)();
            (first.make_ready)();
            let sources: [&dyn Source; 2] = [&*first.source, &*second.source];
            let found = select(&sources, None).unwrap();
            assert_eq!(found, Selected::Ready(0), "{}", first.name);
            // Nothing was taken of the other.
            assert!(second.source.is_ready(), "{}", second.name);
        });
    }
}

#[test]
fn a_source_that_is_ready_at_once_does_not_give_up_the_turn() {
    for index in 0..KINDS {
        paused(move || {
            let kind = kinds().swap_remove(index);
            (kind.make_ready)();
            yield_now().unwrap();
            let ran = Rc::new(Cell::new(false));
            let other = Rc::clone(&ran);
            go(move || other.set(true));
            let before = registrations();
            select(&[&*kind.source], None).unwrap();
            assert!(!ran.get(), "{}", kind.name);
            assert_eq!(registrations(), before);
        });
    }
}

#[test]
fn a_select_leaves_nothing_where_it_waited() {
    for index in 0..KINDS {
        paused(move || {
            let kind = kinds().swap_remove(index);
            let (winner, never) = (Event::new(), Event::new());
            turns(2);
            let before = registrations();
            let set = winner.clone();
            go(move || {
                turns(2);
                set.set();
            });
            let sources: [&dyn Source; 2] = [&*kind.source, &winner];
            let deadline = Instant::now() + Duration::from_secs(60);
            let found = select(&sources, Some(deadline)).unwrap();
            assert_eq!(found, Selected::Ready(1), "{}", kind.name);
            assert_eq!(registrations(), before, "{}", kind.name);
            // What the loser waited for does not wake the next wait.
            let make_ready = kind.make_ready;
            go(make_ready);
            let (waited, took) = timed(|| timeout(5 * MILLISECOND, || never.wait()));
            assert!(waited.is_err(), "{}", kind.name);
            assert_eq!(took, 5 * MILLISECOND);
        });
    }
}

#[test]
fn a_value_that_woke_a_select_which_found_another_source_wakes_the_next_receiver() {
    paused(|| {
        let (sender, receiver) = channel(1);
        let event = Event::new();
        let (in_select, set) = (receiver.clone(), event.clone());
        let mut selecting = spawn(move || select(&[&event, &in_select], None).unwrap()).unwrap();
        turns(1);
        let mut receiving = spawn(move || receiver.recv().unwrap()).unwrap();
        turns(1);
        // The value wakes the select, which is first in line and finds the event.
        sender.send(7).unwrap();
        set.set();
        assert_eq!(selecting.join().unwrap(), Selected::Ready(0));
        assert_eq!(receiving.join().unwrap(), Some(7));
    });
}

#[test]
fn room_that_woke_a_select_which_found_another_source_wakes_the_next_sender() {
    paused(|| {
        let (sender, receiver) = channel(1);
        sender.send(1).unwrap();
        let event = Event::new();
        let (in_select, set) = (sender.clone(), event.clone());
        let mut selecting = spawn(move || select(&[&event, &in_select], None).unwrap()).unwrap();
        turns(1);
        let mut sending = spawn(move || sender.send(2)).unwrap();
        turns(1);
        assert_eq!(receiver.try_recv(), Ok(1));
        set.set();
        assert_eq!(selecting.join().unwrap(), Selected::Ready(0));
        assert_eq!(sending.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_closed_source_is_ready() {
    paused(|| {
        let (sender, receiver) = channel::<u8>(1);
        let (once, value) = oneshot::<u8>();
        drop((sender, once));
        let found = select(&[&receiver], None).unwrap();
        assert_eq!(found, Selected::Ready(0));
        let found = select(&[&value], None).unwrap();
        assert_eq!(found, Selected::Ready(0));
        let (sender, receiver) = channel(1);
        sender.send(1).unwrap();
        drop(receiver);
        assert_eq!(select(&[&sender], None).unwrap(), Selected::Ready(0));
    });
}

#[test]
fn ticks_do_not_drift_and_those_that_were_missed_are_skipped() {
    paused(|| {
        let began = Instant::now();
        let mut ticks = interval(10 * MILLISECOND);
        let at = |n: u32| began + n * 10 * MILLISECOND;
        for n in 1..=3 {
            assert_eq!(ticks.tick().unwrap(), at(n));
            assert_eq!(Instant::now(), at(n));
            // What is done takes time and moves no tick.
            sleep(3 * MILLISECOND).unwrap();
        }
        // To 2 ms after the sixth: the fourth, the fifth and the sixth are one.
        sleep(29 * MILLISECOND).unwrap();
        let (due, took) = timed(|| ticks.tick().unwrap());
        assert_eq!((due, took), (at(6), Duration::ZERO));
        let (due, took) = timed(|| ticks.tick().unwrap());
        assert_eq!((due, took), (at(7), 8 * MILLISECOND));
        assert_eq!(
            (ticks.next_tick(), ticks.period()),
            (at(8), 10 * MILLISECOND)
        );
    });
}

#[test]
fn a_tick_whose_wait_ended_early_is_still_to_come() {
    paused(|| {
        let mut ticks = interval(10 * MILLISECOND);
        let due = ticks.next_tick();
        let early = timeout(MILLISECOND, || ticks.tick());
        assert!(early.is_err());
        assert_eq!(ticks.tick(), Ok(due));
        assert_eq!(Instant::now(), due);
    });
}

#[test]
fn the_shortest_and_the_longest_interval_end_in_order() {
    paused(|| {
        let mut shortest: Interval = interval(Duration::ZERO);
        let first = shortest.tick().unwrap();
        assert!(shortest.tick().unwrap() > first);
        let mut longest = interval(Duration::MAX);
        let ended = timeout(MILLISECOND, || longest.tick());
        assert!(ended.is_err());
    });
}
