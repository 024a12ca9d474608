//! The connection itself: how it begins, lives and ends, and what a bad peer does to it.

use std::time::Duration;

use fiber::Stopped;
use mqtt::packet::{ConnAck, PacketRef};
use mqtt::session::{CloseCause, PeerError};
use mqtt::{ConnectReason, EndCause, Error, Publish, QoS, Wait, WaitCause, Will};

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, expect_qos_1, options, play, play_connected,
    puback, qos_0,
};

#[test]
fn connect_carries_what_the_options_say() {
    let will = Will {
        topic: "gone".to_owned(),
        payload: b"meter-17".to_vec(),
        qos: QoS::AtLeastOnce,
        retain: true,
    };
    play(
        options()
            .clean_start(false)
            .keep_alive(Duration::from_secs(20))
            .credentials("meter", Some("secret"))
            .will(will),
        |broker| {
            broker.accept(true, |connect| {
                let fields = connect.fields();
                assert_eq!(fields.client_id, "meter-17");
                assert!(!fields.clean_start);
                assert_eq!(fields.keep_alive_secs, 20);
                assert_eq!(fields.user_name, Some("meter"));
                assert_eq!(fields.password, Some(&b"secret"[..]));
                let will = fields.will.unwrap();
                assert_eq!((will.topic, will.payload), ("gone", &b"meter-17"[..]));
                assert!(will.retain && will.qos == QoS::AtLeastOnce);
            });
            expect_disconnect(broker);
        },
        |client| {
            assert!(client.connect().unwrap(), "the session was present");
            assert!(matches!(client.connect(), Err(Error::AlreadyConnected)));
        },
    );
}

#[test]
fn each_refusal_is_its_own_error() {
    for code in 1..=5 {
        let reason = ConnectReason::from_code(code).unwrap();
        play(
            options(),
            move |broker| {
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Connect(_))));
                broker.send(&PacketRef::ConnAck(ConnAck::refused(reason)));
                broker.expect_end();
            },
            move |client| {
                let error = client.connect().unwrap_err();
                assert!(
                    matches!(error, Error::Refused(found) if found == reason),
                    "{error:?}"
                );
                assert!(!client.is_connected());
            },
        );
    }
}

#[test]
fn a_broker_that_never_answers_connect_is_given_up_in_time() {
    play(
        options().connect_timeout(Duration::from_secs(9)),
        |broker| {
            broker.receive(|_| ());
            broker.expect_end();
        },
        |client| {
            let began = fiber::Instant::now();
            let Err(Error::Wait(WaitCause::ConnectionLost(cause))) = client.connect() else {
                panic!("expected the connection to be given up");
            };
            assert!(
                matches!(*cause, EndCause::Dead(CloseCause::ConnAckTimeout)),
                "{cause:?}"
            );
            assert_eq!(began.elapsed(), Duration::from_secs(9));
        },
    );
}

#[test]
fn an_ambient_deadline_ends_the_wait_for_connack() {
    play(
        options(),
        |broker| {
            broker.receive(|_| ());
            expect_disconnect(broker);
        },
        |client| {
            let waited = fiber::timeout(Duration::from_secs(1), || client.connect());
            let Err(fiber::Elapsed(Err(error))) = waited else {
                panic!("{waited:?}")
            };
            assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
        },
    );
}

/// Plays a broker that ends the connection by what it does; returns why the client says it ended.
#[track_caller]
fn end_by(script: impl FnOnce(&mut Broker) + 'static, check: impl FnOnce(&EndCause) + 'static) {
    let later = |broker: &mut Broker| {
        fiber::sleep(Duration::from_millis(1)).unwrap();
        script(broker);
    };
    play_connected(options(), later, move |client| {
        let cause = client.ended().unwrap();
        check(&cause);
        assert!(!client.is_connected());
    });
}

