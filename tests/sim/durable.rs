//! A device with a store, whose machine crashes at any time: what its store had is delivered, at QoS 2
//! once, and in order; what it is sent is handled. The broker keeps its session throughout.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::{Failure, Host, Run, SimBuilder, World};
use fiber::{sleep, spawn};
use mqtt::store::Level;
use mqtt::{Outcome, Planted, Publish, QoS, Wait};

use crate::coverage::{Counts, Expected};
use crate::faults::{AFTERMATH, FAULTS, Trouble, draw, draw_up_to, kinds};
use crate::many;
use crate::scene::{Transport, start_reader};
use crate::server::Server;
use crate::survivor::{COMMAND_TOPIC, COMMANDS, Device, Found, Ledger, READINGS, qos_of};
use crate::tap::STAGES;

/// Sends the device commands once it has subscribed, from the machine `console`, whose ways are good.
fn start_console(world: &World, device: &Device) {
    let device = device.clone();
    let console = world.host("console").start(move || {
        let client = device.transport.open("console");
        client.wait_connected().expect("a connection");
        device.subscribed.wait().expect("no scope is over");
        for command in 0..COMMANDS {
            let _ = sleep(draw_up_to(Duration::from_secs(3)));
            let payload = [command];
            let publish = Publish::to(COMMAND_TOPIC, &payload).qos(QoS::ExactlyOnce);
            let mut ticket = client.publish(publish.wait(Wait::Ack)).expect("it is open");
            let once = Outcome::Acked { maybe_twice: false };
            assert_eq!(ticket.outcome().expect("it is open"), once);
            device.ledger.borrow_mut().commanded.insert(command);
        }
        let _ = sleep(Duration::from_secs(24 * 3600));
    });
    drop(console.expect("a fiber"));
}

/// What the disk does in the next life.
fn set_disk(device: &Device) {
    let host = &device.host;
    let rate = |per_million| if draw(3) == 0 { draw(per_million) } else { 0 };
    host.set_failing_syncs(rate(100_000));
    host.set_failing_writes(rate(100_000));
    let slowest = [0, 0, 30, 300][draw(4) as usize];
    host.set_sync_latency(Duration::ZERO..=Duration::from_millis(slowest));
    let is_full = draw(8) == 0;
    host.set_disk_capacity(is_full.then(|| u64::from(4_000 + draw(12_000))));
    device.ledger.borrow_mut().was_full |= is_full;
    if is_full {
        device.transport.coverage.note("disk: small");
    }
}

fn heal_disk(host: &Host) {
    host.set_failing_syncs(0);
    host.set_failing_writes(0);
    host.set_disk_capacity(None);
    host.set_sync_latency(Duration::ZERO..=Duration::ZERO);
}

/// How long a life lasts.
fn life_time() -> Duration {
    let most = [100, 1_000, 4_000, 15_000][draw(4) as usize];
    draw_up_to(Duration::from_millis(most))
}

/// What is the matter in a run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Matter {
    /// What the device's client does wrong.
    pub(crate) planted: Option<Planted>,
    /// The broker loses its sessions: nobody commands the device then.
    pub(crate) forgets: bool,
}

/// The end of a run: what came to the reader, and the rest.
pub(crate) struct Survived {
    pub(crate) seen: Vec<u8>,
    pub(crate) device: Device,
    pub(crate) server: Server,
}

/// Lives through trouble and crashes.
pub(crate) fn survive(
    world: &World,
    level: Level,
    crash: impl Fn(&Host),
    matter: Matter,
) -> Survived {
    let transport = Transport::plain();
    let server = Server::start(world, &transport);
    let seen = start_reader(world, &transport);
    let host = world.host("device");
    let mut device = Device::new(transport, level, host.clone());
    device.planted = matter.planted;
    device.is_commanded = !matter.forgets;
    if device.is_commanded {
        start_console(world, &device);
    }
    let slowest = Duration::from_millis([5, 5, 50, 400][draw(4) as usize]);
    for way in [world.way("device", "broker"), world.way("broker", "device")] {
        way.latency(Duration::from_micros(50)..=slowest);
    }
    let coverage = device.transport.coverage.clone();
    let trouble = Trouble {
        world: world.clone(),
        transport: device.transport.clone(),
        server: server.clone(),
        device: host.clone(),
        coverage: coverage.clone(),
        forgets: matter.forgets,
    };
    let tap = Rc::clone(&device.tap);
    let make_trouble = move || trouble.make(|| tap.borrow().stages());
    let mut troubled = spawn(make_trouble).expect("a fiber");
    let mut lives = 1 + draw(5);
    while lives > 0 || !troubled.is_finished() {
        lives = lives.saturating_sub(1);
        set_disk(&device);
        let program = device.clone();
        drop(host.start(move || program.live(false)).expect("a fiber"));
        let _ = sleep(life_time());
        for stage in device.tap.borrow().stages() {
            coverage.note(format!("Crash at: {stage}"));
        }
        crash(&host);
        if draw(3) == 0 {
            let _ = sleep(draw_up_to(Duration::from_secs(3)));
        }
    }
    troubled.join().expect("no panic");
    heal_disk(&host);
    sleep(AFTERMATH).expect("no scope is over");
    let program = device.clone();
    let mut last = host.start(move || program.live(true)).expect("a fiber");
    last.join().expect("no panic");
    let left = host.fibers();
    assert!(left.is_empty(), "left of a client that was closed: {left}");
    let wrong = device.tap.take().wrong;
    assert!(wrong.is_empty(), "{wrong:?}");
    device.transport.wait_up(&world.host("reader"));
    // What the broker has is on its way to the reader.
    for _ in 0..600 {
        let came: BTreeSet<u8> = seen.borrow().iter().copied().collect();
        if came.len() == usize::from(READINGS) {
            break;
        }
        sleep(Duration::from_secs(1)).expect("no scope is over");
    }
    sleep(Duration::from_secs(60)).expect("no scope is over");
    let seen = seen.take();
    Survived {
        seen,
        device,
        server,
    }
}

