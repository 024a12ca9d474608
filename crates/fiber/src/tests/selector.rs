//! What a selector keeps from one wait to the next: its timer, and its places in lists.

use std::rc::Rc;
use std::time::Duration;

use super::select::registrations;
use super::{MILLISECOND, go, paused, timed, turns};
use crate::timer::Target;
use crate::{
    Event, Instant, Selected, Selector, Source as _, Timer, channel, core, prepare, sleep, spawn,
    stats, timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Waits that something ends before their deadline, which moves on with each.
fn short_waits(selector: &mut Selector, count: u32) {
    let event = Event::new();
    for _ in 0..count {
        let set = event.clone();
        go(move || {
            sleep(MILLISECOND).unwrap();
            set.set();
        });
        let until = Instant::now() + 10 * MILLISECOND;
        let found = selector.select(&[&event], Some(until)).unwrap();
        assert_eq!(found, Selected::Ready(0));
        event.clear();
    }
}

#[test]
fn a_timer_that_stays_set_ends_no_wait_before_its_deadline_and_each_at_it() {
    paused(|| {
        let mut selector = Selector::new();
        let never = Event::new();
        short_waits(&mut selector, 9);
        // It rings a millisecond from now, and is set anew for the rest.
        for millis in [10, 3, 7, 1, 0, 20] {
            let limit = millis * MILLISECOND;
            let until = Instant::now() + limit;
            let (found, took) = timed(|| selector.select(&[&never], Some(until)));
            assert_eq!((found.unwrap(), took), (Selected::Deadline, limit));
        }
        // Without a deadline it wakes nobody who sees it.
        short_waits(&mut selector, 2);
        let (found, took) = timed(|| {
            let ended = timeout(50 * MILLISECOND, || selector.select(&[&never], None));
            ended.unwrap_err().0.unwrap_err()
        });
        assert_eq!(crate::cause(&found), Some(crate::Stopped::TimedOut));
        assert_eq!(took, 50 * MILLISECOND);
    });
}

#[test]
fn a_timer_stays_set_over_waits_whose_deadline_moves_on() {
    paused(|| {
        let rings = || core::current().unwrap().next_timer();
        let mut selector = Selector::new();
        let first = Instant::now() + 10 * MILLISECOND;
        short_waits(&mut selector, 5);
        assert_eq!(rings(), Some(first.as_nanos()));
        let fired = stats().timers_fired;
        short_waits(&mut selector, 20);
        // Those that set the event, and one for each ten milliseconds.
        assert!((22..=23).contains(&(stats().timers_fired - fired)));
        drop(selector);
        assert_eq!(registrations(), (0, None));
    });
}

#[test]
fn another_wait_or_another_fiber_in_between_changes_no_deadline() {
    paused(|| {
        let never = Event::new();
        let mut selector = Selector::new();
        short_waits(&mut selector, 1);
        // The timer must not end this one, nor be taken for one that ends the next.
        let ((), took) = timed(|| sleep(30 * MILLISECOND).unwrap());
        assert_eq!(took, 30 * MILLISECOND);
        short_waits(&mut selector, 1);
        let (_, took) = timed(|| timeout(2 * MILLISECOND, || never.wait()));
        assert_eq!(took, 2 * MILLISECOND);
        let until = Instant::now() + 15 * MILLISECOND;
        let mut child = spawn(move || {
            let (found, took) = timed(|| selector.select(&[&never], Some(until)));
            (found.unwrap(), took)
        })
        .unwrap();
        let (found, took) = child.join().unwrap();
        assert_eq!((found, took), (Selected::Deadline, 15 * MILLISECOND));
        assert_eq!(registrations(), (0, None));
    });
}

#[test]
fn a_timer_that_a_selector_waited_for_before_means_nothing() {
    const ROUNDS: u64 = 1_000;
    paused(|| {
        let at = |nanos| Instant::now() + SECOND + Duration::from_nanos(nanos);
        let event = Rc::new(Event::new());
        let setter = Rc::clone(&event);
        // Timers of others come behind each of the selector's, so that it stands at no end.
        let stale = prepare().unwrap();
        go(move || {
            for n in 0..ROUNDS {
                let core = core::current().unwrap();
                core.add_timer(at(2 * n + 1).as_nanos(), Target::Fiber(stale));
                setter.set();
                yield_now().unwrap();
            }
        });
        let mut selector = Selector::new();
        for n in 0..ROUNDS {
            let timer = Timer::at(at(2 * n));
            let selected = selector.select(&[&*event, &timer], Some(at(60 * ROUNDS)));
            assert_eq!(selected.unwrap(), Selected::Ready(0));
            event.clear();
        }
        drop(selector);
        let core = core::current().unwrap();
        let kept = core.timers.borrow().len();
        assert!(kept < 300, "{kept}");
        prepare().unwrap();
        assert_eq!(core.next_timer(), None);
    });
}

#[test]
fn a_place_that_a_selector_keeps_loses_no_wake_and_keeps_no_other_from_being_woken() {
    paused(|| {
        let (event, never) = (Event::new(), Event::new());
        let mut selector = Selector::new();
        let until = |millis| Some(Instant::now() + millis * MILLISECOND);
        // It has kept its place in both, and has ended the wait that they are of.
        let found = selector.select(&[&never, &event], until(5)).unwrap();
        assert_eq!(found, Selected::Deadline);
        let others = [0; 3].map(|_| {
            let event = event.clone();
            spawn(move || event.wait().is_ok()).unwrap()
        });
        turns(1);
        event.set();
        turns(1);
        assert!(others.iter().all(crate::JoinHandle::is_finished));
        // It was set while nobody waited: found at once, and each time that it is set again.
        for _ in 0..3 {
            let found = selector.select(&[&never, &event], until(5)).unwrap();
            assert_eq!(found, Selected::Ready(1));
            event.clear();
            let set = event.clone();
            go(move || {
                turns(2);
                set.set();
            });
            let (found, took) = timed(|| selector.select(&[&never, &event], until(5)));
            assert_eq!((found.unwrap(), took), (Selected::Ready(1), Duration::ZERO));
        }
        drop(selector);
        assert_eq!(registrations(), (0, None));
    });
}

#[test]
fn a_wait_for_either_ends_by_each_of_the_two_by_time_and_by_its_scope() {
    paused(|| {
        let (one, other) = (Event::new(), Event::new());
        let (sender, receiver) = channel(1);
        let mut selector = Selector::new();
        let until = |millis| Some(Instant::now() + millis * MILLISECOND);
        let mut wait = |deadline| timed(|| selector.wait_for_either(&one, &other, deadline));
        for event in [&one, &other, &one] {
            let set = event.clone();
            go(move || {
                sleep(MILLISECOND).unwrap();
                set.set();
            });
            assert_eq!(wait(until(60)).1, MILLISECOND);
            // It is ready as it is.
            assert_eq!(wait(until(60)).1, Duration::ZERO);
            event.clear();
        }
        let (waited, took) = timed(|| {
            let end = Instant::now() + 80 * MILLISECOND;
            while Instant::now() < end {
                wait(Some(end)).0.unwrap();
            }
        });
        assert_eq!((waited, took), ((), 80 * MILLISECOND));
        let ended = timeout(MILLISECOND, || wait(None).0.unwrap_err());
        let ended = crate::cause(&ended.unwrap_err().0);
        assert_eq!(ended, Some(crate::Stopped::TimedOut));
        // What keeps no place gives its link back.
        go(move || sender.send(1).unwrap());
        let mut selector = Selector::new();
        selector
            .wait_for_either(&receiver, &other, until(60))
            .unwrap();
        assert!(receiver.is_ready());
        drop(selector);
        assert_eq!(registrations(), (0, None));
    });
}