#[test]
fn the_end_has_the_cause_that_ended_it() {
    end_by(
        |_| (),
        |cause| assert!(matches!(cause, EndCause::ClosedByPeer)),
    );
    end_by(
        |broker| {
            broker.send_bytes(&[0x36, 0, 0, 0]);
            broker.expect_end();
        },
        |cause| assert!(matches!(cause, EndCause::Malformed(_)), "{cause}"),
    );
    end_by(
        |broker| {
            broker.send(&PacketRef::ConnAck(ConnAck::accepted(false)));
            broker.expect_end();
        },
        |cause| {
            assert!(
                matches!(cause, EndCause::Peer(PeerError::SecondConnAck)),
                "{cause}"
            )
        },
    );
    end_by(
        |broker| {
            // A SUBACK whose fixed header promises more than the client takes.
            broker.send_bytes(&[0x90, 0xff, 0xff, 0xff, 0x7f]);
            broker.expect_end();
        },
        |cause| assert!(matches!(cause, EndCause::Malformed(_)), "{cause}"),
    );
}

#[test]
fn a_silent_link_is_pinged_and_given_up_in_bounded_time() {
    play_connected(
        options().keep_alive(Duration::from_secs(20)),
        |broker| {
            for _ in 0..3 {
                broker.expect(&PacketRef::PingReq);
                broker.send(&PacketRef::PingResp);
            }
            broker.expect(&PacketRef::PingReq);
            broker.expect_end();
        },
        |client| {
            let began = fiber::Instant::now();
            let cause = client.ended().unwrap();
            assert!(
                matches!(*cause, EndCause::Dead(CloseCause::PingTimeout)),
                "{cause}"
            );
            // Four silences of the keep-alive, then half of it for the answer.
            let expected = Duration::from_secs(4 * 20 + 10);
            let late = began.elapsed().saturating_sub(expected);
            assert!(
                began.elapsed() >= expected && late < Duration::from_secs(1),
                "{late:?}"
            );
        },
    );
}

#[test]
fn received_data_does_not_stop_a_client_that_only_receives_from_pinging() {
    play_connected(
        options().keep_alive(Duration::from_secs(20)),
        |broker| {
            let mut pings = 0;
            for _ in 0..100 {
                broker.send(&qos_0("a", b""));
                fiber::sleep(Duration::from_secs(1)).unwrap();
                let mut ping = [0; 2];
                if let Some(2) = broker.stream().try_read(&mut ping).unwrap() {
                    assert_eq!(ping, [0xc0, 0]);
                    pings += 1;
                    broker.send(&PacketRef::PingResp);
                }
            }
            assert!(pings >= 4, "{pings} pings in 100 s");
        },
        |client| {
            client.ended().unwrap();
        },
    );
}

#[test]
fn packets_may_be_cut_anywhere() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let payload = vec![b'x'; 300];
            let packets = [
                qos_0("a/1", &payload),
                qos_0("a/2", b""),
                qos_0("a/3", &payload),
            ];
            let mut bytes = Vec::new();
            for packet in packets {
                let start = bytes.len();
                bytes.resize(start + packet.encoded_len(mqtt::Version::V311), 0);
                packet.encode(mqtt::Version::V311, &mut bytes[start..]);
            }
            for cut in 0..bytes.len() {
                broker.send_bytes(&bytes[..cut]);
                fiber::sleep(Duration::from_millis(1)).unwrap();
                broker.send_bytes(&bytes[cut..]);
            }
            for byte in &bytes {
                broker.send_bytes(&[*byte]);
                fiber::yield_now().unwrap();
            }
            let id = expect_qos_1(broker);
            broker.send(&puback(id));
            broker.expect(&qos_0(
                "packets",
                &(3 * (bytes.len() as u32 + 1)).to_be_bytes(),
            ));
            expect_disconnect(broker);
        },
        |client| {
            let received = std::rc::Rc::new(std::cell::Cell::new(0));
            let counter = std::rc::Rc::clone(&received);
            client
                .subscribe("a/+", QoS::AtMostOnce, move |_, message| {
                    let expected = ["a/1", "a/2", "a/3"][counter.get() % 3];
                    assert_eq!(message.topic, expected);
                    assert!(message.data.iter().all(|byte| *byte == b'x'));
                    assert_eq!(message.data.len(), if expected == "a/2" { 0 } else { 300 });
                    counter.set(counter.get() + 1);
                    Ok(())
                })
                .unwrap();
            fiber::sleep(Duration::from_secs(5)).unwrap();
            client
                .publish(Publish::to("m", "").qos(QoS::AtLeastOnce).wait(Wait::Ack))
                .unwrap();
            let received = (received.get() as u32).to_be_bytes();
            client.publish(Publish::to("packets", &received)).unwrap();
            assert_eq!(client.stats().handler_panics, 0);
        },
    );
}

