//! Messages that are larger than the client takes: read past, acknowledged, counted and told, so that
//! the broker does not send them again and again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::{Delivery, PacketRef};
use mqtt::{Client, ClientOptions, Event, QoS, Version};

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, id, options, play_connected, play_open, puback,
    pubcomp, publish, pubrec, pubrel,
};

/// The bound of these clients; a packet of two bytes of header and of length, one of topic with its
/// length, and an identifier, has room for 993 bytes.
const MAXIMUM: usize = 1_000;
const FITS: usize = MAXIMUM - 3 - 3 - 2;

fn limited() -> ClientOptions {
    options().maximum_packet_size(MAXIMUM)
}

fn delivery(qos: QoS, number: u16, dup: bool) -> Delivery {
    let packet_id = id(number);
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id, dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup },
    }
}

/// Takes the acknowledgements of one message.
fn acknowledged(broker: &mut Broker, qos: QoS, number: u16) {
    match qos {
        QoS::AtMostOnce => {}
        QoS::AtLeastOnce => broker.expect(&puback(number)),
        QoS::ExactlyOnce => {
            broker.expect(&pubrec(number));
            broker.send(&pubrel(number));
            broker.expect(&pubcomp(number));
        }
    }
}

/// The lengths of the payloads that come to a handler of everything, and the topic names and lengths of
/// what is too large.
type Seen = Rc<RefCell<(Vec<usize>, Vec<(usize, usize)>)>>;

fn see(client: &Client) -> Seen {
    let seen = Seen::default();
    let handled = Rc::clone(&seen);
    let told = Rc::clone(&seen);
    client.on_event(move |_, event| {
        if let Event::Oversized { topic, bytes } = event {
            told.borrow_mut().1.push((topic.len(), *bytes));
        }
    });
    let handler = move |_: &Client, message: &mqtt::Message| {
        handled.borrow_mut().0.push(message.data.len());
        Ok(())
    };
    client.subscribe("#", QoS::ExactlyOnce, handler).unwrap();
    seen
}

#[test]
fn a_message_above_the_bound_is_read_past_acknowledged_and_told_and_one_at_it_is_handled() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let fits = FITS + if qos == QoS::AtMostOnce { 2 } else { 0 };
        play_connected(
            limited(),
            move |broker| {
                answer_subscribe(broker, &[]);
                for (number, len) in [(1, fits), (2, fits + 1), (3, 300_000), (4, 7)] {
                    let payload = vec![b'x'; len];
                    broker.send(&publish("a", &payload, delivery(qos, number, false)));
                }
                if qos != QoS::ExactlyOnce {
                    (1..=4).for_each(|number| acknowledged(broker, qos, number));
                } else {
                    (1..=4).for_each(|number| broker.expect(&pubrec(number)));
                    (1..=4).for_each(|number| broker.send(&pubrel(number)));
                    (1..=4).for_each(|number| broker.expect(&pubcomp(number)));
                }
                expect_disconnect(broker);
            },
            move |client| {
                let seen = see(client);
                fiber::sleep(Duration::from_secs(1)).unwrap();
                let (handled, told) = seen.take();
                assert_eq!(handled, [fits, 7]);
                assert_eq!(told[0], (1, MAXIMUM + 1));
                assert_eq!(told.len(), 2);
                let stats = client.stats();
                assert_eq!((stats.received, stats.oversized), (2, 2));
            },
        );
    }
}

#[test]
fn its_topic_name_may_be_of_any_length_and_its_bytes_may_come_one_by_one() {
    play_connected(
        limited(),
        |broker| {
            answer_subscribe(broker, &[]);
            let topic = "t".repeat(usize::from(u16::MAX));
            for (number, topic) in [(1, &topic[..]), (2, &topic[..998])] {
                let packet = publish(topic, b"payload", delivery(QoS::AtLeastOnce, number, false));
                let mut bytes = vec![0; packet.encoded_len(Version::V311)];
                packet.encode(Version::V311, &mut bytes);
                // All of the large one at once is more than one buffer.
                let pieces = if number == 1 { bytes.len() } else { 1 };
                for piece in bytes.chunks(pieces) {
                    broker.send_bytes(piece);
                    fiber::yield_now().unwrap();
                }
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let seen = see(client);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let lengths = [(65_535, 4 + 2 + 65_535 + 2 + 7), (998, 3 + 2 + 998 + 2 + 7)];
            assert_eq!(seen.take(), (vec![], lengths.to_vec()));
        },
    );
}

/// The broker sends it again until it is acknowledged: that is once.
#[test]
fn a_connection_that_ends_within_it_does_not_make_it_come_for_ever() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        play_open(
            limited(),
            move |links| {
                let payload = vec![b'x'; 5_000];
                let mut first = links.accept(false);
                answer_subscribe(&mut first, &[]);
                let packet = publish("a", &payload, delivery(qos, 9, false));
                let mut bytes = vec![0; packet.encoded_len(Version::V311)];
                packet.encode(Version::V311, &mut bytes);
                first.send_bytes(&bytes[..2_500]);
                fiber::sleep(Duration::from_millis(10)).unwrap();
                drop(first);
                let mut second = links.accept(true);
                second.send(&publish("a", &payload, delivery(qos, 9, true)));
                acknowledged(&mut second, qos, 9);
                let next: PacketRef<'_> = publish("a", b"next", delivery(qos, 10, false));
                second.send(&next);
                acknowledged(&mut second, qos, 10);
                expect_disconnect(&mut second);
            },
            |client| {
                let seen = see(client);
                fiber::sleep(Duration::from_secs(10)).unwrap();
                assert_eq!(seen.borrow().0, [4]);
            },
        );
    }
}
