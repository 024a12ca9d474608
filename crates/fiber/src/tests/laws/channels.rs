//! Channels, oneshots and select: each value comes once, in the order of its sender.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Side, draw, handle, holds, join_all, milliseconds, pause};
use crate::sync::TryRecvError;
use crate::{
    Elapsed, Event, Instant, Receiver, Selected, Selector, Source, channel, oneshot, select, sleep,
    timeout,
};

/// What was received, as sender and number.
type Got = Rc<RefCell<Vec<(u64, u32)>>>;

/// Of each sender everything came, once and in order.
fn all_came_in_order(got: &Got, senders: u64, each: u32) {
    let got = got.borrow();
    assert_eq!(got.len() as u64, senders * u64::from(each));
    for sender in 0..senders {
        let of_one = got.iter().filter(|of| of.0 == sender).map(|of| of.1);
        assert!(of_one.eq(0..each), "out of order: {got:?}");
    }
}

/// Receivers that give up again and again lose and double nothing.
fn channels(_: Side) {
    let (to, from) = channel(usize::try_from(1 + draw(3)).unwrap());
    let mut fibers = Vec::new();
    for sender in 0..3 {
        let to = to.clone();
        fibers.push(handle(move || {
            for n in 0..20 {
                pause();
                to.send((sender, n)).unwrap();
            }
        }));
    }
    drop(to);
    let got = Got::default();
    for _ in 0..2 {
        let (from, got) = (from.clone(), Rc::clone(&got));
        fibers.push(handle(move || {
            loop {
                match timeout(Duration::from_micros(draw(300)), || from.recv()) {
                    // A value that came at the last moment is inside.
                    Ok(Ok(Some(value))) | Err(Elapsed(Ok(Some(value)))) => {
                        got.borrow_mut().push(value);
                    }
                    Ok(Ok(None)) => break,
                    Err(_) => {}
                    Ok(Err(stopped)) => panic!("no scope is over: {stopped}"),
                }
                pause();
            }
        }));
    }
    join_all(fibers);
    all_came_in_order(&got, 3, 20);
}

/// A sender that gave up did not send, and one that did not give up did.
fn senders(_: Side) {
    let (to, from) = channel(1);
    let mut fibers = Vec::new();
    let sent: Rc<RefCell<Vec<u32>>> = Rc::default();
    for sender in 0..3 {
        let (to, sent) = (to.clone(), Rc::clone(&sent));
        fibers.push(handle(move || {
            for n in 0..15 {
                let number = sender * 100 + n;
                let limit = Duration::from_micros(draw(400));
                match timeout(limit, || to.send(number)) {
                    Ok(Ok(())) | Err(Elapsed(Ok(()))) => sent.borrow_mut().push(number),
                    Ok(Err(error)) => panic!("no scope is over: {error:?}"),
                    Err(Elapsed(Err(_))) => {}
                }
            }
        }));
    }
    drop(to);
    let got: Rc<RefCell<Vec<u32>>> = Rc::default();
    let receiving = Rc::clone(&got);
    fibers.push(handle(move || {
        while let Ok(Some(number)) = from.recv() {
            receiving.borrow_mut().push(number);
            pause();
        }
    }));
    join_all(fibers);
    let (mut sent, mut got) = (sent.take(), got.take());
    sent.sort_unstable();
    got.sort_unstable();
    assert_eq!(sent, got);
}

/// Takes what select found, and nothing else.
fn take(found: Selected, from: &[Receiver<(u64, u32)>; 2], got: &Got) -> bool {
    let Selected::Ready(index) = found else {
        return true;
    };
    match from[index].try_recv() {
        Ok(value) => {
            got.borrow_mut().push(value);
            true
        }
        // Another one took it.
        Err(TryRecvError::Empty) => true,
        Err(_) => false,
    }
}

