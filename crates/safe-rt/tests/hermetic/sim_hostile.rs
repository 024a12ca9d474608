//! Hostile networks in the simulated world: a reset at each byte of a handshake, a partition in the
//! middle of one, and readers and writers that are stopped wherever they wait.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::TcpStream;
use fiber::sim::{self, SimBuilder, World};
use fiber::{Instant, resolve, sleep, timeout};
use safe_rt::{
    ClientTls, ClientTlsOptions, Error, Listener, Phase, ServerTls, ServerTlsOptions, Socket,
    TlsError, TlsErrorKind, TlsVersion,
};

use crate::bystanders::Bystanders;
use crate::pki::SERVER_NAME;
use crate::support::options;

const PORT: u16 = 8883;
const LIMIT: Duration = Duration::from_secs(5);
/// How late a bystander may be in a world where each turn takes its time.
const HELD_UP_MAX: Duration = Duration::from_millis(100);

/// Made anew for each run: a session of an earlier one would make the next one differ.
fn build(
    version: TlsVersion,
    (client, server): &(ClientTlsOptions, ServerTlsOptions),
) -> (ClientTls, ServerTls) {
    let client = client.clone().version(version).build();
    let server = server.clone().version(version).build();
    (client.expect("options"), server.expect("options"))
}

/// Lets `serve` have each connection that comes to the machine `cloud`.
fn serve(world: &World, tls: ServerTls, serve: impl Fn(Result<Socket, Error>) + Clone + 'static) {
    let serving = world.host("cloud").start(move || {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let listener = Listener::bind_tls(address, tls).expect("a port");
        while let Ok(incoming) = listener.accept() {
            let serve = serve.clone();
            drop(fiber::spawn(move || serve(incoming.handshake())).expect("a fiber"));
        }
    });
    drop(serving.expect("a fiber"));
    sleep(Duration::from_millis(1)).expect("no scope is over");
}

fn connect(client: &ClientTls) -> Result<Socket, Error> {
    let failed = |error| Error::new(Phase::Connect, "cloud", error);
    let address = resolve("cloud", PORT).map_err(failed)?[0];
    let stream = TcpStream::connect(address).map_err(failed)?;
    Socket::tls_client(stream, client, SERVER_NAME)
}

/// Whether a side that failed says that its connection was reset, or that its peer is gone.
#[track_caller]
fn is_reset(error: &Error) {
    assert_eq!(error.phase(), Phase::Tls, "{error}");
    match TlsError::of(error).map(TlsError::kind) {
        Some(found) => assert_eq!(found, TlsErrorKind::ClosedInHandshake, "{error}"),
        None => {
            let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(kinds.contains(&error.io().kind()), "{error}");
        }
    }
}

/// A handshake whose connection is reset after so many bytes towards `to`; returns whether both
/// sides were done before.
fn reset_after(
    world: &World,
    bytes: u64,
    to: &str,
    (client, server): (ClientTls, ServerTls),
) -> bool {
    let from = if to == "cloud" { "meter" } else { "cloud" };
    world.way(from, to).cut_after(bytes);
    let (met, ended) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (met_there, ended_there) = (Rc::clone(&met), Rc::clone(&ended));
    serve(world, server, move |outcome| {
        ended_there.set(true);
        match outcome {
            Ok(_) => met_there.set(true),
            Err(error) => is_reset(&error),
        }
    });
    let mut dialling = world
        .host("meter")
        .start(move || {
            let bystanders = Bystanders::start();
            let began = Instant::now();
            let outcome = timeout(LIMIT, || connect(&client)).expect("a reset ends it at once");
            assert!(began.elapsed() < LIMIT / 5, "{:?}", began.elapsed());
            let latest = bystanders.end();
            assert!(
                latest <= HELD_UP_MAX,
                "a bystander was held up for {latest:?}"
            );
            outcome.map(drop)
        })
        .expect("a fiber");
    let outcome = dialling.join().expect("no panic");
    sleep(LIMIT / 5).expect("no scope is over");
    assert!(ended.get(), "the server's side goes on");
    if let Err(error) = &outcome {
        is_reset(error);
    }
    outcome.is_ok() && met.get()
}

#[test]
fn a_reset_at_each_byte_of_a_handshake_ends_both_sides_at_once() {
    let both = Rc::new(options());
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        for to in ["cloud", "meter"] {
            let mut cut = 0;
            loop {
                let tls = build(version, &both);
                let run = SimBuilder::new(cut).run(move |world| reset_after(world, cut, to, tls));
                if run.expect("a run").value {
                    break;
                }
                cut += 1;
            }
            assert!((150..3_000).contains(&cut), "{version:?} {to}: {cut}");
        }
    }
}