fn check_readings(seen: &[u8], ledger: &Ledger) {
    for number in 0..READINGS {
        let came = seen.iter().filter(|&&of| of == number).count();
        let twice = ledger.acked.get(&number);
        let is_right = match qos_of(number) {
            QoS::ExactlyOnce => came == 1,
            _ => came >= 1,
        };
        let state = (ledger.owned.contains(&number), twice);
        assert!(is_right, "{number} {state:?} came {came} times: {seen:?}");
    }
    ledger.check_order(seen);
}

fn check_commands(ledger: &Ledger) {
    assert_eq!(ledger.commanded.len(), usize::from(COMMANDS));
    for handled in &ledger.handled {
        let distinct: BTreeSet<_> = handled.iter().collect();
        let lives = &ledger.handled;
        assert_eq!(distinct.len(), handled.len(), "twice in a life: {lives:?}");
    }
}

fn survived(world: &World, level: Level, crash: impl Fn(&Host), matter: Matter) -> (Found, Counts) {
    let Survived { seen, device, .. } = survive(world, level, crash, matter);
    let ledger = Rc::clone(&device.ledger);
    let ledger = ledger.borrow();
    check_readings(&seen, &ledger);
    check_commands(&ledger);
    let coverage = &device.transport.coverage;
    for maybe_twice in ledger.acked.values() {
        coverage.note(format!("outcome: acknowledged, maybe twice {maybe_twice}"));
    }
    (ledger.found, coverage.take())
}

pub(crate) fn scenario(
    level: Level,
    crash: impl Fn(&Host) + Copy + 'static,
    matter: Matter,
) -> impl Fn(SimBuilder) -> Result<Run<(Found, Counts)>, Failure> {
    move |sim| sim.run(move |world| survived(world, level, crash, matter))
}

/// What every long run of a device with a store comes by.
const SEEN: [&str; 12] = [
    "Crash at: not connected",
    "Crash at: nothing in flight",
    "Crash at: PUBACK awaited",
    "Crash at: PUBREC awaited",
    "Crash at: PUBCOMP awaited",
    "Crash at: PUBREL awaited",
    "connected with a session",
    "connected without a session",
    "disk: small",
    "store: SyncFailed",
    "store: WriteFailed",
    "outcome: acknowledged, maybe twice true",
];

fn check_all(test: &str, level: Level, crash: impl Fn(&Host) + Copy + 'static) {
    let expected = Expected {
        seen: [&FAULTS[..], &SEEN[..]].concat(),
        faults: kinds().chain(["Crash".to_owned()]).collect(),
        stages: &STAGES,
    };
    many::check(test, 60, &expected, |sim| {
        sim.run(move |world| survived(world, level, crash, Matter::default()).1)
    });
}

#[test]
fn what_was_synced_is_delivered_through_power_cuts() {
    let test = "durable::what_was_synced_is_delivered_through_power_cuts";
    check_all(test, Level::Synced, |host| host.power_cut());
}

#[test]
fn what_was_written_is_delivered_when_the_program_is_killed() {
    let test = "durable::what_was_written_is_delivered_when_the_program_is_killed";
    check_all(test, Level::Flushed, |host| host.kill());
}

#[test]
fn crashes_come_at_every_stage_of_a_message() {
    let cut = scenario(Level::Synced, |host| host.power_cut(), Matter::default());
    let mut lives = Found::default();
    for seed in 0..40 {
        let found = cut(SimBuilder::new(seed)).expect("a run").value.0;
        lives.queued += found.queued;
        lives.in_flight += found.in_flight;
        lives.released += found.released;
        lives.received += found.received;
    }
    let Found {
        queued,
        in_flight,
        released,
        received,
    } = lives;
    let fewest = [queued, in_flight, released, received].into_iter().min();
    assert!(fewest >= Some(10), "{lives:?}");
}
