//! From an endpoint to a WebSocket and back, over loopback.

use std::io::{Read, Write};
use std::time::Duration;

use safe_rt::{
    ClientTls, ClientTlsOptions, DialOptions, DialRefusal, Endpoint, Listener, Phase, Scheme,
    ServerTlsOptions, WsErrorKind, WsOptions, dial,
};

use super::kind_of;
use crate::pki::authority_and_server;

/// Serves one connection, which gets back what it sends up to its end.
fn echo(listener: Listener) -> u16 {
    let port = listener.local_addr().expect("an address").port();
    fiber::spawn(move || {
        let socket = listener
            .accept()
            .expect("a client")
            .handshake()
            .expect("a handshake");
        let mut text = [0; 5];
        (&socket).read_exact(&mut text).expect("the text");
        (&socket).write_all(&text).expect("room");
        socket.close().expect("an orderly end");
    })
    .expect("a fiber");
    port
}

fn at(scheme: Scheme, port: u16) -> Endpoint {
    Endpoint::new(scheme, &format!("127.0.0.1:{port}/mqtt?signature=secret")).expect("an endpoint")
}

#[test]
fn an_endpoint_of_either_scheme_is_dialled() {
    fiber::run(|| {
        let (authority, server) = authority_and_server();
        let tls: ClientTls = ClientTlsOptions::new(authority.trust())
            .build()
            .expect("options");
        let server = ServerTlsOptions::new(server.identity())
            .build()
            .expect("options");
        let local = ([127, 0, 0, 1], 0).into();
        for secure in [false, true] {
            let (listener, scheme, options) = if secure {
                let listener = Listener::bind_tls(local, server.clone());
                (listener, Scheme::Wss, DialOptions::new().tls(tls.clone()))
            } else {
                (Listener::bind(local), Scheme::Ws, DialOptions::new())
            };
            let port = echo(listener.expect("a port").ws());
            let socket = match dial(&at(scheme, port), &options) {
                Ok(socket) => socket,
                Err(error) => panic!("{error}"),
            };
            assert_eq!((socket.is_ws(), socket.is_tls()), (true, secure));
            assert!(socket.peer().is_some());
            (&socket).write_all(b"hello").expect("room");
            let mut text = String::new();
            (&socket)
                .read_to_string(&mut text)
                .expect("the text and an end");
            assert_eq!(text, "hello");
            // Heads, masks and the request come on top of the payload.
            let traffic = socket.traffic();
            assert_eq!((traffic.sent, traffic.received), (5, 5));
            assert!(traffic.wire_sent > 100, "{traffic:?}");
        }
    })
    .expect("the runtime ran");
}

#[test]
fn options_of_a_web_socket_are_not_left_out_in_silence() {
    fiber::run(|| {
        let ws = WsOptions::new()
            .header("Authorization", "Bearer secret")
            .expect("a header");
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (authority, _) = authority_and_server();
        let tls = ClientTlsOptions::new(authority.trust())
            .build()
            .expect("options");
        let endpoints = [
            (format!("mqtt://{address}"), DialOptions::new(), "mqtt://"),
            (
                format!("mqtts://{address}"),
                DialOptions::new().tls(tls),
                "mqtts://",
            ),
            (
                "unix:/run/broker".to_owned(),
                DialOptions::new(),
                "unix: is",
            ),
        ];
        for (endpoint, options, named) in endpoints {
            let endpoint: Endpoint = endpoint.parse().expect("an endpoint");
            let error = dial(&endpoint, &options.ws(ws.clone())).expect_err("no WebSocket");
            let found = DialRefusal::of(&error);
            assert_eq!(found, Some(&DialRefusal::WsForOther(endpoint.scheme())));
            assert_eq!(error.phase(), Phase::WebSocket);
            assert!(error.to_string().contains(named), "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        let waiting = fiber::timeout(Duration::from_millis(20), || listener.accept());
        waiting.expect_err("nobody came");
    })
    .expect("the runtime ran");
}

#[test]
fn a_dial_that_fails_at_the_upgrade_says_so_and_tells_no_signature() {
    fiber::run(|| {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        fiber::spawn(move || {
            let socket = listener
                .accept()
                .expect("a client")
                .handshake()
                .expect("plain");
            (&socket)
                .write_all(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")
                .expect("room");
        })
        .expect("a fiber");
        let endpoint = at(Scheme::Ws, port);
        let before = safe_rt::stats();
        let error = dial(&endpoint, &DialOptions::new()).expect_err("no WebSocket");
        assert_eq!(error.phase(), Phase::WebSocket);
        assert_eq!(kind_of(&error), WsErrorKind::Refused);
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}: ")),
            "{error}"
        );
        assert!(
            !format!("{error} {error:?} {endpoint:?}").contains("secret"),
            "{error:?}"
        );
        let counted = safe_rt::stats().dials_failed_web_socket - before.dials_failed_web_socket;
        assert_eq!(counted, 1);
    })
    .expect("the runtime ran");
}
