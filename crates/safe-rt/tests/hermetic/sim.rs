//! TLS in the simulated world. The certificates are Ed25519 and the key exchange is X25519, so that
//! no length is a matter of luck: the trace covers lengths and times, and never the bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::TcpStream;
use fiber::sim::{self, World};
use fiber::{resolve, sleep, timeout};
use safe_rt::{ClientTlsOptions, Listener, ServeOptions, ServerTlsOptions, Socket, TlsVersion};

use crate::pki::SERVER_NAME;
use crate::support::options;

const PORT: u16 = 8883;

/// Shakes hands, sends a question to the machine `cloud` and reads its answer, as far as it came.
fn exchange(world: &World, (client, server): (ClientTlsOptions, ServerTlsOptions)) -> Vec<u8> {
    // Made anew for each run: a session of an earlier one would make the next one differ.
    let client = client.version(TlsVersion::Tls13).build().expect("options");
    let server = server.version(TlsVersion::Tls13).build().expect("options");
    let serving = world.host("cloud").start(move || -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let listener = Listener::bind_tls(address, server).map_err(io::Error::other)?;
        let incoming = listener.accept().map_err(io::Error::other)?;
        let socket = incoming.handshake().map_err(io::Error::other)?;
        let mut question = [0; 8];
        (&socket).read_exact(&mut question)?;
        (&socket).write_all(&question.repeat(2_000))?;
        (&socket).flush()?;
        socket.close()
    });
    drop(serving.expect("a fiber"));
    sleep(Duration::from_millis(1)).expect("no scope is over");
    let mut asking = world
        .host("meter")
        .start(move || {
            let stream = TcpStream::connect(resolve("cloud", PORT).expect("an address")[0]);
            let socket = Socket::tls_client(stream.expect("a connection"), &client, SERVER_NAME);
            let Ok(socket) = socket else {
                return Vec::new();
            };
            let mut answer = Vec::new();
            let read = (&socket)
                .write_all(b"question")
                .and_then(|()| (&socket).flush())
                .and_then(|()| (&socket).read_to_end(&mut answer));
            drop(read);
            answer
        })
        .expect("a fiber");
    let answer = timeout(Duration::from_secs(60), || asking.join());
    answer.expect("in time").expect("no panic")
}

#[test]
fn a_handshake_and_an_exchange_come_again_by_their_seed() {
    let both = Rc::new(options());
    let run = |seed| {
        let both = (both.0.clone(), both.1.clone());
        sim::SimBuilder::new(seed).run(|world| {
            world.way("cloud", "meter").lost(10_000);
            exchange(world, both)
        })
    };
    for seed in 0..30 {
        let first = run(seed).expect("a run");
        assert_eq!(first.value, b"question".repeat(2_000));
        assert_eq!(first, run(seed).expect("a run"));
    }
}

#[test]
fn a_connection_cut_at_any_byte_of_a_handshake_or_after_it_ends_in_time() {
    let both = Rc::new(options());
    sim::check(60, |sim| {
        let (cut, both) = (sim.seed() * 40, (both.0.clone(), both.1.clone()));
        let run = sim.run(move |world| {
            let way = match cut % 80 {
                0 => world.way("cloud", "meter"),
                _ => world.way("meter", "cloud"),
            };
            way.cut_after(cut);
            exchange(world, both).len()
        })?;
        assert!(run.value <= 16_000);
        if cut == 0 {
            assert_eq!(run.value, 0, "nothing passed");
        }
        Ok(run)
    });
}

#[test]
fn clients_that_never_speak_hold_the_places_of_a_server_for_one_handshake_and_no_longer() {
    const PLACES: u32 = 3;
    let both = Rc::new(options());
    sim::check(20, |sim| {
        let both = (both.0.clone(), both.1.clone());
        sim.run(move |world| {
            let client = both.0.version(TlsVersion::Tls13).build().expect("options");
            let server = both.1.version(TlsVersion::Tls13).build().expect("options");
            let serving = world.host("cloud").start(move || {
                let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
                let listener = Listener::bind_tls(address, server)?;
                let options = ServeOptions::new().connections_max(PLACES);
                listener.serve(&options, |socket| {
                    (&socket).write_all(b"served")?;
                    socket.close()
                })
            });
            drop(serving.expect("a fiber"));
            sleep(Duration::from_millis(1)).expect("no scope is over");
            let mut asking = world
                .host("meter")
                .start(move || {
                    let address = resolve("cloud", PORT).expect("an address")[0];
                    let silent: Vec<_> = (0..PLACES).map(|_| TcpStream::connect(address)).collect();
                    assert!(silent.iter().all(Result::is_ok));
                    let began = fiber::Instant::now();
                    let stream = TcpStream::connect(address).expect("a place in the queue");
                    let socket = Socket::tls_client(stream, &client, SERVER_NAME);
                    let mut text = String::new();
                    let read = socket.expect("a handshake").read_to_string(&mut text);
                    read.expect("an end in order");
                    assert_eq!(text, "served");
                    began.elapsed()
                })
                .expect("a fiber");
            let waited = asking.join().expect("no panic");
            let limit = safe_rt::HANDSHAKE_TIMEOUT_DEFAULT;
            assert!(waited > limit / 2, "the places were taken: {waited:?}");
            assert!(waited < limit + limit / 2, "{waited:?}");
        })
    });
}
