//! Dialling over real TCP on loopback: the whole way from an endpoint to bytes.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use safe_rt::{
    ClientTlsOptions, DialOptions, Endpoint, Error, Listener, Phase, Scheme, ServerTlsOptions,
    Socket, TlsError, TlsErrorKind, TlsVersion,
};

use crate::pki::{Authority, authority_and_server};
use crate::support::{configurations, read_text};

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Serves one client with an echo until its end; returns the port and the server's outcome.
fn echo_once(listener: Listener) -> (u16, fiber::JoinHandle<Result<(), Error>>) {
    let port = listener.local_addr().expect("an address").port();
    let serving = fiber::spawn(move || {
        let socket = listener.accept()?.handshake()?;
        let mut text = Vec::new();
        (&socket).read_to_end(&mut text).expect("the client's text");
        (&socket).write_all(&text).expect("room");
        socket.close().expect("room");
        Ok(())
    });
    (port, serving.expect("a fiber"))
}

/// Sends a text, ends the writing side, and reads the echo to its end.
#[track_caller]
fn check_echo(socket: &Socket) {
    let text = vec![0x5a; 1_000_000];
    let mut received = Vec::new();
    let mut writer = socket;
    writer.write_all(&text).expect("room");
    socket.shutdown_write().expect("room");
    (&*socket).read_to_end(&mut received).expect("the echo");
    assert!(received == text, "other bytes");
}

fn endpoint(scheme: Scheme, host: &str, port: u16) -> Endpoint {
    Endpoint::new(scheme, &format!("{host}:{port}")).expect("a valid endpoint")
}

#[test]
fn a_plain_endpoint_is_reached_by_address_and_by_name() {
    for host in ["127.0.0.1", "localhost"] {
        fiber::run(move || {
            let listener = Listener::bind(ANY_PORT.into()).expect("a port");
            let (port, mut serving) = echo_once(listener);
            let socket = safe_rt::dial(&endpoint(Scheme::Mqtt, host, port), &DialOptions::new())
                .expect("a connection");
            assert_eq!(socket.peer(), Some(([127, 0, 0, 1], port).into()));
            assert!(!socket.is_tls());
            check_echo(&socket);
            serving.join().expect("no panic").expect("served");
        })
        .expect("the runtime ran");
    }
}

#[test]
fn a_tls_endpoint_is_reached_with_both_sides_proven() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        fiber::run(move || {
            let (authority, server) = authority_and_server();
            let clients = Authority::new("client authority");
            let client = ClientTlsOptions::new(authority.trust())
                .identity(clients.client("device.test").identity())
                .alpn(["mqtt"])
                .require_alpn()
                .version(version)
                .build()
                .expect("options");
            let server = ServerTlsOptions::new(server.identity())
                .require_client_certificate(clients.trust())
                .alpn(["mqtt"])
                .build()
                .expect("options");
            let listener = Listener::bind_tls(ANY_PORT.into(), server).expect("a port");
            let (port, mut serving) = echo_once(listener);
            let options = DialOptions::new().tls(client);
            let socket = safe_rt::dial(&endpoint(Scheme::Mqtts, "127.0.0.1", port), &options)
                .expect("a connection");
            assert_eq!(socket.tls_version(), Some(version));
            assert_eq!(socket.alpn(), Some(b"mqtt".as_slice()));
            assert_eq!(socket.peer(), Some(([127, 0, 0, 1], port).into()));
            check_echo(&socket);
            serving.join().expect("no panic").expect("served");
        })
        .expect("the runtime ran");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_with_name_and_address() {
    fiber::run(|| {
        // The certificate is for broker.test and for the address, not for localhost.
        let (client, server) = configurations(TlsVersion::Tls13);
        let listener = Listener::bind_tls(ANY_PORT.into(), server).expect("a port");
        let (port, mut serving) = echo_once(listener);
        let options = DialOptions::new().tls(client);
        let error = safe_rt::dial(&endpoint(Scheme::Mqtts, "localhost", port), &options)
            .expect_err("another name");
        assert_eq!(error.phase(), Phase::Tls);
        let found = TlsError::of(&error).map(TlsError::kind);
        assert_eq!(found, Some(TlsErrorKind::NameMismatch));
        let start = format!("TLS handshake with localhost:{port} (127.0.0.1:{port}): ");
        assert!(error.to_string().starts_with(&start), "{error}");
        let error = serving.join().expect("no panic").expect_err("refused");
        assert_eq!(error.phase(), Phase::Tls);
    })
    .expect("the runtime ran");
}

#[test]
fn a_refused_client_that_writes_first_learns_why_over_tcp() {
    fiber::run(|| {
        let (authority, server) = authority_and_server();
        let client = ClientTlsOptions::new(authority.trust()).version(TlsVersion::Tls13);
        let server = ServerTlsOptions::new(server.identity())
            .require_client_certificate(Authority::new("client authority").trust());
        let server = server.build().expect("options");
        let listener = Listener::bind_tls(ANY_PORT.into(), server).expect("a port");
        let (port, mut serving) = echo_once(listener);
        let options = DialOptions::new().tls(client.build().expect("options"));
        let socket = safe_rt::dial(&endpoint(Scheme::Mqtts, "127.0.0.1", port), &options)
            .expect("the client's side of the handshake is done");
        // What is written may still be taken by the kernel; the read then tells.
        let outcome = (&socket)
            .write_all(b"CONNECT")
            .and_then(|()| (&socket).flush())
            .and_then(|()| read_text(&socket));
        let error = outcome.expect_err("refused");
        let found = TlsError::of(&error).map(TlsError::kind);
        assert_eq!(found, Some(TlsErrorKind::CertificateRefused), "{error}");
        serving.join().expect("no panic").expect_err("refused");
    })
    .expect("the runtime ran");
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let (error, port) = fiber::run(|| {
        let unused = Listener::bind(ANY_PORT.into()).expect("a port");
        let port = unused.local_addr().expect("an address").port();
        drop(unused);
        let endpoint = endpoint(Scheme::Mqtt, "127.0.0.1", port);
        let error = safe_rt::dial(&endpoint, &DialOptions::new()).expect_err("nobody listens");
        (error, port)
    })
    .expect("the runtime ran");
    assert_eq!(error.phase(), Phase::Connect);
    assert_eq!(error.io().kind(), io::ErrorKind::ConnectionRefused);
    assert!(
        error
            .to_string()
            .starts_with(&format!("connecting to 127.0.0.1:{port}: ")),
        "{error}"
    );
}

