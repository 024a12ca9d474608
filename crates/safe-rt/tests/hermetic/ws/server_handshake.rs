//! The server's handshake against clients that write their requests by hand.

use std::io::{Read, Write};
use std::time::Duration;

use fiber::Instant;
use fiber::net::PipeStream;
use safe_rt::{Error, HANDSHAKE_TIMEOUT_DEFAULT, Socket, WsErrorKind, WsServerOptions};

use super::{header, kind_of, read_head};
use crate::support::{ROOMY, paused};

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n";

/// Starts a server of ours.
fn server_over(ours: PipeStream) -> fiber::JoinHandle<Result<Socket, Error>> {
    fiber::spawn(move || Socket::ws_server(ours)).expect("a fiber")
}

#[test]
fn a_client_that_offers_mqtt_among_others_is_served_with_it() {
    for capacity in [1, ROOMY] {
        paused(move || {
            let (ours, theirs) = fiber::net::pipe(capacity);
            let mut server = server_over(ours);
            (&theirs).write_all(REQUEST.as_bytes()).expect("room");
            let answer = read_head(&theirs);
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            // The example of RFC 6455 section 1.3.
            let accept = header(&answer, "Sec-WebSocket-Accept");
            assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            assert_eq!(header(&answer, "Sec-WebSocket-Protocol"), Some("mqtt"));
            assert_eq!(header(&answer, "Upgrade"), Some("websocket"));
            assert_eq!(header(&answer, "Connection"), Some("Upgrade"));
            assert!(server.join().expect("no panic").expect("a server").is_ws());
        });
    }
}

#[test]
fn a_client_without_the_sub_protocol_or_without_a_websocket_is_refused() {
    let table = [
        (
            REQUEST.replace(", mqtt\r\n", "\r\n"),
            "400",
            WsErrorKind::SubProtocolNotAgreed,
        ),
        (
            REQUEST.replace(", mqtt\r\n", ", MQTT\r\n"),
            "400",
            WsErrorKind::SubProtocolNotAgreed,
        ),
        (
            REQUEST.replace("Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", ""),
            "400",
            WsErrorKind::SubProtocolNotAgreed,
        ),
        (
            REQUEST.replace("Version: 13", "Version: 8"),
            "426",
            WsErrorKind::BadRequest,
        ),
        (
            REQUEST.replace("Upgrade: websocket\r\n", ""),
            "400",
            WsErrorKind::BadRequest,
        ),
        (
            REQUEST.replace("Key: dG", "Key: d"),
            "400",
            WsErrorKind::BadRequest,
        ),
        (
            "GET / HTTP/1.1\r\nHost: broker\r\n\r\n".to_owned(),
            "400",
            WsErrorKind::BadRequest,
        ),
        (
            REQUEST.replace("HTTP/1.1", "HTTP/1.0"),
            "400",
            WsErrorKind::BadRequest,
        ),
    ];
    for (request, status, kind) in table {
        paused(move || {
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let mut server = server_over(ours);
            (&theirs).write_all(request.as_bytes()).expect("room");
            let mut answer = String::new();
            (&theirs)
                .read_to_string(&mut answer)
                .expect("an answer and an end");
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            assert_eq!(header(&answer, "Sec-WebSocket-Version"), Some("13"));
            let error = server.join().expect("no panic").expect_err("refused");
            assert_eq!(kind_of(&error), kind, "{error}");
            // The client reads the same words.
            let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
            assert!(error.to_string().ends_with(body), "{error}: {body}");
        });
    }
}

#[test]
fn a_web_page_is_served_only_if_its_origin_is_allowed() {
    let none = WsServerOptions::new();
    let one = none.clone().allow_origin("https://panel.example");
    let two = one.clone().allow_origin("http://10.0.0.7:8080");
    let any = one.clone().allow_any_origin();
    let own = "Origin: https://panel.example\r\n";
    let table = [
        (&none, "", true),
        (&none, own, false),
        (&none, "origin: null\r\n", false),
        (&none, "Origin:\r\n", false),
        (&one, "", true),
        (&one, own, true),
        (&one, "ORIGIN: HTTPS://Panel.Example\r\n", true),
        (&one, "Origin: http://panel.example\r\n", false),
        (
            &one,
            "Origin: https://panel.example.evil.example\r\n",
            false,
        ),
        (&one, "Origin: https://evil.example\r\n", false),
        (&two, own, true),
        (&two, "Origin: http://10.0.0.7:8080\r\n", true),
        (&two, "Origin: http://10.0.0.7\r\n", false),
        (
            &two,
            "Origin: https://panel.example\r\nOrigin: https://evil.example\r\n",
            false,
        ),
        (&any, "Origin: https://evil.example\r\n", true),
    ];
    for (options, lines, is_served) in table {
        let options = options.clone();
        let request = REQUEST.replace("Upgrade: web", &format!("{lines}Upgrade: web"));
        paused(move || {
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let serve = move || Socket::ws_server_with(ours, &options);
            let mut server = fiber::spawn(serve).expect("a fiber");
            (&theirs).write_all(request.as_bytes()).expect("room");
            let answer = read_head(&theirs);
            let status = if is_served { "101" } else { "403" };
            let begin = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&begin), "{lines}: {answer}");
            let outcome = server.join().expect("no panic");
            match outcome {
                Ok(socket) => assert!(is_served && socket.is_ws(), "{lines}"),
                Err(error) => {
                    assert!(!is_served, "{lines}: {error}");
                    assert_eq!(kind_of(&error), WsErrorKind::OriginNotAllowed);
                    // Who runs the server sees what there would be to allow.
                    let origin = lines.trim_end().rsplit(": ").next();
                    let origin = origin.filter(|origin| !origin.ends_with(':'));
                    let text = error.to_string();
                    assert!(text.ends_with(origin.unwrap_or("a WebSocket")), "{error}");
                }
            }
        });
    }
}

#[test]
fn a_client_that_is_gone_dawdles_or_talks_without_end_is_given_up() {
    paused(|| {
        for cut in 0..REQUEST.len() {
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let mut server = server_over(ours);
            (&theirs)
                .write_all(&REQUEST.as_bytes()[..cut])
                .expect("room");
            drop(theirs);
            let error = server
                .join()
                .expect("no panic")
                .expect_err("no whole request");
            assert_eq!(
                kind_of(&error),
                WsErrorKind::ClosedInHandshake,
                "after {cut} bytes"
            );
        }

        // A byte a second, under a deadline of an hour: the server's own limit holds.
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let hour = Duration::from_secs(3600);
        let serve = move || fiber::timeout(hour, || Socket::ws_server(ours)).expect("in an hour");
        let mut server = fiber::spawn(serve).expect("a fiber");
        let began = Instant::now();
        for byte in REQUEST.bytes() {
            if (&theirs).write_all(&[byte]).is_err() {
                break;
            }
            fiber::sleep(Duration::from_secs(1)).expect("no scope is over");
        }
        assert!(began.elapsed() <= HANDSHAKE_TIMEOUT_DEFAULT + Duration::from_secs(1));
        let error = server.join().expect("no panic").expect_err("too slow");
        assert!(error.is_timeout(), "{error}");

        // What is no request of HTTP is not read to its end.
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut server = server_over(ours);
        (&theirs).write_all(b"\x10\x0e\0\x04MQTT").expect("room");
        let error = server.join().expect("no panic").expect_err("plain MQTT");
        assert_eq!(kind_of(&error), WsErrorKind::NotHttp);
    });
}
