//! The embedded broker: who gets a message, how often, and with which flags.

use mqtt::packet::{PacketRef, SubAck, UnsubAck, Unsubscribe};
use mqtt::{BROKER_SUBSCRIPTIONS_MAX, BrokerError, BrokerOptions, QoS, SubscribeReason, Version};

use crate::broker_harness::{
    Peer, connect, delivery, expect_nothing, expect_publish, id, puback, pubcomp, pubrec, pubrel,
    run, run_with, send, send_subscribe, subscribe,
};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// Publishes with QoS 2 from beginning to end.
#[track_caller]
fn publish_exactly_once(peer: &mut Peer, topic: &str, payload: &str, number: u16) {
    send(peer, topic, payload, delivery(2, number), false);
    peer.expect(&pubrec(number));
    peer.send(&pubrel(number));
    peer.expect(&pubcomp(number));
}

#[test]
fn a_message_is_delivered_at_the_lower_of_both_qos() {
    run(|broker| {
        for granted in [Q0, Q1, Q2] {
            let mut reader = connect(broker, "reader");
            subscribe(&mut reader, &[("t", granted)]);
            let mut writer = connect(broker, "writer");
            send(&mut writer, "t", "0", delivery(0, 0), false);
            send(&mut writer, "t", "1", delivery(1, 7), false);
            writer.expect(&puback(7));
            publish_exactly_once(&mut writer, "t", "2", 7);
            for published in 0..=2 {
                let qos = granted.bits().min(published);
                let number = expect_publish(&mut reader, &format!("t={published} q{qos}"));
                match qos {
                    0 => assert_eq!(number, 0),
                    1 => reader.send(&puback(number)),
                    _ => {
                        reader.send(&pubrec(number));
                        reader.expect(&pubrel(number));
                        reader.send(&pubcomp(number));
                    }
                }
            }
            expect_nothing(&mut reader);
        }
    });
}

#[test]
fn overlapping_filters_give_one_copy_at_the_highest_qos() {
    run(|broker| {
        let mut peer = connect(broker, "a");
        subscribe(&mut peer, &[("a/#", Q0), ("a/+", Q2), ("+/b", Q1)]);
        broker.publish("a/b", "x", Q2, false).unwrap();
        expect_publish(&mut peer, "a/b=x q2");
        broker.publish("c/b", "y", Q2, false).unwrap();
        expect_publish(&mut peer, "c/b=y q1");
        expect_nothing(&mut peer);
    });
}

#[test]
fn leading_wildcards_do_not_match_dollar_topics() {
    run(|broker| {
        let mut peer = connect(broker, "a");
        subscribe(&mut peer, &[("#", Q0), ("+/x", Q0), ("$SYS/#", Q0)]);
        let all = broker.subscribe("#").unwrap();
        broker.publish("$SYS/x", "1", Q0, true).unwrap();
        broker.publish("$other/x", "2", Q0, true).unwrap();
        expect_publish(&mut peer, "$SYS/x=1 q0");
        expect_nothing(&mut peer);
        // Retained ones follow the same rule.
        subscribe(&mut peer, &[("#", Q0), ("$other/+", Q0)]);
        expect_publish(&mut peer, "$other/x=2 q0 retain");
        expect_nothing(&mut peer);
        assert!(all.try_recv().is_none());
    });
}

#[test]
fn retained_messages_greet_new_subscriptions_and_are_marked() {
    run(|broker| {
        let mut peer = connect(broker, "a");
        subscribe(&mut peer, &[("t/+", Q1)]);
        send(&mut peer, "t/1", "old", delivery(1, 7), true);
        peer.expect(&puback(7));
        // Live: not marked.
        let number = expect_publish(&mut peer, "t/1=old q1");
        peer.send(&puback(number));
        send(&mut peer, "t/1", "new", delivery(0, 0), true);
        expect_publish(&mut peer, "t/1=new q0");
        broker.publish("t/2", "two", Q2, true).unwrap();
        let number = expect_publish(&mut peer, "t/2=two q1");
        peer.send(&puback(number));
        // The same filter anew, and two filters that overlap: each is greeted, behind the answer.
        let granted = SubscribeReason::Granted;
        assert_eq!(
            subscribe(&mut peer, &[("t/+", Q1), ("t/2", Q0)]),
            [granted(Q1), granted(Q0)]
        );
        expect_publish(&mut peer, "t/1=new q0 retain");
        expect_publish(&mut peer, "t/2=two q1 retain");
        expect_publish(&mut peer, "t/2=two q0 retain");
        // An empty one is delivered, removes the message, and is not kept.
        send(&mut peer, "t/1", "", delivery(0, 0), true);
        expect_publish(&mut peer, "t/1= q0");
        subscribe(&mut peer, &[("t/1", Q1)]);
        expect_nothing(&mut peer);
        // Without the flag nothing is kept.
        send(&mut peer, "t/2", "passing", delivery(0, 0), false);
        expect_publish(&mut peer, "t/2=passing q0");
        assert_eq!(
            broker.subscribe("t/2").unwrap().recv().unwrap().payload(),
            b"two"
        );
    });
}

