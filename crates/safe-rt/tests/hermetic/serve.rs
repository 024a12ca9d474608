//! Serving: whatever is short, connections wait and none is lost, nothing spins, and a connection
//! that goes wrong goes wrong alone.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use fiber::net::TcpStream;
use safe_rt::{Error, Listener, Phase, ServeOptions, Socket, TlsVersion};

use crate::pki::SERVER_NAME;
use crate::support::{configurations, logged, read_text, with_few_descriptors};

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// For what loopback does at once.
const LIMIT: Duration = Duration::from_secs(20);

fn bound() -> (Rc<Listener>, SocketAddr) {
    let listener = Listener::bind(ANY_PORT.into()).expect("a port");
    let address = listener.local_addr().expect("an address");
    (Rc::new(listener), address)
}

/// Sends back what comes, until the client is done.
fn echo(socket: Socket) -> io::Result<()> {
    let mut text = [0; 64];
    loop {
        match (&socket).read(&mut text)? {
            0 => return socket.close(),
            len => (&socket).write_all(&text[..len])?,
        }
    }
}

/// Serves by an echo on a fiber of its own until that is cancelled.
fn serving(listener: &Rc<Listener>, options: ServeOptions) -> fiber::JoinHandle<Error> {
    let listener = Rc::clone(listener);
    fiber::spawn(move || match listener.serve(&options, echo) {
        Ok(never) => match never {},
        Err(error) => error,
    })
    .expect("a fiber")
}

fn asks(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    (&stream).write_all(b"hello").expect("room");
    stream
}

/// Whether the answer comes within `limit`.
fn answered(mut stream: &TcpStream, limit: Duration) -> bool {
    let mut answer = [0; 5];
    fiber::timeout(limit, || stream.read_exact(&mut answer)).is_ok_and(|read| read.is_ok())
        && &answer == b"hello"
}

#[test]
fn without_descriptors_a_server_waits_and_does_not_spin_and_serves_again() {
    let name = "serve::without_descriptors_a_server_waits_and_does_not_spin_and_serves_again";
    with_few_descriptors(name, || {
        fiber::run(|| {
            let (listener, address) = bound();
            let served = serving(&listener, ServeOptions::new());
            let early = asks(address);
            assert!(answered(&early, LIMIT));
            let mut hoard = Vec::new();
            while let Ok(one) = Listener::bind(ANY_PORT.into()) {
                hoard.push(one);
            }
            // Each client takes the one descriptor that is free, and the server finds none.
            let waiting: Vec<_> = (0..3)
                .map(|_| {
                    drop(hoard.pop().expect("many"));
                    asks(address)
                })
                .collect();
            let (before, resumes) = (listener.stats(), fiber::stats().resumes);
            fiber::sleep(Duration::from_secs(1)).expect("no scope is over");
            let (after, resumes) = (listener.stats(), fiber::stats().resumes - resumes);
            assert_eq!(after.accepted, before.accepted);
            assert!(
                (5..=11).contains(&(after.rests - before.rests)),
                "{after:?}"
            );
            assert!(resumes < 150, "{resumes} resumptions in a second: it spins");
            // Who is connected is served meanwhile.
            (&early).write_all(b"hello").expect("room");
            assert!(answered(&early, LIMIT));
            drop(hoard);
            for stream in &waiting {
                assert!(answered(stream, LIMIT));
            }
            assert!(answered(&asks(address), LIMIT));
            assert!(!served.is_finished());
        })
        .expect("the runtime ran");
    });
}

#[test]
fn without_fibers_a_server_waits_and_does_not_spin_and_serves_again() {
    // The main fiber, the one that serves, and four connections, one of which is the next.
    let runtime = fiber::Runtime::builder().fibers_max(6);
    let outcome = runtime.run(|| {
        let (listener, address) = bound();
        let served = serving(&listener, ServeOptions::new());
        let streams: Vec<_> = (0..4).map(|_| asks(address)).collect();
        assert!(streams.iter().all(|stream| answered(stream, LIMIT)));
        let late = asks(address);
        fiber::sleep(Duration::from_millis(50)).expect("no scope is over");
        let (before, resumes) = (listener.stats(), fiber::stats().resumes);
        assert_eq!((before.accepted, before.serving), (4, 4));
        assert!(!answered(&late, Duration::from_secs(1)));
        let (after, resumes) = (listener.stats(), fiber::stats().resumes - resumes);
        assert_eq!((after.accepted, after.serving), (4, 4));
        assert!(
            (5..=11).contains(&(after.rests - before.rests)),
            "{after:?}"
        );
        assert!(resumes < 150, "{resumes} resumptions in a second: it spins");
        drop(streams);
        assert!(answered(&late, LIMIT));
        for _ in 0..10 {
            assert!(answered(&asks(address), LIMIT));
        }
        assert!(!served.is_finished());
        assert_eq!(listener.stats().accepted, 15);
    });
    outcome.expect("the runtime ran");
}

#[test]
fn at_its_bound_a_server_leaves_connections_in_the_queue_and_costs_nothing() {
    fiber::run(|| {
        let (listener, address) = bound();
        let _served = serving(&listener, ServeOptions::new().connections_max(2));
        let mut streams: Vec<_> = (0..3).map(|_| asks(address)).collect();
        assert!(answered(&streams[0], LIMIT) && answered(&streams[1], LIMIT));
        let resumes = fiber::stats().resumes;
        assert!(!answered(&streams[2], Duration::from_millis(300)));
        let resumes = fiber::stats().resumes - resumes;
        assert!(resumes < 80, "{resumes} resumptions while it waits");
        let stats = listener.stats();
        assert_eq!(
            (stats.accepted, stats.serving, stats.full, stats.rests),
            (2, 2, 1, 0)
        );
        drop(streams.swap_remove(0));
        assert!(answered(&streams[0], LIMIT), "the third took its place");
    })
    .expect("the runtime ran");
}

