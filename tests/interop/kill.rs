//! A publisher with a store is killed again and again, by SIGKILL, at moments that are drawn: while it
//! opens its store, connects, publishes. What it published arrives all the same.
//!
//! `KILL_TIMES` says how often it is killed, and `SEED` brings the moments of a run again.

use std::env;
use std::io;
use std::thread;
use std::time::Duration;

use mqtt::QoS;
use tests::lives::{Publisher, Settings};
use tests::mosquitto::{Listener, Mosquitto, Options};
use tests::peers::Peers;
use tests::process::{PROCESS_TIMEOUT, mosquitto_pub, mosquitto_sub};
use tests::random::Random;
use tests::tally::Arrivals;

use crate::peers;

/// How often a publisher is killed when nobody says.
const TIMES: u32 = 20;

/// Messages that a publisher publishes in a second.
const RATE: u32 = 1_000;

/// Messages that the last life publishes beyond the highest that was acknowledged before.
const AT_THE_END: u64 = 500;

/// What is published behind the numbers.
const END: &str = "end";

/// How long the last life may take.
const LAST_LIFE: Duration = Duration::from_secs(60);

/// A life that ends by a kill. Every fourth may end before it comes to publish; each other one has seen
/// an acknowledgement before.
fn live_and_be_killed(publisher: &mut Publisher, random: &mut Random) -> io::Result<()> {
    let mut life = publisher.start(u64::MAX)?;
    if random.within(&(1..=4)) > 1 {
        publisher.wait_for_one(&mut life)?;
        thread::sleep(random.time(&(Duration::from_millis(20)..=Duration::from_millis(150))));
    } else {
        thread::sleep(random.time(&(Duration::ZERO..=Duration::from_millis(40))));
    }
    publisher.kill(life)
}

/// The life that ends by itself, when all is acknowledged. Returns the highest number.
fn live_to_the_end(publisher: &mut Publisher) -> io::Result<u64> {
    let life = publisher.start(publisher.acknowledged().highest() + AT_THE_END)?;
    publisher.finish(life, LAST_LIFE)?;
    Ok(publisher.acknowledged().highest())
}

/// A server that drops nothing.
fn start_server(peers: &Peers) -> Mosquitto {
    Options::new(peers)
        .line("max_queued_messages 0")
        .start()
        .unwrap()
}

fn kill_again_and_again(peers: &Peers, qos: QoS) -> (u64, Arrivals) {
    let mut random = Random::of_run();
    let times = env::var("KILL_TIMES").map_or(TIMES, |text| text.parse().unwrap());
    let server = start_server(peers);
    let port = server.port(Listener::Plain);
    let collect = ["-i", "collector", "-c", "-t", "numbers", "-q", "2"];
    let mut collector = mosquitto_sub(peers, port, &collect).unwrap();
    server.wait_for_suback("collector");
    let mut publisher = Publisher::new(Settings {
        program: env!("CARGO_BIN_EXE_durable_publisher").into(),
        port,
        id: "device".to_owned(),
        topic: "numbers".to_owned(),
        qos,
        rate: RATE,
    });
    for _ in 0..times {
        live_and_be_killed(&mut publisher, &mut random).unwrap();
    }
    let top = live_to_the_end(&mut publisher).unwrap();
    // The server keeps the order: what comes of the numbers has come before this.
    let end = ["-t", "numbers", "-q", "2", "-m", END];
    assert!(mosquitto_pub(peers, port, &end).unwrap().status.success());
    let mut arrivals = Arrivals::default();
    loop {
        let line = collector.next_line(PROCESS_TIMEOUT).unwrap();
        if line == END {
            break;
        }
        arrivals.note(line.parse().unwrap());
    }
    assert_eq!(
        arrivals.numbers().missing(top),
        [],
        "of 1 to {top} are lost"
    );
    assert_eq!(
        arrivals.numbers().highest(),
        top,
        "every number that is stored is acknowledged"
    );
    assert_eq!(arrivals.out_of_order(), 0, "{arrivals:?}");
    let seen_by_program = publisher.acknowledged().len();
    assert!(
        seen_by_program > u64::from(times),
        "{seen_by_program} were acknowledged"
    );
    (top, arrivals)
}

#[test]
fn a_publisher_of_qos_1_that_is_killed_again_and_again_loses_nothing_and_keeps_the_order() {
    let Some(peers) = peers() else { return };
    kill_again_and_again(&peers, QoS::AtLeastOnce);
}

#[test]
fn a_publisher_of_qos_2_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let Some(peers) = peers() else { return };
    let (top, arrivals) = kill_again_and_again(&peers, QoS::ExactlyOnce);
    assert_eq!(arrivals.doubled(), 0, "of {top}");
}
