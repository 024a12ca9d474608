//! The client's handshake against servers that write their answers by hand.

use std::io::{Read, Write};
use std::time::Duration;

use fiber::Instant;
use safe_rt::{
    HANDSHAKE_TIMEOUT_DEFAULT, Phase, Socket, WS_HEAD_BYTES_MAX, WsError, WsErrorKind, WsOptions,
};

use super::{BINARY, FIN};
use super::{answer_to, client_over, frame, header, kind_of, read_head};
use crate::support::{ROOMY, paused, read_text};

#[test]
fn the_request_offers_mqtt_and_says_what_the_program_adds() {
    paused(|| {
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let options = WsOptions::new()
            .header("Authorization", "Bearer 77")
            .expect("a header");
        let mut keys = Vec::new();
        for _ in 0..2 {
            let options = options.clone();
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let dial = move || Socket::ws_client(ours, &options, "[::1]:9001", "/a/b?c=d");
            drop(fiber::spawn(dial).expect("a fiber"));
            let request = read_head(&theirs);
            assert!(
                request.starts_with("GET /a/b?c=d HTTP/1.1\r\nHost: [::1]:9001\r\n"),
                "{request}"
            );
            assert_eq!(header(&request, "Upgrade"), Some("websocket"));
            assert_eq!(header(&request, "Connection"), Some("Upgrade"));
            assert_eq!(header(&request, "Sec-WebSocket-Version"), Some("13"));
            assert_eq!(header(&request, "Sec-WebSocket-Protocol"), Some("mqtt"));
            assert_eq!(header(&request, "Authorization"), Some("Bearer 77"));
            assert_eq!(header(&request, "Sec-WebSocket-Extensions"), None);
            keys.push(
                header(&request, "Sec-WebSocket-Key")
                    .expect("a key")
                    .to_owned(),
            );
        }
        // Sixteen bytes that nobody can guess.
        assert!(
            keys.iter()
                .all(|key| key.len() == 24 && key.ends_with("==")),
            "{keys:?}"
        );
        assert_ne!(keys[0], keys[1]);
        drop((ours, theirs));
    });
}

#[test]
fn an_answer_may_come_byte_by_byte_and_with_frames_behind_it() {
    for capacity in [1, 2, 7, ROOMY] {
        paused(move || {
            let (ours, theirs) = fiber::net::pipe(capacity);
            let mut client = client_over(ours);
            let request = read_head(&theirs);
            let mut answer = answer_to(&request).into_bytes();
            answer.extend(frame(FIN | BINARY, b"at once"));
            let sending = move || {
                // All at once, or so that each byte comes alone.
                for piece in answer.chunks(if capacity < ROOMY { 1 } else { ROOMY }) {
                    (&theirs).write_all(piece).expect("room");
                    fiber::sleep(Duration::from_millis(1)).expect("no scope is over");
                }
                theirs
            };
            let mut sending = fiber::spawn(sending).expect("a fiber");
            let socket = client.join().expect("no panic").expect("a client");
            assert!(socket.is_ws() && !socket.is_tls());
            let mut text = [0; 7];
            (&socket).read_exact(&mut text).expect("the payload");
            assert_eq!(&text, b"at once");
            drop(sending.join().expect("no panic"));
        });
    }
}

/// Lets a client meet this answer, made from the right one; the server then waits.
#[track_caller]
fn refused(change: impl FnOnce(String) -> String + 'static) -> safe_rt::Error {
    paused(move || {
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut client = client_over(ours);
        let request = read_head(&theirs);
        let answer = change(answer_to(&request));
        (&theirs).write_all(answer.as_bytes()).expect("room");
        let error = client
            .join()
            .expect("no panic")
            .expect_err("a wrong answer");
        assert_eq!(error.phase(), Phase::WebSocket);
        // Neither the path nor the query, which may be a signature.
        assert!(
            !format!("{error} {error:?}").contains("secret"),
            "{error:?}"
        );
        error
    })
}

