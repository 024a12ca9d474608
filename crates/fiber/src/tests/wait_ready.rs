//! Waiting for data without a buffer for it, and looking at data without taking it.

use std::io::{Read, Write};
use std::rc::Rc;

use super::{MILLISECOND, patiently, paused, tcp_pair, turns};
use crate::net::{Shutdown, UnixStream, pipe};
use crate::{cause, sleep, spawn, stats, timeout, yield_now};

/// A fresh stream knows nothing of its readiness; the wait finds out.
macro_rules! waits_until_there_is_something {
    ($pair:expr) => {{
        let (mut near, far) = $pair;
        let ended = timeout(2 * MILLISECOND, || far.wait_readable());
        assert!(cause(&ended.unwrap_err().0.unwrap_err()).is_some());
        far.wait_writable().unwrap();
        let mut waiter = spawn(move || {
            far.wait_readable().unwrap();
            let mut buffer = [0; 16];
            let first = far.try_read(&mut buffer).unwrap();
            // Data and end came as one: no further event tells of the end.
            far.wait_readable().unwrap();
            (first, far.try_read(&mut buffer).unwrap())
        })
        .unwrap();
        turns(2);
        near.write_all(b"hello").unwrap();
        let _ = near.shutdown(Shutdown::Write);
        assert_eq!(waiter.join().unwrap(), (Some(5), Some(0)));
    }};
}

#[test]
fn a_wait_for_data_is_no_guess_and_finds_the_end_behind_the_data() {
    patiently(|| {
        waits_until_there_is_something!(tcp_pair());
        waits_until_there_is_something!(UnixStream::pair().unwrap());
    });
    paused(|| waits_until_there_is_something!(pipe(16)));
}

#[test]
fn a_wait_for_data_that_is_there_ends_at_once() {
    patiently(|| {
        let (mut near, far) = tcp_pair();
        near.write_all(b"x").unwrap();
        for _ in 0..300 {
            far.wait_readable().unwrap();
        }
        assert_eq!(far.try_read(&mut [0; 8]).unwrap(), Some(1));
    });
}

#[test]
fn a_wait_for_room_ends_when_the_peer_reads() {
    patiently(|| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let data = vec![0; 1 << 20];
        let mut wrote = 0;
        while let Some(n) = near.try_write(&data).unwrap() {
            wrote += n;
        }
        assert!(timeout(2 * MILLISECOND, || near.wait_writable()).is_err());
        let mut reader = spawn(move || {
            far.read_exact(&mut vec![0; wrote]).unwrap();
            far
        })
        .unwrap();
        near.wait_writable().unwrap();
        assert!(near.try_write(&[1]).unwrap().is_some());
        reader.join().unwrap();
    });
}

#[test]
fn of_several_that_wait_for_data_one_gets_it_and_the_others_wait_on() {
    patiently(|| {
        let (near, far) = tcp_pair();
        let far = Rc::new(far);
        let mut waiters: Vec<_> = (0..3)
            .map(|_| {
                let far = Rc::clone(&far);
                spawn(move || {
                    let mut looks = 0;
                    loop {
                        far.wait_readable().unwrap();
                        looks += 1;
                        if let Some(n) = far.try_read(&mut [0]).unwrap() {
                            return (n, looks);
                        }
                    }
                })
                .unwrap()
            })
            .collect();
        turns(2);
        for _ in 0..3 {
            (&near).write_all(&[1]).unwrap();
            sleep(2 * MILLISECOND).unwrap();
        }
        for waiter in &mut waiters {
            let (n, looks) = waiter.join().unwrap();
            assert_eq!(n, 1);
            assert!(looks <= 6, "{looks}");
        }
    });
}

#[test]
fn what_was_peeked_at_is_still_there() {
    patiently(|| {
        let (mut near, mut far) = tcp_pair();
        let mut looker = spawn(move || {
            let mut buffer = [0; 16];
            // Twice, and less than there is room for: a look clears no bit.
            for _ in 0..2 {
                assert_eq!(far.peek(&mut buffer).unwrap(), 5);
                assert_eq!(&buffer[..5], b"hello");
            }
            let mut text = String::new();
            far.read_to_string(&mut text).unwrap();
            assert_eq!(far.peek(&mut buffer).unwrap(), 0);
            text
        })
        .unwrap();
        turns(2);
        near.write_all(b"hello").unwrap();
        drop(near);
        assert_eq!(looker.join().unwrap(), "hello");
    });
}

#[test]
fn a_socket_that_is_not_watched_wakes_no_loop_and_is_found_ready() {
    patiently(|| {
        let (mut near, far) = tcp_pair();
        near.set_nodelay(true).unwrap();
        assert_eq!(far.try_read(&mut [0; 8]).unwrap(), None);
        assert!(far.bits().entry().is_some(), "the kernel tells of it");
        far.readable().unwatch();
        let before = stats().polls;
        let mut peer = spawn(move || {
            for _ in 0..20 {
                near.write_all(b"x").unwrap();
                yield_now().unwrap();
            }
            near
        })
        .unwrap();
        let near = peer.join().unwrap();
        sleep(5 * MILLISECOND).unwrap();
        assert!(stats().polls - before <= 4, "nothing but the timers");
        assert!(far.bits().entry().is_none(), "nobody looked");
        let mut buffer = [0; 32];
        assert_eq!(far.try_read(&mut buffer).unwrap(), Some(20));
        assert_eq!(far.try_read(&mut buffer).unwrap(), None);
        // Who waits from here on is told.
        let mut waiter = spawn(move || far.wait_readable()).unwrap();
        turns(2);
        (&near).write_all(b"x").unwrap();
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn who_waits_for_a_socket_gets_what_comes_after_another_has_unwatched_it() {
    patiently(|| {
        let (mut near, far) = tcp_pair();
        let far = Rc::new(far);
        let reader = Rc::clone(&far);
        let mut reading = spawn(move || (&*reader).read(&mut [0; 8])).unwrap();
        turns(2);
        far.readable().unwatch();
        far.writable().unwatch();
        turns(2);
        near.write_all(b"hello").unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 5);
    });
}
