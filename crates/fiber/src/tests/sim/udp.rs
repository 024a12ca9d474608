//! UDP between machines: what is lost, doubled and overtaken, and who learns of it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use super::run;
use crate::net::UdpSocket;
use crate::sim::{SimBuilder, World};
use crate::{Instant, resolve, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 5683;

fn bind(port: u16) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).unwrap()
}

/// A socket that is connected to the machine `cloud`.
fn connected() -> UdpSocket {
    let socket = bind(0);
    socket.connect(resolve("cloud", PORT).unwrap()[0]).unwrap();
    socket
}

/// What arrives at `cloud` of 100 datagrams that `meter` sends, one each `pause`.
fn arrivals(seed: u64, pause: Duration, set: fn(&World)) -> Vec<u8> {
    run(seed, move |world| {
        set(world);
        let mut received = world.host("cloud").start(|| {
            let (socket, mut all) = (bind(PORT), Vec::new());
            let mut byte = [0];
            while let Ok(Ok(n)) = timeout(SECOND * 5, || socket.recv(&mut byte)) {
                assert_eq!(n, 1);
                all.push(byte[0]);
            }
            all
        });
        let sending = world.host("meter").start(move || {
            let socket = connected();
            for n in 0..100 {
                socket.send(&[n]).unwrap();
                sleep(pause).unwrap();
            }
        });
        sending.unwrap().join().unwrap();
        received.as_mut().unwrap().join().unwrap()
    })
    .value
}

#[test]
fn without_trouble_each_datagram_comes_once_and_in_order() {
    for seed in 0..50 {
        let all = arrivals(seed, Duration::ZERO, |_| ());
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
    }
}

#[test]
fn lost_datagrams_are_gone_as_often_as_asked_for() {
    let lost: usize = (0..20)
        .map(|seed| {
            let all = arrivals(seed, Duration::from_millis(1), |world| {
                world.way("meter", "cloud").lost(200_000);
            });
            assert!(all.is_sorted());
            100 - all.len()
        })
        .sum();
    assert!((300..=500).contains(&lost), "{lost} of 2000");
}

#[test]
fn doubled_datagrams_come_twice_as_often_as_asked_for() {
    let more: usize = (0..20)
        .map(|seed| {
            let all = arrivals(seed, Duration::from_millis(1), |world| {
                world.way("meter", "cloud").doubled(200_000);
            });
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 100);
            all.len() - 100
        })
        .sum();
    assert!((300..=500).contains(&more), "{more} of 2000");
}

#[test]
fn overtaken_datagrams_come_after_later_ones() {
    for seed in 0..20 {
        let all = arrivals(seed, Duration::from_millis(1), |world| {
            world.way("meter", "cloud").overtaken(100_000);
        });
        assert_eq!(all.len(), 100);
        let late = all.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((1..=30).contains(&late), "{late} of 100 came late");
    }
}

#[test]
fn a_closed_way_loses_what_is_under_way() {
    let all = arrivals(1, SECOND, |world| {
        let world = world.clone();
        crate::tests::go(move || {
            sleep(SECOND * 20).unwrap();
            world.way("meter", "cloud").block();
            sleep(SECOND * 3).unwrap();
            world.way("meter", "cloud").open();
        });
    });
    assert!((96..=98).contains(&all.len()), "{} of 100", all.len());
}

#[test]
fn a_connected_sender_learns_that_nobody_is_there() {
    for seed in 0..50 {
        run(seed, |world| {
            drop(world.host("cloud"));
            let told = world.host("meter").start(|| {
                let connected = connected();
                connected.send(b"anybody?").unwrap();
                let refused = connected.recv(&mut [0; 8]).unwrap_err();
                // One that is not connected is not told.
                let open = bind(0);
                let to = connected.peer_addr().unwrap();
                open.send_to(b"anybody?", to).unwrap();
                let silent = timeout(SECOND, || open.recv(&mut [0; 8]).map(drop));
                (refused.kind(), silent.is_err())
            });
            let told = told.unwrap().join().unwrap();
            assert_eq!(told, (ErrorKind::ConnectionRefused, true));
        });
    }
}

#[test]
fn a_connected_socket_hears_its_peer_alone_and_shows_its_address() {
    run(1, |world| {
        let cloud = world.host("cloud").address();
        let heard = world.host("meter").start(move || {
            let (own, stranger) = (bind(7), bind(8));
            own.connect(SocketAddr::from((cloud, PORT))).unwrap();
            let at = own.local_addr().unwrap();
            stranger.send_to(b"let me in", at).unwrap();
            timeout(SECOND, || own.recv(&mut [0; 16]).map(drop)).is_ok()
        });
        assert!(!heard.unwrap().join().unwrap());
        let taken = world.host("meter").start(|| {
            let _first = bind(9);
            let second = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
            second.unwrap_err().kind()
        });
        assert_eq!(taken.unwrap().join().unwrap(), ErrorKind::AddrInUse);
    });
}

