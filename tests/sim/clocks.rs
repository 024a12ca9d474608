//! Wall clocks that start in 1970 or jump by years, under a client with its broker: what a client is
//! told, how it goes on, and that nothing else goes by the wall clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use fiber::sim::{Host, SimBuilder, World};
use fiber::{sleep, timeout, wall_time};
use mqtt::{Client, Event, Publish, QoS, Wait};
use safe_rt::{TlsError, TlsErrorKind, TlsVersion};

use crate::scene::{KEEP_ALIVE, TOPIC, Transport};
use crate::server::Server;
use crate::tls::Pki;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What a client on the machine `device` was told, in its order.
type Events = Rc<RefCell<Vec<Event>>>;

/// Opens a client on the machine `device` that stays, and notes its events.
fn open(world: &World, transport: &Transport) -> (Host, Events) {
    let events = Events::default();
    let (noted, options) = (Rc::clone(&events), transport.options("device"));
    let endpoint = transport.endpoint.parse().expect("an endpoint");
    let device = world.host("device");
    let started = device.start(move || {
        let client = Client::open(&endpoint, options).expect("a client");
        client.on_event(move |_, event| noted.borrow_mut().push(event.clone()));
        let _ = sleep(100 * YEAR);
    });
    drop(started.expect("a fiber"));
    (device, events)
}

/// Lets the clock of a machine start in 1970.
fn start_in_1970(device: &Host) {
    device.set_clock_behind(wall_time().duration_since(UNIX_EPOCH).expect("a time"));
}

fn count(events: &Events, of: impl Fn(&Event) -> bool) -> usize {
    events.borrow().iter().filter(|&event| of(event)).count()
}

/// Waits until the client is connected once more.
fn wait_connected(events: &Events, times: usize) {
    let connected = || count(events, |event| matches!(event, Event::Connected { .. }));
    let wait = || {
        while connected() < times {
            sleep(Duration::from_millis(100)).expect("it connects in time");
        }
    };
    timeout(Duration::from_secs(60), wait).expect("it connects in time");
}

#[test]
fn a_device_of_1970_connects_and_its_program_is_told_once_for_each_time() {
    let pki = Pki::valid(2000, 2100);
    let run = SimBuilder::new(1).run(move |world| {
        let transport = pki.transport(TlsVersion::Tls13);
        let _server = Server::start(world, &transport);
        start_in_1970(&world.host("device"));
        let (device, events) = open(world, &transport);
        let told = || {
            count(&events, |event| {
                matches!(event, Event::ClockImplausible { .. })
            })
        };
        let mut connected = 0;
        let mut connect = |again: bool| {
            if again {
                world.way("device", "broker").reset_now();
            }
            connected += 1;
            wait_connected(&events, connected);
        };
        connect(false);
        match events.borrow().first() {
            Some(Event::ClockImplausible { wall, earliest }) => {
                assert!(*wall < UNIX_EPOCH + Duration::from_secs(60), "{wall:?}");
                assert_eq!(
                    Some(*earliest),
                    transport.dial.clock_floor().map(|floor| floor.earliest())
                );
            }
            other => panic!("{other:?}"),
        }
        connect(true);
        assert_eq!(told(), 1, "{events:?}");
        device.set_clock_behind(Duration::ZERO);
        connect(true);
        assert_eq!(told(), 1, "{events:?}");
        start_in_1970(&device);
        connect(true);
        connect(true);
        assert_eq!(told(), 2, "{events:?}");
    });
    run.expect("a run");
}

