//! Names in the simulated world, where hours pass at once: what is remembered and for how long, and
//! what is done while no name can be looked up. A hundred other fibers must not notice.

use std::cell::Cell;
use std::net::Ipv4Addr;
#[cfg(feature = "dns")]
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::{SimBuilder, World};
use fiber::{Instant, cause, sleep, spawn, timeout};
use safe_rt::{
    ANSWER_LIFETIME_DEFAULT, DialOptions, Endpoint, Error, Listener, Phase, Resolver, Stats, stats,
};
#[cfg(feature = "dns")]
use safe_rt::{ANSWER_LIFETIME_MAX, ANSWER_LIFETIME_MIN, NEGATIVE_LIFETIME_MAX};

#[cfg(feature = "dns")]
use crate::name_server::{Manner, NameServer, SERVER_FAILURE};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(10);
/// How late a fiber may be woken here: as long as a turn of each of a hundred others takes.
const LATE_MAX: Duration = Duration::from_millis(1);
const PORT: u16 = 1883;

fn endpoint() -> Endpoint {
    format!("mqtt://cloud:{PORT}").parse().expect("an endpoint")
}

/// Runs a program on the machine `meter`, next to a hundred fibers that are woken every 10 ms, in a
/// world with a broker on the machine `cloud`.
#[track_caller]
fn run(program: impl FnOnce(&World) + 'static) {
    let ran = SimBuilder::new(7).run(|world| {
        let world = Rc::new(world.clone());
        let cloud = world.host("cloud").start(|| {
            let listener = Listener::bind((Ipv4Addr::UNSPECIFIED, PORT).into()).expect("a port");
            while let Ok(incoming) = listener.accept() {
                drop(incoming);
            }
        });
        drop(cloud.expect("a fiber"));
        let at_work = Rc::clone(&world);
        let meter = world.host("meter").start(move || {
            let (latest, others) = (Rc::<Cell<Duration>>::default(), Rc::<Cell<u32>>::default());
            for _ in 0..100 {
                let (latest, others) = (Rc::clone(&latest), Rc::clone(&others));
                let other = spawn(move || {
                    let mut due = Instant::now() + MOMENT;
                    while fiber::sleep_until(due).is_ok() {
                        latest.set(latest.get().max(Instant::now() - due));
                        others.set(others.get() + 1);
                        // Few steps for hours.
                        due = Instant::now() + MOMENT.max(MOMENT * (others.get() / 100));
                    }
                });
                drop(other.expect("a fiber"));
            }
            program(&at_work);
            assert!(others.get() > 0, "the others ran");
            assert!(latest.get() <= LATE_MAX, "held up for {:?}", latest.get());
        });
        meter.expect("a fiber").join().expect("no panic");
    });
    ran.expect("a run");
}

/// Dials, and returns how long it took in whole seconds.
fn dial(options: &DialOptions) -> (Result<(), Error>, u64) {
    let began = Instant::now();
    let dialled = safe_rt::dial(&endpoint(), options).map(drop);
    (dialled, began.elapsed().as_secs())
}

/// What `body` added to a counter.
fn counted(counter: fn(&Stats) -> u64, body: impl FnOnce()) -> u64 {
    let before = counter(&stats());
    body();
    counter(&stats()) - before
}

#[test]
fn while_no_name_can_be_looked_up_the_last_good_address_is_tried_in_time() {
    run(|world| {
        let options = DialOptions::new();
        dial(&options).0.expect("the name is known");
        let names = world.names();
        let dials_last_good = |body: &dyn Fn()| counted(|stats| stats.dials_last_good, body);

        // The name service fails.
        sleep(ANSWER_LIFETIME_DEFAULT).expect("no scope is over");
        names.break_name("cloud");
        let used = dials_last_good(&|| {
            let (dialled, took) = dial(&options);
            dialled.expect("the last good address is tried");
            assert_eq!(took, 0);
        });
        assert_eq!(used, 1);
        names.mend("cloud");

        // It does not answer: a third of the dial's time is for it.
        names.latency(3600 * SECOND..=3600 * SECOND);
        let used = dials_last_good(&|| {
            let (dialled, took) = dial(&options);
            dialled.expect("the last good address is tried");
            assert_eq!(took, 10);
            // A dial of less time gives less to it.
            let (dialled, took) = timeout(SECOND * 9, || dial(&options)).expect("in time");
            dialled.expect("the last good address is tried");
            assert_eq!(took, 3);
        });
        assert_eq!(used, 2);

        // Options that share nothing know of no good address.
        let (dialled, took) = dial(&DialOptions::new());
        let error = dialled.expect_err("no look-up ends");
        assert_eq!((error.phase(), took), (Phase::Resolve, 15));
        assert!(error.is_timeout() && error.look_up_error().is_none());

        // The server is away as well.
        world.host("cloud").power_cut();
        let (dialled, took) = dial(&options);
        let error = dialled.expect_err("nobody is there");
        assert_eq!((error.phase(), took), (Phase::Connect, 30));
        assert!(error.look_up_error().is_some(), "{error}");
    });
}

