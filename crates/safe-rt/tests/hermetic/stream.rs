//! Bytes through an established connection: full duplex, positions, ends, stops, and keys that
//! change on the way. Plain sockets and WebSockets obey the same rules, so most tests run for all.

use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Selected, Stopped};
use safe_rt::{
    CLOSE_TIMEOUT_DEFAULT, RECORD_PLAINTEXT_MAX, Socket, TlsError, TlsErrorKind, TlsVersion,
};

use crate::support::{ROOMY, connected, over_ws, paused, read_text};

const SECOND: Duration = Duration::from_secs(1);

/// What a socket is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Plain,
    Tls(TlsVersion),
    Ws,
    WsOverTls,
}

const SORTS: [Sort; 5] = [
    Sort::Plain,
    Sort::Tls(TlsVersion::Tls12),
    Sort::Tls(TlsVersion::Tls13),
    Sort::Ws,
    Sort::WsOverTls,
];

impl Sort {
    const fn is_ws(self) -> bool {
        matches!(self, Self::Ws | Self::WsOverTls)
    }
}

/// Runs a test for each sort of socket, with both ends connected over a pipe.
#[track_caller]
fn each_sort(capacity: usize, body: impl Fn(Sort, Socket, Socket) + Clone + 'static) {
    let built = |sort: &Sort| cfg!(feature = "ws") || !sort.is_ws();
    for sort in SORTS.into_iter().filter(built) {
        let body = body.clone();
        paused(move || {
            let (one, other) = match sort {
                Sort::Plain => {
                    let (one, other) = fiber::net::pipe(capacity);
                    (one.into(), other.into())
                }
                Sort::Tls(version) => connected(version, capacity),
                Sort::Ws => {
                    let (one, other) = fiber::net::pipe(capacity);
                    over_ws(one, other)
                }
                Sort::WsOverTls => {
                    let (one, other) = connected(TlsVersion::Tls13, capacity);
                    over_ws(one, other)
                }
            };
            body(sort, one, other);
        });
    }
}

/// Bytes that show where they belong: a generator without pattern, from a seed.
fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn large_transfers_both_ways_at_once_do_not_wait_for_each_other() {
    const LEN: usize = 300_000;
    each_sort(700, |sort, one, other| {
        let mut running = Vec::new();
        let sockets = [Rc::new(one), Rc::new(other)];
        for (index, socket) in sockets.clone().into_iter().enumerate() {
            let (ours, theirs) = (index as u32, 1 - index as u32);
            let writer = Rc::clone(&socket);
            running.push(fiber::spawn(move || {
                (&*writer)
                    .write_all(&pattern(ours, LEN))
                    .expect("room in the end");
                (&*writer).flush().expect("room in the end");
            }));
            running.push(fiber::spawn(move || {
                let mut received = vec![0; LEN];
                (&*socket).read_exact(&mut received).expect("all of it");
                assert!(received == pattern(theirs, LEN), "{sort:?}: other bytes");
            }));
        }
        for fiber in running {
            fiber.expect("a fiber").join().expect("no panic");
        }
        for socket in &sockets {
            socket.shutdown_write().expect("room");
        }
        for socket in &sockets {
            assert_eq!(read_text(socket).expect("an end"), "", "{sort:?}");
        }
    });
}

#[test]
fn an_empty_write_or_read_changes_nothing() {
    each_sort(ROOMY, |_, one, other| {
        let before = fiber::stats();
        for _ in 0..3 {
            assert_eq!((&one).write(&[]).expect("nothing to fail"), 0);
            assert_eq!(one.try_write(&[]).expect("nothing to fail"), Some(0));
            assert_eq!((&one).read(&mut []).expect("nothing to fail"), 0);
            assert_eq!(one.try_read(&mut []).expect("nothing to fail"), Some(0));
            (&one).flush().expect("nothing to fail");
            assert!(one.try_flush().expect("nothing to fail"));
        }
        let after = fiber::stats();
        assert_eq!(after.bytes_written, before.bytes_written);
        assert_eq!(after.bytes_read, before.bytes_read);
        (&one).write_all(b"still here").expect("room");
        assert_eq!(read_text(&other).expect("the text"), "still here");
        (&other).write_all(b"me too").expect("room");
        assert_eq!(read_text(&one).expect("the text"), "me too");
    });
}

