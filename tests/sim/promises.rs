//! What a connection costs, in round trips and in bytes.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::pipe;
use fiber::sim::{SimBuilder, World};
use fiber::{Instant, sleep, spawn};
use mqtt::{Client, ClientId, ClientOptions, Event};
use safe_rt::{BackoffOptions, DialOptions, Endpoint, Socket, TlsVersion};

use crate::scene::Transport;
use crate::server::Server;
use crate::tls::Pki;

/// From one machine to the other.
const LATENCY: Duration = Duration::from_millis(150);
const ROUND_TRIP: Duration = Duration::from_millis(300);
/// What machines and handshakes take beside that.
const WORK: Duration = Duration::from_millis(20);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const KEEP_ALIVE: Duration = Duration::from_secs(20 * 60);

/// A network on which every segment takes [`LATENCY`].
fn steady(world: &World) {
    for (from, to) in [("device", "broker"), ("broker", "device")] {
        world.way(from, to).latency(LATENCY..=LATENCY);
    }
    world.names().latency(Duration::ZERO..=Duration::ZERO);
}

/// When the client connected, and when a connection ended with the time until the next attempt.
#[derive(Debug, Default)]
struct Times {
    connected: Vec<Instant>,
    retries: Vec<(Instant, Duration)>,
}

/// How long the first connection took, and the one after an outage of the broker from the moment on at
/// which it was tried, whether the broker knew the TLS session or not.
fn connects(world: &World, transport: &Transport) -> Vec<Duration> {
    steady(world);
    let server = Server::start(world, transport);
    sleep(Duration::from_secs(1)).expect("no scope is over");
    let times = Rc::new(RefCell::new(Times::default()));
    let (noted, own) = (Rc::clone(&times), transport.clone());
    let began = Instant::now();
    let running = world.host("device").start(move || {
        let client = own.open("device");
        client.on_event(move |_, event| {
            let mut times = noted.borrow_mut();
            match event {
                Event::Connected { .. } => times.connected.push(Instant::now()),
                Event::Disconnected { retry_in, .. } | Event::ConnectFailed { retry_in, .. } => {
                    let retry_in = retry_in.expect("it goes on by itself");
                    times.retries.push((Instant::now(), retry_in));
                }
                _ => {}
            }
        });
        let _ = sleep(DAY);
    });
    drop(running.expect("a fiber"));
    sleep(Duration::from_secs(10)).expect("no scope is over");
    server.restart(Duration::from_secs(20), false);
    sleep(Duration::from_secs(600)).expect("no scope is over");
    let times = times.take();
    let (ended, retry_in) = times.retries.last().copied().expect("an outage");
    let [first, again] = times.connected[..] else {
        panic!("{times:?}")
    };
    vec![first - began, again - (ended + retry_in)]
}

#[test]
fn a_link_is_up_in_as_many_round_trips_as_its_handshakes_have() {
    let pki = Pki::valid(2000, 2100);
    let versions = [
        (None, [2, 2]),
        (Some(TlsVersion::Tls13), [3, 3]),
        // The second one takes up the session of the first.
        (Some(TlsVersion::Tls12), [4, 3]),
    ];
    for (version, round_trips) in versions {
        let pki = pki.clone();
        let scenario = move |world: &World| {
            let transport = match version {
                None => Transport::plain(),
                Some(version) => pki.transport(version),
            };
            connects(world, &transport)
        };
        let run = SimBuilder::new(1).run(scenario).expect("a run");
        for (number, (took, round_trips)) in run.value.into_iter().zip(round_trips).enumerate() {
            let expected = ROUND_TRIP * round_trips;
            assert!(
                (expected..expected + WORK).contains(&took),
                "{version:?}, connection {number}: {took:?} for {round_trips} round trips"
            );
        }
    }
}

/// What passed the device's end, with headers.
#[derive(Debug, Default)]
struct Wire {
    bytes: Cell<usize>,
    segments: Cell<usize>,
    /// What passed last was of the device.
    is_from_device: Cell<bool>,
    passed_at: Cell<Option<Instant>>,
}

