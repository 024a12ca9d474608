//! Sockets on loopback: both directions at once, many waiters, the end of data.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::rc::Rc;

use super::{MILLISECOND, PATIENCE, Trace, go, patiently, tcp_pair as pair, turns};
use crate::net::{Shutdown, TcpListener, TcpStream};
use crate::{
    Elapsed, Selected, Stopped, cause, scope, select, sleep, spawn, stats, timeout, yield_now,
};

#[test]
fn one_fiber_reads_while_another_writes_on_one_socket() {
    patiently(|| {
        let (near, far) = pair();
        let bytes = 4 * 1024 * 1024;
        scope(|s| {
            // The far end echoes; both ends are full most of the time.
            s.spawn(|| {
                let mut buffer = [0; 8_000];
                loop {
                    match (&far).read(&mut buffer)? {
                        0 => return far.shutdown(Shutdown::Write),
                        n => (&far).write_all(&buffer[..n])?,
                    }
                }
            })?;
            s.spawn(|| {
                let chunk: Vec<u8> = (0..=255).cycle().take(10_000).collect();
                let mut left = bytes;
                while left > 0 {
                    let n = left.min(chunk.len());
                    (&near).write_all(&chunk[..n])?;
                    left -= n;
                }
                near.shutdown(Shutdown::Write)
            })?;
            let mut all = Vec::new();
            (&near).read_to_end(&mut all)?;
            assert_eq!(all.len(), bytes);
            assert!(
                all.iter()
                    .enumerate()
                    .all(|(at, &byte)| byte == (at % 10_000 % 256) as u8)
            );
            Ok::<_, std::io::Error>(())
        })
        .unwrap();
    });
}

#[test]
fn two_readers_and_two_writers_share_a_socket() {
    patiently(|| {
        let (near, far) = pair();
        let read = Cell::new(0);
        let total = 2 * 3_000_000;
        scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    let data = vec![1; 3_000_000];
                    (&near).write_all(&data)
                })?;
                s.spawn(|| {
                    let mut buffer = [0; 10_000];
                    while read.get() < total {
                        match (&far).read(&mut buffer)? {
                            0 => break,
                            n => read.set(read.get() + n),
                        }
                        if read.get() >= total {
                            // Wakes the other reader, which would wait for ever.
                            far.shutdown(Shutdown::Read)?;
                        }
                    }
                    Ok::<_, std::io::Error>(())
                })?;
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(read.get(), total);
    });
}

#[test]
fn readers_that_share_what_came_in_one_event_all_get_theirs() {
    patiently(|| {
        let (mut near, far) = pair();
        scope(|s| {
            for _ in 0..3 {
                s.spawn(|| (&far).read_exact(&mut [0]))?;
            }
            turns(2);
            near.write_all(&[1, 2, 3])
        })
        .unwrap();
    });
}

#[test]
fn the_end_of_data_in_the_same_event_as_the_last_of_it_is_not_lost() {
    patiently(|| {
        for by_wait in [false, true] {
            let (mut near, far) = pair();
            let mut reader = spawn(move || {
                let mut far = far;
                let mut buffer = [0; 100];
                if by_wait {
                    // Registered and parked before anything comes.
                    assert_eq!(far.read(&mut buffer).unwrap(), 1);
                }
                // Data and end are there; a short read, and after it the end without an edge.
                sleep(20 * MILLISECOND).unwrap();
                let first = far.read(&mut buffer).unwrap();
                (first, far.read(&mut buffer).unwrap())
            })
            .unwrap();
            turns(2);
            if by_wait {
                near.write_all(b"!").unwrap();
                sleep(5 * MILLISECOND).unwrap();
            }
            near.write_all(b"hello").unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            assert_eq!(reader.join().unwrap(), (5, 0));
        }
    });
}

#[test]
fn data_and_end_for_a_parked_reader_come_as_a_short_read_and_an_end() {
    patiently(|| {
        let (mut near, mut far) = pair();
        let mut reader = spawn(move || {
            let mut all = Vec::new();
            let mut buffer = [0; 100];
            loop {
                match far.read(&mut buffer).unwrap() {
                    0 => return all,
                    n => all.push(n),
                }
            }
        })
        .unwrap();
        turns(2);
        // In one turn, so that one event tells of both.
        near.write_all(b"hello").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.join().unwrap(), [5]);
    });
}

