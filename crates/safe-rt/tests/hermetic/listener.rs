//! Accepting connections: a client that dawdles, a client that is not there any more, and a
//! process that is out of file descriptors.

use std::io::Write as _;
use std::time::Duration;

use fiber::net::TcpStream;
use safe_rt::{Listener, Phase, Socket, TlsVersion};

use crate::pki::SERVER_NAME;
use crate::support::{configurations, read_text, with_few_descriptors};

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

#[test]
fn a_client_that_says_nothing_does_not_keep_others_from_being_served() {
    fiber::run(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let listener = Listener::bind_tls(ANY_PORT.into(), server).expect("a port");
        let address = listener.local_addr().expect("an address");
        fiber::spawn(move || {
            while let Ok(incoming) = listener.accept() {
                fiber::spawn(move || {
                    let socket = incoming.handshake().expect("a handshake");
                    let text = read_text(&socket).expect("a text");
                    (&socket).write_all(text.as_bytes()).expect("room");
                })
                .expect("a fiber");
            }
        })
        .expect("a fiber");
        let _silent = TcpStream::connect(address).expect("a connection");
        let stream = TcpStream::connect(address).expect("a connection");
        let socket = Socket::tls_client(stream, &client, SERVER_NAME).expect("a handshake");
        (&socket).write_all(b"hello").expect("room");
        assert_eq!(read_text(&socket).expect("the echo"), "hello");
        assert_eq!(socket.peer(), Some(address));
    })
    .expect("the runtime ran");
}

#[test]
fn waiting_for_a_client_obeys_the_deadline() {
    let error = fiber::run(|| {
        let listener = Listener::bind(ANY_PORT.into()).expect("a port");
        let outcome = fiber::timeout(Duration::from_millis(10), || listener.accept());
        outcome
            .expect_err("nobody comes")
            .0
            .expect_err("nobody comes")
    })
    .expect("the runtime ran");
    assert_eq!(error.phase(), Phase::Accept);
    assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
    assert!(
        error
            .to_string()
            .starts_with("accepting a connection at 127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let error = fiber::run(|| {
        let first = Listener::bind(ANY_PORT.into()).expect("a port");
        let address = first.local_addr().expect("an address");
        Listener::bind(address).expect_err("in use")
    })
    .expect("the runtime ran");
    assert_eq!(error.phase(), Phase::Bind);
    assert_eq!(error.io().kind(), std::io::ErrorKind::AddrInUse);
    assert!(
        error.to_string().starts_with("listening at 127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn a_shortage_of_descriptors_delays_a_connection_and_loses_none() {
    let name = "listener::a_shortage_of_descriptors_delays_a_connection_and_loses_none";
    with_few_descriptors(name, accept_without_descriptors);
}

fn accept_without_descriptors() {
    fiber::run(|| {
        let listener = Listener::bind(ANY_PORT.into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        (&client).write_all(b"patience").expect("room");
        // Take every descriptor there is; the connection waits in the queue.
        let mut hoard = Vec::new();
        while let Ok(one) = Listener::bind(ANY_PORT.into()) {
            hoard.push(one);
        }
        assert!(
            (10..40).contains(&hoard.len()),
            "{} descriptors",
            hoard.len()
        );
        let mut accepting = fiber::spawn(move || {
            let resumes = fiber::stats().resumes;
            let incoming = listener.accept().expect("a connection in the end");
            let resumes = fiber::stats().resumes - resumes;
            (incoming.handshake().expect("a plain socket"), resumes)
        })
        .expect("a fiber");
        fiber::sleep(Duration::from_millis(350)).expect("no scope is over");
        assert!(!accepting.is_finished());
        drop(hoard);
        let (socket, resumes) = accepting.join().expect("no panic");
        assert_eq!(read_text(&socket).expect("the text"), "patience");
        assert!(resumes < 20, "{resumes} resumptions: a hot loop");
    })
    .expect("the runtime ran");
}
