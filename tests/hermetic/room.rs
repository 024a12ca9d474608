//! Back-pressure: who waits for room, in which order, and who wakes whom.

use std::time::Duration;

use mqtt::packet::PacketRef;
use mqtt::{Publish, PublishError, QoS, Wait};

use crate::harness::{
    expect_disconnect, expect_qos_1, options, play_connected, play_over, puback, qos_0,
};
use crate::publishing::at_least_once;

#[test]
fn a_full_window_is_back_pressure_in_order_of_arrival_and_qos_0_passes_it() {
    play_connected(
        options().window(2).queue_max(1, 0),
        |broker| {
            let mut ids = vec![expect_qos_1(broker), expect_qos_1(broker)];
            broker.expect(&qos_0("passes", b""));
            broker.expect_silence(Duration::from_secs(1));
            broker.send(&puback(ids.remove(0)));
            ids.push(expect_qos_1(broker));
            for n in 0..3_u8 {
                broker.send(&puback(ids.remove(0)));
                let id = broker.receive(|packet| match packet {
                    PacketRef::Publish(publish) => {
                        assert_eq!(publish.payload(), [n]);
                        publish.packet_id().unwrap().get()
                    }
                    other => panic!("expected PUBLISH, found {other:?}"),
                });
                ids.push(id);
            }
            for id in ids {
                broker.send(&puback(id));
            }
            expect_disconnect(broker);
        },
        |client| {
            for _ in 0..3 {
                at_least_once(client, Wait::None).unwrap();
            }
            let waiting: Vec<_> = (0..3_u8)
                .map(|n| {
                    let client = client.clone();
                    fiber::spawn(move || {
                        let payload = [n];
                        let publish = Publish::to("m", &payload).qos(QoS::AtLeastOnce);
                        client.publish(publish.wait(Wait::Ack)).unwrap();
                    })
                    .unwrap()
                })
                .collect();
            fiber::yield_now().unwrap();
            let full = fiber::timeout(Duration::from_millis(10), || {
                at_least_once(client, Wait::None)
            });
            assert!(
                matches!(full, Err(fiber::Elapsed(Err(PublishError::Full(_))))),
                "{full:?}"
            );
            client.publish(Publish::to("passes", "")).unwrap();
            for mut fiber in waiting {
                fiber.join().unwrap();
            }
        },
    );
}

#[test]
fn a_bad_argument_is_told_at_once_though_others_wait_for_room() {
    play_connected(
        options().window(1),
        |broker| {
            for _ in 0..2 {
                let id = expect_qos_1(broker);
                fiber::sleep(Duration::from_secs(1)).unwrap();
                broker.send(&puback(id));
            }
            expect_disconnect(broker);
        },
        |client| {
            at_least_once(client, Wait::None).unwrap();
            let other = client.clone();
            let mut waiting =
                fiber::spawn(move || at_least_once(&other, Wait::Ack).map(drop)).unwrap();
            fiber::yield_now().unwrap();
            let began = fiber::Instant::now();
            for publish in [Publish::to("a/+", ""), Publish::to("m", &[0; 4 << 20])] {
                let error = client.publish(publish.qos(QoS::AtLeastOnce)).unwrap_err();
                assert!(matches!(error, PublishError::Argument(_)), "{error:?}");
            }
            assert_eq!(began.elapsed(), Duration::ZERO);
            waiting.join().unwrap().unwrap();
        },
    );
}

#[test]
fn a_publisher_that_never_rests_does_not_pass_those_who_wait_for_room() {
    play_connected(
        options().window(1),
        |broker| {
            let mut before = 0;
            loop {
                let (id, waited) = broker.receive(|packet| match packet {
                    PacketRef::Publish(publish) => {
                        (publish.packet_id().unwrap().get(), publish.topic() == "w")
                    }
                    other => panic!("expected PUBLISH, found {other:?}"),
                });
                broker.send(&puback(id));
                if waited {
                    break;
                }
                before += 1;
            }
            assert!(before <= 2, "{before} messages were sent before it");
            for _ in 0..100 - before {
                let id = expect_qos_1(broker);
                broker.send(&puback(id));
            }
            expect_disconnect(broker);
        },
        |client| {
            let other = client.clone();
            let publish = Publish::to("w", "").qos(QoS::AtLeastOnce);
            let mut restless = fiber::spawn(move || {
                for _ in 0..100 {
                    at_least_once(&other, Wait::Ack).unwrap();
                }
            })
            .unwrap();
            fiber::yield_now().unwrap();
            client.publish(publish.wait(Wait::Ack)).unwrap();
            restless.join().unwrap();
        },
    );
}

