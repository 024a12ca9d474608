//! The system's own TCP at its worst: an address that swallows what is sent to it, and a peer that
//! resets the connection, beside fibers that must not notice.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fiber::Instant;
use fiber::net::{TcpListener, TcpStream};
use safe_rt::{DialOptions, Endpoint, Error, Phase, Scheme, Socket, TlsVersion};
use socket2::{Domain, SockRef, Type};

use crate::bystanders::among_bystanders_in_real_time;
use crate::pki::SERVER_NAME;
use crate::support::configurations;

const LIMIT: Duration = Duration::from_millis(300);

/// A listener that accepts nothing and whose queue is full: the kernel drops who comes now.
struct BlackHole {
    address: SocketAddr,
    /// The listener, and those who wait in its queue.
    _held: Vec<socket2::Socket>,
}

impl BlackHole {
    fn new() -> Self {
        let tcp = || socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = tcp();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).expect("a port");
        listener.listen(0).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let address = address.as_socket().expect("an address of IP");
        let mut held = vec![listener];
        // More than any system takes for a queue of none.
        for _ in 0..8 {
            let waiting = tcp();
            waiting.set_nonblocking(true).expect("an option");
            drop(waiting.connect(&address.into()));
            held.push(waiting);
        }
        let _held = held;
        Self { address, _held }
    }
}

#[test]
fn an_address_that_swallows_everything_costs_the_deadline_and_names_the_phase() {
    among_bystanders_in_real_time(|| {
        let hole = BlackHole::new();
        for scheme in [Scheme::Mqtt, Scheme::Mqtts] {
            let (client, _) = configurations(TlsVersion::Tls13);
            let options = match scheme {
                Scheme::Mqtts => DialOptions::new().tls(client),
                _ => DialOptions::new(),
            };
            let endpoint = Endpoint::new(scheme, &hole.address.to_string()).expect("an endpoint");
            let began = Instant::now();
            let outcome = fiber::timeout(LIMIT, || safe_rt::dial(&endpoint, &options));
            let error = outcome.expect_err("silence").0.expect_err("silence");
            assert_eq!(error.phase(), Phase::Connect, "{error}");
            assert!(error.is_timeout(), "{error}");
            let took = began.elapsed();
            assert!(took >= LIMIT && took < 20 * LIMIT, "{took:?}");
        }
    });
}

/// Accepts a connection, reads `bytes` of it, and resets it.
fn reset_after(listener: &TcpListener, bytes: usize) {
    let (stream, _) = listener.accept().expect("a connection");
    (&stream).read_exact(&mut vec![0; bytes]).expect("bytes");
    // Closing with nothing to linger for is a reset.
    let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("an option");
}

fn is_reset(outcome: Result<Socket, Error>) {
    let error = outcome.expect_err("reset");
    assert_eq!(error.phase(), Phase::Tls, "{error}");
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(kinds.contains(&error.io().kind()), "{error}");
}

#[test]
fn a_reset_of_the_system_ends_a_handshake_of_either_side_at_once() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        among_bystanders_in_real_time(move || {
            let (client, server) = configurations(version);
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener = TcpListener::bind(any).expect("a port");
            let address = listener.local_addr().expect("an address");
            for bytes in [1, 5, 50, 100] {
                let stream = TcpStream::connect(address).expect("a connection");
                let client = client.clone();
                let mut dialling =
                    fiber::spawn(move || Socket::tls_client(stream, &client, SERVER_NAME))
                        .expect("a fiber");
                reset_after(&listener, bytes);
                is_reset(dialling.join().expect("no panic"));
            }
            // The other way round: a client that resets without a word.
            let stream = TcpStream::connect(address).expect("a connection");
            let (theirs, _) = listener.accept().expect("a connection");
            let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            linger.expect("an option");
            let mut serving =
                fiber::spawn(move || Socket::tls_server(theirs, &server)).expect("a fiber");
            fiber::yield_now().expect("no scope is over");
            drop(stream);
            is_reset(serving.join().expect("no panic"));
        });
    }
}