#[test]
fn a_retained_message_beyond_the_bound_is_delivered_and_counted() {
    run_with(BrokerOptions::new().retained_max(1, 100), |broker| {
        let all = broker.subscribe("#").unwrap();
        broker.publish("a", "1", Q0, true).unwrap();
        broker.publish("b", "2", Q0, true).unwrap();
        assert_eq!(all.recv().unwrap().payload(), b"1");
        assert_eq!(all.recv().unwrap().payload(), b"2");
        let stats = broker.stats();
        assert_eq!((stats.retained, stats.not_retained), (1, 1));
    });
}

#[test]
fn a_subscription_is_replaced_and_ended() {
    run(|broker| {
        let mut peer = connect(broker, "a");
        subscribe(&mut peer, &[("t", Q1)]);
        subscribe(&mut peer, &[("t", Q0)]);
        broker.publish("t", "1", Q1, false).unwrap();
        expect_publish(&mut peer, "t=1 q0");
        // A filter that is not there is answered as well, and compared as text.
        for filters in [&["none", "+"][..], &["t"]] {
            let unsubscribe = Unsubscribe::new(Version::V311, id(5), filters).unwrap();
            peer.send(&PacketRef::Unsubscribe(unsubscribe));
            peer.expect(&PacketRef::UnsubAck(UnsubAck::new(id(5))));
            broker.publish("t", "2", Q1, false).unwrap();
            if filters.contains(&"none") {
                expect_publish(&mut peer, "t=2 q0");
            }
        }
        expect_nothing(&mut peer);
    });
}

#[test]
fn the_hook_decides_who_may_subscribe_to_what() {
    let options = BrokerOptions::new().authorize_subscribe(|client, filter, qos| {
        assert_eq!((client, qos), ("a", Q1));
        filter != "secret"
    });
    run_with(options, |broker| {
        let mut peer = connect(broker, "a");
        send_subscribe(&mut peer, &[("x", Q1), ("secret", Q1), ("y", Q1)]);
        let granted = SubscribeReason::Granted(Q1);
        let reasons = [granted, SubscribeReason::Failure, granted];
        let suback = SubAck::new(Version::V311, id(999), &reasons).unwrap();
        peer.expect(&PacketRef::SubAck(suback));
        broker.publish("secret", "1", Q0, false).unwrap();
        broker.publish("y", "2", Q0, false).unwrap();
        expect_publish(&mut peer, "y=2 q0");
    });
}

#[test]
fn one_filter_too_many_is_refused() {
    run(|broker| {
        let mut peer = connect(broker, "a");
        let filters: Vec<_> = (0..=BROKER_SUBSCRIPTIONS_MAX)
            .map(|n| n.to_string())
            .collect();
        let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), Q0)).collect();
        let reasons = subscribe(&mut peer, &filters);
        let refused = reasons.iter().position(|r| *r == SubscribeReason::Failure);
        assert_eq!(refused, Some(BROKER_SUBSCRIPTIONS_MAX));
        // One that is there is replaced even so.
        let granted = subscribe(&mut peer, &[("0", Q2)]);
        assert_eq!(granted, [SubscribeReason::Granted(Q2)]);
    });
}

#[test]
fn qos_2_of_a_client_is_passed_on_once() {
    run(|broker| {
        let all = broker.subscribe("#").unwrap();
        let mut peer = connect(broker, "a");
        for _ in 0..3 {
            send(&mut peer, "t", "1", delivery(2, 7), false);
            peer.expect(&pubrec(7));
        }
        // PUBREL may be repeated, and an unknown one is answered.
        for number in [7, 7, 8] {
            peer.send(&pubrel(number));
            peer.expect(&pubcomp(number));
        }
        assert_eq!(all.recv().unwrap().payload(), b"1");
        assert!(all.try_recv().is_none());
        // Released, the identifier stands for another message.
        publish_exactly_once(&mut peer, "t", "2", 7);
        assert_eq!(all.recv().unwrap().payload(), b"2");
    });
}

#[test]
fn qos_1_of_a_client_is_passed_on_each_time() {
    run(|broker| {
        let all = broker.subscribe("#").unwrap();
        let mut peer = connect(broker, "a");
        for _ in 0..2 {
            send(&mut peer, "t", "1", delivery(1, 7), false);
            peer.expect(&puback(7));
            assert_eq!(all.recv().unwrap().payload(), b"1");
        }
    });
}

