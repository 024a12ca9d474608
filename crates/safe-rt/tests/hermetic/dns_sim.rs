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
use safe_rt::{
    ANSWER_LIFETIME_MAX, ANSWER_LIFETIME_MIN, NEGATIVE_LIFETIME_MAX, OTHER_FAMILY_GRACE,
};

#[cfg(feature = "dns")]
use crate::name_server::{Manner, NameServer, SERVER_FAILURE};
#[cfg(feature = "dns")]
use crate::pki::SERVER_NAME;
#[cfg(feature = "dns")]
use crate::support::options;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
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
pub(crate) fn run(program: impl FnOnce(&World) + 'static) {
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
pub(crate) fn dial(options: &DialOptions) -> (Result<(), Error>, u64) {
    let began = Instant::now();
    let dialled = safe_rt::dial(&endpoint(), options).map(drop);
    (dialled, began.elapsed().as_secs())
}

/// What `body` added to a counter.
pub(crate) fn counted(counter: fn(&Stats) -> u64, body: impl FnOnce()) -> u64 {
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

/// Starts a broker on the machine `spare`, which is away after one connection, and the name servers of a
/// resolver that take 13 s for an answer but lead there at first. Returns the second of them.
#[cfg(feature = "dns")]
fn slow_to_leave_spare(world: &World) -> (NameServer, DialOptions) {
    let spare = world.host("spare");
    let IpAddr::V4(address) = spare.address() else {
        panic!("an address of the other kind was given");
    };
    let serving = spare.start(|| {
        let listener = Listener::bind((Ipv4Addr::UNSPECIFIED, PORT).into()).expect("a port");
        drop(listener.accept());
    });
    drop(serving.expect("a fiber"));
    let (_, dead_at) = name_server(world, "dead", Manner::Dead);
    let (server, at) = name_server(world, "names", Manner::good(address));
    let resolver = Resolver::servers(&[dead_at, at]).expect("servers");
    let options = DialOptions::new().resolver(resolver);
    dial(&options).0.expect("the name is known");
    sleep(SECOND * 60).expect("no scope is over");
    // Heard in the third round alone, behind 3 s each of the first ones and 4 s of the dead one.
    server.set(Manner::Slow(SECOND * 3, cloud(world)));
    (server, options)
}

#[cfg(feature = "dns")]
#[test]
fn an_answer_that_comes_late_is_tried_once_the_last_good_address_has_failed() {
    run(|world| {
        let (_server, options) = slow_to_leave_spare(world);
        let (dialled, took) = dial(&options);
        dialled.expect("the answer leads to the broker");
        assert_eq!(took, 13);
    });
}

#[cfg(feature = "dns")]
#[test]
fn an_answer_that_no_dial_has_tried_is_kept_for_the_next_one() {
    run(|world| {
        let (_server, options) = slow_to_leave_spare(world);
        world.partition("meter", "spare");
        let (dialled, took) = dial(&options);
        let error = dialled.expect_err("the last good address swallows everything");
        assert_eq!((error.phase(), took), (Phase::Connect, 30));
        let (dialled, took) = dial(&options);
        dialled.expect("the answer leads to the broker");
        assert_eq!(took, 0);
    });
}

#[cfg(feature = "dns")]
#[test]
fn many_addresses_on_a_slow_link_leave_time_for_the_one_that_answers() {
    run(|world| {
        let nobody = |n: u8| Ipv4Addr::new(198, 51, 100, n);
        let others = (1..16).map(nobody);
        let first = std::iter::once(cloud(world))
            .chain(others.clone())
            .collect();
        let last = others.chain([cloud(world)]).collect();
        let (server, at) = name_server(world, "names", Manner::Good(first, 60));
        let slow = Duration::from_millis(700);
        world.way("meter", "cloud").latency(slow..=slow);
        world.way("cloud", "meter").latency(slow..=slow);
        let resolver = Resolver::servers(&[at]).expect("a server");
        let options = DialOptions::new().resolver(resolver.clone());
        let (dialled, _) = timeout(SECOND * 10, || dial(&options)).expect("in time");
        dialled.expect("a sixteenth of the time is too little, but it gets more");
        // Behind fifteen that lead nowhere it has its turn in the third dial at the latest.
        server.set(Manner::Good(last, 60));
        resolver.clear();
        let connected = (0..3).position(|_| {
            let dialled = timeout(SECOND * 20, || dial(&options).0);
            dialled.unwrap_or_else(|late| late.0).is_ok()
        });
        assert!(connected.is_some());
    });
}

#[cfg(feature = "dns")]
#[test]
fn a_lie_does_not_hide_the_last_good_address_where_the_peer_shows_who_it_is() {
    run(|world| {
        let (client, server) = options();
        let tls = server.build().expect("options");
        let serving = world.host("cloud").start(move || {
            let address = (Ipv4Addr::UNSPECIFIED, 8883).into();
            let listener = Listener::bind_tls(address, tls).expect("a port");
            while let Ok(incoming) = listener.accept() {
                drop(spawn(move || drop(incoming.handshake())).expect("a fiber"));
            }
        });
        drop(serving.expect("a fiber"));
        let (names, at) = name_server(world, "names", Manner::good(cloud(world)));
        let resolver = Resolver::servers(&[at]).expect("a server");
        let options = DialOptions::new()
            .resolver(resolver.clone())
            .tls(client.build().expect("options"));
        let to = |text: &str| {
            let endpoint: Endpoint = text.parse().expect("an endpoint");
            safe_rt::dial(&endpoint, &options).map(drop)
        };
        let secure = format!("mqtts://{SERVER_NAME}");
        to(&secure).expect("the name leads there");
        let IpAddr::V4(lie) = world.host("names").address() else {
            panic!("an address of the other kind was given");
        };
        names.set(Manner::good(lie));
        resolver.clear();
        let asked = names.asked();
        let used = counted(
            |stats| stats.dials_last_good,
            || {
                to(&secure).expect("the last good address is tried");
                to(&secure).expect("the last good address is tried");
            },
        );
        // The lie was not believed twice.
        assert_eq!((used, names.asked() - asked), (2, 2));

        // Without TLS nobody would know whom it reached.
        let plain = DialOptions::new().resolver(resolver.clone());
        names.set(Manner::good(cloud(world)));
        dial(&plain).0.expect("the name leads there");
        names.set(Manner::good(lie));
        resolver.clear();
        let error = dial(&plain).0.expect_err("nobody listens there");
        assert_eq!(error.phase(), Phase::Connect, "{error}");
    });
}

#[cfg(feature = "dns")]
#[test]
fn a_server_that_is_deaf_to_one_family_costs_a_moment_and_not_its_rounds() {
    run(|world| {
        let (_server, at) = name_server(world, "names", Manner::DeafToV6(cloud(world)));
        let resolver = Resolver::servers(&[at]).expect("a server");
        let began = Instant::now();
        let found = resolver.look_up(&endpoint()).expect("one family is enough");
        let took = began.elapsed();
        assert_eq!(found[0].ip(), IpAddr::from(cloud(world)));
        // An answer takes 10 ms at most on its way there and back.
        let in_time = OTHER_FAMILY_GRACE..=OTHER_FAMILY_GRACE + MOMENT * 2;
        assert!(in_time.contains(&took), "{took:?}");
    });
}