#[test]
fn a_name_that_led_nowhere_is_looked_up_anew_for_the_next_dial() {
    run(|world| {
        let options = DialOptions::new();
        let names = world.names();
        names.lying(1_000_000);
        let look_ups = |body: &dyn Fn()| counted(|stats| stats.look_ups, body);
        let asked = look_ups(&|| {
            for _ in 0..3 {
                dial(&options).0.expect_err("it leads to nobody");
            }
        });
        assert_eq!(asked, 3);
        names.lying(0);
        let asked = look_ups(&|| {
            for _ in 0..3 {
                dial(&options).0.expect("it leads to the broker");
            }
        });
        assert_eq!(asked, 1);
    });
}

#[test]
fn an_answer_of_the_system_is_used_for_a_minute() {
    run(|_| {
        let (resolver, other) = (Resolver::new(), Resolver::new());
        let look_up = |resolver: &Resolver| {
            counted(
                |stats| stats.look_ups,
                || drop(resolver.look_up(&endpoint()).expect("the name is known")),
            )
        };
        assert_eq!(look_up(&resolver), 1);
        assert_eq!(look_up(&resolver), 0);
        assert_eq!(look_up(&other), 1);
        sleep(ANSWER_LIFETIME_DEFAULT - MOMENT).expect("no scope is over");
        assert_eq!(look_up(&resolver), 0);
        sleep(MOMENT).expect("no scope is over");
        assert_eq!(look_up(&resolver), 1);
        resolver.clear();
        assert_eq!(look_up(&resolver), 1);
    });
}

#[test]
fn many_who_ask_at_once_cause_one_look_up_and_none_takes_it_from_the_others() {
    run(|world| {
        world.names().latency(SECOND * 2..=SECOND * 2);
        let resolver = Resolver::new();
        let began = Instant::now();
        let asked = counted(
            |stats| stats.look_ups,
            || {
                let ask = || {
                    let resolver = resolver.clone();
                    spawn(move || resolver.look_up(&endpoint())).expect("a fiber")
                };
                let mut first = ask();
                sleep(MOMENT).expect("no scope is over");
                let mut others: Vec<_> = (0..50).map(|_| ask()).collect();
                sleep(SECOND).expect("no scope is over");
                first.cancel();
                let error = first.join().expect("no panic").expect_err("cancelled");
                assert_eq!(cause(&error), Some(fiber::Stopped::Cancelled));
                for other in &mut others {
                    let found = other.join().expect("no panic").expect("an address");
                    assert_eq!(found.len(), 1);
                }
            },
        );
        assert_eq!((asked, began.elapsed().as_secs()), (1, 2));

        // One that everybody left goes on, and what it finds is remembered.
        resolver.clear();
        let asked = counted(
            |stats| stats.look_ups,
            || {
                let hasty = timeout(SECOND, || resolver.look_up(&endpoint()));
                hasty
                    .expect_err("it takes two seconds")
                    .0
                    .expect_err("late");
                let began = Instant::now();
                resolver.look_up(&endpoint()).expect("an address");
                assert_eq!(began.elapsed().as_secs(), 1);
                resolver.look_up(&endpoint()).expect("an address");
                assert_eq!(began.elapsed().as_secs(), 1);
            },
        );
        assert_eq!(asked, 1);
    });
}