#[test]
fn the_log_tells_that_a_server_is_full_and_not_each_time() {
    let ((), lines) = logged(|| {
        fiber::run(|| {
            let (listener, address) = bound();
            let options = ServeOptions::new().name("meter port").connections_max(1);
            let _served = serving(&listener, options);
            for _ in 0..20 {
                assert!(answered(&asks(address), LIMIT));
            }
            assert!(listener.stats().full >= 10, "{:?}", listener.stats());
        })
        .expect("the runtime ran");
    });
    let full = "WARN \"meter port\" has as many connections as it may, 1: further ones wait in the \
                queue (times so far: ";
    let told = lines.iter().filter(|line| line.starts_with(full)).count();
    // Ten seconds may go by on a busy machine.
    assert!((1..=3).contains(&told), "{lines:?}");
}

#[test]
fn handshakes_that_never_end_keep_nobody_out() {
    fiber::run(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let listener = Rc::new(Listener::bind_tls(ANY_PORT.into(), server).expect("a port"));
        let address = listener.local_addr().expect("an address");
        let _served = serving(&listener, ServeOptions::new().connections_max(8));
        let mut slow: Vec<_> = (0..6)
            .map(|_| TcpStream::connect(address).expect("a connection"))
            .collect();
        let wrong = TcpStream::connect(address).expect("a connection");
        (&wrong).write_all(b"GET / HTTP/1.1\r\n\r\n").expect("room");
        let began = fiber::Instant::now();
        // One byte now and then never makes a handshake.
        for byte in *b"\x16\x03\x01" {
            for stream in &mut slow {
                stream.write_all(&[byte]).expect("room");
            }
            let stream = TcpStream::connect(address).expect("a connection");
            let socket = Socket::tls_client(stream, &client, SERVER_NAME).expect("a handshake");
            (&socket).write_all(b"hello").expect("room");
            assert_eq!(read_text(&socket).expect("the echo"), "hello");
            socket.close().expect("an end");
        }
        assert!(
            began.elapsed() < safe_rt::HANDSHAKE_TIMEOUT_DEFAULT / 2,
            "others waited"
        );
        let stats = listener.stats();
        assert_eq!(stats.handshakes_failed, 1, "{stats:?}");
        assert!(stats.serving >= 6, "{stats:?}");
    })
    .expect("the runtime ran");
}

#[test]
fn an_error_or_a_panic_of_a_handler_ends_its_connection_alone() {
    fiber::run(|| {
        let (listener, address) = bound();
        let serving = Rc::clone(&listener);
        let served = fiber::spawn(move || {
            serving.serve(&ServeOptions::new(), |socket| {
                match read_text(&socket)?.as_str() {
                    "panic" => panic!("of a handler"),
                    "error" => Err(io::ErrorKind::InvalidData.into()),
                    _ => echo(socket),
                }
            })
        })
        .expect("a fiber");
        let lasting = TcpStream::connect(address).expect("a connection");
        (&lasting).write_all(b"stay").expect("room");
        for what in ["panic", "error", "panic", "error"] {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(what.as_bytes()).expect("room");
            assert!(matches!(stream.read(&mut [0; 8]), Ok(0)), "{what}");
        }
        (&lasting).write_all(b"hello").expect("room");
        assert!(answered(&lasting, LIMIT));
        assert!(!served.is_finished());
        let stats = listener.stats();
        assert_eq!(
            (stats.failed, stats.panicked, stats.serving),
            (2, 2, 1),
            "{stats:?}"
        );
    })
    .expect("the runtime ran");
}

#[test]
fn cancelled_it_accepts_no_more_and_returns_once_the_last_handler_has() {
    fiber::run(|| {
        let (listener, address) = bound();
        let tidied = Rc::new(RefCell::new(Vec::new()));
        let (serving, log) = (Rc::clone(&listener), Rc::clone(&tidied));
        let mut served = fiber::spawn(move || {
            let number = Cell::new(0);
            serving.serve(&ServeOptions::new(), |socket| {
                number.set(number.get() + 1);
                let number = number.get();
                let ended = read_text(&socket).expect_err("cancelled");
                assert_eq!(fiber::cause(&ended), Some(fiber::Stopped::Cancelled));
                // Cleaning up takes time, of which the handler has some.
                fiber::shield(LIMIT, || fiber::sleep(Duration::from_millis(30 * number)))
                    .expect("time enough")?;
                log.borrow_mut().push(number);
                Ok(())
            })
        })
        .expect("a fiber");
        let streams: Vec<_> = (0..3).map(|_| TcpStream::connect(address)).collect();
        while listener.stats().serving < 3 {
            fiber::sleep(Duration::from_millis(1)).expect("no scope is over");
        }
        served.cancel();
        let error = served
            .join()
            .expect("no panic")
            .expect_err("it was cancelled");
        assert_eq!(*tidied.borrow(), [1, 2, 3]);
        assert_eq!(error.phase(), Phase::Accept);
        assert_eq!(fiber::cause(&error), Some(fiber::Stopped::Cancelled));
        assert_eq!(listener.stats().serving, 0);
        drop(streams);
        // The listener is as good as before.
        let _served = self::serving(&listener, ServeOptions::new());
        assert!(answered(&asks(address), LIMIT));
    })
    .expect("the runtime ran");
}
