//! Knobs of the ways and of the run that no other test turns: each does what it says.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use super::run;
use crate::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use crate::sim::{SimBuilder, Way, World};
use crate::{Instant, resolve, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 1883;

/// Answers each byte on the machine `cloud`.
fn serve(world: &World) {
    let serving = world.host("cloud").start(|| {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let listener = TcpListener::bind(any).unwrap();
        while let Ok((mut stream, _)) = listener.accept() {
            crate::tests::go(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
    drop(serving.unwrap());
    sleep(Duration::from_millis(1)).unwrap();
}

/// Asks `questions` times, and says how it ended and how long each answer took.
fn ask(questions: usize, patience: Duration) -> (Option<ErrorKind>, Vec<Duration>) {
    let mut stream = TcpStream::connect(resolve("cloud", PORT).unwrap()[0]).unwrap();
    let mut took = Vec::new();
    for _ in 0..questions {
        let began = Instant::now();
        let answered = timeout(patience, || -> std::io::Result<()> {
            stream.write_all(&[1])?;
            stream.read_exact(&mut [0])
        });
        match answered {
            Ok(Ok(())) => took.push(began.elapsed()),
            Ok(Err(error)) => return (Some(error.kind()), took),
            Err(_) => return (Some(ErrorKind::TimedOut), took),
        }
    }
    (None, took)
}

fn asked(seed: u64, questions: usize, set: fn(&Way)) -> (Option<ErrorKind>, Vec<Duration>) {
    run(seed, move |world| {
        set(&world.way("meter", "cloud"));
        serve(world);
        let asking = world
            .host("meter")
            .start(move || ask(questions, SECOND * 60));
        asking.unwrap().join().unwrap()
    })
    .value
}

#[test]
fn a_way_takes_as_long_as_it_was_told() {
    let (ended, took) = asked(1, 50, |way| {
        way.latency(SECOND..=SECOND * 3);
    });
    assert_eq!(ended, None);
    assert!(
        took.iter()
            .all(|took| *took >= SECOND && *took < SECOND * 4)
    );
    assert!(took.iter().any(|took| *took < SECOND * 2));
    assert!(took.iter().any(|took| *took > SECOND * 2));
}

#[test]
fn a_lost_segment_comes_later() {
    let late = |lost: fn(&Way)| {
        let (ended, took) = asked(1, 200, lost);
        assert_eq!(ended, None);
        took.iter().filter(|took| **took >= SECOND / 5).count()
    };
    assert_eq!(late(|_| ()), 0);
    let some = late(|way| {
        way.lost(100_000);
    });
    assert!((8..=40).contains(&some), "{some} of 200");
}

#[test]
fn segments_silence_their_connection_as_often_as_asked_for() {
    let silenced = (0..100)
        .filter(|&seed| {
            let (ended, _) = asked(seed, 10, |way| {
                way.silenced(50_000);
            });
            assert!(matches!(ended, None | Some(ErrorKind::TimedOut)));
            ended.is_some()
        })
        .count();
    // 40 %: one of ten segments at 5 %.
    assert!((25..=55).contains(&silenced), "{silenced} of 100");
}

#[test]
fn a_reset_now_ends_what_is_open_between_two_machines_and_nothing_else() {
    for seed in 0..50 {
        run(seed, |world| {
            serve(world);
            let start = |host: &str| {
                let program = || ask(60, SECOND * 60).0;
                world.host(host).start(program).unwrap()
            };
            world.way("meter", "cloud").latency(SECOND..=SECOND);
            world.way("other", "cloud").latency(SECOND..=SECOND);
            let (mut meter, mut other) = (start("meter"), start("other"));
            sleep(SECOND * 10).unwrap();
            world.way("cloud", "meter").reset_now();
            assert!(matches!(
                meter.join().unwrap(),
                Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
            ));
            // A new one is as good as ever.
            let mut again = start("meter");
            assert_eq!(again.join().unwrap(), None);
            assert_eq!(other.join().unwrap(), None);
        });
    }
}

#[test]
fn one_direction_can_be_closed_alone() {
    run(3, |world| {
        serve(world);
        let mut asking = world.host("meter").start(|| ask(1, SECOND * 60)).unwrap();
        sleep(Duration::from_millis(20)).unwrap();
        assert!(asking.is_finished());
        assert_eq!(asking.join().unwrap().0, None);
        world.way("cloud", "meter").block();
        let asking = || {
            let open = TcpStream::connect(resolve("cloud", PORT).unwrap()[0]);
            open.map(drop).map_err(|error| error.kind())
        };
        let blocked = world
            .host("meter")
            .start(move || timeout(SECOND * 5, asking).map_err(|_| "no answer"));
        assert_eq!(blocked.unwrap().join().unwrap(), Err("no answer"));
        world.way("cloud", "meter").open();
        let opened = world.host("meter").start(asking);
        assert_eq!(opened.unwrap().join().unwrap(), Ok(()));
    });
}

#[test]
fn fibers_have_as_long_to_end_as_the_grace_says() {
    let ended_after = |grace| {
        let run = SimBuilder::new(1).grace(grace).run(|_| {
            crate::tests::go(|| {
                crate::shield(SECOND * 3600, || {
                    let _ = sleep(SECOND * 1_000);
                })
            });
            sleep(SECOND).unwrap();
        });
        run.unwrap().elapsed
    };
    let (short, long) = (ended_after(SECOND * 10), ended_after(SECOND * 100));
    assert!(short >= SECOND * 11 && short < SECOND * 12, "{short:?}");
    assert!(long >= SECOND * 101 && long < SECOND * 102, "{long:?}");
}

#[test]
fn the_seed_is_told() {
    assert_eq!(run(77, World::seed).value, 77);
    assert_eq!(SimBuilder::new(78).seed(), 78);
}

#[test]
fn the_descriptor_of_a_simulated_socket_is_no_socket() {
    run(5, |world| {
        serve(world);
        let checked = world.host("meter").start(|| {
            let no_socket = |fd: BorrowedFd<'_>| {
                let shown = fd.try_clone_to_owned().unwrap();
                let asked = std::net::TcpStream::from(shown).nodelay().unwrap_err();
                assert_eq!(asked.raw_os_error(), Some(libc::ENOTSOCK));
            };
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            no_socket(TcpListener::bind(any).unwrap().as_fd());
            let to = resolve("cloud", PORT).unwrap()[0];
            no_socket(TcpStream::connect(to).unwrap().as_fd());
            let listener = UnixListener::bind("/socket").unwrap();
            no_socket(listener.as_fd());
            no_socket(UnixStream::connect("/socket").unwrap().as_fd());
        });
        checked.unwrap().join().unwrap();
    });
}

#[test]
fn what_a_remote_is_asked_for_is_done() {
    for seed in 0..20 {
        run(seed, |_| {
            let done = Rc::new(Cell::new(false));
            let remote = crate::Remote::current().unwrap();
            let token = crate::prepare().unwrap();
            remote.spawn(|| sleep(SECOND).unwrap()).unwrap();
            let (waking, noting) = (remote, Rc::clone(&done));
            crate::tests::go(move || {
                sleep(SECOND).unwrap();
                noting.set(true);
                waking.unpark(token).unwrap();
            });
            crate::park().unwrap();
            assert!(done.get());
        });
    }
}
