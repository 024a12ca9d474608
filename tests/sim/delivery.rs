//! What was taken at QoS 1 and 2 arrives, whatever becomes of connections.

use std::time::Duration;

use fiber::sim::{self, Failure, Run, SimBuilder, World};
use fiber::sleep;
use mqtt::QoS;

use crate::coverage::{Counts, Expected};
use crate::faults::{AFTERMATH, FAULTS, Trouble, draw};
use crate::many;
use crate::scene::{MESSAGES, Taken, Transport, qos_of, start_device, start_reader};
use crate::server::Server;

/// How often a message came.
fn times(seen: &[u8], number: u8) -> usize {
    seen.iter().filter(|&&of| of == number).count()
}

/// Publishes through trouble; what came is returned.
fn deliver(world: &World, transport: &Transport) -> Vec<u8> {
    let server = Server::start(world, transport);
    let seen = start_reader(world, transport);
    // Where the answer to the very first CONNECT is lost, nobody can tell whose session it is that
    // the broker kept, and so QoS 2 may come again: then the client says so.
    let known = draw(2) == 0;
    let mut device = start_device(world, transport, known);
    let trouble = Trouble {
        world: world.clone(),
        transport: transport.clone(),
        server,
        device: world.host("device"),
        coverage: transport.coverage.clone(),
        forgets: false,
    };
    trouble.make(Vec::new);
    sleep(AFTERMATH).expect("no scope is over");
    for client in ["device", "reader"] {
        transport.wait_up(&world.host(client));
    }
    let taken = device.join().expect("no panic");
    let doubtful = |taken: &Taken| taken.maybe_twice && qos_of(taken.number) == QoS::ExactlyOnce;
    assert!(!known || !taken.iter().any(doubtful), "{taken:?}");
    // What the broker has is on its way to the reader.
    for _ in 0..600 {
        let came = |taken: &Taken| times(&seen.borrow(), taken.number) > 0;
        if taken.iter().all(came) {
            break;
        }
        sleep(Duration::from_secs(1)).expect("no scope is over");
    }
    sleep(Duration::from_secs(60)).expect("no scope is over");
    let left = world.host("device").fibers();
    assert!(left.is_empty(), "left of a client that was let go: {left}");
    let seen = seen.take();
    for number in 0..MESSAGES {
        let came = times(&seen, number);
        let taken = taken.iter().find(|taken| taken.number == number);
        match (qos_of(number), taken) {
            (QoS::AtMostOnce, _) => assert!(came <= 1, "{number} at QoS 0: {seen:?}"),
            (_, None) => assert_eq!(came, 0, "{number} was not taken: {seen:?}"),
            (QoS::AtLeastOnce, Some(_)) => assert!(came >= 1, "{number} is lost: {seen:?}"),
            (QoS::ExactlyOnce, Some(taken)) => {
                let is_right = came == 1 || came > 1 && taken.maybe_twice;
                assert!(is_right, "{taken:?} came {came} times: {seen:?}");
            }
        }
    }
    // Of one quality of service those that came once came in order.
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut first = Vec::new();
        for &number in seen.iter().filter(|&&number| qos_of(number) == qos) {
            if !first.contains(&number) {
                first.push(number);
            }
        }
        assert!(first.is_sorted(), "{qos:?} out of order: {seen:?}");
    }
    seen
}

pub(crate) fn delivered(
    sim: SimBuilder,
    transport: impl FnOnce() -> Transport + 'static,
) -> Result<Run<Vec<u8>>, Failure> {
    sim.run(move |world| deliver(world, &transport()))
}

/// As [`delivered`], with what was seen on the way.
pub(crate) fn counted(
    sim: SimBuilder,
    transport: impl FnOnce() -> Transport + 'static,
) -> Result<Run<Counts>, Failure> {
    sim.run(move |world| {
        let transport = transport();
        deliver(world, &transport);
        transport.coverage.take()
    })
}

#[test]
fn what_was_taken_arrives_through_cuts_resets_and_black_holes() {
    let ends = [
        "connected with a session",
        "connected without a session",
        "ended: ClosedByPeer",
        "ended: Dead",
        "ended: Transport",
        "failed: Dead",
        "failed: Dial",
        "failed: Refused",
    ];
    let expected = Expected {
        seen: [&FAULTS[..], &ends[..]].concat(),
        ..Expected::default()
    };
    let test = "delivery::what_was_taken_arrives_through_cuts_resets_and_black_holes";
    many::check(test, 200, &expected, |sim| counted(sim, Transport::plain));
}

#[test]
fn the_trouble_of_most_seeds_costs_connections() {
    let connections: Vec<usize> = (0..100)
        .map(|seed| {
            let count = |world: &World| {
                let transport = Transport::plain();
                deliver(world, &transport);
                transport.connections.get()
            };
            SimBuilder::new(seed).run(count).expect("a run").value
        })
        .collect();
    let more = connections.iter().filter(|&&count| count > 2).count();
    assert!(more >= 50, "only {more} of 100 runs lost a connection");
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in 0..20 {
        let run = || delivered(SimBuilder::new(seed), Transport::plain).expect("a run");
        assert_eq!(run(), run());
    }
}

#[test]
fn without_trouble_each_message_arrives_once() {
    sim::check(20, |sim| {
        sim.run(|world| {
            let transport = Transport::plain();
            drop(Server::start(world, &transport));
            let seen = start_reader(world, &transport);
            let mut device = start_device(world, &transport, false);
            device.join().expect("no panic");
            sleep(Duration::from_secs(10)).expect("no scope is over");
            assert_eq!(seen.take(), (0..MESSAGES).collect::<Vec<_>>());
        })
    });
}
