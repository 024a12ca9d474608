//! How a WebSocket ends, and who is told what.

use std::io::{self, Read, Write};
use std::time::Duration;

use fiber::Instant;
use safe_rt::{WS_CLOSE_TIMEOUT, WsError, WsErrorKind};

use super::{BINARY, CLOSE, FIN, PING};
use super::{frame, kind_of, meet, read_frame};
use crate::support::{ROOMY, over_ws, paused, read_text};

#[test]
fn an_orderly_close_of_the_peer_is_the_end_and_is_answered() {
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9going to sleep"] {
        paused(move || {
            let (socket, peer) = meet(ROOMY);
            (&peer)
                .write_all(&frame(FIN | BINARY, b"last words"))
                .expect("room");
            (&peer).write_all(&frame(CLOSE, payload)).expect("room");
            // Whatever follows it is not looked at.
            (&peer).write_all(&frame(FIN | 1, b"text")).expect("room");
            assert_eq!(read_text(&socket).expect("the text"), "last words");
            for _ in 0..2 {
                assert_eq!(read_text(&socket).expect("an end"), "");
                assert_eq!(socket.try_read(&mut [0]).expect("an end"), Some(0));
            }
            let (first, answer) = read_frame(&peer);
            assert_eq!(
                (first, &answer[..]),
                (CLOSE, &payload[..payload.len().min(2)])
            );
            let error = socket.try_write(b"x").expect_err("it is over");
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            // Nothing follows the answer.
            drop(socket);
            assert_eq!((&peer).read(&mut [0]).expect("an end"), 0);
        });
    }
}

#[test]
fn a_close_with_another_status_is_an_error_that_names_it() {
    paused(|| {
        let (socket, peer) = meet(ROOMY);
        (&peer)
            .write_all(&frame(FIN | BINARY, b"last words"))
            .expect("room");
        (&peer)
            .write_all(&frame(CLOSE, b"\x03\xf0not on my watch"))
            .expect("room");
        assert_eq!(read_text(&socket).expect("the text"), "last words");
        for _ in 0..2 {
            let error = read_text(&socket).expect_err("no orderly end");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            let found = WsError::of(&error).expect("a WebSocket error");
            assert_eq!(found.close_code(), Some(1008));
            assert!(error.to_string().contains("not on my watch"), "{error}");
        }
        assert_eq!(read_frame(&peer), (CLOSE, b"\x03\xf0".to_vec()));
    });
}

#[test]
fn a_close_frame_that_may_not_be_sent_breaks_the_rules() {
    let table = [
        &b"\x03"[..],
        b"\x03\xed",
        b"\x03\xee",
        b"\0\0",
        b"\x03\xe8\xff\xfe",
    ];
    for payload in table {
        paused(move || {
            let (socket, peer) = meet(ROOMY);
            (&peer).write_all(&frame(CLOSE, payload)).expect("room");
            let error = read_text(&socket).expect_err("a broken rule");
            assert_eq!(
                kind_of(&error),
                WsErrorKind::Protocol,
                "{payload:?}: {error}"
            );
            assert_eq!(read_frame(&peer), (CLOSE, 1002_u16.to_be_bytes().to_vec()));
        });
    }
}

#[test]
fn a_stream_that_is_cut_off_is_an_error_after_its_last_bytes() {
    let cuts = [
        frame(FIN | BINARY, b""),
        frame(BINARY, b""),
        frame(FIN | BINARY, b"more")[..3].to_vec(),
        frame(CLOSE, b"\x03\xe8")[..3].to_vec(),
    ];
    for cut in cuts {
        paused(move || {
            let (socket, peer) = meet(ROOMY);
            (&peer)
                .write_all(&frame(FIN | BINARY, b"last words"))
                .expect("room");
            (&peer).write_all(&cut).expect("room");
            drop(peer);
            assert!(
                read_text(&socket)
                    .expect("the text")
                    .starts_with("last words")
            );
            for _ in 0..2 {
                let error = loop {
                    match read_text(&socket) {
                        Ok(text) => assert_eq!(text, "m"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                assert_eq!(kind_of(&error), WsErrorKind::CutOff);
            }
        });
    }
}

#[test]
fn what_the_peer_sends_until_its_answer_can_be_read() {
    paused(|| {
        let (socket, peer) = meet(ROOMY);
        socket.shutdown_write().expect("room");
        socket.shutdown_write().expect("it can be repeated");
        assert_eq!(read_frame(&peer), (CLOSE, 1000_u16.to_be_bytes().to_vec()));
        let error = socket.try_write(b"x").expect_err("shut");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        (&peer)
            .write_all(&frame(FIN | BINARY, b"on its way"))
            .expect("room");
        (&peer)
            .write_all(&frame(PING, b"no answer any more"))
            .expect("room");
        assert_eq!(read_text(&socket).expect("the text"), "on its way");
        (&peer).write_all(&frame(CLOSE, b"\x03\xe8")).expect("room");
        assert_eq!(read_text(&socket).expect("an end"), "");
        drop(socket);
        assert_eq!((&peer).read(&mut [0]).expect("an end"), 0);

        // A peer that only closes the transport has answered as well.
        let (socket, peer) = meet(ROOMY);
        socket.shutdown_write().expect("room");
        drop(peer);
        assert_eq!(read_text(&socket).expect("an end"), "");
    });
}

#[test]
fn closing_waits_for_the_answer_and_not_for_ever() {
    paused(|| {
        let (socket, peer) = meet(ROOMY);
        let second = Duration::from_secs(1);
        let mut answering = fiber::spawn(move || {
            assert_eq!(read_frame(&peer), (CLOSE, 1000_u16.to_be_bytes().to_vec()));
            fiber::sleep(second).expect("no scope is over");
            (&peer)
                .write_all(&frame(FIN | BINARY, &[7; 9_000]))
                .expect("room");
            (&peer).write_all(&frame(CLOSE, b"\x03\xe8")).expect("room");
            assert_eq!((&peer).read(&mut [0]).expect("an end"), 0);
        })
        .expect("a fiber");
        let began = Instant::now();
        socket.close().expect("an orderly end");
        assert_eq!(began.elapsed(), second);
        answering.join().expect("no panic");

        let (socket, _peer) = meet(ROOMY);
        let began = Instant::now();
        let hour = Duration::from_secs(3600);
        fiber::timeout(hour, || socket.close())
            .expect("in time")
            .expect("every byte is sent");
        assert_eq!(began.elapsed(), WS_CLOSE_TIMEOUT);
    });
}

#[test]
fn both_sides_may_close_at_once() {
    paused(|| {
        let (one, other) = fiber::net::pipe(ROOMY);
        let (one, other) = over_ws(one, other);
        let began = Instant::now();
        let mut closing = fiber::spawn(move || one.close()).expect("a fiber");
        other.close().expect("an orderly end");
        closing.join().expect("no panic").expect("an orderly end");
        assert_eq!(began.elapsed(), Duration::ZERO);
    });
}
