//! The embedded broker: what a session keeps between two connections.

use mqtt::QoS;
use mqtt::packet::{Delivery, PacketRef, Unsubscribe};

use crate::broker_harness::{
    connect, delivery, disconnect, expect_nothing, expect_publish, id, puback, pubcomp, pubrec,
    pubrel, resume, run, send, subscribe,
};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

#[test]
fn a_kept_session_gathers_qos_1_and_2_for_an_absent_client() {
    run(|broker| {
        let (mut peer, present) = resume(broker, "a");
        assert!(!present);
        subscribe(&mut peer, &[("t", Q2), ("low", Q0)]);
        disconnect(peer);
        broker.publish("t", "0", Q0, false).unwrap();
        broker.publish("t", "1", Q1, false).unwrap();
        broker.publish("low", "x", Q2, false).unwrap();
        broker.publish("t", "2", Q2, false).unwrap();
        assert_eq!(broker.stats().queued, 2);
        let (mut peer, present) = resume(broker, "a");
        assert!(present);
        expect_publish(&mut peer, "t=1 q1");
        expect_publish(&mut peer, "t=2 q2");
        expect_nothing(&mut peer);
        // The subscriptions are there as before.
        broker.publish("low", "y", Q2, false).unwrap();
        expect_publish(&mut peer, "low=y q0");
    });
}

#[test]
fn a_clean_session_leaves_nothing_behind_and_ends_an_older_one() {
    run(|broker| {
        let (mut peer, _) = resume(broker, "a");
        subscribe(&mut peer, &[("t", Q1)]);
        disconnect(peer);
        broker.publish("t", "1", Q1, false).unwrap();
        let mut peer = connect(broker, "a");
        expect_nothing(&mut peer);
        broker.publish("t", "2", Q1, false).unwrap();
        expect_nothing(&mut peer);
        subscribe(&mut peer, &[("t", Q1)]);
        drop(peer);
        fiber::yield_now().unwrap();
        assert_eq!(broker.stats().sessions, 0);
        let (mut peer, present) = resume(broker, "a");
        assert!(!present);
        broker.publish("t", "3", Q1, false).unwrap();
        expect_nothing(&mut peer);
    });
}

#[test]
fn what_was_in_flight_comes_first_in_its_order_and_is_marked() {
    run(|broker| {
        let (mut peer, _) = resume(broker, "a");
        subscribe(&mut peer, &[("t", Q2)]);
        for (payload, qos) in [("1", Q1), ("2", Q2), ("3", Q2), ("4", Q2), ("5", Q1)] {
            broker.publish("t", payload, qos, false).unwrap();
            let expected = format!("t={payload} q{}", qos.bits());
            let number: u16 = payload.parse().unwrap();
            assert_eq!(expect_publish(&mut peer, &expected), number);
        }
        // PUBRECs in another order than the PUBLISHes: the PUBRELs follow them.
        for number in [4, 2] {
            peer.send(&pubrec(number));
            peer.expect(&pubrel(number));
        }
        drop(peer);
        fiber::yield_now().unwrap();
        broker.publish("t", "6", Q1, false).unwrap();
        for _ in 0..2 {
            let (mut peer, present) = resume(broker, "a");
            assert!(present);
            peer.expect(&pubrel(4));
            peer.expect(&pubrel(2));
            assert_eq!(expect_publish(&mut peer, "t=1 q1 dup"), 1);
            assert_eq!(expect_publish(&mut peer, "t=3 q2 dup"), 3);
            assert_eq!(expect_publish(&mut peer, "t=5 q1 dup"), 5);
            // It was queued, and is in flight the second time.
            let (number, expected) = match broker.stats().queued {
                0 => (6, "t=6 q1"),
                queued => panic!("expected an empty queue, found {queued}"),
            };
            let dup = peer.receive(|packet| match packet {
                PacketRef::Publish(publish) => publish.dup(),
                other => panic!("expected {expected}, found {other:?}"),
            });
            if dup {
                for number in [4, 2] {
                    peer.send(&pubcomp(number));
                }
                for number in [1, 5, number] {
                    peer.send(&puback(number));
                }
                peer.send(&pubrec(3));
                peer.expect(&pubrel(3));
                peer.send(&pubcomp(3));
                expect_nothing(&mut peer);
            }
        }
        let (mut peer, _) = resume(broker, "a");
        expect_nothing(&mut peer);
    });
}

#[test]
fn what_is_answered_before_it_was_sent_once_more_is_not_sent() {
    run(|broker| {
        let (mut peer, _) = resume(broker, "a");
        subscribe(&mut peer, &[("t", Q1)]);
        broker.publish("t", "1", Q1, false).unwrap();
        assert_eq!(expect_publish(&mut peer, "t=1 q1"), 1);
        drop(peer);
        let mut peer = crate::broker_harness::attach(broker);
        crate::broker_harness::send_connect(&mut peer, crate::broker_harness::fields("a", false));
        peer.send(&puback(1));
        peer.receive(|packet| assert!(matches!(packet, PacketRef::ConnAck(_))));
        expect_nothing(&mut peer);
    });
}

#[test]
fn qos_2_of_a_client_is_passed_on_once_across_connections() {
    run(|broker| {
        let all = broker.subscribe("#").unwrap();
        let (mut peer, _) = resume(broker, "a");
        send(&mut peer, "t", "1", delivery(2, 7), false);
        peer.expect(&pubrec(7));
        drop(peer);
        let (mut peer, _) = resume(broker, "a");
        let packet_id = id(7);
        let again = Delivery::ExactlyOnce {
            packet_id,
            dup: true,
        };
        send(&mut peer, "t", "1", again, false);
        peer.expect(&pubrec(7));
        drop(peer);
        let (mut peer, _) = resume(broker, "a");
        peer.send(&pubrel(7));
        peer.expect(&pubcomp(7));
        assert_eq!(all.recv().unwrap().payload(), b"1");
        assert!(all.try_recv().is_none());
        // A clean session has forgotten such an identifier.
        send(&mut peer, "t", "2", delivery(2, 8), false);
        peer.expect(&pubrec(8));
        let mut peer = connect(broker, "a");
        send(&mut peer, "t", "2", again_of(8), false);
        peer.expect(&pubrec(8));
        assert_eq!(all.recv().unwrap().payload(), b"2");
        assert_eq!(all.recv().unwrap().payload(), b"2");
    });
}

fn again_of(number: u16) -> Delivery {
    Delivery::ExactlyOnce {
        packet_id: id(number),
        dup: true,
    }
}

#[test]
fn an_ended_subscription_stays_ended_in_a_kept_session() {
    run(|broker| {
        let (mut peer, _) = resume(broker, "a");
        subscribe(&mut peer, &[("t", Q1), ("u", Q1)]);
        let unsubscribe = Unsubscribe::new(mqtt::Version::V311, id(5), &["t"]).unwrap();
        peer.send(&PacketRef::Unsubscribe(unsubscribe));
        peer.receive(|packet| assert!(matches!(packet, PacketRef::UnsubAck(_))));
        drop(peer);
        let (mut peer, present) = resume(broker, "a");
        assert!(present);
        broker.publish("t", "1", Q1, false).unwrap();
        broker.publish("u", "2", Q1, false).unwrap();
        expect_publish(&mut peer, "u=2 q1");
        expect_nothing(&mut peer);
    });
}