#[test]
fn what_waits_to_leave_is_bounded_and_so_is_what_waits_to_be_received() {
    run(2, |world| {
        world.way("meter", "cloud").bytes_per_second(Some(10_000));
        let cloud = world.host("cloud");
        let mut receiving = cloud.start(|| {
            let socket = bind(PORT);
            sleep(SECOND * 600).unwrap();
            let mut count = 0;
            while let Ok(Some(n)) = socket.try_recv(&mut [0; 2_000]) {
                assert_eq!(n, 1_000);
                count += 1;
            }
            count
        });
        let sending = world.host("meter").start(|| {
            let socket = connected();
            let mut at_once = 0;
            while let Ok(Some(_)) = socket.try_send(&[1; 1_000]) {
                at_once += 1;
            }
            let began = Instant::now();
            for _ in at_once..400 {
                socket.send(&[1; 1_000]).unwrap();
            }
            (at_once, began.elapsed())
        });
        let (at_once, took) = sending.unwrap().join().unwrap();
        assert_eq!(at_once, 65);
        assert!(took > SECOND * 30 && took < SECOND * 40, "{took:?}");
        // 208 KiB are kept; the others were lost.
        assert_eq!(receiving.as_mut().unwrap().join().unwrap(), 212);
    });
}

#[test]
fn what_the_simulated_network_cannot_do_is_an_error_of_its_kind() {
    run(3, |world| {
        let kinds = world.host("meter").start(|| {
            let socket = bind(0);
            let to = |ip: [u8; 4]| SocketAddr::from((ip, PORT));
            let send = |address| socket.send_to(b"x", address).unwrap_err().kind();
            let forbidden = send(to([255, 255, 255, 255]));
            socket.set_broadcast(true).unwrap();
            let broadcast = send(to([255, 255, 255, 255]));
            let multicast = send(to([224, 0, 0, 1]));
            let nowhere = send(to([10, 9, 9, 9]));
            let other_kind = socket.send_to(b"x", "[::1]:1".parse().unwrap());
            assert!(other_kind.is_err());
            assert!(socket.send(b"to whom?").is_err());
            assert!(UdpSocket::bind(to([10, 9, 9, 9])).is_err());
            // The descriptor is no socket, and the system says so.
            let shown = socket.as_fd().try_clone_to_owned().unwrap();
            let asked = std::net::UdpSocket::from(shown).broadcast().unwrap_err();
            assert_eq!(asked.raw_os_error(), Some(libc::ENOTSOCK));
            [forbidden, broadcast, multicast, nowhere]
        });
        assert_eq!(
            kinds.unwrap().join().unwrap(),
            [
                ErrorKind::PermissionDenied,
                ErrorKind::Unsupported,
                ErrorKind::Unsupported,
                ErrorKind::HostUnreachable
            ]
        );
    });
}

#[test]
fn a_crash_of_the_machine_frees_its_ports() {
    run(4, |world| {
        for crash in [crate::sim::Host::kill, crate::sim::Host::power_cut] {
            let cloud = world.host("cloud");
            let kept = cloud.start(|| {
                let socket = bind(PORT);
                socket.recv(&mut [0; 8]).map(drop)
            });
            sleep(SECOND).unwrap();
            drop(kept);
            crash(&cloud);
            let again = cloud.start(|| bind(PORT).local_addr().unwrap().port());
            assert_eq!(again.unwrap().join().unwrap(), PORT);
        }
    });
}

#[test]
fn two_runs_of_a_seed_are_one() {
    let talk = |seed| {
        SimBuilder::new(seed)
            .run(|world| {
                let way = world.way("meter", "cloud");
                way.lost(100_000).doubled(100_000).overtaken(100_000);
                let heard = Rc::new(std::cell::Cell::new(0));
                let count = Rc::clone(&heard);
                let receiving = world.host("cloud").start(move || {
                    let socket = bind(PORT);
                    while socket.recv(&mut [0; 8]).is_ok() {
                        count.set(count.get() + 1);
                    }
                });
                drop(receiving.unwrap());
                let sending = world.host("meter").start(|| {
                    let socket = connected();
                    for _ in 0..50 {
                        let _ = socket.send(b"x");
                    }
                });
                sending.unwrap().join().unwrap();
                sleep(SECOND).unwrap();
                heard.get()
            })
            .unwrap()
    };
    for seed in 0..50 {
        assert_eq!(talk(seed), talk(seed));
    }
}
