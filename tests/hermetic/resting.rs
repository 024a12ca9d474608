//! How a client that holds messages for acknowledgements leaves its connection alone meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::{Client, ClientOptions, Publish, QoS, Wait};

use crate::harness::{expect_disconnect, expect_qos_1, options, play_connected, puback, qos_0};

/// Fibers that publish, and so the messages that are under way.
const FIBERS: usize = 20;
const MESSAGES_EACH: usize = 20;
/// From one acknowledgement of the broker to the next.
const PACE: Duration = Duration::from_micros(10);

/// Publishes from many fibers at QoS 1; returns when messages were found to be acknowledged.
fn publish_all(client: &Client) -> BTreeSet<Instant> {
    let ends = Rc::new(RefCell::new(BTreeSet::new()));
    let publish = |client: Client, ends: Rc<RefCell<BTreeSet<Instant>>>| {
        move || {
            for _ in 0..MESSAGES_EACH {
                let message = Publish::to("m", "x").qos(QoS::AtLeastOnce).wait(Wait::Ack);
                client.publish(message).unwrap();
                ends.borrow_mut().insert(Instant::now());
            }
        }
    };
    let fibers: Vec<_> = (0..FIBERS)
        .map(|_| fiber::spawn(publish(client.clone(), Rc::clone(&ends))).unwrap())
        .collect();
    for mut fiber in fibers {
        fiber.join().unwrap();
    }
    ends.take()
}

/// At how many different times acknowledgements are seen of a broker that sends one after the other.
fn times_of_acknowledgements(options: ClientOptions) -> usize {
    let times = Rc::new(Cell::new(0));
    let noted = Rc::clone(&times);
    play_connected(
        options,
        |broker| {
            for _ in 0..FIBERS * MESSAGES_EACH {
                let number = expect_qos_1(broker);
                fiber::sleep(PACE).unwrap();
                broker.send(&puback(number));
            }
            expect_disconnect(broker);
        },
        move |client| noted.set(publish_all(client).len()),
    );
    times.get()
}

#[test]
fn acknowledgements_for_which_messages_are_held_are_read_together() {
    let singly = times_of_acknowledgements(options().coalesce(false));
    assert!(singly >= FIBERS * MESSAGES_EACH * 9 / 10, "{singly} times");
    let together = times_of_acknowledgements(options());
    assert!(together <= FIBERS * MESSAGES_EACH / 3, "{together} times");
}

#[test]
fn other_messages_are_seen_within_a_millisecond_when_acknowledgements_stop() {
    let sent = Rc::new(Cell::new(None));
    let seen = Rc::new(Cell::new(None));
    let (sending, seeing) = (Rc::clone(&sent), Rc::clone(&seen));
    play_connected(
        options(),
        move |broker| {
            crate::harness::answer_subscribe(broker, &[]);
            // The client learns a pace, and is to rely on it.
            for _ in 0..FIBERS * MESSAGES_EACH / 2 + FIBERS / 4 {
                let number = expect_qos_1(broker);
                fiber::sleep(PACE).unwrap();
                broker.send(&puback(number));
            }
            sending.set(Some(Instant::now()));
            broker.send(&qos_0("news", b"x"));
            fiber::sleep(Duration::from_millis(50)).unwrap();
            for _ in 0..FIBERS * MESSAGES_EACH / 2 - FIBERS / 4 {
                let number = expect_qos_1(broker);
                broker.send(&puback(number));
            }
            expect_disconnect(broker);
        },
        move |client| {
            let note = move |_: &Client, _: &mqtt::Message| {
                seeing.set(Some(Instant::now()));
                Ok(())
            };
            client.subscribe("news", QoS::AtMostOnce, note).unwrap();
            publish_all(client);
        },
    );
    let took = seen.get().unwrap() - sent.get().unwrap();
    assert!(took <= Duration::from_millis(1), "{took:?}");
}