/// Of a select at most one branch is taken, and the others keep what they have: several fibers that
/// select on the same channels, with deadlines and scopes that end, lose and double nothing.
fn selects(_: Side) {
    let (to_one, one) = channel(1);
    let (to_other, other) = channel(2);
    let mut fibers = Vec::new();
    for sender in 0..4 {
        let to = if sender % 2 == 0 { &to_one } else { &to_other }.clone();
        fibers.push(handle(move || {
            for n in 0..10 {
                pause();
                to.send((sender, n)).unwrap();
            }
        }));
    }
    drop((to_one, to_other));
    let got = Got::default();
    for keeps_timer in [false, true] {
        let (from, got) = ([one.clone(), other.clone()], Rc::clone(&got));
        fibers.push(handle(move || {
            let mut selector = Selector::new();
            // A channel that ended is ready for ever: then the other is emptied alone.
            let mut open = [true, true];
            while open.contains(&true) {
                let which: Vec<usize> = (0..2).filter(|&n| open[n]).collect();
                let sources: Vec<&dyn Source> =
                    which.iter().map(|&n| &from[n] as &dyn Source).collect();
                let until = Instant::now() + Duration::from_micros(draw(200));
                let found = timeout(Duration::from_micros(draw(400)), || match keeps_timer {
                    true => selector.select(&sources, Some(until)),
                    false => select(&sources, Some(until)),
                });
                let (Ok(Ok(found)) | Err(Elapsed(Ok(found)))) = found else {
                    continue;
                };
                if let Selected::Ready(nth) = found
                    && !take(Selected::Ready(which[nth]), &from, &got)
                {
                    open[which[nth]] = false;
                }
                pause();
            }
        }));
    }
    drop((one, other));
    join_all(fibers);
    all_came_in_order(&got, 4, 10);
}

/// A select ends by what is ready, or by its deadline and then not before it.
fn select_deadlines(side: Side) {
    let mut selector = Selector::new();
    for round in 0..6 {
        let (event, set_at, limit) = (Rc::new(Event::new()), draw(4), draw(4));
        let setting = Rc::clone(&event);
        let setter = handle(move || {
            sleep(milliseconds(set_at)).unwrap();
            setting.set();
        });
        let began = Instant::now();
        let until = began + milliseconds(limit);
        let found = match round % 3 {
            0 => select(&[&*event], Some(until)),
            _ => selector.select(&[&*event], Some(until)),
        };
        let found = found.unwrap();
        let took = began.elapsed();
        match found {
            Selected::Ready(index) => assert!(index == 0 && event.is_set()),
            Selected::Deadline => assert!(took >= milliseconds(limit)),
        }
        let first = milliseconds(set_at.min(limit));
        assert!(took < first + side.late_max(), "{took:?} for {first:?}");
        join_all(vec![setter]);
    }
}

/// A oneshot gives its value once or says that none comes, whoever is first.
fn oneshots(_: Side) {
    let mut fibers = Vec::new();
    for n in 0..6_u64 {
        fibers.push(handle(move || {
            let (to, mut from) = oneshot();
            let gives = draw(3) > 0;
            let giver = handle(move || {
                pause();
                if gives {
                    assert!(to.send(n).is_ok());
                }
            });
            pause();
            let got = from.recv().unwrap();
            assert_eq!(got, gives.then_some(n));
            join_all(vec![giver]);
        }));
    }
    join_all(fibers);
}

#[test]
fn a_channel_gives_each_value_once_and_in_its_senders_order() {
    holds(channels);
}

#[test]
fn a_value_was_sent_or_its_sender_knows_that_it_was_not() {
    holds(senders);
}

#[test]
fn of_a_select_one_branch_is_taken_and_the_others_keep_their_values() {
    holds(selects);
}

#[test]
fn a_select_ends_in_time_by_what_is_ready_or_its_deadline() {
    holds(select_deadlines);
}

#[test]
fn a_oneshot_gives_its_value_or_its_end() {
    holds(oneshots);
}