#[test]
fn a_socket_that_is_only_polled_becomes_ready() {
    patiently(|| {
        let (mut near, far) = pair();
        let mut buffer = [0; 100];
        // A short read of a socket that was never waited for, and nothing after it.
        near.write_all(b"one").unwrap();
        let poll = |buffer: &mut [u8; 100]| {
            loop {
                match far.try_read(buffer).unwrap() {
                    Some(n) => return n,
                    None => sleep(MILLISECOND).unwrap(),
                }
            }
        };
        assert_eq!(poll(&mut buffer), 3);
        assert_eq!(far.try_read(&mut buffer).unwrap(), None);
        near.write_all(b"four").unwrap();
        assert_eq!(poll(&mut buffer), 4);
        drop(near);
        assert_eq!(poll(&mut buffer), 0);
    });
}

#[test]
fn what_came_before_a_failed_write_is_read_at_once() {
    patiently(|| {
        let (mut near, far) = pair();
        let mut buffer = [0; 100];
        // Watched from here on.
        assert_eq!(far.try_read(&mut buffer).unwrap(), None);
        near.write_all(b"hello").unwrap();
        select(&[&far.readable()], None).unwrap();
        // A short read: from here on only the runtime's next look at its events tells of more.
        assert_eq!(far.try_read(&mut buffer).unwrap(), Some(5));
        // What the peer never read makes a reset of its close, right behind its last words.
        assert_eq!(far.try_write(b"unread").unwrap(), Some(6));
        assert_eq!(near.try_write(b"last words").unwrap(), Some(10));
        drop(near);
        assert_eq!(far.try_read(&mut buffer).unwrap(), None);
        let failed = loop {
            match far.try_write(b"more") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(failed.kind(), ErrorKind::ConnectionReset, "{failed}");
        assert_eq!(far.try_read(&mut buffer).unwrap(), Some(10));
        assert_eq!(buffer[..10], *b"last words");
    });
}

#[test]
fn writing_into_a_full_socket_is_polled_and_selected() {
    patiently(|| {
        let (near, far) = pair();
        let data = vec![0; 1 << 20];
        let mut wrote = 0;
        while let Some(n) = near.try_write(&data).unwrap() {
            wrote += n;
        }
        let soon = Some(crate::Instant::now() + 5 * MILLISECOND);
        assert_eq!(
            select(&[&near.writable()], soon).unwrap(),
            Selected::Deadline
        );
        let drained = spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            let mut left = wrote;
            while left > 0 {
                // The byte that is written meanwhile may be among them.
                left = left.saturating_sub((&far).read(&mut buffer).unwrap());
            }
            far
        });
        let ready = select(&[&near.readable(), &near.writable()], None).unwrap();
        assert_eq!(ready, Selected::Ready(1));
        assert!(near.try_write(&[1]).unwrap().is_some());
        drained.unwrap().join().unwrap();
    });
}

#[test]
fn a_select_on_a_socket_and_a_channel_sees_each() {
    patiently(|| {
        let (mut near, far) = pair();
        let (sender, receiver) = crate::channel(1);
        let found = Trace::new();
        let noted = found.clone();
        let mut driver = spawn(move || {
            let mut buffer = [0; 10];
            loop {
                match select(&[&far.readable(), &receiver], None).unwrap() {
                    Selected::Ready(0) => match far.try_read(&mut buffer).unwrap() {
                        Some(0) => return,
                        Some(_) => noted.note('s'),
                        None => {}
                    },
                    _ => {
                        noted.note('c');
                        receiver.try_recv().unwrap();
                    }
                }
            }
        })
        .unwrap();
        sleep(MILLISECOND).unwrap();
        for _ in 0..3 {
            sender.send(()).unwrap();
            sleep(MILLISECOND).unwrap();
            near.write_all(b"x").unwrap();
            while found.entries().last() != Some(&'s') {
                sleep(MILLISECOND).unwrap();
            }
        }
        drop(near);
        driver.join().unwrap();
        found.expect(['c', 's', 'c', 's', 'c', 's']);
    });
}