/// The pauses after attempts that a broker's certificate of another time ends, and the text of one.
fn pauses(seed: u64, (from, until): (i32, i32), is_1970: bool) -> (Vec<Duration>, String) {
    let pki = Pki::valid(from, until);
    let run = SimBuilder::new(seed).run(move |world| {
        let transport = pki.transport(TlsVersion::Tls13);
        let _server = Server::start(world, &transport);
        if is_1970 {
            start_in_1970(&world.host("device"));
        }
        let (_, events) = open(world, &transport);
        sleep(Duration::from_secs(1_200)).expect("no scope is over");
        let mut text = String::new();
        let mut pauses = Vec::new();
        for event in events.borrow().iter() {
            match event {
                Event::ConnectFailed { cause, retry_in } => {
                    let kind = TlsError::of(&**cause).expect("an error of TLS").kind();
                    let expected = if from > 2050 {
                        TlsErrorKind::NotValidYet
                    } else {
                        TlsErrorKind::Expired
                    };
                    assert_eq!(kind, expected, "{cause}");
                    text = cause.to_string();
                    pauses.push(retry_in.expect("it never gives up"));
                }
                Event::ClockImplausible { .. } if is_1970 && pauses.is_empty() => {}
                other => panic!("{other:?}"),
            }
        }
        (pauses, text)
    });
    run.expect("a run").value
}

#[test]
fn a_certificate_out_of_its_time_is_tried_again_soon_while_the_clock_is_wrong() {
    for (seed, validity) in [(1, (2090, 2100)), (2, (2000, 2010)), (3, (2090, 2100))] {
        let (behind, text) = pauses(seed, validity, true);
        assert!(
            text.contains("the clock of this device says 1970-01-01 "),
            "{text}"
        );
        assert!(text.contains("which cannot be"), "{text}");
        assert!(text.contains("the clock is wrong"), "{text}");
        // As after a lost link: a span of 1 s, which doubles, and a pause below it.
        for (pause, span) in behind.iter().zip([1, 2, 4, 8, 16, 32, 64]) {
            assert!(*pause <= Duration::from_secs(span), "{behind:?}");
        }
        let (plausible, text) = pauses(seed, validity, false);
        assert!(!text.contains("the clock is wrong"), "{text}");
        assert!(behind.len() > plausible.len(), "{behind:?} {plausible:?}");
        assert!(
            plausible
                .iter()
                .any(|pause| *pause > Duration::from_secs(64)),
            "{plausible:?}"
        );
    }
}

/// A device that publishes, rests for longer than its keep-alive, loses its link and comes back.
fn live(world: &World, jumps: bool) -> Vec<String> {
    let transport = Transport::plain();
    let server = Server::start(world, &transport);
    let (device, events) = open(world, &transport);
    let jumping = fiber::spawn(move || {
        let mut forth = false;
        while sleep(Duration::from_millis(777)).is_ok() {
            forth = !forth;
            match (jumps, forth) {
                (false, _) => {}
                (true, true) => device.set_clock_ahead(30 * YEAR),
                (true, false) => device.set_clock_behind(50 * YEAR),
            }
        }
    });
    let jumping = jumping.expect("a fiber");
    let mut publishing = world
        .host("device")
        .start(move || {
            let client = transport.open("publisher");
            for number in 0..12_u8 {
                let payload = [number];
                let publish = Publish::to(TOPIC, &payload).qos(QoS::AtLeastOnce);
                client
                    .publish(publish.wait(Wait::Ack))
                    .expect("an acknowledgement");
                sleep(KEEP_ALIVE * 3).expect("no scope is over");
            }
        })
        .expect("a fiber");
    for round in 0..4 {
        sleep(KEEP_ALIVE * 5).expect("no scope is over");
        let way = world.way("device", "broker");
        match round % 2 {
            0 => drop(way.reset_now()),
            // Found out by the keep-alive alone.
            _ => drop(way.silence_now()),
        }
    }
    publishing.join().expect("no panic");
    jumping.cancel();
    assert_eq!(server.arrived.borrow().iter().max(), Some(&11));
    let events = events.borrow();
    events.iter().map(|event| format!("{event:?}")).collect()
}

#[test]
fn a_wall_clock_that_jumps_by_years_changes_nothing_for_a_client() {
    for seed in 0..10 {
        let run = |jumps| SimBuilder::new(seed).run(move |world| live(world, jumps));
        let (still, jumping) = (run(false).expect("a run"), run(true).expect("a run"));
        let lost = |told: &String| told.starts_with("Disconnected");
        assert!(
            still.value.iter().filter(|told| lost(told)).count() >= 2,
            "{still:?}"
        );
        // To the last decision of the run, and its last nanosecond.
        assert_eq!(still, jumping);
    }
}
