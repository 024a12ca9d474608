//! QoS 2 both ways.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::{Delivery, PacketRef};
use mqtt::{Client, Outcome, Publish, QoS, Wait};

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, id, options, play_connected, pubcomp, publish,
    pubrec, pubrel,
};

/// A QoS 2 PUBLISH from the broker.
fn qos_2(payload: &[u8], number: u16, dup: bool) -> PacketRef<'_> {
    let packet_id = id(number);
    publish("a", payload, Delivery::ExactlyOnce { packet_id, dup })
}

#[track_caller]
fn expect_qos_2(broker: &mut Broker) -> u16 {
    broker.receive(|packet| match packet {
        PacketRef::Publish(publish) if publish.qos() == QoS::ExactlyOnce => {
            publish.packet_id().unwrap().get()
        }
        other => panic!("expected PUBLISH at QoS 2, found {other:?}"),
    })
}

fn exactly_once(client: &Client, wait: Wait) -> mqtt::Ticket {
    let publish = Publish::to("m", "21.5").qos(QoS::ExactlyOnce);
    client.publish(publish.wait(wait)).unwrap()
}

#[test]
fn a_publish_is_acknowledged_by_pubcomp_and_not_before() {
    play_connected(
        options(),
        |broker| {
            let number = expect_qos_2(broker);
            broker.send(&pubrec(number));
            broker.expect(&pubrel(number));
            fiber::sleep(Duration::from_secs(3)).unwrap();
            broker.send(&pubcomp(number));
            expect_disconnect(broker);
        },
        |client| {
            let began = fiber::Instant::now();
            let sent = exactly_once(client, Wait::Sent);
            assert_eq!(sent.poll(), None);
            assert_eq!(began.elapsed(), Duration::ZERO);
            let outcome = { sent }.outcome().unwrap();
            assert_eq!(outcome, Outcome::Acked { maybe_twice: false });
            assert_eq!(began.elapsed(), Duration::from_secs(3));
        },
    );
}

#[test]
fn a_pubrec_that_comes_again_is_answered_again() {
    play_connected(
        options(),
        |broker| {
            let number = expect_qos_2(broker);
            for _ in 0..3 {
                broker.send(&pubrec(number));
                broker.expect(&pubrel(number));
            }
            broker.send(&pubcomp(number));
            expect_disconnect(broker);
        },
        |client| {
            exactly_once(client, Wait::Ack);
        },
    );
}

#[test]
fn a_hundred_fibers_publish_at_qos_2_within_the_window() {
    play_connected(
        options().window(10).exactly_once_window(10),
        |broker| {
            let mut done = 0;
            while done < 100 {
                enum Next {
                    Publish(u16),
                    Release(u16),
                }
                let next = broker.receive(|packet| match packet {
                    PacketRef::Publish(publish) => {
                        Next::Publish(publish.packet_id().unwrap().get())
                    }
                    PacketRef::PubRel(pubrel) => Next::Release(pubrel.packet_id.get()),
                    other => panic!("expected PUBLISH or PUBREL, found {other:?}"),
                });
                match next {
                    Next::Publish(number) => broker.send(&pubrec(number)),
                    Next::Release(number) => {
                        broker.send(&pubcomp(number));
                        done += 1;
                    }
                }
            }
            expect_disconnect(broker);
        },
        |client| {
            let fibers: Vec<_> = (0..100)
                .map(|_| {
                    let client = client.clone();
                    fiber::spawn(move || exactly_once(&client, Wait::Ack).poll()).unwrap()
                })
                .collect();
            for mut fiber in fibers {
                let outcome = fiber.join().unwrap();
                assert_eq!(outcome, Some(Outcome::Acked { maybe_twice: false }));
            }
        },
    );
}

#[test]
fn a_message_is_handled_once_however_often_it_comes_before_its_release() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_2(b"1", 7, false));
            broker.expect_silence(Duration::from_millis(900));
            broker.expect(&pubrec(7));
            broker.send(&qos_2(b"1", 7, true));
            broker.expect(&pubrec(7));
            for _ in 0..2 {
                broker.send(&pubrel(7));
                broker.expect(&pubcomp(7));
            }
            // After its release the identifier stands for another message.
            broker.send(&qos_2(b"2", 7, false));
            broker.expect(&pubrec(7));
            broker.send(&pubrel(7));
            broker.expect(&pubcomp(7));
            expect_disconnect(broker);
        },
        |client| {
            let calls = Rc::new(Cell::new(0));
            let counter = Rc::clone(&calls);
            client
                .subscribe("a", QoS::ExactlyOnce, move |_, message| {
                    assert_eq!(message.qos, QoS::ExactlyOnce);
                    counter.set(counter.get() + 1);
                    assert_eq!(*message.data, *counter.get().to_string().as_bytes());
                    fiber::sleep(Duration::from_secs(1))?;
                    Ok(())
                })
                .unwrap();
            fiber::sleep(Duration::from_secs(5)).unwrap();
            assert_eq!(calls.get(), 2);
            assert_eq!(client.stats().handler_panics, 0);
        },
    );
}

#[test]
fn qos_2_has_a_window_of_its_own_that_qos_1_passes() {
    play_connected(
        options().exactly_once_window(2),
        |broker| {
            let mut under_way = vec![expect_qos_2(broker), expect_qos_2(broker)];
            let passing = crate::harness::expect_qos_1(broker);
            broker.send(&crate::harness::puback(passing));
            broker.expect_silence(Duration::from_secs(1));
            for _ in 0..3 {
                // Not the PUBREC but the PUBCOMP makes room.
                let number = under_way.remove(0);
                broker.send(&pubrec(number));
                broker.expect(&pubrel(number));
                broker.expect_silence(Duration::from_secs(1));
                broker.send(&pubcomp(number));
                under_way.push(expect_qos_2(broker));
            }
            for number in under_way {
                broker.send(&pubrec(number));
                broker.expect(&pubrel(number));
                broker.send(&pubcomp(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let fibers: Vec<_> = (0..5)
                .map(|_| {
                    let client = client.clone();
                    fiber::spawn(move || exactly_once(&client, Wait::Ack).poll()).unwrap()
                })
                .collect();
            fiber::yield_now().unwrap();
            let publish = Publish::to("m", "passes").qos(QoS::AtLeastOnce);
            client.publish(publish.wait(Wait::Ack)).unwrap();
            for mut fiber in fibers {
                let outcome = fiber.join().unwrap();
                assert_eq!(outcome, Some(Outcome::Acked { maybe_twice: false }));
            }
        },
    );
}