#[test]
fn the_window_holds_back_qos_1_and_2_but_not_qos_0() {
    run_with(BrokerOptions::new().window(2), |broker| {
        let mut peer = connect(broker, "a");
        subscribe(&mut peer, &[("#", Q2)]);
        for (payload, qos) in [("1", Q1), ("2", Q2), ("3", Q1), ("0", Q0)] {
            broker.publish("t", payload, qos, false).unwrap();
        }
        let one = expect_publish(&mut peer, "t=1 q1");
        let two = expect_publish(&mut peer, "t=2 q2");
        expect_publish(&mut peer, "t=0 q0");
        // The place of a QoS 2 message is free with PUBCOMP only.
        peer.send(&pubrec(two));
        peer.expect(&pubrel(two));
        expect_nothing(&mut peer);
        peer.send(&puback(one));
        let three = expect_publish(&mut peer, "t=3 q1");
        peer.send(&pubcomp(two));
        peer.send(&puback(three));
        assert_eq!([one, two, three], [1, 2, 3]);
    });
}

#[test]
fn answers_that_do_not_fit_end_the_connection_and_late_ones_do_not() {
    run(|broker| {
        let begin = |payload: &str, qos, expected: &str| {
            let mut peer = connect(broker, "a");
            subscribe(&mut peer, &[("t", Q2)]);
            broker.publish("t", payload, qos, false).unwrap();
            assert_eq!(expect_publish(&mut peer, expected), 1);
            peer
        };
        for wrong in [pubrec(1), pubcomp(1)] {
            let mut peer = begin("x", Q1, "t=x q1");
            peer.send(&wrong);
            peer.expect_end();
        }
        for wrong in [puback(1), pubcomp(1)] {
            let mut peer = begin("x", Q2, "t=x q2");
            peer.send(&wrong);
            peer.expect_end();
        }
        let mut peer = begin("x", Q2, "t=x q2");
        for _ in 0..2 {
            peer.send(&pubrec(1));
            peer.expect(&pubrel(1));
        }
        for _ in 0..2 {
            peer.send(&pubcomp(1));
        }
        peer.send(&puback(1));
        peer.send(&puback(77));
        expect_nothing(&mut peer);
        // Again without PUBCOMP: PUBACK is out of turn.
        let mut peer = begin("x", Q2, "t=x q2");
        peer.send(&pubrec(1));
        peer.expect(&pubrel(1));
        peer.send(&puback(1));
        peer.expect_end();
    });
}

#[test]
fn a_slow_reader_loses_the_oldest_beyond_its_queue() {
    run_with(
        BrokerOptions::new().window(1).queue_max(2, 1_000),
        |broker| {
            let mut peer = connect(broker, "a");
            subscribe(&mut peer, &[("t", Q1)]);
            broker.publish("t", "0", Q1, false).unwrap();
            assert_eq!(expect_publish(&mut peer, "t=0 q1"), 1);
            for payload in ["1", "2", "3"] {
                broker.publish("t", payload, Q1, false).unwrap();
            }
            assert_eq!((broker.stats().queued, broker.stats().dropped), (2, 1));
            peer.send(&puback(1));
            expect_publish(&mut peer, "t=2 q1");
            peer.send(&puback(2));
            expect_publish(&mut peer, "t=3 q1");
        },
    );
}

#[test]
fn many_messages_pass_through_little_room() {
    run(|broker| {
        let mut peer = crate::broker_harness::attach_over(broker, 100);
        crate::broker_harness::send_connect(&mut peer, crate::broker_harness::fields("a", true));
        peer.receive(|packet| assert!(matches!(packet, PacketRef::ConnAck(_))));
        subscribe(&mut peer, &[("t", Q1)]);
        for number in 0..2_000 {
            let payload = format!("{number} {}", "x".repeat(100));
            broker.publish("t", payload, Q1, false).unwrap();
        }
        for number in 0..2_000 {
            let expected = format!("t={number} {} q1", "x".repeat(100));
            let number = expect_publish(&mut peer, &expected);
            peer.send(&puback(number));
        }
        expect_nothing(&mut peer);
    });
}

#[test]
fn the_program_publishes_and_subscribes_without_a_socket() {
    run_with(BrokerOptions::new().maximum_packet_size(10), |broker| {
        let all = broker.subscribe("a/+").unwrap();
        broker.publish("a/b", "1234567", Q2, false).unwrap();
        let message = all.recv().unwrap();
        assert_eq!(
            (message.topic(), message.payload()),
            ("a/b", &b"1234567"[..])
        );
        assert_eq!((message.qos(), message.retain()), (Q2, false));
        let too_large = BrokerError::MessageTooLarge { max: 10, found: 11 };
        assert_eq!(broker.publish("a/b", "12345678", Q0, false), Err(too_large));
        assert!(matches!(
            broker.publish("a/+", "", Q0, false),
            Err(BrokerError::Topic(_))
        ));
        assert!(matches!(broker.subscribe("a#"), Err(BrokerError::Topic(_))));
        assert!(fiber::timeout(std::time::Duration::from_secs(1), || all.recv()).is_err());
        drop(all);
        let many: Vec<_> = (0..mqtt::LOCAL_SUBSCRIPTIONS_MAX)
            .map(|_| broker.subscribe("t").unwrap())
            .collect();
        let full = broker.subscribe("t").map(drop);
        assert_eq!(full, Err(BrokerError::TooManySubscriptions));
        drop(many);
        assert!(broker.subscribe("t").is_ok());
    });
}