#[test]
fn who_gives_up_waiting_for_room_lets_the_next_one_look() {
    play_over(
        1_000,
        options().queue_max(10, 3 << 19),
        |broker| {
            broker.accept(false, |_| ());
            let id = expect_qos_1(broker);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            broker.send(&puback(id));
            fiber::sleep(Duration::from_secs(9)).unwrap();
            for _ in 0..3 {
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            }
            for _ in 0..2 {
                let id = expect_qos_1(broker);
                broker.send(&puback(id));
            }
            expect_disconnect(broker);
        },
        |client| {
            client.connect().unwrap();
            at_least_once(client, Wait::Sent).unwrap();
            let mebibyte = vec![0; 1 << 20];
            for _ in 0..3 {
                client.publish(Publish::to("m", &mebibyte)).unwrap();
            }
            let publish = Publish::to("m", &mebibyte).qos(QoS::AtLeastOnce);
            client.publish(publish).unwrap();
            let large = client.clone();
            let mut large = fiber::spawn(move || {
                let publish = Publish::to("m", &mebibyte).qos(QoS::AtLeastOnce);
                fiber::timeout(Duration::from_secs(5), || large.publish(publish).map(drop))
            })
            .unwrap();
            fiber::yield_now().unwrap();
            let began = fiber::Instant::now();
            // Behind a message that has no room in the queue, which itself waits for the log.
            at_least_once(client, Wait::None).unwrap();
            assert_eq!(began.elapsed(), Duration::from_secs(5));
            let large = large.join().unwrap();
            assert!(
                matches!(large, Err(fiber::Elapsed(Err(PublishError::Full(_))))),
                "{large:?}"
            );
            client.close(Duration::from_secs(60)).unwrap();
        },
    );
}

#[test]
fn whole_batches_of_acknowledgements_let_whole_batches_in_and_in_order() {
    const WINDOW: u16 = 10;
    const COUNT: u16 = 95;
    play_connected(
        options().window(WINDOW),
        |broker| {
            let mut next = 0;
            while next < COUNT {
                let size = WINDOW.min(COUNT - next);
                let ids: Vec<u16> = (0..size)
                    .map(|_| {
                        broker.receive(|packet| match packet {
                            PacketRef::Publish(publish) => {
                                assert_eq!(publish.payload(), next.to_be_bytes());
                                next += 1;
                                publish.packet_id().unwrap().get()
                            }
                            other => panic!("expected PUBLISH, found {other:?}"),
                        })
                    })
                    .collect();
                broker.expect_silence(Duration::from_millis(1));
                let writes = fiber::stats().writes;
                let acks: Vec<u8> = ids
                    .iter()
                    .flat_map(|id| [[0x40, 2], id.to_be_bytes()].concat())
                    .collect();
                broker.send_bytes(&acks);
                fiber::sleep(Duration::from_millis(1)).unwrap();
                // One is the broker's own.
                assert!(fiber::stats().writes - writes <= 2);
            }
            expect_disconnect(broker);
        },
        |client| {
            let fibers: Vec<_> = (0..COUNT)
                .map(|n| {
                    let client = client.clone();
                    let body = move || {
                        let payload = n.to_be_bytes();
                        let publish = Publish::to("m", &payload).qos(QoS::AtLeastOnce);
                        client.publish(publish.wait(Wait::Ack)).unwrap();
                    };
                    fiber::spawn(body).unwrap()
                })
                .collect();
            for mut fiber in fibers {
                fiber.join().unwrap();
            }
        },
    );
}

#[test]
fn a_subscription_waits_for_room_in_the_log_and_gets_it() {
    play_over(
        1_000,
        options(),
        |broker| {
            broker.accept(false, |_| ());
            fiber::sleep(Duration::from_secs(10)).unwrap();
            for _ in 0..4 {
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            }
            assert_eq!(crate::harness::answer_subscribe(broker, &[]), ["a"]);
            expect_disconnect(broker);
        },
        |client| {
            client.connect().unwrap();
            let quarter = vec![0; mqtt::LOG_BYTES_MAX / 4 - 7];
            for _ in 0..4 {
                // Goes on at once, however much is not sent.
                client.try_publish(Publish::to("m", &quarter)).unwrap();
            }
            let began = fiber::Instant::now();
            client
                .subscribe("a", QoS::AtMostOnce, |_, _| Ok(()))
                .unwrap();
            assert_eq!(began.elapsed(), Duration::from_secs(10));
        },
    );
}
