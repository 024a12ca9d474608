//! Wall clocks in the simulated world: one that starts in 1970, one that is set back, and one that
//! jumps by years while a program waits.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use fiber::sim::{self, World};
use fiber::{Instant, resolve, sleep, timeout, wall_time};
use safe_rt::{
    Backoff, BackoffOptions, Class, ClientTls, ClientTlsOptions, ClockVerdict, Listener, ServerTls,
    ServerTlsOptions, Socket, TlsErrorKind,
};

use crate::pki::{Authority, SERVER_NAME, VALID, Validity};
use crate::refusal::{VERSIONS, kind};

const PORT: u16 = 8883;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Has the machine `meter` shake hands with the machine `cloud`; returns what it finds wrong.
fn meet(world: &World, client: &ClientTls, server: &ServerTls) -> Option<TlsErrorKind> {
    let (client, server) = (client.clone(), server.clone());
    let mut serving = world
        .host("cloud")
        .start(move || {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
            let listener = Listener::bind_tls(address, server).expect("a port");
            drop(listener.accept().expect("a client").handshake());
        })
        .expect("a fiber");
    sleep(Duration::from_millis(1)).expect("no scope is over");
    let asking = move || {
        let address = resolve("cloud", PORT).expect("an address")[0];
        let stream = fiber::net::TcpStream::connect(address).expect("a connection");
        let outcome = Socket::tls_client(stream, &client, SERVER_NAME);
        outcome.err().map(|error| kind(&error))
    };
    let mut asking = world.host("meter").start(asking).expect("a fiber");
    let outcome = asking.join().expect("no panic");
    serving.join().expect("no panic");
    outcome
}

#[test]
fn a_device_whose_clock_starts_in_1970_connects_and_its_clock_is_left_alone() {
    for version in VERSIONS {
        let authority = Authority::new("test authority");
        let server = authority.server(&[SERVER_NAME], VALID);
        let run = sim::SimBuilder::new(1).run(move |world| {
            let meter = world.host("meter");
            meter.set_clock_behind(wall_time().duration_since(UNIX_EPOCH).expect("a time"));
            let client = ClientTlsOptions::new(authority.trust())
                .version(version)
                .build()
                .expect("options");
            let server = ServerTlsOptions::new(server.identity())
                .build()
                .expect("options");
            assert_eq!(meet(world, &client, &server), None);
            let shown = meter.start(wall_time).expect("a fiber").join();
            let shown = shown.expect("no panic");
            assert!(shown < UNIX_EPOCH + Duration::from_secs(10), "{shown:?}");
            assert!(matches!(
                client.clock_floor().check(shown),
                ClockVerdict::Behind { .. }
            ));
        });
        run.expect("a run");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_no_expired_certificate_valid_again() {
    for version in VERSIONS {
        let authority = Authority::new("test authority");
        let server = authority.server(&[SERVER_NAME], Validity(2000, 2020));
        let run = sim::SimBuilder::new(2).run(move |world| {
            // A time when it was valid: 2006.
            world.host("meter").set_clock_behind(20 * YEAR);
            let client = ClientTlsOptions::new(authority.trust())
                .version(version)
                .build()
                .expect("options");
            let server = ServerTlsOptions::new(server.identity())
                .build()
                .expect("options");
            let found = meet(world, &client, &server);
            assert_eq!(found, Some(TlsErrorKind::Expired));
        });
        run.expect("a run");
    }
}

/// Waits in every way there is, over one connection and with pauses, and notes when each wait ended.
fn wait_in_every_way(world: &World) -> Vec<u64> {
    let serving = world.host("cloud").start(|| -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let listener = Listener::bind(address).map_err(io::Error::other)?;
        let socket = listener.accept().map_err(io::Error::other)?;
        let socket = socket.handshake().map_err(io::Error::other)?;
        let mut buf = [0; 16];
        loop {
            match (&socket).read(&mut buf)? {
                0 => return Ok(()),
                len => {
                    sleep(Duration::from_secs(2))?;
                    (&socket).write_all(&buf[..len])?;
                }
            }
        }
    });
    drop(serving.expect("a fiber"));
    sleep(Duration::from_millis(1)).expect("no scope is over");
    let waiting = || {
        let began = Instant::now();
        let mut ended = Vec::new();
        let mut note = || ended.push((Instant::now() - began).as_nanos() as u64);
        let endpoint = format!("mqtt://cloud:{PORT}").parse().expect("an endpoint");
        let socket = safe_rt::dial(&endpoint, &safe_rt::DialOptions::new()).expect("a connection");
        note();
        let mut backoff = Backoff::new(BackoffOptions::default());
        let mut ticks = fiber::interval(Duration::from_secs(3));
        let mut buf = [0; 16];
        for round in 0..20_u64 {
            (&socket).write_all(b"?").expect("room");
            note();
            // In half of the rounds the answer comes too late.
            let patience = Duration::from_millis(1_500 + 1_000 * (round % 2));
            let answer = timeout(patience, || (&socket).read(&mut buf));
            assert_eq!(answer.is_err(), round % 2 == 0);
            if answer.is_err() {
                (&socket).read_exact(&mut buf[..1]).expect("an answer");
            }
            note();
            ticks.tick().expect("a tick");
            note();
            sleep(backoff.next_delay(Class::Short, Duration::ZERO, round << 58)).expect("time");
            note();
        }
        ended
    };
    let mut waiting = world.host("meter").start(waiting).expect("a fiber");
    let ended = timeout(Duration::from_secs(86_400), || waiting.join());
    ended.expect("in time").expect("no panic")
}

#[test]
fn a_wall_clock_that_jumps_by_years_moves_no_deadline_pause_or_tick() {
    let run = |jumps: bool| {
        let run = sim::SimBuilder::new(3).run(move |world| {
            let meter = Rc::new(world.host("meter"));
            let jumping = fiber::spawn(move || {
                let mut forth = false;
                // At times of its own, so that jumps fall into waits of every sort.
                while sleep(Duration::from_millis(777)).is_ok() {
                    forth = !forth;
                    match (jumps, forth) {
                        (false, _) => {}
                        (true, true) => meter.set_clock_ahead(30 * YEAR),
                        (true, false) => meter.set_clock_behind(50 * YEAR),
                    }
                }
            });
            let jumping = jumping.expect("a fiber");
            let ended = wait_in_every_way(world);
            jumping.cancel();
            ended
        });
        run.expect("a run")
    };
    let (still, jumping) = (run(false), run(true));
    assert_eq!(still.value.len(), 81);
    // To the last decision of the run, and its last nanosecond.
    assert_eq!(still, jumping);
}