impl Wire {
    fn note(&self, len: usize, is_from_device: bool) {
        /// IPv4 and TCP without options.
        const HEADERS: usize = 40;
        /// What a segment has room for on Ethernet.
        const SEGMENT: usize = 1_460;
        /// A kernel waits so long for data that the acknowledgement goes with.
        const DELAYED_ACK: Duration = Duration::from_millis(40);
        let now = Instant::now();
        let segments = len.div_ceil(SEGMENT);
        // Each is acknowledged by one of its own.
        let mut bytes = self.bytes.get() + len + segments * 2 * HEADERS;
        let before = self.passed_at.replace(Some(now));
        let is_answer = self.is_from_device.replace(is_from_device) != is_from_device;
        // The broker's answer left a way before it came here.
        let limit = if is_from_device {
            DELAYED_ACK
        } else {
            ROUND_TRIP + DELAYED_ACK
        };
        if is_answer && before.is_some_and(|before| now - before <= limit) {
            bytes -= HEADERS;
        }
        self.segments.set(self.segments.get() + segments);
        self.bytes.set(bytes);
    }
}

/// Carries what comes, and counts it.
fn carry(mut from: impl Read, mut to: impl Write, wire: &Wire, is_from_device: bool) {
    let mut buffer = [0; 4_096];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        wire.note(len, is_from_device);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
}

#[test]
fn an_idle_day_over_tls_is_a_few_kilobytes() {
    let pki = Pki::valid(2000, 2100);
    let scenario = move |world: &World| {
        let transport = pki.transport(TlsVersion::Tls13);
        let tls = pki.client(TlsVersion::Tls13);
        let address: Endpoint = "mqtt://broker:8883".parse().expect("an endpoint");
        steady(world);
        let _server = Server::start(world, &transport);
        sleep(Duration::from_secs(1)).expect("no scope is over");
        let wire = Rc::new(Wire::default());
        let counted = Rc::clone(&wire);
        let running = world.host("device").start(move || {
            let dial = move || {
                let socket = Rc::new(safe_rt::dial(&address, &DialOptions::new())?);
                let (ours, theirs) = pipe(64 * 1024);
                let theirs = Rc::new(theirs);
                let (from, to) = (Rc::clone(&theirs), Rc::clone(&socket));
                let (out, back) = (Rc::clone(&counted), Rc::clone(&counted));
                drop(spawn(move || carry(&*from, &*to, &out, true)).expect("a fiber"));
                drop(spawn(move || carry(&*socket, &*theirs, &back, false)).expect("a fiber"));
                Socket::tls_client(ours, &tls, "broker")
            };
            let options = transport.options("device").keep_alive(KEEP_ALIVE);
            let client = Client::open_by(dial, options).expect("a client");
            client.wait_connected().expect("a connection");
            let _ = sleep(DAY * 2);
        });
        drop(running.expect("a fiber"));
        sleep(DAY).expect("no scope is over");
        (wire.bytes.get(), wire.segments.get())
    };
    let run = SimBuilder::new(1).run(scenario).expect("a run");
    let (bytes, segments) = run.value;
    assert!(bytes <= 16_000, "{bytes} bytes in {segments} segments");
    assert!(segments >= 2 * 71, "{segments} segments");
}

#[test]
fn devices_that_are_switched_on_together_come_one_after_the_other() {
    const DEVICES: usize = 1_000;
    const SPREAD: Duration = Duration::from_secs(30);
    const WINDOW: Duration = Duration::from_secs(10);
    let scenario = |_: &World| {
        let began = Instant::now();
        let first = Rc::new(RefCell::new(Vec::new()));
        let clients: Vec<_> = (0..DEVICES)
            .map(|number| {
                let id = ClientId::new(format!("device-{number}")).expect("a client identifier");
                let backoff = BackoffOptions::new().first_attempt_spread(SPREAD);
                let (noted, mut is_first) = (Rc::clone(&first), true);
                let dial = move || {
                    if std::mem::take(&mut is_first) {
                        noted.borrow_mut().push(began.elapsed());
                    }
                    sleep(DAY).expect("it is cancelled");
                    unreachable!("it is cancelled")
                };
                let options = ClientOptions::new(id).backoff(backoff);
                Client::open_by(dial, options).expect("a client")
            })
            .collect();
        sleep(2 * SPREAD).expect("no scope is over");
        drop(clients);
        first.take()
    };
    let first = SimBuilder::new(1).run(scenario).expect("a run").value;
    assert_eq!(first.len(), DEVICES);
    assert!(first.is_sorted());
    let in_window = |from: Duration| {
        first.partition_point(|at| *at < from + WINDOW) - first.partition_point(|at| *at < from)
    };
    let most = first.iter().map(|at| in_window(*at)).max();
    let mean = DEVICES * 10 / 30;
    assert!(
        most <= Some(2 * mean),
        "{most:?} in one window, {mean} in the mean"
    );
}