#[test]
fn reading_obeys_the_scope_around_it_and_the_socket_lives_on() {
    patiently(|| {
        let (mut near, mut far) = pair();
        let ended = timeout(2 * MILLISECOND, || far.read(&mut [0]));
        let Err(Elapsed(Err(error))) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(cause(&error), Some(Stopped::TimedOut));
        near.write_all(&[7]).unwrap();
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    patiently(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_reset_wakes_reader_and_writer() {
    patiently(|| {
        let (near, far) = pair();
        let near = Rc::new(near);
        let (reading, writing) = (Rc::clone(&near), Rc::clone(&near));
        let mut reader = spawn(move || (&*reading).read(&mut [0])).unwrap();
        let mut writer = spawn(move || (&*writing).write_all(&vec![0; 32 << 20])).unwrap();
        sleep(2 * MILLISECOND).unwrap();
        // Closed with data unread: the kernel answers with a reset.
        drop(far);
        assert!(writer.join().unwrap().is_err());
        assert!(reader.join().unwrap().map_or(true, |n| n == 0));
    });
}

#[test]
fn an_entry_of_the_reactor_that_is_used_again_belongs_to_its_new_owner() {
    patiently(|| {
        let (first, mut far) = pair();
        assert!(timeout(MILLISECOND, || (&first).read(&mut [0])).is_err());
        let entry = first.bits().entry();
        far.write_all(&[1]).unwrap();
        // Dropped with an event of it under way.
        drop((first, far));
        let mut pairs: Vec<_> = (0..2).map(|_| pair()).collect();
        for (near, far) in &mut pairs {
            assert!(timeout(2 * MILLISECOND, || far.read(&mut [0])).is_err());
            assert!(timeout(2 * MILLISECOND, || near.read(&mut [0])).is_err());
            far.write_all(&[2]).unwrap();
            let mut byte = [0];
            near.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [2]);
        }
        let again = |(near, far): &(TcpStream, TcpStream)| {
            [near, far]
                .iter()
                .any(|stream| stream.bits().entry() == entry)
        };
        assert!(entry.is_some() && pairs.iter().any(again));
    });
}

#[test]
fn an_accept_that_was_cancelled_loses_no_connection() {
    patiently(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(timeout(MILLISECOND, || listener.accept()).is_err());
        for _ in 0..3 {
            go(move || TcpStream::connect(address).map(|_| ()));
        }
        for _ in 0..3 {
            listener.accept().unwrap();
        }
        assert!(timeout(MILLISECOND, || listener.accept()).is_err());
    });
}

#[test]
fn empty_buffers_neither_wait_nor_end_the_stream() {
    patiently(|| {
        let (mut near, mut far) = pair();
        assert_eq!(far.read(&mut []).unwrap(), 0);
        assert_eq!(near.write(&[]).unwrap(), 0);
        near.write_all(&[1]).unwrap();
        far.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_request_that_never_blocks_costs_its_calls_and_no_timer() {
    patiently(|| {
        let (mut near, mut far) = pair();
        let before = stats();
        for _ in 0..50 {
            near.write_all(&[1; 64]).unwrap();
            // Loopback delivers at once.
            timeout(PATIENCE, || far.read_exact(&mut [0; 64]))
                .unwrap()
                .unwrap();
        }
        let after = stats();
        assert_eq!(after.writes - before.writes, 50);
        assert_eq!(after.reads - before.reads, 50);
        assert_eq!(after.bytes_read - before.bytes_read, 50 * 64);
        yield_now().unwrap();
    });
}

#[test]
fn data_behind_urgent_data_is_read_although_the_read_before_it_was_short() {
    patiently(|| {
        let (mut near, mut far) = pair();
        assert!(timeout(MILLISECOND, || far.read(&mut [0])).is_err());
        near.write_all(b"before").unwrap();
        crate::sys::send_urgent(near.as_fd(), b'!').unwrap();
        near.write_all(b"behind").unwrap();
        // All of it is one event, which no other follows.
        far.wait_readable().unwrap();
        let mut all = Vec::new();
        let mut buffer = [0; 100];
        while all.len() < 12 {
            let n = far.read(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..n]);
        }
        assert_eq!(all, b"beforebehind");
        assert_eq!(far.try_read(&mut buffer).unwrap(), None);
    });
}

#[test]
fn a_connection_that_is_being_made_is_waited_for_beside_other_things() {
    patiently(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connecting = TcpStream::begin(address, |_| Ok(())).unwrap();
        // Nobody has asked the kernel yet what became of it.
        let connecting = connecting.finish().unwrap().unwrap_err();
        assert_eq!(
            select(&[&connecting.ended()], None).unwrap(),
            Selected::Ready(0)
        );
        let near = connecting.finish().unwrap().unwrap();
        assert_eq!(near.peer_addr().unwrap(), address);
        let (far, _) = listener.accept().unwrap();
        (&far).write_all(b"x").unwrap();
        (&near).read_exact(&mut [0]).unwrap();
        drop(listener);
        let refused = TcpStream::begin(address, |_| Ok(()));
        let refused = refused.and_then(|connecting| {
            select(&[&connecting.ended()], None)?;
            connecting.finish()
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}