#[test]
fn an_orderly_end_is_the_end_of_the_stream() {
    each_sort(ROOMY, |_, one, other| {
        (&one).write_all(b"last words").expect("room");
        one.close().expect("room");
        assert_eq!(read_text(&other).expect("the text"), "last words");
        for _ in 0..3 {
            assert_eq!(read_text(&other).expect("an end"), "");
            assert_eq!(other.try_read(&mut [0]).expect("an end"), Some(0));
        }
    });
}

#[test]
fn after_the_end_of_one_side_the_other_may_go_on() {
    each_sort(ROOMY, |sort, one, other| {
        if sort.is_ws() {
            // There the end of one side is the end of both.
            return;
        }
        one.shutdown_write().expect("room");
        assert_eq!(read_text(&other).expect("an end"), "");
        (&other).write_all(b"one more thing").expect("room");
        assert_eq!(read_text(&one).expect("the text"), "one more thing");
        let error = (&one).write(b"x").expect_err("shut");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let error = one.try_write(b"x").expect_err("shut");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_tls_stream_that_is_cut_off_is_an_error_after_its_last_bytes() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        paused(move || {
            let (one, other) = connected(version, ROOMY);
            (&one).write_all(b"last words").expect("room");
            drop(one);
            assert_eq!(read_text(&other).expect("the text"), "last words");
            for _ in 0..2 {
                let error = read_text(&other).expect_err("cut off");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                let found = TlsError::of(&error).map(TlsError::kind);
                assert_eq!(found, Some(TlsErrorKind::Truncated));
                assert_eq!(
                    error.to_string(),
                    "the stream was cut off: the client closed the connection without close_notify"
                );
                let error = other.try_read(&mut [0]).expect_err("cut off");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        });
    }
}

#[test]
fn a_read_that_was_stopped_loses_nothing() {
    each_sort(5, |sort, one, other| {
        // Over a narrow pipe each text arrives in parts, and reads are stopped between them.
        let sending = fiber::spawn(move || {
            for part in pattern(7, 2_000).chunks(100) {
                fiber::sleep(SECOND / 2).expect("no scope is over");
                (&one).write_all(part).expect("room in the end");
                (&one).flush().expect("room in the end");
            }
            one.close().expect("room in the end");
        });
        let (mut received, mut stops) = (Vec::new(), 0);
        let mut buf = [0; 64];
        loop {
            let read = fiber::timeout(SECOND / 8, || (&other).read(&mut buf));
            match read.unwrap_or_else(|elapsed| elapsed.0) {
                Ok(0) => break,
                Ok(len) => received.extend_from_slice(&buf[..len]),
                Err(error) => {
                    assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    stops += 1;
                }
            }
        }
        sending.expect("a fiber").join().expect("no panic");
        assert!(stops >= 60, "{stops} stops");
        assert!(received == pattern(7, 2_000), "{sort:?}: other bytes");
    });
}

#[test]
fn a_write_that_was_stopped_reports_what_it_took() {
    each_sort(50, |sort, one, other| {
        let text = pattern(9, 100_000);
        let reading = fiber::spawn(move || {
            let mut received = Vec::new();
            let mut buf = [0; 64];
            loop {
                fiber::sleep(SECOND).expect("no scope is over");
                match (&other).read(&mut buf).expect("bytes or the end") {
                    0 => return received,
                    len => received.extend_from_slice(&buf[..len]),
                }
            }
        });
        let (mut sent, mut stops) = (0, 0);
        while sent < text.len() {
            let end = text.len().min(sent + 9_000);
            let write = fiber::timeout(20 * SECOND, || (&one).write(&text[sent..end]));
            match write.unwrap_or_else(|elapsed| elapsed.0) {
                Ok(len) => sent += len,
                Err(error) => {
                    assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
                    stops += 1;
                }
            }
        }
        assert!(sort == Sort::Plain || stops > 0, "nothing was stopped");
        // Far more than the default: the reader takes its time.
        fiber::timeout(100_000 * SECOND, || one.close())
            .expect("in time")
            .expect("room");
        let received = reading.expect("a fiber").join().expect("no panic");
        assert!(received == text, "{sort:?}: other bytes");
    });
}

#[test]
fn a_cancelled_read_leaves_the_connection_whole() {
    each_sort(ROOMY, |_, one, other| {
        let other = Rc::new(other);
        let reader = Rc::clone(&other);
        let mut reading = fiber::spawn(move || read_text(&reader)).expect("a fiber");
        fiber::sleep(SECOND).expect("no scope is over");
        reading.cancel();
        let error = reading.join().expect("no panic").expect_err("cancelled");
        assert_eq!(fiber::cause(&error), Some(Stopped::Cancelled));
        assert_eq!(error.kind(), io::ErrorKind::Other);
        (&one).write_all(b"again").expect("room");
        assert_eq!(read_text(&other).expect("the text"), "again");
    });
}

#[test]
fn try_calls_neither_wait_nor_yield() {
    each_sort(ROOMY, |_, one, other| {
        let resumes = fiber::stats().resumes;
        let mut buf = [0; 16];
        assert_eq!(other.try_read(&mut buf).expect("no failure"), None);
        assert_eq!(one.try_write(b"text").expect("no failure"), Some(4));
        assert!(one.try_flush().expect("no failure"));
        assert_eq!(other.try_read(&mut buf).expect("no failure"), Some(4));
        assert_eq!(&buf[..4], b"text");
        assert_eq!(other.try_read(&mut buf).expect("no failure"), None);
        assert_eq!(fiber::stats().resumes, resumes);
    });
}

#[test]
fn at_most_one_record_is_ahead_of_the_transport() {
    // Room for two records with their overhead, and a bit.
    const CAPACITY: usize = 40_000;
    let text = pattern(3, 10 * RECORD_PLAINTEXT_MAX);
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let text = text.clone();
        paused(move || {
            let (one, other) = connected(version, CAPACITY);
            // Whatever is left of the handshake is out of the way.
            assert_eq!(one.try_read(&mut [0]).expect("no failure"), None);
            assert_eq!(other.try_read(&mut [0]).expect("no failure"), None);

            let taken = one.try_write(&text).expect("no failure");
            assert_eq!(taken, Some(3 * RECORD_PLAINTEXT_MAX));
            assert_eq!(one.try_write(&text).expect("no failure"), None);
            assert!(!one.try_flush().expect("no failure"));

            // The reader gets all but the last record before the writer does anything.
            let mut received = Vec::new();
            let mut buf = vec![0; 100_000];
            while let Some(len) = other.try_read(&mut buf).expect("no failure") {
                received.extend_from_slice(&buf[..len]);
            }
            assert_eq!(received.len(), 2 * RECORD_PLAINTEXT_MAX);
            assert!(one.try_flush().expect("no failure"));
            while let Some(len) = other.try_read(&mut buf).expect("no failure") {
                received.extend_from_slice(&buf[..len]);
            }
            assert!(received == text[..3 * RECORD_PLAINTEXT_MAX]);
        });
    }
}

#[test]
fn a_reader_does_not_wait_while_decrypted_bytes_are_waiting() {
    each_sort(ROOMY, |_, one, other| {
        (&one).write_all(b"0123456789").expect("room");
        let mut buf = [0; 4];
        let mut received = Vec::new();
        for expected in [4, 4, 2] {
            let found = fiber::select(&[&other.readable()], Some(fiber::Instant::now() + SECOND));
            assert_eq!(found.expect("no failure"), Selected::Ready(0));
            let len = other
                .try_read(&mut buf)
                .expect("no failure")
                .expect("bytes");
            assert_eq!(len, expected);
            received.extend_from_slice(&buf[..len]);
        }
        assert_eq!(received, b"0123456789");
        let found = fiber::select(&[&other.readable()], Some(fiber::Instant::now() + SECOND));
        assert_eq!(found.expect("no failure"), Selected::Deadline);
        assert_eq!(other.try_read(&mut buf).expect("no failure"), None);
        drop(one);
        let found = fiber::select(&[&other.readable()], Some(fiber::Instant::now() + SECOND));
        assert_eq!(found.expect("no failure"), Selected::Ready(0));
    });
}

#[test]
fn a_writer_waits_for_room_in_the_transport() {
    each_sort(100, |_, one, other| {
        while one.try_write(&[7; 1000]).expect("no failure").is_some() {}
        let soon = || Some(fiber::Instant::now() + SECOND);
        let found = fiber::select(&[&one.writable()], soon()).expect("no failure");
        assert_eq!(found, Selected::Deadline);
        let reading = fiber::spawn(move || {
            let mut received = Vec::new();
            (&other).read_to_end(&mut received).map(|_| received)
        });
        let found = fiber::select(&[&one.writable()], soon()).expect("no failure");
        assert_eq!(found, Selected::Ready(0));
        while !one.try_flush().expect("no failure") {
            fiber::select(&[&one.writable()], None).expect("no failure");
        }
        one.close().expect("room in the end");
        let received = reading.expect("a fiber").join().expect("no panic");
        assert!(received.expect("all of it").iter().all(|&byte| byte == 7));
    });
}

#[test]
fn bytes_left_over_leave_while_the_fiber_reads() {
    paused(|| {
        let (one, other) = connected(TlsVersion::Tls13, 100);
        // More than the pipe holds; then straight to reading, without a flush.
        assert_eq!((&one).write(&[7; 5_000]).expect("room for a record"), 5_000);
        let answering = fiber::spawn(move || {
            let mut buf = [0; 5_000];
            (&other).read_exact(&mut buf).expect("all of it");
            (&other).write_all(b"got it").expect("room");
            other
        });
        assert_eq!(read_text(&one).expect("the answer"), "got it");
        answering.expect("a fiber").join().expect("no panic");
    });
}

#[test]
fn closing_towards_a_peer_that_does_not_read_ends() {
    paused(|| {
        let (one, _other) = connected(TlsVersion::Tls13, 100);
        while one.try_write(&[7; 1000]).expect("no failure").is_some() {}
        let began = fiber::Instant::now();
        let error = one.close().expect_err("no room");
        assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
        assert_eq!(began.elapsed(), CLOSE_TIMEOUT_DEFAULT);
    });
}

#[test]
fn a_fiber_with_much_to_do_gives_up_its_turn() {
    each_sort(ROOMY, |sort, one, _other| {
        let mut turns = fiber::spawn(move || {
            let mut turns = 0;
            while fiber::yield_now().is_ok() {
                turns += 1;
            }
            turns
        })
        .expect("a fiber");
        for _ in 0..1_000 {
            (&one).write_all(b"x").expect("room");
        }
        turns.cancel();
        let turns = turns.join().expect("no panic");
        assert!(turns >= 5, "{sort:?}: {turns} turns of another fiber");
    });
}

#[test]
fn a_record_that_was_changed_on_the_way_is_refused_by_both() {
    paused(|| {
        let (client, server) = crate::support::configurations(TlsVersion::Tls13);
        let (ours, near) = fiber::net::pipe(ROOMY);
        let (far, theirs) = fiber::net::pipe(ROOMY);
        let (near, far) = (Rc::new(near), Rc::new(far));
        // Hands everything on, but changes the last byte of what is shorter than a handshake.
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (from, to) = (Rc::clone(from), Rc::clone(to));
            fiber::spawn(move || {
                let mut buf = [0; 8192];
                while let Ok(len @ 1..) = (&*from).read(&mut buf) {
                    if len == 5 + 3 + 1 + 16 {
                        buf[len - 1] ^= 1;
                    }
                    if (&*to).write_all(&buf[..len]).is_err() {
                        break;
                    }
                }
                to.shutdown(fiber::net::Shutdown::Write);
            })
            .expect("a fiber");
        }
        let name = crate::pki::SERVER_NAME;
        let (client, server) = crate::support::shake_over(&client, &server, ours, theirs, name);
        let (client, server) = (client.expect("a client"), server.expect("a server"));
        (&client).write_all(b"one").expect("room");
        let error = read_text(&server).expect_err("changed");
        let found = TlsError::of(&error).map(TlsError::kind);
        assert_eq!(found, Some(TlsErrorKind::Protocol));
        let error = read_text(&client).expect_err("the server's alert");
        let found = TlsError::of(&error).map(TlsError::kind);
        assert_eq!(found, Some(TlsErrorKind::Alert));
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    });
}
