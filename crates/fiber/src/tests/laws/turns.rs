//! Turns: in order where they are, fair in any case, and nothing starves.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, Side, draw, handle, holds, join_all};
use crate::net::{TcpListener, TcpStream};
use crate::{Event, Instant, sleep, yield_now};

/// Who did something, in order.
type Coming = Rc<RefCell<Vec<u32>>>;

/// Busy connections do not hold up timers, nor many timers the connections.
fn both_sorts(side: Side) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let moved = Rc::new(Cell::new(0_u64));
    let writing = handle(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(&[0; 4_000]).is_ok() {}
    });
    let reading = {
        let moved = Rc::clone(&moved);
        handle(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut buffer = [0; 1_000];
            while let Ok(n) = stream.read(&mut buffer) {
                moved.set(moved.get() + n as u64);
            }
        })
    };
    let storm = handle(|| while sleep(Duration::from_micros(20)).is_ok() {});
    while moved.get() == 0 {
        sleep(MILLISECOND).unwrap();
    }
    for _ in 0..3 {
        let (before, began) = (moved.get(), Instant::now());
        sleep(MILLISECOND).unwrap();
        assert!(
            began.elapsed() < MILLISECOND + side.late_max(),
            "a timer starved"
        );
        // A process that the system kept waiting finds the time over when it begins.
        let mut left = 5;
        while moved.get() == before && left > 0 {
            sleep(MILLISECOND).unwrap();
            left -= 1;
        }
        assert!(moved.get() > before, "the connection starved");
    }
    for fiber in [writing, reading, storm] {
        fiber.cancel();
    }
}

/// Fibers that only yield take turns: exactly where they run first in, first out, and else each
/// gets some.
fn yields(side: Side) {
    const FIBERS: usize = 5;
    const TURNS: u32 = 40;
    let turns = Rc::new(RefCell::new([0_u32; FIBERS]));
    let mut fibers = Vec::new();
    for n in 0..FIBERS {
        let turns = Rc::clone(&turns);
        fibers.push(handle(move || {
            for _ in 0..TURNS {
                turns.borrow_mut()[n] += 1;
                let now = *turns.borrow();
                let (least, most) = (now.iter().min(), now.iter().max());
                let ahead = most.unwrap() - least.unwrap();
                assert!(!side.is_fifo() || ahead <= 1, "{now:?}");
                if now[n] == TURNS {
                    let others = now.iter().filter(|&&of| of > TURNS / 20).count();
                    assert_eq!(others, FIBERS, "one starved: {now:?}");
                }
                yield_now().unwrap();
            }
        }));
    }
    join_all(fibers);
}

/// Children start, and those who wait for one event wake, in the order of their coming where fibers
/// run first in, first out; in any order each does so once.
fn orders(side: Side) {
    let event = Event::new();
    let (started, woken) = (Coming::default(), Coming::default());
    let mut fibers = Vec::new();
    for n in 0..6 {
        let (event, started, woken) = (event.clone(), Rc::clone(&started), Rc::clone(&woken));
        fibers.push(handle(move || {
            started.borrow_mut().push(n);
            event.wait().unwrap();
            woken.borrow_mut().push(n);
        }));
    }
    while started.borrow().len() < 6 {
        yield_now().unwrap();
    }
    for _ in 0..draw(3) {
        yield_now().unwrap();
    }
    event.set();
    join_all(fibers);
    for mut order in [started.take(), woken.take()] {
        if !side.is_fifo() {
            order.sort_unstable();
        }
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    }
}

/// Fibers that never wait hold up neither timers nor bytes.
fn busy(side: Side) {
    let stop = Rc::new(Cell::new(false));
    let mut fibers = Vec::new();
    for _ in 0..3 {
        let stop = Rc::clone(&stop);
        fibers.push(handle(move || {
            while !stop.get() {
                yield_now().unwrap();
            }
        }));
    }
    let (mut near, mut far) = crate::tests::tcp_pair();
    let began = Instant::now();
    near.write_all(b"x").unwrap();
    far.read_exact(&mut [0]).unwrap();
    sleep(Duration::from_micros(500)).unwrap();
    let took = began.elapsed();
    assert!(took < MILLISECOND + side.late_max(), "{took:?}");
    stop.set(true);
    join_all(fibers);
}

#[test]
fn timers_and_connections_do_not_starve_each_other() {
    holds(both_sorts);
}

#[test]
fn fibers_that_yield_take_turns_and_none_starves() {
    holds(yields);
}

#[test]
fn starts_and_wakes_come_in_order_and_once() {
    holds(orders);
}

#[test]
fn fibers_that_never_wait_hold_up_neither_timers_nor_bytes() {
    holds(busy);
}