#[test]
fn a_deadline_in_the_look_up_names_that_phase() {
    let error = fiber::run(|| {
        let endpoint = endpoint(Scheme::Mqtt, "localhost", 1883);
        let outcome = fiber::timeout(Duration::ZERO, || {
            let _ = fiber::yield_now();
            safe_rt::dial(&endpoint, &DialOptions::new())
        });
        outcome.expect_err("no time").0.expect_err("no time")
    })
    .expect("the runtime ran");
    assert_eq!(error.phase(), Phase::Resolve);
    assert_eq!(error.address(), "localhost:1883");
    assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
}

#[test]
fn tls_options_for_a_plain_endpoint_are_refused_before_anything_is_sent() {
    for scheme in [Scheme::Mqtt, Scheme::Ws] {
        let outcome = fiber::run(move || {
            let (client, _) = configurations(TlsVersion::Tls13);
            let listener = Listener::bind(ANY_PORT.into()).expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let options = DialOptions::new().tls(client);
            let endpoint = endpoint(scheme, "127.0.0.1", port);
            let error = safe_rt::dial(&endpoint, &options).expect_err("they do not fit");
            let come = fiber::timeout(Duration::from_millis(20), || listener.accept());
            assert!(come.is_err(), "a connection was made");
            error
        });
        let error = outcome.expect("the runtime ran");
        assert_eq!(
            (error.phase(), error.io().kind()),
            (Phase::Tls, io::ErrorKind::InvalidInput)
        );
        let told = format!("{}:// is plain text", scheme.as_str());
        assert!(error.to_string().contains(&told), "{error}");
    }
}

#[test]
fn a_silent_tls_server_costs_the_deadline_and_names_the_phase() {
    let (error, took) = fiber::run(|| {
        let (client, _) = configurations(TlsVersion::Tls13);
        // The kernel accepts for a listener that never does.
        let listener = Listener::bind(ANY_PORT.into()).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let options = DialOptions::new().tls(client);
        let endpoint = endpoint(Scheme::Mqtts, "127.0.0.1", port);
        let began = fiber::Instant::now();
        let limit = Duration::from_millis(100);
        let outcome = fiber::timeout(limit, || safe_rt::dial(&endpoint, &options));
        let error = outcome.expect_err("silence").0.expect_err("silence");
        (error, began.elapsed())
    })
    .expect("the runtime ran");
    assert_eq!(error.phase(), Phase::Tls);
    assert!(error.is_timeout());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_dial_that_only_connects_can_be_waited_for_beside_other_things() {
    fiber::run(|| {
        let listener = Listener::bind(ANY_PORT.into()).expect("a port");
        let (port, mut serving) = echo_once(listener);
        let options = DialOptions::new();
        let begin = |scheme, host| safe_rt::begin_dial(&endpoint(scheme, host, port), &options);
        let before = safe_rt::stats();
        // There is more to do, or what was given does not fit.
        for (scheme, host) in [
            (Scheme::Mqtt, "localhost"),
            (Scheme::Mqtts, "127.0.0.1"),
            (Scheme::Ws, "127.0.0.1"),
        ] {
            assert!(begin(scheme, host).is_none(), "{scheme:?} {host}");
        }
        assert_eq!(safe_rt::stats(), before);
        let finish = |begun: safe_rt::Connecting| {
            fiber::select(&[&begun.ended()], None).expect("it ends");
            begun.finish().map(|ended| ended.expect("it has ended"))
        };
        let begun = begin(Scheme::Mqtt, "127.0.0.1").expect("nothing else to do");
        let socket = finish(begun.expect("begun")).expect("a connection");
        assert_eq!(socket.peer(), Some(([127, 0, 0, 1], port).into()));
        check_echo(&socket);
        serving.join().expect("no panic").expect("served");
        let refused = begin(Scheme::Mqtt, "127.0.0.1").expect("nothing else to do");
        let refused = refused
            .and_then(finish)
            .expect_err("nobody listens any more");
        assert_eq!(refused.phase(), Phase::Connect);
        let begun = begin(Scheme::Mqtt, "127.0.0.1").expect("nothing else to do");
        let given_up = begun.expect("begun").give_up(fiber::Stopped::Cancelled);
        assert_eq!(fiber::cause(&given_up), Some(fiber::Stopped::Cancelled));
        let now = safe_rt::stats();
        assert_eq!(now.dials - before.dials, 3);
        assert_eq!(now.dials_connected - before.dials_connected, 1);
        assert_eq!(now.dials_failed_connect - before.dials_failed_connect, 2);
    })
    .expect("the runtime ran");
}
