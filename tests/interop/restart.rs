//! Mosquitto is restarted in the middle of a stream: nothing is lost, and nothing comes twice that
//! may not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, RunError};
use mqtt::{
    Client, ClientId, ClientOptions, Message, Outcome, Publish, QoS, Ticket, Wait, WaitCause,
};
use safe_rt::{BackoffOptions, Endpoint, Scheme};
use tests::mosquitto::{Listener, Mosquitto, Options};
use tests::peers::Peers;
use tests::temp_dir::TempDir;

use crate::peers;

/// Messages of a stream; the server is restarted when a third and two thirds are acknowledged.
const MESSAGES: usize = 1_500;
const LIMIT: Duration = Duration::from_secs(120);

/// A server that saves what it holds when it ends.
fn start(peers: &Peers, folder: &TempDir) -> Mosquitto {
    let location = format!("persistence_location {}/", folder.path().display());
    let options = Options::new(peers)
        .line("persistence true")
        .line(&location)
        .line("autosave_interval 0")
        .line("max_queued_messages 0");
    options.start().unwrap()
}

fn open(port: u16, name: &str) -> Client {
    let endpoint = Endpoint::new(Scheme::Mqtt, &format!("127.0.0.1:{port}")).unwrap();
    let short = Duration::from_millis(200);
    let backoff = BackoffOptions::new()
        .base(Duration::from_millis(50))
        .cap(short)
        .long_base(short)
        .long_cap(short)
        .floor(Duration::ZERO);
    let options = ClientOptions::new(ClientId::new(name).unwrap()).backoff(backoff);
    Client::open(&endpoint, options.window(100)).unwrap()
}

/// How often each number came to the subscriber as a new message.
type Arrived = Rc<RefCell<BTreeMap<usize, usize>>>;

fn count(client: &Client, qos: QoS, all: &Event) -> Arrived {
    let arrived = Arrived::default();
    let (counted, all) = (Rc::clone(&arrived), all.clone());
    let handler = move |_: &Client, message: &Message| {
        let number = message.topic["load/".len()..].parse()?;
        let mut counted = counted.borrow_mut();
        let times = counted.entry(number).or_default();
        // What the broker sends this subscriber again is no double of the publisher.
        if !message.dup || *times == 0 {
            *times += 1;
        }
        if counted.len() == MESSAGES {
            all.set();
        }
        Ok(())
    };
    client.subscribe("load/+", qos, handler).unwrap();
    arrived
}

/// Restarts the server while the fibers go on.
fn restart(mut broker: Mosquitto) -> (Mosquitto, String) {
    fiber::offload(move || {
        broker.terminate();
        let log = broker.log();
        broker.start_again().unwrap();
        (broker, log)
    })
    .unwrap()
}

fn stream(peers: &Peers, qos: QoS) {
    let folder = TempDir::new("mosquitto-state");
    let mut broker = start(peers, &folder);
    let body = move || {
        let port = broker.port(Listener::Plain);
        let all = Event::new();
        let subscriber = open(port, "subscriber");
        let arrived = count(&subscriber, qos, &all);
        let device = open(port, "device");
        assert!(!device.wait_connected().unwrap(), "it had no session");
        let publisher = device.clone();
        let (sender, tickets) = fiber::channel::<(usize, Ticket)>(MESSAGES);
        fiber::spawn(move || {
            for number in 0..MESSAGES {
                let topic = format!("load/{number}");
                let publish = Publish::to(&topic, "x").qos(qos).wait(Wait::None);
                let ticket = publisher.publish(publish).unwrap();
                sender.send((number, ticket)).unwrap();
            }
        })
        .unwrap();
        let mut logs = Vec::new();
        let mut maybe_twice = BTreeSet::new();
        let mut open_at_restart = 0;
        for acknowledged in 0..MESSAGES {
            if acknowledged == MESSAGES / 3 || acknowledged == 2 * MESSAGES / 3 {
                open_at_restart += device.unacknowledged();
                let log;
                (broker, log) = restart(broker);
                logs.push(log);
            }
            let (number, mut ticket) = tickets.recv().unwrap().unwrap();
            match ticket.outcome() {
                Ok(Outcome::Acked { maybe_twice: false }) => {}
                Ok(Outcome::Acked { maybe_twice: true }) => {
                    maybe_twice.insert(number);
                }
                Ok(outcome) => panic!("{number}: {outcome:?}"),
                Err(WaitCause::Stopped(_)) => panic!("{number} was not acknowledged in time"),
                Err(cause) => panic!("{number}: {cause}"),
            }
        }
        assert!(open_at_restart > 0, "nothing was under way at the restarts");
        all.wait().unwrap();
        // Doubles would come behind.
        fiber::sleep(Duration::from_millis(500)).unwrap();
        logs.push(broker.log());

        let arrived = arrived.take();
        assert_eq!(arrived.len(), MESSAGES);
        for (number, times) in &arrived {
            let allowed = qos == QoS::AtLeastOnce && maybe_twice.contains(number);
            assert!(*times == 1 || allowed, "{number} came {times} times");
        }
        if qos == QoS::AtLeastOnce {
            // The broker's own word on what it received, from all of its lives.
            for number in 0..MESSAGES {
                let topic = format!("'load/{number}'");
                let received = |line: &&str| {
                    line.contains("Received PUBLISH from device") && line.contains(&topic)
                };
                let times = logs
                    .iter()
                    .flat_map(|log| log.lines().filter(received))
                    .count();
                let allowed = maybe_twice.contains(&number);
                assert!(
                    times == 1 || times > 1 && allowed,
                    "{number} was sent {times} times"
                );
            }
        } else {
            assert!(
                maybe_twice.is_empty(),
                "the session was kept: {maybe_twice:?}"
            );
        }
        for client in [device, subscriber] {
            let remaining = client.close(Duration::from_secs(5)).unwrap();
            assert_eq!(remaining.unacknowledged, 0);
        }
    };
    match fiber::run(|| fiber::timeout(LIMIT, body)) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => panic!("the stream took more than {LIMIT:?}"),
        Err(RunError::Panicked(payload)) => std::panic::resume_unwind(payload),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_restart_in_a_stream_of_qos_1_loses_nothing_and_doubles_only_what_says_so() {
    let Some(peers) = peers() else { return };
    stream(&peers, QoS::AtLeastOnce);
}

#[test]
fn a_restart_in_a_stream_of_qos_2_loses_nothing_and_doubles_nothing() {
    let Some(peers) = peers() else { return };
    stream(&peers, QoS::ExactlyOnce);
}