#[test]
fn thousands_of_pipelined_acknowledgements_are_each_taken() {
    const COUNT: u16 = 5_000;
    play_connected(
        options().window(COUNT),
        |broker| {
            let ids: Vec<_> = (0..COUNT).map(|_| expect_qos_1(broker)).collect();
            let acks: Vec<u8> = ids
                .iter()
                .flat_map(|id| [[0x40, 2], id.to_be_bytes()].concat())
                .collect();
            broker.send_bytes(&acks);
            expect_disconnect(broker);
        },
        |client| {
            let mut last = None;
            for _ in 0..COUNT {
                last = Some(
                    client
                        .publish(Publish::to("m", "x").qos(QoS::AtLeastOnce))
                        .unwrap(),
                );
            }
            last.unwrap().outcome().unwrap();
            assert_eq!(client.close(Duration::ZERO).unwrap().unacknowledged, 0);
        },
    );
}

#[test]
fn an_acknowledgement_nobody_waits_for_is_ignored() {
    play_connected(
        options(),
        |broker| {
            broker.send(&puback(77));
            let id = expect_qos_1(broker);
            broker.send(&puback(id));
            broker.send(&puback(id));
            broker.expect(&qos_0("still", b"here"));
            expect_disconnect(broker);
        },
        |client| {
            let publish = Publish::to("m", "").qos(QoS::AtLeastOnce);
            client.publish(publish.wait(Wait::Ack)).unwrap();
            client
                .publish(Publish::to("still", "here").wait(Wait::Sent))
                .unwrap();
        },
    );
}

#[test]
fn bytes_that_come_with_the_end_are_handled() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b"last words"));
        },
        |client| {
            let mut messages = client.subscribe_iter("a", QoS::AtMostOnce).unwrap();
            assert!(matches!(*client.ended().unwrap(), EndCause::ClosedByPeer));
            assert_eq!(messages.next().unwrap().unwrap().data, b"last words");
            assert!(messages.next().is_none());
        },
    );
}

#[test]
fn a_keep_alive_below_a_second_is_not_none() {
    for (asked, sent) in [(1, 1), (1_000, 1), (1_001, 2), (100_000_000, u16::MAX)] {
        play(
            options().keep_alive(Duration::from_millis(asked)),
            move |broker| {
                broker.accept(false, |connect| {
                    assert_eq!(connect.fields().keep_alive_secs, sent)
                });
                expect_disconnect(broker);
            },
            |client| assert!(!client.connect().unwrap()),
        );
    }
}

#[test]
fn a_packet_of_the_maximum_size_passes_and_one_byte_more_is_read_past() {
    for (size, passes) in [(3 << 20, true), ((3 << 20) + 1, false)] {
        play_connected(
            options().maximum_packet_size(3 << 20),
            move |broker| {
                answer_subscribe(broker, &[]);
                let payload = vec![b'x'; size - 8];
                broker.send(&qos_0("a", &payload));
                broker.send(&qos_0("a", b"next"));
                crate::harness::answer_unsubscribe(broker);
                expect_disconnect(broker);
            },
            move |client| {
                let mut messages = client.subscribe_iter("a", QoS::AtMostOnce).unwrap();
                if passes {
                    let message = messages.next().unwrap();
                    assert_eq!(message.unwrap().data.len(), size - 8);
                }
                let next = messages.next().unwrap();
                assert_eq!(&next.unwrap().data[..], b"next");
                drop(messages);
                fiber::sleep(Duration::from_millis(1)).unwrap();
            },
        );
    }
}