#[test]
fn a_wrong_answer_is_told_apart() {
    type Change = fn(String) -> String;
    let table: [(Change, WsErrorKind, &str); 12] = [
        (
            |_| "MQTT".to_owned(),
            WsErrorKind::NotHttp,
            "does not speak HTTP/1.1",
        ),
        (
            |_| "HTTP/1.0 101 x\r\n\r\n".to_owned(),
            WsErrorKind::NotHttp,
            "HTTP/1.1",
        ),
        (
            |_| "HTTP/1.1 banana\r\n\r\n".to_owned(),
            WsErrorKind::NotHttp,
            "HTTP/1.1",
        ),
        (
            |a| a.replace("WebSocket\r\n", "h2c\r\n"),
            WsErrorKind::BadAnswer,
            "Upgrade: websocket",
        ),
        (
            |a| a.replace("Upgrade: WebSocket\r\n", ""),
            WsErrorKind::BadAnswer,
            "Upgrade",
        ),
        (
            |a| a.replace(", Upgrade", ""),
            WsErrorKind::BadAnswer,
            "Connection: Upgrade",
        ),
        (
            |a| a.replace("Accept: ", "Accept: x"),
            WsErrorKind::BadAnswer,
            "another request",
        ),
        (
            |a| a.replace("Sec-WebSocket-Accept", "X"),
            WsErrorKind::BadAnswer,
            "missing",
        ),
        (
            |a| {
                a.replace(
                    "Upgrade: W",
                    "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: W",
                )
            },
            WsErrorKind::BadAnswer,
            "an extension that was not offered",
        ),
        (
            |a| a.replace("Sec-WebSocket-Protocol: mqtt\r\n", ""),
            WsErrorKind::SubProtocolNotAgreed,
            "named none",
        ),
        (
            |a| a.replace(": mqtt", ": mqttv3.1"),
            WsErrorKind::SubProtocolNotAgreed,
            "named another",
        ),
        (
            |a| a.replace(": mqtt", ": MQTT"),
            WsErrorKind::SubProtocolNotAgreed,
            "named another",
        ),
    ];
    for (change, kind, text) in table {
        let error = refused(change);
        assert_eq!(kind_of(&error), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        let found = WsError::of(&error).expect("a WebSocket error");
        assert!(found.remedy().contains("ebSocket"), "{error}");
    }
}

#[test]
fn a_refusal_is_told_with_its_status_and_the_servers_words() {
    let error =
        refused(|_| "HTTP/1.1 403 Nope\r\nContent-Length: 11\r\n\r\nno\x07 entry!!!!!".to_owned());
    let found = WsError::of(&error).expect("a WebSocket error");
    assert_eq!(
        (found.kind(), found.status()),
        (WsErrorKind::Refused, Some(403))
    );
    let text = "WebSocket handshake with broker:8080: the server refuses the WebSocket handshake: \
                status 403 Forbidden, \"no  entry!!!!!\"";
    assert_eq!(error.to_string(), text);

    let error = refused(|_| "HTTP/1.1 302 Found\r\nLocation: /x?key=secret\r\n\r\n".to_owned());
    assert!(
        error.to_string().ends_with("302 Found, \"moved to /x\""),
        "{error}"
    );

    // A server that promises words and keeps silent is not waited for.
    let began = Instant::now;
    let (error, took) = paused(move || {
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut client = client_over(ours);
        read_head(&theirs);
        let answer = "HTTP/1.1 503 x\r\nContent-Length: 99\r\n\r\nbusy";
        (&theirs).write_all(answer.as_bytes()).expect("room");
        let at = began();
        let error = client.join().expect("no panic").expect_err("refused");
        (error.to_string(), at.elapsed())
    });
    assert!(
        error.ends_with("503 Service Unavailable, \"busy\""),
        "{error}"
    );
    assert_eq!(took, Duration::from_secs(1));
}

#[test]
fn a_body_without_end_is_cut() {
    let error = refused(|_| format!("HTTP/1.1 500 x\r\n\r\n{}", "ab".repeat(5_000)));
    assert!(error.to_string().len() < 400, "{error}");
}

#[test]
fn a_head_without_end_is_refused_at_its_bound() {
    paused(|| {
        let (ours, theirs) = fiber::net::pipe(100);
        let mut client = client_over(ours);
        read_head(&theirs);
        let mut sent = 0;
        (&theirs).write_all(b"HTTP/1.1 101 x\r\n").expect("room");
        while (&theirs).write_all(b"X-Padding: 1\r\n").is_ok() {
            sent += 14;
        }
        assert!(
            (WS_HEAD_BYTES_MAX - 200..WS_HEAD_BYTES_MAX + 2_000).contains(&sent),
            "{sent}"
        );
        let error = client.join().expect("no panic").expect_err("too long");
        assert_eq!(kind_of(&error), WsErrorKind::HeadTooLong);
    });
}

#[test]
fn a_server_that_is_gone_at_any_byte_is_found() {
    paused(|| {
        for cut in 0.. {
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let mut client = client_over(ours);
            let answer = answer_to(&read_head(&theirs));
            let cut = cut.min(answer.len());
            (&theirs)
                .write_all(&answer.as_bytes()[..cut])
                .expect("room");
            drop(theirs);
            let client = client.join().expect("no panic");
            if cut == answer.len() {
                let error = read_text(&client.expect("a client")).expect_err("nobody is there");
                assert_eq!(kind_of(&error), WsErrorKind::CutOff);
                break;
            }
            let error = client.expect_err("no whole answer");
            assert_eq!(
                kind_of(&error),
                WsErrorKind::ClosedInHandshake,
                "after {cut} bytes"
            );
        }
    });
}

#[test]
fn a_silent_server_ends_the_handshake_at_its_deadline() {
    paused(|| {
        for part in ["", "HTTP/1.1 101 Switching"] {
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let mut client = client_over(ours);
            read_head(&theirs);
            (&theirs).write_all(part.as_bytes()).expect("room");
            let began = Instant::now();
            let error = client.join().expect("no panic").expect_err("silence");
            assert!(error.is_timeout(), "{error}");
            assert_eq!(error.phase(), Phase::WebSocket);
            assert_eq!(began.elapsed(), HANDSHAKE_TIMEOUT_DEFAULT);
        }
        // One around it is obeyed instead, also while the request finds no room.
        let (ours, _theirs) = fiber::net::pipe(5);
        let second = Duration::from_secs(1);
        let outcome = fiber::timeout(second, || {
            Socket::ws_client(ours, &WsOptions::new(), "broker", "/")
        });
        let error = outcome.expect_err("in a second").0.expect_err("no room");
        assert!(error.is_timeout(), "{error}");
    });
}

#[test]
fn what_cannot_be_asked_for_is_not() {
    paused(|| {
        let table = [
            ("", "/mqtt"),
            ("a b", "/mqtt"),
            ("broker\r\nX: y", "/mqtt"),
            ("broker", "mqtt"),
            ("broker", "/a b"),
            ("broker", "/a\r\nX: y"),
            ("broker", "/a#b"),
        ];
        for (host, target) in table {
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let outcome = Socket::ws_client(ours, &WsOptions::new(), host, target);
            let error = outcome.expect_err("no request");
            assert_eq!(
                error.io().kind(),
                std::io::ErrorKind::InvalidInput,
                "{error}"
            );
            assert_eq!(
                (&theirs).read(&mut [0]).expect("an end"),
                0,
                "bytes were sent"
            );
        }
    });
}
