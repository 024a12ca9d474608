//! A device with a store, whose machine crashes at any time: what its store had is delivered, at QoS 2
//! once, and in order; what it is sent is handled. The broker keeps its session throughout.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::{self, Failure, Host, Run, SimBuilder, World};
use fiber::{sleep, spawn};
use mqtt::store::Level;
use mqtt::{Outcome, Publish, QoS, Wait};

use crate::faults::{draw, draw_up_to, trouble};
use crate::scene::{Transport, start_broker, start_reader};
use crate::survivor::{COMMAND_TOPIC, COMMANDS, Device, Found, Ledger, READINGS, qos_of};

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
fn set_disk(host: &Host) {
    let rate = |per_million| if draw(3) == 0 { draw(per_million) } else { 0 };
    host.set_failing_syncs(rate(100_000));
    host.set_failing_writes(rate(100_000));
    let slowest = [0, 0, 30, 300][draw(4) as usize];
    host.set_sync_latency(Duration::ZERO..=Duration::from_millis(slowest));
}

fn heal_disk(host: &Host) {
    host.set_failing_syncs(0);
    host.set_failing_writes(0);
    host.set_sync_latency(Duration::ZERO..=Duration::ZERO);
}

/// How long a life lasts.
fn life_time() -> Duration {
    let most = [100, 1_000, 4_000, 15_000][draw(4) as usize];
    draw_up_to(Duration::from_millis(most))
}

/// Lives through trouble and crashes; returns what came to the reader.
fn survive(world: &World, level: Level, crash: impl Fn(&Host)) -> (Vec<u8>, Device) {
    let transport = Transport::plain();
    start_broker(world, &transport);
    let seen = start_reader(world, &transport);
    let host = world.host("device");
    let device = Device::new(transport, level, host.clone());
    start_console(world, &device);
    let slowest = Duration::from_millis([5, 5, 50, 400][draw(4) as usize]);
    for way in [world.way("device", "broker"), world.way("broker", "device")] {
        way.latency(Duration::from_micros(50)..=slowest);
    }
    let make_trouble = {
        let world = world.clone();
        move || trouble(&world)
    };
    let mut troubled = spawn(make_trouble).expect("a fiber");
    let mut lives = 1 + draw(5);
    while lives > 0 || !troubled.is_finished() {
        lives = lives.saturating_sub(1);
        set_disk(&host);
        let program = device.clone();
        drop(host.start(move || program.live(false)).expect("a fiber"));
        let _ = sleep(life_time());
        crash(&host);
        if draw(3) == 0 {
            let _ = sleep(draw_up_to(Duration::from_secs(3)));
        }
    }
    troubled.join().expect("no panic");
    heal_disk(&host);
    let program = device.clone();
    let mut last = host.start(move || program.live(true)).expect("a fiber");
    last.join().expect("no panic");
    // What the broker has is on its way to the reader.
    for _ in 0..600 {
        let came: BTreeSet<u8> = seen.borrow().iter().copied().collect();
        if came.len() == usize::from(READINGS) {
            break;
        }
        sleep(Duration::from_secs(1)).expect("no scope is over");
    }
    sleep(Duration::from_secs(60)).expect("no scope is over");
    (seen.take(), device)
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
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut first = Vec::new();
        for &number in seen.iter().filter(|&&number| qos_of(number) == qos) {
            if !first.contains(&number) && !ledger.late.contains(&number) {
                first.push(number);
            }
        }
        assert!(first.is_sorted(), "{qos:?} out of order: {seen:?}");
    }
}

fn check_commands(ledger: &Ledger) {
    assert_eq!(ledger.commanded.len(), usize::from(COMMANDS));
    for handled in &ledger.handled {
        let distinct: BTreeSet<_> = handled.iter().collect();
        let lives = &ledger.handled;
        assert_eq!(distinct.len(), handled.len(), "twice in a life: {lives:?}");
    }
}

fn survived(world: &World, level: Level, crash: impl Fn(&Host)) -> Found {
    let (seen, device) = survive(world, level, crash);
    let ledger = Rc::clone(&device.ledger);
    let ledger = ledger.borrow();
    check_readings(&seen, &ledger);
    check_commands(&ledger);
    ledger.found
}

fn scenario(
    level: Level,
    crash: impl Fn(&Host) + Copy + 'static,
) -> impl Fn(SimBuilder) -> Result<Run<Found>, Failure> {
    move |sim| sim.run(move |world| survived(world, level, crash))
}

#[test]
fn what_was_synced_is_delivered_through_power_cuts() {
    sim::check(60, scenario(Level::Synced, |host| host.power_cut()));
}

#[test]
fn what_was_written_is_delivered_when_the_program_is_killed() {
    sim::check(60, scenario(Level::Flushed, |host| host.kill()));
}

#[test]
fn crashes_come_at_every_stage_of_a_message() {
    let cut = scenario(Level::Synced, |host: &Host| host.power_cut());
    let mut lives = Found::default();
    for seed in 0..40 {
        let found = cut(SimBuilder::new(seed)).expect("a run").value;
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