#[test]
fn a_partition_in_a_handshake_costs_the_deadline_and_the_next_attempt_succeeds() {
    let both = Rc::new(options());
    sim::check(60, |sim| {
        let tls = build(TlsVersion::Tls13, &both);
        // Early enough to hit every step of the handshake.
        let when = Duration::from_micros(sim.seed() * 500);
        sim.run(move |world| {
            let (client, server) = tls;
            serve(world, server, |outcome| {
                if let Err(error) = outcome {
                    assert_eq!(error.phase(), Phase::Tls, "{error}");
                }
            });
            let mut dialling = world
                .host("meter")
                .start(move || {
                    let bystanders = Bystanders::start();
                    let began = Instant::now();
                    let first = match timeout(LIMIT, || connect(&client)) {
                        Ok(outcome) => outcome.map(drop),
                        Err(fiber::Elapsed(outcome)) => {
                            let took = began.elapsed();
                            assert!(took < LIMIT + Duration::from_millis(10), "{took:?}");
                            let error = outcome.expect_err("time is up");
                            assert!(error.is_timeout(), "{error}");
                            Err(error)
                        }
                    };
                    sleep(LIMIT).expect("no scope is over");
                    let second = timeout(LIMIT, || connect(&client)).expect("in time");
                    assert!(bystanders.end() <= HELD_UP_MAX);
                    drop(second.expect("a connection"));
                    first.is_ok()
                })
                .expect("a fiber");
            sleep(when).expect("no scope is over");
            world.partition("meter", "cloud");
            sleep(LIMIT).expect("no scope is over");
            world.heal("meter", "cloud");
            dialling.join().expect("no panic")
        })
    });
}

/// Draws from the randomness of the world.
fn below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    fiber::random::fill(&mut bytes).expect("randomness");
    u64::from_le_bytes(bytes) % bound
}

/// Runs `call` until it succeeds, each time for a time that is drawn, often too short.
fn again_and_again<T>(call: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        let limit = Duration::from_micros(below(3_000));
        match timeout(limit, &call) {
            Ok(outcome) => return outcome,
            // What succeeded in its last moment counts.
            Err(fiber::Elapsed(Ok(value))) => return Ok(value),
            Err(fiber::Elapsed(Err(error))) => {
                assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
            }
        }
    }
}

/// Sends `len` bytes that tell their positions, and an end.
fn send_all(socket: &Socket, len: usize) {
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let mut sent = 0;
    while sent < len {
        let end = len.min(sent + 1 + below(30_000) as usize);
        sent += again_and_again(|| (&*socket).write(&bytes[sent..end])).expect("a connection");
        if below(4) == 0 {
            again_and_again(|| (&*socket).flush()).expect("a connection");
        }
    }
    again_and_again(|| socket.shutdown_write()).expect("a connection");
}

/// Receives until the end and checks what came.
fn receive_all(socket: &Socket, len: usize) {
    let (mut received, mut buf) = (0, vec![0; 40_000]);
    loop {
        let most = 1 + below(40_000) as usize;
        let read = again_and_again(|| {
            let mut part = vec![0; most];
            let len = (&*socket).read(&mut part)?;
            Ok((part, len))
        });
        let (part, n) = read.expect("a connection");
        if n == 0 {
            break;
        }
        buf[..n].copy_from_slice(&part[..n]);
        for byte in &buf[..n] {
            assert_eq!(usize::from(*byte), received % 251, "at {received}");
            received += 1;
        }
    }
    assert_eq!(received, len);
}

/// Both directions at once, each with a fiber of its own.
fn both_ways(socket: Socket, (sent, received): (usize, usize)) {
    let socket = Rc::new(socket);
    let writer = Rc::clone(&socket);
    let mut writing = fiber::spawn(move || send_all(&writer, sent)).expect("a fiber");
    receive_all(&socket, received);
    writing.join().expect("no panic");
}

#[test]
fn readers_and_writers_that_are_stopped_wherever_they_wait_lose_nothing() {
    let both = Rc::new(options());
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        sim::check(60, |sim| {
            let (client, server) = build(version, &both);
            sim.run(move |world| {
                for way in [world.way("meter", "cloud"), world.way("cloud", "meter")] {
                    way.lost(10_000).bytes_per_second(Some(5_000_000));
                }
                serve(world, server, |outcome| {
                    both_ways(outcome.expect("a handshake"), (60_000, 90_000));
                });
                let mut running = world
                    .host("meter")
                    .start(move || both_ways(connect(&client).expect("a socket"), (90_000, 60_000)))
                    .expect("a fiber");
                running.join().expect("no panic");
            })
        });
    }
}
