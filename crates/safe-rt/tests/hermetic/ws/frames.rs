//! Frames between a client of ours and a peer that writes them by hand.

use std::io::{self, Read, Write};
use std::time::Duration;

use safe_rt::{Socket, WS_FRAME_BYTES_MAX, WS_TRANSPORT_READS_MAX, WsErrorKind};

use super::{BINARY, CLOSE, CONTINUE, FIN, PING, PONG};
use super::{frame, kind_of, meet, read_frame};
use crate::support::{ROOMY, over_ws, paused, read_text};

/// Most payload of a frame with a mask and a length of two bytes.
const PAYLOAD_MAX: usize = WS_FRAME_BYTES_MAX - 8;

#[test]
fn text_is_refused_and_the_peer_is_told() {
    paused(|| {
        let (socket, peer) = meet(ROOMY);
        (&peer)
            .write_all(&frame(FIN | BINARY, b"good"))
            .expect("room");
        (&peer).write_all(&frame(FIN | 1, b"text")).expect("room");
        assert_eq!(read_text(&socket).expect("what came before"), "good");
        for _ in 0..2 {
            let error = read_text(&socket).expect_err("text");
            assert_eq!(kind_of(&error), WsErrorKind::TextFrame);
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(read_frame(&peer), (CLOSE, 1003_u16.to_be_bytes().to_vec()));
        let error = socket.try_write(b"x").expect_err("both directions ended");
        assert_eq!(kind_of(&error), WsErrorKind::TextFrame);
    });
}

#[test]
fn a_peer_that_breaks_the_rules_is_told() {
    let masked = [FIN | BINARY, 0x81, 1, 2, 3, 4, b'x' ^ 1];
    let table = [
        masked.to_vec(),
        frame(FIN | CONTINUE, b"x"),
        frame(PING, &[0; 126]),
    ];
    for bytes in table {
        paused(move || {
            let (socket, peer) = meet(ROOMY);
            (&peer).write_all(&bytes).expect("room");
            let error = read_text(&socket).expect_err("a broken rule");
            assert_eq!(kind_of(&error), WsErrorKind::Protocol, "{error}");
            assert_eq!(read_frame(&peer), (CLOSE, 1002_u16.to_be_bytes().to_vec()));
        });
    }
    // The other way: a client that does not mask.
    paused(|| {
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut server = fiber::spawn(move || Socket::ws_server(ours)).expect("a fiber");
        let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n";
        (&theirs).write_all(request.as_bytes()).expect("room");
        (&theirs)
            .write_all(&frame(FIN | BINARY, b"x"))
            .expect("room");
        super::read_head(&theirs);
        let server = server.join().expect("no panic").expect("a server");
        let error = read_text(&server).expect_err("no mask");
        assert_eq!(kind_of(&error), WsErrorKind::Protocol);
        assert_eq!(
            read_frame(&theirs),
            (CLOSE, 1002_u16.to_be_bytes().to_vec())
        );
    });
}

#[test]
fn pings_between_fragments_are_answered_by_reading_alone() {
    paused(|| {
        let (socket, peer) = meet(3);
        let mut reader = fiber::spawn(move || {
            let mut text = [0; 8];
            (&socket).read_exact(&mut text).expect("the payload");
            assert_eq!(&text, b"onetwo34");
            socket
        })
        .expect("a fiber");
        let bytes = [frame(BINARY, b"one"), frame(PING, b"first")].concat();
        (&peer).write_all(&bytes).expect("room");
        assert_eq!(read_frame(&peer), (PONG, b"first".to_vec()));
        (&peer).write_all(&frame(CONTINUE, b"two")).expect("room");
        (&peer).write_all(&frame(PING, b"")).expect("room");
        assert_eq!(read_frame(&peer), (PONG, Vec::new()));
        (&peer)
            .write_all(&frame(FIN | CONTINUE, b"3"))
            .expect("room");
        (&peer)
            .write_all(&frame(PONG, b"nobody asked"))
            .expect("room");
        (&peer).write_all(&frame(FIN | BINARY, b"4")).expect("room");
        drop(reader.join().expect("no panic"));
    });
}

#[test]
fn a_storm_of_pings_piles_nothing_up() {
    const PINGS: u32 = 20_000;
    paused(|| {
        let (socket, peer) = meet(64);
        let mut reader = fiber::spawn(move || {
            let text = read_text(&socket).expect("the text");
            (text, socket)
        })
        .expect("a fiber");
        // The peer reads nothing meanwhile, so pongs find no room.
        for ping in 0..PINGS {
            (&peer)
                .write_all(&frame(PING, &ping.to_be_bytes()))
                .expect("room");
        }
        (&peer)
            .write_all(&frame(FIN | BINARY, b"calm"))
            .expect("room");
        let (text, socket) = reader.join().expect("no panic");
        assert_eq!(text, "calm");
        // What was kept: a pipe full, one frame and the answer to the last ping.
        let mut answered = Vec::new();
        while answered.last() != Some(&(PINGS - 1)) {
            socket.try_flush().expect("no failure");
            let (first, payload) = read_frame(&peer);
            assert_eq!(first, PONG);
            answered.push(u32::from_be_bytes(payload.try_into().expect("four bytes")));
        }
        assert!(
            answered.is_sorted() && answered.len() <= 64 / 10 + 3,
            "{answered:?}"
        );
    });
}

#[test]
fn frames_without_payload_hold_a_reader_for_a_bounded_time() {
    paused(|| {
        let (socket, peer) = meet(ROOMY);
        (&peer).write_all(&frame(BINARY, b"")).expect("room");
        for _ in 0..25_000 {
            (&peer).write_all(&frame(CONTINUE, b"")).expect("room");
        }
        (&peer)
            .write_all(&frame(FIN | CONTINUE, b"content"))
            .expect("room");
        let reads = || fiber::stats().reads;
        let before = reads();
        assert_eq!(socket.try_read(&mut [0; 64]).expect("no failure"), None);
        assert_eq!(reads() - before, WS_TRANSPORT_READS_MAX as u64);
        // There was more, so the wait ends at once, again and again, until the content comes.
        assert_eq!(read_text(&socket).expect("the text"), "content");
        assert!(reads() - before > WS_TRANSPORT_READS_MAX as u64);
    });
}

#[test]
fn at_most_one_frame_is_ahead_of_the_transport() {
    // Room for two frames, and a bit.
    const CAPACITY: usize = 2 * WS_FRAME_BYTES_MAX + 100;
    paused(|| {
        let (one, other) = fiber::net::pipe(CAPACITY);
        let (one, other) = over_ws(one, other);
        let text: Vec<u8> = (0..10 * PAYLOAD_MAX as u32)
            .map(|at| ((at * 11) >> 2) as u8)
            .collect();
        assert_eq!(
            one.try_write(&text).expect("no failure"),
            Some(3 * PAYLOAD_MAX)
        );
        assert_eq!(one.try_write(&text).expect("no failure"), None);
        assert!(!one.try_flush().expect("no failure"));

        // The reader gets all but the last frame before the writer does anything.
        let mut received = Vec::new();
        let mut buf = vec![0; 100_000];
        while let Some(len) = other.try_read(&mut buf).expect("no failure") {
            received.extend_from_slice(&buf[..len]);
        }
        assert_eq!(received.len(), 2 * PAYLOAD_MAX + 100 - 8);
        assert!(one.try_flush().expect("no failure"));
        while let Some(len) = other.try_read(&mut buf).expect("no failure") {
            received.extend_from_slice(&buf[..len]);
        }
        assert!(received == text[..3 * PAYLOAD_MAX]);
    });
}

#[test]
fn every_frame_of_a_client_has_a_mask_of_its_own() {
    paused(|| {
        let (socket, peer) = meet(ROOMY);
        let mut masks = Vec::new();
        for _ in 0..4 {
            (&socket).write_all(b"same").expect("room");
            let mut bytes = [0; 10];
            (&peer).read_exact(&mut bytes).expect("a frame");
            assert_eq!(bytes[..2], [FIN | BINARY, 0x84]);
            masks.push(bytes[2..6].to_vec());
        }
        masks.sort();
        masks.dedup();
        assert!(masks.len() > 1, "{masks:?}");
    });
}

#[test]
fn a_frame_larger_than_any_buffer_passes_through() {
    const LEN: u64 = 5_000_000;
    paused(|| {
        let (socket, peer) = meet(1_000);
        let mut sending = fiber::spawn(move || {
            (&peer).write_all(&[FIN | BINARY, 127]).expect("room");
            (&peer).write_all(&LEN.to_be_bytes()).expect("room");
            for at in 0..LEN / 1000 {
                (&peer).write_all(&[at as u8; 1000]).expect("room");
            }
            (&peer)
                .write_all(&frame(FIN | BINARY, b"next"))
                .expect("room");
            peer
        })
        .expect("a fiber");
        let mut piece = [0; 1000];
        for at in 0..LEN / 1000 {
            (&socket).read_exact(&mut piece).expect("a piece");
            assert!(piece.iter().all(|byte| *byte == at as u8), "piece {at}");
        }
        assert_eq!(read_text(&socket).expect("the text"), "next");
        drop(sending.join().expect("no panic"));
    });
}

#[test]
fn a_mask_that_cannot_leave_does_not_keep_a_reader_busy() {
    paused(|| {
        let (socket, peer) = meet(1_000);
        while socket
            .try_write(&[7; 10_000])
            .expect("no failure")
            .is_some()
        {}
        // The peer reads no more, but may still write: a reader goes on waiting for that.
        peer.shutdown(fiber::net::Shutdown::Read);
        let outcome = fiber::timeout(Duration::from_secs(1), || read_text(&socket));
        let error = outcome
            .expect_err("nothing comes")
            .0
            .expect_err("nothing comes");
        assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
        let error = socket.try_write(b"x").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}