/// Starts a name server on the machine with this name.
#[cfg(feature = "dns")]
fn name_server(world: &World, name: &str, manner: Manner) -> (NameServer, SocketAddr) {
    let host = world.host(name);
    let at = SocketAddr::new(host.address(), 53);
    let started = host.start(|| NameServer::start(Ipv4Addr::UNSPECIFIED.into(), 53, manner));
    (started.expect("a fiber").join().expect("no panic"), at)
}

#[cfg(feature = "dns")]
fn cloud(world: &World) -> Ipv4Addr {
    match world.host("cloud").address() {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} was given"),
    }
}

#[cfg(feature = "dns")]
#[test]
fn an_answer_of_a_name_server_is_used_as_long_as_it_says_within_bounds() {
    run(|world| {
        let (server, at) = name_server(world, "names", Manner::Dead);
        let address = cloud(world);
        let moment = MOMENT * 2;
        for (manner, lifetime) in [
            (Manner::Good(vec![address], 0), ANSWER_LIFETIME_MIN),
            (Manner::Good(vec![address], 60), SECOND * 60),
            (
                Manner::Good(vec![address], i32::MAX.unsigned_abs()),
                ANSWER_LIFETIME_MAX,
            ),
            (Manner::NoSuchName, NEGATIVE_LIFETIME_MAX),
            (Manner::NoAddress, NEGATIVE_LIFETIME_MAX),
            (Manner::Failing(SERVER_FAILURE), Duration::ZERO),
        ] {
            server.set(manner.clone());
            let resolver = Resolver::servers(&[at]).expect("a server");
            let ask = |after: Duration| {
                sleep(after).expect("no scope is over");
                let before = server.asked();
                drop(resolver.look_up(&endpoint()));
                server.asked() - before
            };
            assert_eq!(ask(Duration::ZERO), 1, "{manner:?}");
            if !lifetime.is_zero() {
                assert_eq!(ask(lifetime - moment), 0, "{manner:?}");
            }
            assert_eq!(ask(moment), 1, "{manner:?}");
        }
    });
}

#[cfg(feature = "dns")]
#[test]
fn a_silent_name_server_costs_a_second_and_silent_ones_are_asked_three_times() {
    run(|world| {
        let (dead, dead_at) = name_server(world, "dead", Manner::Dead);
        let (failing, failing_at) = name_server(world, "failing", Manner::Failing(SERVER_FAILURE));
        let (_, good_at) = name_server(world, "good", Manner::good(cloud(world)));
        let look_up = |servers: &[SocketAddr]| {
            let resolver = Resolver::servers(servers).expect("servers");
            let began = Instant::now();
            let found = resolver.look_up(&endpoint());
            (found.map(|found| found[0].ip()), began.elapsed().as_secs())
        };
        let (found, took) = look_up(&[dead_at, failing_at, good_at]);
        assert_eq!(
            (found.expect("the third answers"), took),
            (cloud(world).into(), 1)
        );
        let asked = (dead.asked(), failing.asked());
        let (found, took) = look_up(&[dead_at, failing_at]);
        let error = found.expect_err("nobody answers");
        assert_eq!(took, 7, "{error}");
        // What failed once is not asked again.
        let asked = (dead.asked() - asked.0, failing.asked() - asked.1);
        assert_eq!(asked, (3, 1), "{error}");
    });
}

#[cfg(feature = "dns")]
#[test]
fn name_servers_that_die_leave_the_last_good_address() {
    run(|world| {
        let (server, at) = name_server(world, "names", Manner::good(cloud(world)));
        let resolver = Resolver::servers(&[at]).expect("a server");
        let options = DialOptions::new().resolver(resolver);
        dial(&options).0.expect("the name is known");
        server.set(Manner::Dead);
        sleep(SECOND * 60).expect("no scope is over");
        for _ in 0..3 {
            let (dialled, took) = dial(&options);
            dialled.expect("the last good address is tried");
            // All three rounds end within the dial's third.
            assert_eq!(took, 7);
        }
        server.set(Manner::good(cloud(world)));
        let used = counted(
            |stats| stats.dials_last_good,
            || dial(&options).0.expect("the name is known again"),
        );
        assert_eq!(used, 0);
    });
}
