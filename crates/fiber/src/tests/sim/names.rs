//! The name service: slow, failing and lying as often as asked for.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::run;
use crate::sim::{Names, World};
use crate::{Instant, JoinHandle, resolve, sleep, spawn, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// What 400 look-ups of `cloud` gave and how long each took, under one seed.
fn looked_up(set: impl FnOnce(&Names) + 'static) -> Vec<(Option<IpAddr>, Duration)> {
    run(7, |world: &World| {
        drop((world.host("cloud"), world.host("other")));
        set(&world.names());
        let asking = world.host("meter").start(|| {
            let ask = |_| {
                let began = Instant::now();
                let answer = resolve("cloud", 1883).ok().map(|all| all[0].ip());
                (answer, began.elapsed())
            };
            (0..400).map(ask).collect()
        });
        asking.unwrap().join().unwrap()
    })
    .value
}

fn cloud() -> IpAddr {
    run(7, |world| world.host("cloud").address()).value
}

fn within(range: RangeInclusive<usize>, count: usize) {
    assert!(range.contains(&count), "{count} of 400");
}

#[test]
fn a_name_is_answered_in_its_time() {
    let all = looked_up(|_| ());
    assert!(all.iter().all(|(answer, _)| *answer == Some(cloud())));
    assert!(all.iter().all(|(_, took)| *took < SECOND / 100));
    let slow = looked_up(|names| {
        names.latency(SECOND..=SECOND * 2);
    });
    let is_slow = |took: Duration| took >= SECOND && took <= SECOND * 2 + SECOND / 1_000;
    assert!(slow.iter().all(|(_, took)| is_slow(*took)));
}

#[test]
fn look_ups_fail_as_often_as_asked_for() {
    let all = looked_up(|names| {
        names.failing(250_000);
    });
    within(70..=130, all.iter().filter(|(a, _)| a.is_none()).count());
}

#[test]
fn look_ups_are_slow_as_often_as_asked_for() {
    let all = looked_up(|names| {
        names.slow(250_000, SECOND * 8..=SECOND * 9);
    });
    within(
        70..=130,
        all.iter().filter(|(_, t)| *t > SECOND * 7).count(),
    );
    assert!(all.iter().all(|(answer, _)| answer.is_some()));
}

#[test]
fn answers_lie_as_often_as_asked_for_and_lead_to_others_or_nobody() {
    let all = looked_up(|names| {
        names.lying(500_000);
    });
    let lies: Vec<IpAddr> = all
        .iter()
        .filter_map(|(answer, _)| *answer)
        .filter(|answer| *answer != cloud())
        .collect();
    within(150..=250, lies.len());
    let nobodys = lies
        .iter()
        .filter(|ip| ip.to_string().starts_with("10.255."));
    within(20..=150, nobodys.count());
}

#[test]
fn a_slow_look_up_obeys_the_scope_around_it() {
    run(1, |world| {
        world.names().latency(SECOND * 60..=SECOND * 60);
        assert_eq!(world.host("cloud").name(), "cloud");
        let began = Instant::now();
        let ended = timeout(SECOND, || resolve("cloud", 1));
        assert!(ended.is_err());
        assert!(began.elapsed() < SECOND * 2);
    });
}

#[test]
fn addresses_need_no_service() {
    run(1, |world| {
        world.names().failing(1_000_000).break_name("localhost");
        assert!(resolve("10.0.0.1", 1).is_ok());
        assert!(resolve("localhost", 1).is_ok());
        world.names().failing(0).break_name("cloud");
        assert_eq!(world.host("cloud").name(), "cloud");
        assert!(resolve("cloud", 1).is_err());
        world.names().mend("cloud");
        assert!(resolve("cloud", 1).is_ok());
    });
}

#[test]
fn a_name_has_the_addresses_it_was_given_in_their_order() {
    run(1, |world| {
        let machine = world.host("cloud").address();
        let nobody: IpAddr = "10.255.0.9".parse().unwrap();
        let of = |name| {
            let found = resolve(name, 1).ok()?;
            Some(found.iter().map(|at| at.ip()).collect::<Vec<_>>())
        };
        let names = world.names();
        for given in [vec![nobody, machine], vec![machine, nobody], vec![nobody]] {
            names.addresses("cloud", &given);
            assert_eq!(of("cloud"), Some(given));
        }
        names.lying(1_000_000);
        assert_ne!(of("cloud"), Some(vec![nobody]));
        names.lying(0).addresses("cloud", &[]);
        assert_eq!(of("cloud"), Some(vec![machine]));
        // No machine needs to have the name.
        names.addresses("alias", &[machine]);
        assert_eq!(of("alias"), Some(vec![machine]));
        names.addresses("alias", &[]);
        assert_eq!(of("alias"), None);
    });
}

#[test]
fn a_look_up_that_nobody_waits_for_never_begins() {
    run(7, |world: &World| {
        drop(world.host("cloud"));
        world.names().latency(SECOND * 30..=SECOND * 30);
        let asking = world.host("meter").start(|| {
            let began = Instant::now();
            let ask = || spawn(|| resolve("cloud", 1883).map(|_| Instant::now())).unwrap();
            let pause = || sleep(SECOND / 100).unwrap();
            let mut both = [ask(), ask()];
            pause();
            let hasty: Vec<_> = (0..100)
                .map(|_| spawn(|| timeout(SECOND, || resolve("cloud", 1883)).unwrap_err()))
                .collect();
            sleep(SECOND / 2).unwrap();
            // Behind a hundred that leave soon, and before another hundred.
            let mut third = ask();
            pause();
            for _ in 0..100 {
                drop(spawn(|| {
                    timeout(SECOND, || resolve("cloud", 1883)).unwrap_err()
                }));
            }
            drop(hasty);
            sleep(SECOND * 2).unwrap();
            let mut fourth = ask();
            let took = |fiber: &mut JoinHandle<io::Result<Instant>>| {
                let seconds = (fiber.join().unwrap().unwrap() - began).as_secs_f64();
                seconds.round() as u64
            };
            let took = [
                took(&mut both[0]),
                took(&mut both[1]),
                took(&mut third),
                took(&mut fourth),
            ];
            assert_eq!(took, [30, 30, 60, 60]);
        });
        asking.unwrap().join().unwrap();
    });
}
