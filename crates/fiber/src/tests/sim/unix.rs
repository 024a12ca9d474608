//! Unix sockets of a machine: found there alone, untouched by the network, gone with it.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use super::run;
use crate::net::{UnixListener, UnixStream};
use crate::sim::World;
use crate::{fs, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const PATH: &str = "/control";

/// Answers each byte on the machine `meter`.
fn serve(world: &World) {
    let serving = world.host("meter").start(|| {
        let listener = UnixListener::bind(PATH).unwrap();
        while let Ok((mut stream, _)) = listener.accept() {
            crate::tests::go(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    stream.write_all(&byte).unwrap();
                }
            });
        }
    });
    drop(serving.unwrap());
    sleep(SECOND).unwrap();
}

fn on<T: 'static>(world: &World, host: &str, program: impl FnOnce() -> T + 'static) -> T {
    let mut run = world.host(host).start(program).unwrap();
    run.join().unwrap()
}

#[test]
fn a_path_leads_to_a_listener_of_the_same_machine_alone() {
    for seed in 0..50 {
        run(seed, |world| {
            // The trouble of a way is not that of a socket without one.
            let own = world.way("meter", "meter");
            own.reset(1_000_000)
                .silenced(1_000_000)
                .cut_after(0)
                .block();
            serve(world);
            let answer = on(world, "meter", || {
                let mut stream = UnixStream::connect(PATH).unwrap();
                stream.write_all(&[7; 100]).unwrap();
                let mut answer = [0; 100];
                stream.read_exact(&mut answer).unwrap();
                answer
            });
            assert_eq!(answer, [7; 100]);
            let elsewhere = on(world, "cloud", || UnixStream::connect(PATH).unwrap_err());
            assert_eq!(elsewhere.kind(), ErrorKind::NotFound);
        });
    }
}

#[test]
fn a_listener_ends_with_its_machine_and_leaves_its_name() {
    run(1, |world| {
        serve(world);
        world.host("meter").kill();
        let kinds = on(world, "meter", || {
            let refused = UnixStream::connect(PATH).unwrap_err().kind();
            let taken = UnixListener::bind(PATH).unwrap_err().kind();
            fs::remove(PATH).unwrap();
            let again = UnixListener::bind(PATH).unwrap();
            assert!(UnixStream::connect(PATH).is_ok());
            drop(again);
            (refused, taken)
        });
        assert_eq!(kinds, (ErrorKind::ConnectionRefused, ErrorKind::AddrInUse));
    });
}

#[test]
fn a_power_cut_takes_listeners_and_perhaps_their_names() {
    let mut kinds: Vec<ErrorKind> = (0..40)
        .map(|seed| {
            run(seed, |world| {
                serve(world);
                world.host("meter").power_cut();
                on(world, "meter", || {
                    UnixStream::connect(PATH).unwrap_err().kind()
                })
            })
            .value
        })
        .collect();
    kinds.sort_unstable_by_key(|kind| format!("{kind:?}"));
    kinds.dedup();
    assert_eq!(kinds, [ErrorKind::ConnectionRefused, ErrorKind::NotFound]);
}

#[test]
fn what_nobody_reads_is_bounded_and_what_nobody_can_read_is_an_error() {
    run(2, |world| {
        on(world, "meter", || {
            let (near, far) = UnixStream::pair().unwrap();
            let mut sent = 0;
            while let Ok(Ok(n)) = timeout(SECOND, || (&near).write(&[0; 10_000])) {
                sent += n;
            }
            assert_eq!(sent, 64 * 1024);
            drop(far);
            sleep(SECOND).unwrap();
            let kind = (&near).write(&[0]).map_err(|error| error.kind());
            assert!(matches!(
                kind,
                Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
            ));
        });
    });
}

#[test]
fn a_listener_that_accepts_nobody_holds_up_those_who_connect() {
    run(3, |world| {
        on(world, "meter", || {
            let listener = UnixListener::bind(PATH).unwrap();
            let mut waiting = Vec::new();
            while let Ok(stream) = timeout(SECOND, || UnixStream::connect(PATH)) {
                waiting.push(stream.unwrap());
            }
            assert_eq!(waiting.len(), 128);
            let mut late = crate::spawn(|| UnixStream::connect(PATH).is_ok()).unwrap();
            sleep(SECOND).unwrap();
            drop(listener.accept().unwrap());
            assert!(late.join().unwrap());
        });
    });
}
