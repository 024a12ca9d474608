//! Dialling through a proxy in the simulated world, where any connection may be cut anywhere.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fiber::net::{Shutdown, TcpListener, TcpStream};
use fiber::sim::{self, World};
use fiber::{resolve, sleep, timeout};
use safe_rt::{DialOptions, Endpoint, Error, Phase, Proxy};

const BROKER_PORT: u16 = 1883;
const PROXY_PORT: u16 = 3128;

fn listen(port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).expect("a port")
}

/// Copies one direction until its end.
fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buf = [0; 512];
    loop {
        match from.read(&mut buf)? {
            0 => return to.shutdown(Shutdown::Write),
            len => to.write_all(&buf[..len])?,
        }
    }
}

/// Serves one client as a proxy does that never looks at what it is asked for.
fn serve_proxy() -> io::Result<()> {
    let (client, _) = listen(PROXY_PORT).accept()?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        (&client).read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    if !request.starts_with(b"CONNECT cloud:1883 HTTP/1.1\r\n") {
        return (&client).write_all(b"HTTP/1.1 403 no\r\n\r\n");
    }
    let server = TcpStream::connect(resolve("cloud", BROKER_PORT)?[0])?;
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    fiber::scope(|scope| {
        scope.spawn(|| copy(&client, &server))?;
        copy(&server, &client)
    })
}

/// Asks the machine `cloud`, which `meter` reaches by way of `proxy` alone, and reads the answer as
/// far as it comes; or what the dial failed with.
fn exchange(world: &World) -> (Vec<u8>, Option<Error>) {
    world.partition("meter", "cloud");
    let serving = world.host("cloud").start(|| -> io::Result<()> {
        let (client, _) = listen(BROKER_PORT).accept()?;
        copy(&client, &client)
    });
    drop(serving.expect("a fiber"));
    drop(world.host("proxy").start(serve_proxy).expect("a fiber"));
    sleep(Duration::from_millis(1)).expect("no scope is over");
    let mut asking = world
        .host("meter")
        .start(|| {
            let endpoint: Endpoint = "mqtt://cloud".parse().expect("an endpoint");
            let proxy: Proxy = "http://proxy:3128".parse().expect("a proxy");
            let socket = match safe_rt::dial(&endpoint, &DialOptions::new().proxy(proxy)) {
                Ok(socket) => socket,
                Err(error) => return (Vec::new(), Some(error)),
            };
            let mut answer = Vec::new();
            let read = (&socket)
                .write_all(&b"question".repeat(500))
                .and_then(|()| socket.shutdown_write())
                .and_then(|()| (&socket).read_to_end(&mut answer));
            drop(read);
            (answer, None)
        })
        .expect("a fiber");
    let answer = timeout(Duration::from_secs(120), || asking.join());
    answer.expect("in time").expect("no panic")
}

#[test]
fn an_exchange_through_a_proxy_comes_again_by_its_seed() {
    let run = |seed| {
        sim::SimBuilder::new(seed).run(|world| {
            world.way("proxy", "meter").lost(10_000);
            exchange(world).0
        })
    };
    for seed in 0..20 {
        let first = run(seed).expect("a run");
        assert_eq!(first.value, b"question".repeat(500));
        assert_eq!(first, run(seed).expect("a run"));
    }
}

#[test]
fn a_dial_whose_proxy_is_cut_off_at_any_byte_ends_in_time_and_names_the_phase() {
    sim::check(80, |sim| {
        let cut = sim.seed();
        let run = sim.run(move |world| {
            let way = match cut % 2 {
                0 => world.way("proxy", "meter"),
                _ => world.way("meter", "proxy"),
            };
            way.cut_after(cut);
            let (answer, failed) = exchange(world);
            (answer, failed.map(|error| error.phase()))
        })?;
        let (answer, failed) = &run.value;
        assert!(b"question".repeat(500).starts_with(answer));
        assert!(
            matches!(failed, None | Some(Phase::Connect | Phase::Proxy)),
            "{cut}: {failed:?}"
        );
        Ok(run)
    });
}