#[test]
fn packets_before_a_bad_one_are_handled() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let id = expect_qos_1(broker);
            let [high, low] = id.to_be_bytes();
            let mut bytes = vec![0x40, 2, high, low];
            bytes.extend(b"\x30\x04\x00\x01ax");
            bytes.extend([0x36, 0, 0, 0]);
            broker.send_bytes(&bytes);
            broker.expect_end();
        },
        |client| {
            let mut messages = client.subscribe_iter("a", QoS::AtMostOnce).unwrap();
            let publish = Publish::to("m", "").qos(QoS::AtLeastOnce);
            let ticket = client.publish(publish).unwrap();
            let cause = client.ended().unwrap();
            assert!(matches!(*cause, EndCause::Malformed(_)), "{cause}");
            let acked = mqtt::Outcome::Acked { maybe_twice: false };
            assert_eq!(ticket.poll(), Some(acked));
            assert_eq!(messages.next().unwrap().unwrap().data, b"x");
        },
    );
}

#[test]
fn no_debug_output_shows_a_password() {
    play(
        options().credentials("meter", Some("secret")),
        |broker| {
            let shown = broker.receive(|packet| format!("{packet:?}"));
            assert!(
                shown.contains("meter-17") && shown.contains("\"meter\""),
                "{shown}"
            );
            let bytes = format!("{:?}", b"secret");
            assert!(
                !shown.contains("secret") && !shown.contains(bytes.as_str()),
                "{shown}"
            );
            broker.send(&PacketRef::ConnAck(ConnAck::accepted(false)));
            expect_disconnect(broker);
        },
        |client| {
            let shown = format!("{:?}", options().credentials("meter", Some("secret")));
            assert!(!shown.contains("secret"), "{shown}");
            client.connect().unwrap();
        },
    );
}

#[test]
fn errors_cross_threads_and_fit_into_boxes() {
    fn dial(endpoint: &safe_rt::Endpoint) -> Result<safe_rt::Socket, Error> {
        let dialled = fiber::timeout(Duration::from_secs(5), || {
            safe_rt::dial(endpoint, &safe_rt::DialOptions::new())
        });
        Ok(dialled.unwrap_or_else(|elapsed| elapsed.0)?)
    }
    fn publish(client: &mqtt::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        client
            .publish(Publish::to("a/+", ""))
            .map_err(Error::from)?;
        Ok(())
    }
    fn handle(client: &mqtt::Client) -> Result<(), mqtt::HandlerError> {
        publish(client)
            .map_err(|error| mqtt::HandlerError::new(error as Box<dyn std::error::Error>))?;
        Err(mqtt::HandlerError::new("a text does as well"))
    }
    play_connected(options(), expect_disconnect, |client| {
        // Nobody listens there.
        let endpoint = "mqtt://127.0.0.1:1".parse().unwrap();
        let refused = dial(&endpoint).map(drop).unwrap_err();
        assert!(matches!(&refused, Error::Dial(error) if error.phase() == safe_rt::Phase::Connect));
        let error = publish(client).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::Argument(_))));
        assert_eq!(handle(client).unwrap_err().to_string(), error.to_string());
    });
}

#[test]
fn last_words_are_heard_though_nothing_can_be_written_any_more() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            broker.send(&qos_0("a", b"last words"));
        },
        |client| {
            let mut messages = client.subscribe_iter("a", QoS::AtMostOnce).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            client.publish(Publish::to("m", "")).unwrap();
            assert!(matches!(*client.ended().unwrap(), EndCause::ClosedByPeer));
            assert_eq!(messages.next().unwrap().unwrap().data, b"last words");
        },
    );
}
