//! TCP between machines: what arrives, when, and how it ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::run;
use crate::JoinHandle;
use crate::net::{Shutdown, TcpListener, TcpStream};
use crate::sim::{SimBuilder, World};
use crate::{Instant, resolve, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 1883;

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

fn dial(name: &str) -> io::Result<TcpStream> {
    TcpStream::connect(resolve(name, PORT)?[0])
}

/// Serves one connection on the machine `cloud`.
fn serve<T: 'static>(world: &World, serve: impl FnOnce(TcpStream) -> T + 'static) -> JoinHandle<T> {
    let served = world.host("cloud").start(move || {
        let listener = TcpListener::bind(any(PORT)).unwrap();
        serve(listener.accept().unwrap().0)
    });
    sleep(Duration::from_millis(1)).unwrap();
    served.unwrap()
}

fn client<T: 'static>(world: &World, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    world.host("meter").start(body).unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 % 251) as u8).collect()
}

/// Reads to the end or an error, and says which.
fn drain(mut stream: &TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut all = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (all, None),
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

#[test]
fn what_is_sent_arrives_whole_and_in_order_under_every_seed() {
    for seed in 0..200 {
        run(seed, |world| {
            world.way("meter", "cloud").lost(30_000);
            let mut served = serve(world, |stream| drain(&stream));
            let mut sent = client(world, || {
                let mut stream = dial("cloud").unwrap();
                assert_eq!(stream.peer_addr().unwrap().port(), PORT);
                stream.write_all(&bytes(200_000)).unwrap();
            });
            sent.join().unwrap();
            assert_eq!(served.join().unwrap(), (bytes(200_000), None));
        });
    }
}

#[test]
fn both_directions_work_at_once_and_one_can_end_before_the_other() {
    for seed in 0..100 {
        run(seed, |world| {
            let mut served = serve(world, |mut stream| {
                let question = drain(&stream);
                stream.write_all(b"answer").unwrap();
                question
            });
            let mut answered = client(world, || {
                let mut stream = dial("cloud").unwrap();
                stream.write_all(b"question").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(
                    stream.write(b"x").unwrap_err().kind(),
                    ErrorKind::BrokenPipe
                );
                drain(&stream)
            });
            assert_eq!(answered.join().unwrap(), (b"answer".to_vec(), None));
            assert_eq!(served.join().unwrap(), (b"question".to_vec(), None));
        });
    }
}

#[test]
fn the_trace_does_not_depend_on_the_bytes() {
    let trace = |byte: u8| {
        let talk = move |world: &World| {
            let mut served = serve(world, |stream| drain(&stream).0.len());
            drop(client(world, move || {
                dial("cloud")?.write_all(&[byte; 5_000])
            }));
            served.join().unwrap()
        };
        run(8, talk)
    };
    assert_eq!(trace(1), trace(2));
}

#[test]
fn names_and_addresses_that_lead_nowhere_are_errors() {
    run(1, |world| {
        assert_eq!(world.host("cloud").name(), "cloud");
        let mut kinds = client(world, || {
            let refused = dial("cloud").unwrap_err().kind();
            let nowhere = SocketAddr::from(([10, 9, 9, 9], PORT));
            let unreachable = TcpStream::connect(nowhere).unwrap_err().kind();
            (refused, unreachable, resolve("nobody", 1).is_err())
        });
        let expected = (
            ErrorKind::ConnectionRefused,
            ErrorKind::HostUnreachable,
            true,
        );
        assert_eq!(kinds.join().unwrap(), expected);
        world.names().break_name("cloud");
        assert!(
            client(world, || resolve("cloud", 1).is_err())
                .join()
                .unwrap()
        );
        world.names().mend("cloud");
        assert!(
            client(world, || resolve("cloud", 1).is_ok())
                .join()
                .unwrap()
        );
        let local = client(world, || {
            let listener = TcpListener::bind(any(0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(
                TcpListener::bind(any(port)).unwrap_err().kind(),
                ErrorKind::AddrInUse
            );
            let foreign = SocketAddr::from(([10, 9, 9, 9], PORT));
            let foreign = TcpListener::bind(foreign).unwrap_err();
            assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
            let own = resolve("localhost", port).unwrap()[0];
            let stream = TcpStream::connect(own).unwrap();
            let (_, from) = listener.accept().unwrap();
            from == stream.local_addr().unwrap()
        });
        assert!({ local }.join().unwrap());
    });
}

#[test]
fn a_partition_holds_everything_up_and_loses_nothing() {
    for seed in 0..100 {
        run(seed, |world| {
            let mut served = serve(world, |stream| {
                let all = drain(&stream);
                (all, Instant::now())
            });
            let mut sent = client(world, || {
                let mut stream = dial("cloud").unwrap();
                stream.write_all(&bytes(10_000)).unwrap();
                sleep(SECOND * 60).unwrap();
                stream.write_all(&bytes(10_000)).unwrap();
            });
            sleep(SECOND).unwrap();
            let began = Instant::now();
            world.partition("meter", "cloud");
            sleep(SECOND * 300).unwrap();
            world.heal("meter", "cloud");
            sent.join().unwrap();
            let (got, at) = served.join().unwrap();
            assert_eq!(got, ([bytes(10_000), bytes(10_000)].concat(), None));
            assert!(at - began >= SECOND * 300 && at - began < SECOND * 301);
        });
    }
}

#[test]
fn what_is_never_answered_is_given_up_in_the_systems_time() {
    run(1, |world| {
        let mut served = serve(world, |stream| drain(&stream));
        let mut gave_up = client(world, || {
            let began = Instant::now();
            let mut stream = dial("cloud").unwrap();
            sleep(SECOND * 2).unwrap();
            stream.write_all(b"into the void").unwrap();
            let error = drain(&stream).1;
            let established = began.elapsed();
            assert_eq!(error, Some(ErrorKind::TimedOut));
            let began = Instant::now();
            let error = TcpStream::connect(stream.peer_addr().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(crate::cause(&error), None);
            (established, began.elapsed())
        });
        sleep(SECOND).unwrap();
        world.partition("meter", "cloud");
        let (established, connecting) = gave_up.join().unwrap();
        assert!(established > SECOND * 900 && established < SECOND * 1_000);
        assert!(connecting > SECOND * 120 && connecting < SECOND * 130);
        // The other end never sent anything: it never learns of it.
        assert!(timeout(SECOND * 3600, || served.join()).is_err());
    });
}

#[test]
fn a_cut_falls_at_its_byte_and_both_ends_learn_of_it() {
    for seed in 0..100 {
        run(seed, move |world| {
            let at = seed * 37;
            world.way("meter", "cloud").cut_after(at);
            let mut served = serve(world, |stream| drain(&stream));
            let mut sent = client(world, || {
                let mut stream = dial("cloud").unwrap();
                let sent = stream.write_all(&bytes(5_000));
                (sent.is_ok(), drain(&stream).1)
            });
            let len = usize::try_from(at).unwrap();
            let reset = Some(ErrorKind::ConnectionReset);
            assert_eq!(
                served.join().unwrap(),
                (bytes(5_000)[..len].to_vec(), reset)
            );
            let (sent, ended) = sent.join().unwrap();
            assert!(!sent || ended == reset);
        });
    }
}

#[test]
fn a_silenced_direction_is_a_black_hole_and_the_other_works_on() {
    run(3, |world| {
        let mut served = serve(world, |mut stream| {
            let mut got = [0; 5];
            stream.read_exact(&mut got).unwrap();
            sleep(SECOND * 10).unwrap();
            stream.write_all(b"answer").unwrap();
            let more = timeout(SECOND * 60, || stream.read(&mut got).map(drop));
            (got, more.is_err())
        });
        let mut answered = client(world, || {
            let mut stream = dial("cloud").unwrap();
            stream.write_all(b"first").unwrap();
            sleep(SECOND * 5).unwrap();
            stream.write_all(b"never seen").unwrap();
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).map(|()| answer)
        });
        sleep(SECOND).unwrap();
        world.way("meter", "cloud").silence_now();
        assert_eq!(&answered.join().unwrap().unwrap(), b"answer");
        assert_eq!(served.join().unwrap(), (*b"first", true));
    });
}

#[test]
fn a_killed_peer_ends_the_connection_and_one_without_power_says_nothing() {
    for seed in 0..60 {
        for kill in [true, false] {
            run(seed, move |world| {
                let cloud = world.host("cloud");
                drop(serve(world, |stream| {
                    sleep(SECOND * 3600).unwrap();
                    drop(stream);
                }));
                let mut link = client(world, || {
                    let stream = dial("cloud").unwrap();
                    let silent = timeout(SECOND * 60, || drain(&stream)).is_err();
                    // Something is sent once the peer is on again, which knows of nothing.
                    sleep(SECOND * 60).unwrap();
                    let _ = (&stream).write(b"still there?");
                    sleep(SECOND).unwrap();
                    (silent, (&stream).write(b"?").map_err(|error| error.kind()))
                });
                sleep(SECOND).unwrap();
                if kill {
                    cloud.kill();
                } else {
                    cloud.power_cut();
                }
                sleep(SECOND * 90).unwrap();
                drop(cloud.start(|| ()).unwrap());
                let (silent, second) = link.join().unwrap();
                assert_eq!(silent, !kill);
                let kind = second.unwrap_err();
                assert!(matches!(
                    kind,
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ));
            });
        }
    }
}

#[test]
fn letting_go_of_unread_data_resets_the_connection() {
    run(2, |world| {
        let mut served = serve(world, |stream| {
            sleep(SECOND).unwrap();
            drop(stream);
        });
        let mut ended = client(world, || {
            let mut stream = dial("cloud").unwrap();
            stream.write_all(b"nobody reads this").unwrap();
            drain(&stream).1
        });
        assert_eq!(ended.join().unwrap(), Some(ErrorKind::ConnectionReset));
        served.join().unwrap();
    });
}

#[test]
fn a_narrow_way_takes_its_time() {
    run(2, |world| {
        world.way("meter", "cloud").bytes_per_second(Some(10_000));
        let mut served = serve(world, |stream| drain(&stream).0.len());
        let began = Instant::now();
        drop(client(world, || dial("cloud")?.write_all(&bytes(100_000))));
        assert_eq!(served.join().unwrap(), 100_000);
        let took = began.elapsed();
        assert!(took > SECOND * 9 && took < SECOND * 12, "{took:?}");
    });
}

#[test]
fn faults_come_as_often_as_they_are_asked_for() {
    let mut reset = 0;
    let mut refused = 0;
    for seed in 0..300 {
        let run = SimBuilder::new(seed).run(|world| {
            world.way("meter", "cloud").refused(300_000).reset(20_000);
            let serving = world.host("cloud").start(|| -> io::Result<()> {
                let (stream, _) = TcpListener::bind(any(PORT))?.accept()?;
                let _ = drain(&stream);
                Ok(())
            });
            drop(serving.unwrap());
            sleep(Duration::from_millis(1)).unwrap();
            let ended = client(world, || -> io::Result<()> {
                let mut stream = dial("cloud")?;
                stream.write_all(&bytes(20_000))?;
                stream.shutdown(Shutdown::Write)?;
                drain(&stream).1.map_or(Ok(()), |kind| Err(kind.into()))
            });
            { ended }.join().unwrap().err().map(|error| error.kind())
        });
        match run.unwrap().value {
            Some(ErrorKind::ConnectionRefused) => refused += 1,
            Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected) => {
                reset += 1;
            }
            Some(other) => panic!("expected a reset or a refusal, found {other:?}"),
            None => {}
        }
    }
    assert!(
        (60..=120).contains(&refused),
        "{refused} of 300 were refused"
    );
    assert!((30..=90).contains(&reset), "{reset} of 300 were reset");
}
